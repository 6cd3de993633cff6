"""Arrays of pixels mean what they say: every form of an image is that image, and no scale is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis.extra import numpy as hnp

from qpu_sdk.errors import DataError
from qpu_sdk.training.data import Dataset
from qpu_sdk.training.pixels import read_images

Array = npt.NDArray[Any]
LABELS = np.arange(20) % 2


def pictures(high: float, kind: type, *, low: float = 0) -> Array:
    rng = np.random.default_rng(1)
    x = (
        rng.uniform(low, high, (20, 6, 6))
        if np.issubdtype(kind, np.floating)
        else rng.integers(low, high + 1, (20, 6, 6))
    )
    x[0, 0, 0], x[0, 0, 1] = low, high
    return x.astype(kind)


def refused(x: Any, x_test: Any = None, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        Dataset.of(x, LABELS, x if x_test is None else x_test, LABELS, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("largest", [1, 15, 16, 31, 63, 100])
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.uint16, np.int8])
def test_integers_that_need_be_no_bytes_are_not_guessed(largest: int, kind: type) -> None:
    x = pictures(largest, kind)
    assert f"scale = {largest}" in refused(x)
    assert Dataset.of(x, LABELS, x, LABELS, scale=largest).train.x.max() == 1.0
    assert np.allclose(Dataset.of(x, LABELS, x, LABELS, scale=255).train.x[:, 0], x / 255)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (pictures(255, np.float64), "up to 255|to 255"),
        (pictures(16, np.float32), "to 16"),
        (pictures(1, np.float64, low=-1), r"\(x \+ 1\) / 2"),
        (pictures(255, np.int64, low=-3), "-3"),
        (pictures(65535, np.uint16), "65535"),
        (pictures(1023, np.int32), "1023"),
        (pictures(1.01, np.float32), "1.01"),
    ],
)
def test_other_ranges_are_refused_with_the_way_out(x: Array, words: str) -> None:
    import re

    assert re.search(words, refused(x))


@pytest.mark.parametrize("past", [1.0000001, 1.000002])
def test_what_rounding_does_is_taken(past: float) -> None:
    x = pictures(1, np.float64)
    x[3, 3, 3], x[4, 4, 4] = past, 1 - past
    found = Dataset.of(x, LABELS, x, LABELS).train.x
    assert (found.min(), found.max()) == (0.0, 1.0)


def test_black_and_white_is_taken_as_bool() -> None:
    x = pictures(1, np.int64).astype(bool)
    assert set(np.unique(Dataset.of(x, LABELS, torch.from_numpy(x), LABELS).test.x)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (pictures(255, np.uint8), pictures(16, np.uint8)),
        (pictures(255, np.uint8), pictures(1, np.uint8)),
        (pictures(16, np.int64), pictures(255, np.int64)),
        (pictures(1, np.float64), pictures(1, np.float64) / 255),
        (pictures(1, np.float64) / 255, pictures(1, np.float64)),
        (pictures(255, np.uint8), pictures(1, np.float64) / 255),
        (pictures(255, np.uint8), pictures(255, np.float64)),
        (pictures(1, np.float64), pictures(16, np.uint8)),
        (pictures(1, np.float64), pictures(255, np.float64)),
        (pictures(1, np.float64), pictures(1, np.float64, low=-1)),
    ],
)
def test_two_parts_of_different_scales_are_refused(train: Array, test: Array) -> None:
    refused(train, test)


def test_parts_of_other_types_but_one_scale_are_taken() -> None:
    x = pictures(255, np.uint8)
    found = Dataset.of(x, LABELS, x / 255, LABELS)
    assert np.allclose(found.train.x, found.test.x)


def test_a_dark_part_is_taken_from_who_says_so() -> None:
    x, dark = pictures(255, np.uint8), pictures(16, np.uint8)
    assert "scale = 255" in refused(x, dark)
    assert Dataset.of(x, LABELS, dark, LABELS, scale=255).test.x.max() == np.float32(16 / 255)
    assert "scale = 1" in refused(x / 255, dark / 255)
    assert Dataset.of(x / 255, LABELS, dark / 255, LABELS, scale=1).test.x.max() == np.float32(16 / 255)


def test_a_scale_makes_nothing_dark_that_is_scaled_already() -> None:
    assert "already" in refused(pictures(16, np.float64), pictures(1, np.float64), scale=16)


# -- forms of arrays that are classified -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "shape", "images"),
    [
        ((6, 6), (1, 6, 6), 1),
        ((1, 6, 6), (1, 6, 6), 1),
        ((36,), (1, 6, 6), 1),
        ((5, 6, 6), (1, 6, 6), 5),
        ((5, 1, 6, 6), (1, 6, 6), 5),
        ((5, 36), (1, 6, 6), 5),
        ((6, 6, 6), (1, 6, 6), 6),
        ((3, 6, 6), (3, 6, 6), 1),
        ((5, 3, 6, 6), (3, 6, 6), 5),
        ((108,), (3, 6, 6), 1),
        ((7,), (7,), 1),
        ((5, 7), (7,), 5),
    ],
)
def test_arrays_of_every_form_are_these_images(tmp_path: Path, form: Any, shape: Any, images: int) -> None:
    array = np.random.default_rng(1).random(form)
    np.save(tmp_path / "a.npy", array)
    found = read_images(tmp_path / "a.npy", shape=shape)
    assert found.shape == (images, *shape)
    assert np.array_equal(found.reshape(-1), array.astype(np.float32).reshape(-1))


@pytest.mark.parametrize("form", [(6, 5), (5, 6), (2, 6, 6, 3), (6, 6, 3), (0, 6, 6), (35,), (2, 2, 6, 6), ()])
def test_arrays_of_other_forms_are_one_line(tmp_path: Path, form: Any) -> None:
    np.save(tmp_path / "a.npy", np.zeros(form))
    with pytest.raises(DataError, match=r"a\.npy"):
        read_images(tmp_path / "a.npy", shape=(1, 6, 6))


def test_channels_that_come_last_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((6, 6, 3)))
    with pytest.raises(DataError, match="channels come first"):
        read_images(tmp_path / "a.npy", shape=(3, 6, 6))


def test_whole_numbers_mean_what_those_of_the_training_meant(tmp_path: Path) -> None:
    dark = np.random.default_rng(1).integers(0, 17, (6, 6), dtype=np.uint8)
    np.save(tmp_path / "a.npy", dark)
    with pytest.raises(DataError, match="scale"):
        read_images(tmp_path / "a.npy", shape=(1, 6, 6))
    for whole in (16, 255):
        assert np.allclose(read_images(tmp_path / "a.npy", shape=(1, 6, 6), whole=whole)[0, 0], dark / whole)
    np.save(tmp_path / "a.npy", dark / 16)
    assert np.allclose(read_images(tmp_path / "a.npy", shape=(1, 6, 6), whole=255)[0, 0], dark / 16)


def test_an_array_that_claims_more_than_memory_is_one_line(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**46, 6, 6)})
    with pytest.raises(DataError, match=r"a\.npy"):
        read_images(tmp_path / "a.npy", shape=(1, 6, 6))


@given(array=hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=4, max_side=6)))
@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_array_is_images_or_a_data_error(tmp_path: Path, array: Array) -> None:
    np.save(tmp_path / "a.npy", array)
    for shape in ((1, 4, 4), (3, 2, 2), (5,)):
        try:
            found = read_images(tmp_path / "a.npy", shape=shape)
        except DataError:
            continue
        assert found.shape[1:] == shape
        assert 0 <= found.min() <= found.max() <= 1
