"""A second test set: whole, of the same kind, the same for every seed, and looked at only in the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qpu_sdk as qs
from qpu_sdk.errors import DataError
from qpu_sdk.runs.summary import RunSummary
from qpu_sdk.runs.tables import summary_rows
from qpu_sdk.runs.train import resume, train
from qpu_sdk.training.config import DataConfig
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.data import Dataset, Images
from qpu_sdk.training.second_test import with_second_test
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("no_figures")
FULL = tiny.dataset(train=60, test=40)


def npz(path: Path, **changes: Any) -> str:
    """The tiny images, of which the test part is its own."""
    own = tiny.dataset(train=4, test=30)
    parts = {"x_train": own.train.x, "y_train": own.train.y, "x_test": own.test.x, "y_test": own.test.y}
    np.savez(path, **(parts | changes))
    return str(path)


def test_the_whole_test_part_is_used(tmp_path: Path) -> None:
    source = npz(tmp_path / "second.npz")
    data = with_second_test(FULL, DataConfig(second_test=source, train_size=10, test_size=5, validation_size=3))
    assert data.second is not None
    np.testing.assert_array_equal(data.second.x, tiny.dataset(train=4, test=30).test.x)
    assert data.test is FULL.test
    assert data.fingerprint != FULL.fingerprint
    assert "second=30" in repr(data)
    rows = data.as_rows()
    assert rows.second is not None
    assert rows.second.x.shape == (30, 16)


def test_without_one_nothing_is_another() -> None:
    assert with_second_test(FULL, DataConfig()) is FULL
    assert "second_test" not in DataConfig().model_dump_json()
    assert tiny.config(data={"second_test": "a.npz"}).fingerprint != tiny.config().fingerprint
    assert "second_test" not in tiny.config().to_toml()
    assert "second_test" not in tiny.config().model_dump()["data"]  # of which fingerprints are made
    assert FULL.fingerprint == replace(FULL, second=None).fingerprint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"x_train": np.zeros((4, 5, 5)), "x_test": np.ones((30, 5, 5))},
            r"are \(1, 5, 5\), those of tiny",
        ),
        ({"y_test": np.arange(30) % 3}, "has label 2, which no image of tiny has"),
        ({"x_train": np.zeros((4, 4, 4)), "x_test": np.full((30, 4, 4), 0.004)}, "as if they had other scales"),
        ({"y_test": np.zeros(3)}, "data.second_test: "),
    ],
)
def test_images_of_another_kind_are_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        with_second_test(FULL, DataConfig(second_test=npz(tmp_path / "second.npz", **changes)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("source", "words"), [("nowhere.npz", "data.second_test: "), ("mnist-5k", "not divided")])
def test_a_source_without_a_test_part_is_told(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        with_second_test(FULL, DataConfig(second_test=source))


def test_two_second_test_sets_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Leave one of them out"):
        with_second_test(replace(FULL, second=FULL.test), DataConfig(second_test=npz(tmp_path / "second.npz")))


def test_a_run_tells_both_accuracies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    npz(Path("second.npz"))
    config = tiny.config(data={"second_test": "second.npz"}, controls=["constant", "pruned"], seed=2)
    run = train(config, tmp_path / "run", target=tiny.seeded_linear(), data=FULL)
    summary = run.summary
    assert load_config(run.path / "config.toml").data.second_test == str(tmp_path / "second.npz")
    assert (summary.test_size, summary.second_test_size) == (40, 30)
    second = tiny.dataset(train=4, test=30).test
    assert summary.second_test_accuracy == pytest.approx(accuracy(run, second))
    assert summary.test_accuracy == pytest.approx(accuracy(run, FULL.test))
    assert summary.second_controls.keys() == summary.controls.keys() == {"constant", "pruned"}
    kept = json.loads((run.path / "controls.json").read_text())
    assert {name: entry["second_accuracy"] for name, entry in kept.items()} == summary.second_controls
    rows = dict(summary_rows(summary))
    assert "30 images" in rows["second test accuracy"]
    assert "second test" in rows[f"control: p constant ({summary.control_parameters['constant']:,})"]
    monkeypatch.chdir("/")
    again = resume(run.path, target=tiny.seeded_linear(), data=FULL).summary
    assert again == summary


def accuracy(run: qs.Run, images: Images) -> float:
    x, y = images.tensors()
    return float((run.model.module(tiny.seeded_linear())(x).argmax(dim=1) == y).double().mean())


def test_the_test_images_change_nothing_that_is_trained(tmp_path: Path) -> None:
    models = []
    for name, order in (("one", slice(None)), ("two", slice(None, None, -1))):
        images = tiny.dataset(train=4, test=30).test
        source = npz(tmp_path / "second.npz", x_test=images.x[order], y_test=images.y)
        config = tiny.config(data={"second_test": source}, seed=2)
        run = train(config, tmp_path / name, target=tiny.seeded_linear(), data=FULL)
        models.append((run.model.tensors, run.summary.second_test_accuracy))
    (first, a), (second, b) = models
    assert all((first[key] == second[key]).all() for key in first)
    assert a != b


def test_summaries_of_before_are_read() -> None:
    from tests.runs.test_summary import example

    old = json.loads(example().model_dump_json())
    for key in ("second_test_accuracy", "second_test_size", "second_controls", "controls_again"):
        del old[key]
    assert RunSummary.model_validate(old) == example()


def test_evaluating_a_model_needs_no_second_test_set(tmp_path: Path) -> None:
    from qpu_sdk.training.data import load_dataset

    found = load_dataset(DataConfig(source="mnist-5k", second_test=str(tmp_path / "gone.npz")), seed=1)
    assert isinstance(found, Dataset)
    assert found.second is None
