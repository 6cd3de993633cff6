"""Labels: whole numbers however they are stored; anything else is named, with the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qpu_sdk.errors import DataError
from qpu_sdk.training.data import Dataset, check_labels
from qpu_sdk.training.labels import checked_labels

X, CLASSES = np.zeros((6, 4, 4)), np.array([0, 1, 2, 2, 1, 0])


@pytest.mark.parametrize(
    "y",
    [
        CLASSES,
        CLASSES.astype(np.uint8),
        CLASSES.astype(np.float32),
        CLASSES[:, None],
        CLASSES[:, None].astype(np.float64),
        torch.from_numpy(CLASSES),
        torch.from_numpy(CLASSES)[:, None].float(),
        CLASSES.tolist(),
        [[label] for label in CLASSES.tolist()],
    ],
)
def test_whole_numbers_are_labels_however_they_are_stored(y: Any) -> None:
    found = Dataset.of(X, y, X, y).train.y
    assert found.dtype == np.int64
    assert np.array_equal(found, CLASSES)


def test_truth_values_are_two_classes() -> None:
    assert Dataset.of(X, CLASSES > 1, X, CLASSES > 1).classes == 2


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.int64, bool])
def test_one_hot_rows_are_named(kind: type) -> None:
    hot = np.eye(3, dtype=kind)[CLASSES]
    for y in (hot, hot.tolist(), torch.from_numpy(hot)):
        if kind is not bool:
            with pytest.raises(DataError, match=r"y_train of .* is one-hot, of shape \(6, 3\).*argmax") as caught:
                Dataset.of(X, y, X, CLASSES)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("y", [["cat"] * 6, np.array(["cat", "dog"] * 3), np.array([b"cat"] * 6), ("cat",) * 6])
def test_words_are_named(y: Any) -> None:
    with pytest.raises(DataError, match=r"words such as b?'cat'.*np\.unique"):
        Dataset.of(X, y, X, CLASSES)


@pytest.mark.parametrize(
    "y", [np.full(6, -1), np.full(6, 0.5), np.full(6, np.nan), np.zeros((6, 2)), np.zeros(5), np.full(6, 2**40)]
)
def test_what_is_no_class_is_one_line(y: Any) -> None:
    with pytest.raises(DataError, match="y_") as caught:
        checked_labels(y, 6, "y_train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([1, 2, 3], 3, "They begin at 1, and there are 3.*np.unique.* a target of 4 classes"),
        ([0, 5, 9], 3, "Some numbers are missing, and there are 3.*np.unique.* a target of 10 classes"),
        ([0, 1, 2, 3], 3, "Use a target of 4 classes"),
    ],
)
def test_labels_beyond_a_network_say_why(labels: list[int], classes: int, words: str) -> None:
    y = np.resize(labels, 6)
    data = Dataset.of(X, y, X, y)
    with pytest.raises(DataError, match=words):
        check_labels(data, classes)
    check_labels(data, max(labels) + 1)
