"""Where images come from: the digits that ship, MNIST's files, archives, CSV, folders of pictures, torchvision."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError, DataError
from ..files import regular, user_path
from ..words import one_line, short
from .class_folders import is_class_folder, read_class_folders
from .config import GIVEN
from .csv_images import read_csv_pair
from .idx import IDX_FILES, is_idx_prefix, read_mnist_folder
from .own_images import absolute_code, names_code, read_own
from .pixels import AnyArray

if TYPE_CHECKING:
    from types import ModuleType


#: Sources that are no path.
_NAMES = ("mnist-5k", "mnist", GIVEN)
_CSV = (".csv", ".csv.gz")
#: ``images``, ``(5000, 28, 28)``, and ``labels``, ``(5000,)``, both uint8.
DIGITS = Path(__file__).parent / "digits" / "mnist_5k.npz"


def reader_of(source: str) -> Callable[[], dict[str, AnyArray]]:
    """The function that reads a source.

    :returns: a function that gives ``x_train``, ``x_test``, ``(n, ...)``, and ``y_train``, ``y_test``, ``(n,)``.
    :raises DataError: when the source is not known.
    """
    if source == GIVEN:
        raise DataError("the images were passed from Python, where they are not any more. Name some with --data.")
    if source == "mnist-5k":
        return read_embedded_digits
    if source == "mnist":
        return read_torchvision
    if names_code(source):
        return lambda: read_own(source)
    if (pair := _csv_pair(source)) is not None:
        return lambda: read_csv_pair(*pair)
    path = source_path(source)
    if path.suffix.lower() == ".npz":
        return lambda: read_npz(path)
    if is_class_folder(path):
        return lambda: read_class_folders(path)
    if path.is_dir() or is_idx_prefix(path):
        return lambda: read_mnist_folder(path)
    alone = ", and one CSV is half of one" if path.name.lower().endswith(_CSV) else ""
    raise DataError(
        f"data source {short(source)} is not known or does not exist{alone}. Use mnist-5k, mnist, a folder in "
        "torchvision's MNIST layout or with pictures by class, FILE.npz, TRAIN.csv,TEST.csv, or FILE.py:function."
    )


def absolute_source(source: str) -> str:
    """The source with its paths made absolute, so that a run can be resumed from another folder.

    >>> absolute_source("mnist-5k")
    'mnist-5k'
    """
    if source in _NAMES:
        return source
    if names_code(source):
        return absolute_code(source)
    pair = _csv_pair(source)
    if pair is not None:
        return ",".join(str(path.resolve()) for path in pair)
    path = source_path(source)
    return str(path.resolve()) if path.exists() or is_idx_prefix(path) else source


def _csv_pair(source: str) -> tuple[Path, Path] | None:
    """The two files of ``TRAIN.csv,TEST.csv``: names may have commas too, so those that are there are looked for."""
    parts = source.split(",")
    splits = [(",".join(parts[:i]).strip(), ",".join(parts[i:]).strip()) for i in range(1, len(parts))]
    pairs = [pair for pair in splits if all(name.lower().endswith(_CSV) for name in pair)]
    paths = [(source_path(train), source_path(test)) for train, test in pairs]
    there = [pair for pair in paths if all(path.is_file() for path in pair)]
    return there[0] if there else paths[0] if len(paths) == 1 else None


def source_path(text: str) -> Path:
    """The path of a source of images; ``~`` is the home folder.

    :raises DataError: when it is no path.
    """
    try:
        return user_path(text, "the data source")
    except ConfigError as error:
        raise DataError(str(error)) from None


def read_embedded_digits() -> dict[str, AnyArray]:
    """The 5,000 digits of MNIST that ship, 500 a class, sorted by label; qpu_sdk/training/digits says where from.

    They come unsplit, as both parts; :func:`load_dataset` draws training and test images from them by seed.

    :returns: ``x_train``, ``x_test``, ``(n, H, W)``, and ``y_train``, ``y_test``, ``(n,)``.
    :raises DataError: when the file is missing or damaged.
    """
    try:
        with DIGITS.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            x, y = file["images"], file["labels"].astype(np.int64)
    except Exception as error:  # zipfile and numpy raise a dozen types for damaged archives
        raise DataError(
            f"the digits in {DIGITS} cannot be read ({one_line(error, 160)}). Reinstall qpu_sdk."
        ) from error
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}


def read_npz(path: Path) -> dict[str, AnyArray]:
    """An ``.npz`` with x_train, y_train, x_test, y_test; pickled arrays are refused.

    :returns: the four arrays as they are, images ``(n, ...)`` and labels ``(n,)``.
    :raises DataError: when it is damaged, or an array is missing.
    """
    try:
        with regular(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = sorted(set(IDX_FILES) - set(file.files))
            if missing:
                there = f"It has {short(', '.join(sorted(file.files)), 160)}. " if file.files else ""
                raise DataError(f"{path} has no array {missing[0]}. {there}Expected x_train, y_train, x_test, y_test.")
            return {name: file[name] for name in IDX_FILES}
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen types for damaged archives
        raise DataError(f"{path} cannot be read as .npz ({one_line(error, 160)}). Check the file.") from error


def read_torchvision() -> dict[str, AnyArray]:
    """Full MNIST through torchvision, downloaded once into the user's cache.

    Never falls back to the 5,000 digits: the two give different accuracies.

    :returns: ``x_train``, ``x_test``, ``(n, H, W)``, and ``y_train``, ``y_test``, ``(n,)``.
    :raises DataError: when torchvision cannot be imported, or cannot load them.
    """
    datasets = _import_torchvision_datasets()
    from platformdirs import user_cache_dir

    root = os.path.join(user_cache_dir("qpu_sdk"), "torchvision")
    out: dict[str, AnyArray] = {}
    for part in ("train", "test"):
        try:
            mnist = datasets.MNIST(root, train=part == "train", download=True)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"torchvision could not load MNIST ({error}). Use --data mnist-5k, which is offline."
            ) from error
        out[f"x_{part}"], out[f"y_{part}"] = mnist.data.numpy(), mnist.targets.numpy()
    return out


def _import_torchvision_datasets() -> ModuleType:
    """Import torchvision, or say why it cannot be (a CUDA wheel beside a CPU torch dies with RuntimeError)."""
    try:
        from torchvision import datasets
    except (ImportError, OSError, RuntimeError) as error:
        raise DataError(
            f"--data mnist needs torchvision, which cannot be imported ({type(error).__name__}: {error}; "
            f"torch {_version('torch')}, torchvision {_version('torchvision')}). Often a CUDA-built torchvision "
            "stands beside a CPU-only torch: install both from the same wheel index. Or use --data mnist-5k, "
            "which needs neither."
        ) from error
    module: ModuleType = datasets
    return module


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
