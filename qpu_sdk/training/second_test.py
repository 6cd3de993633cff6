"""A second test set, the same for every seed: the whole test part of a source of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import DataError
from ..words import short
from .config import DataConfig
from .data import OTHER_SCALE, Dataset, Images, load_dataset


def with_second_test(dataset: Dataset, config: DataConfig) -> Dataset:
    """The dataset with the second test set that a configuration names, if it names one.

    :raises DataError: when the source cannot be read or has no test part of its own, or when its images or labels are
        of another kind than those of the dataset.
    """
    if config.second_test is not None:
        if dataset.second is not None:
            raise DataError(
                f"data.second_test is {short(config.second_test)}, and {dataset.name} has a second test set already. "
                "Leave one of them out."
            )
        dataset = replace(dataset, second=_read(config.second_test, dataset, scale=config.scale))
    if dataset.second is not None:
        _check_alike(dataset, dataset.second, config.second_test or f"the second test set of {dataset.name}")
    return dataset


def _read(source: str, dataset: Dataset, *, scale: float | None) -> Images:
    if source == "mnist-5k":
        raise DataError(
            "data.second_test is mnist-5k, whose digits are not divided into training and test images. Name a source "
            "with a test part: mnist, a folder in torchvision's MNIST layout, FILE.npz, or TRAIN.csv,TEST.csv."
        )
    try:
        own = DataConfig(source=source, scale=scale, as_is=dataset.as_is)
        return load_dataset(own, seed=0, classes=dataset.classified).test  # all of it: nothing is drawn
    except DataError as error:
        raise DataError(f"data.second_test: {error}") from error


def _check_alike(dataset: Dataset, second: Images, name: str) -> None:
    first = dataset.test
    if second.x.shape[1:] != first.x.shape[1:]:
        raise DataError(
            f"images of data.second_test ({short(name)}) are {second.x.shape[1:]}, those of {dataset.name} "
            f"{first.x.shape[1:]}. Make all one size."
        )
    if dataset.as_is or not dataset.classified:
        return
    known = set(np.unique(np.concatenate([dataset.train.y, first.y])).tolist())
    if strange := sorted(set(np.unique(second.y).tolist()) - known):
        raise DataError(
            f"data.second_test ({short(name)}) has label {strange[0]}, which no image of {dataset.name} has. Name a "
            "source with the same classes."
        )
    low, high = sorted((float(dataset.train.x.max()), float(second.x.max())))
    if low > 0 and OTHER_SCALE * low < high:
        raise DataError(
            f"pixels of data.second_test ({short(name)}) go up to {float(second.x.max()):g} and those of "
            f"{dataset.name} up to {float(dataset.train.x.max()):g}, as if they had other scales. Scale both alike."
        )
