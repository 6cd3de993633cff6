"""Test images of a model as picture files, to try the trained network on."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import write_new
from ..training.data import Images, load_dataset
from ..training.labels import Labels
from .weights import Model


def write_pictures(model: Model, folder: Path, *, count: int) -> list[Path]:
    """Write test images of the model's own run as PNG files, each class in turn, named by label and place.

    The network has not seen them in training. Their files are ``LABEL-PLACE.png``, the place being that among the test
    images; a file that is there already is kept.

    :param count: of pictures, at most.
    :returns: the files, in the order of their names.
    :raises DataError: when the images are not at hand, or are no pictures.
    """
    images = _test_images(model)
    places = in_turn(images.y, count)
    folder.mkdir(parents=True, exist_ok=True)
    return sorted(_written(images, place, folder) for place in places)


def in_turn(labels: Labels, count: int) -> list[int]:
    """Places of ``count`` images or fewer, one of each class after the other.

    >>> in_turn(np.array([1, 1, 0, 1, 0]), 3)
    [2, 0, 4]
    """
    rank = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.sum(labels == label))
    return [int(place) for place in np.lexsort((labels, rank))[:count]]


def _test_images(model: Model) -> Images:
    """Those of the run; raises :class:`DataError` when they are no pictures."""
    dataset = load_dataset(model.data, seed=model.data_seed, classes="loss" not in model.metadata)
    x = dataset.test.x
    pictures = x.ndim == 4 and x.shape[1] in (1, 3) and not dataset.as_is
    if not pictures or not dataset.classified:
        raise DataError(
            f"the test images of {dataset.name}, of shape {x.shape[1:]}, are no pictures with a class each. Give "
            "predict an .npy file of such arrays."
        )
    return dataset.test


def _written(images: Images, place: int, folder: Path) -> Path:
    from PIL import Image

    channels_last = np.rint(255 * images.x[place]).astype(np.uint8).transpose(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(channels_last.squeeze()).save(content, format="PNG")
    path = folder / f"{images.y[place]}-{place}.png"
    with suppress(FileExistsError):
        write_new(path, content.getvalue())
    return path
