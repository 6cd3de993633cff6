"""Batches of any DataLoader, and labels of any type of number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from qpu_sdk.errors import DataError
from qpu_sdk.training.data import Dataset

RNG = np.random.default_rng(3)
X, Y = RNG.random((10, 1, 4, 4)).astype(np.float32), np.arange(10) % 2
TEST = (X[:4], Y[:4])


def tensors(x: Any = X, y: Any = Y) -> TensorDataset:
    return TensorDataset(torch.as_tensor(x), torch.as_tensor(y))


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 3}, {"batch_size": 10}, {"batch_size": 4, "shuffle": True}, {"batch_size": 4, "drop_last": True}],
)
def test_a_loader_gives_the_images_of_its_batches(options: dict[str, Any]) -> None:
    loader = DataLoader(tensors(), **options)
    found = Dataset.of(loader, DataLoader(tensors(*TEST), batch_size=4))
    kept = 8 if options.get("drop_last") else 10
    rows = {x.tobytes(): y for x, y in zip(X, Y, strict=True)}
    assert found.train.x.shape == (kept, 1, 4, 4)
    assert [rows[x.tobytes()] for x in found.train.x] == found.train.y.tolist()
    if not options.get("shuffle"):
        assert np.array_equal(found.train.x, X[:kept])
    assert found.train.y.dtype == np.int64


@pytest.mark.parametrize("own", [False, True])
def test_a_loader_that_shuffles_gives_the_same_whenever_it_is_asked(own: bool) -> None:
    generator = torch.Generator().manual_seed(5) if own else None
    loader = DataLoader(tensors(), batch_size=3, shuffle=True, generator=generator)
    state, first = torch.get_rng_state(), Dataset.of(loader, tensors(*TEST))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(77)
    assert Dataset.of(loader, tensors(*TEST)).fingerprint == first.fingerprint


def test_a_generator_of_batches_is_a_loader_too() -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.from_numpy(X[:6]), torch.from_numpy(Y[:6])
        yield torch.from_numpy(X[6:]), torch.from_numpy(Y[6:])

    assert np.array_equal(Dataset.of(batches(), tensors(*TEST)).train.x, X)


def test_numbers_of_a_loader_stay_as_they_are() -> None:
    normalised = (X - 0.5) / 0.2
    found = Dataset.of(DataLoader(tensors(normalised), batch_size=3), DataLoader(tensors(normalised[:4], Y[:4])))
    assert found.as_is
    assert np.array_equal(found.train.x, normalised)
    levels = (X * 255).astype(np.uint8)
    bytes_ = Dataset.of(DataLoader(tensors(levels)), DataLoader(tensors(levels)))
    assert bytes_.train.x.max() == pytest.approx(levels.max() / 255)
    with pytest.raises(DataError, match="as_is = true"):
        Dataset.of(normalised, Y, normalised, Y)
    assert np.array_equal(Dataset.of(normalised, Y, normalised, Y, as_is=True).test.x, normalised)
    tokens = RNG.integers(0, 90, (10, 7))
    assert np.array_equal(Dataset.of(tokens, Y, tokens, Y, as_is=True).train.x, tokens)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(X[0], 0)])


def failing() -> Iterator[Any]:
    yield torch.from_numpy(X), torch.from_numpy(Y)
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (DataLoader(TensorDataset(torch.from_numpy(X))), "batch 0 of the training set is 1 things, no pair"),
        (iter([torch.from_numpy(X)]), "batch 0 of the training set is a Tensor, no pair of images and labels"),
        (iter([{"x": X, "y": Y}]), "batch 0 of the training set is a dict"),
        (iter([(X, Y[:3])]), "images .10, 1, 4, 4. and labels .3,."),
        (iter([]), "is empty"),
        (Stream(), "a torch dataset with a length, a DataLoader"),
        (failing(), "raised OSError: the disk is gone"),
        (iter([(X, np.eye(2)[Y])]), "several numbers a label"),
        (iter([(np.where(X > 0.9, np.nan, X), Y)]), "NaN"),
    ],
    ids=["no labels", "a tensor", "a dict", "too few labels", "empty", "stream", "fails", "one-hot", "NaN"],
)
def test_a_loader_that_cannot_be_trained_on_is_one_line(train: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Dataset.of(train, tensors(*TEST))
    assert "\n" not in str(caught.value)


def test_one_loader_alone_is_told_how_to_make_two() -> None:
    with pytest.raises(DataError, match=r"one DataLoader has no test images.*random_split"):
        Dataset.of(DataLoader(tensors()))


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"])
def test_classes_of_any_integer_type(kind: str) -> None:
    labels = Y.astype(kind)
    for found in (
        Dataset.of(X, labels, X, labels),
        Dataset.of(X, labels[:, None], X, labels[:, None]),
        Dataset.of(*(DataLoader(tensors(X, torch.from_numpy(labels)), batch_size=3) for _ in range(2))),
    ):
        assert found.train.y.dtype == np.int64
        assert np.array_equal(found.train.y, Y)
        assert found.classified


@pytest.mark.parametrize(
    ("labels", "kind", "classified"),
    [
        (RNG.random(10), np.float32, False),
        (RNG.random((10, 3)), np.float32, False),
        (RNG.random((10, 3)) > 0.5, np.int64, False),
        (RNG.integers(0, 5, 10).astype(np.uint8), np.int64, True),
        (RNG.integers(-5, 0, 10), np.int64, False),
        (torch.rand(10, 2).half(), np.float32, False),
        (torch.rand(10, 2).bfloat16(), np.float32, False),
    ],
)
def test_labels_of_a_loss_of_ones_own_are_any_numbers(labels: Any, kind: Any, classified: bool) -> None:
    for found in (
        Dataset.of(X, labels, X, labels, classes=False),
        Dataset.of(*(DataLoader(tensors(X, labels), batch_size=3) for _ in range(2)), classes=False),
    ):
        assert found.train.y.dtype == kind
        assert np.allclose(found.train.y, torch.as_tensor(labels).double().numpy(), atol=1e-6)
        assert found.classified == classified
        assert "Dataset(" in repr(found)


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (RNG.random(9), RNG.random(10), "Expected numbers, one entry an image"),
        (np.full(10, np.inf), RNG.random(10), "NaN or infinity"),
        (RNG.random((10, 2)), RNG.random((10, 3)), "Make all one kind"),
        (RNG.random(10), np.arange(10), "Make all one kind"),
    ],
)
def test_labels_that_no_loss_takes_are_one_line(train: Any, test: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Dataset.of(X, train, X, test, classes=False)
    assert "\n" not in str(caught.value)
