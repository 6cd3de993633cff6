"""MNIST's own format, IDX, under the names and in the folders in which its relatives are handed around."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import regular
from .pixels import AnyArray

#: The files of MNIST, Fashion-MNIST and KMNIST; EMNIST calls its test part ``test`` and puts a split's name before.
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
#: Where torchvision and others put them.
_PLACES = (".", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw")
_EMNIST = "emnist-"


def read_mnist_folder(folder: Path) -> dict[str, AnyArray]:
    """IDX files, plain or gzipped, in ``folder``, its ``raw``, or torchvision's ``MNIST/raw`` and the like.

    Of EMNIST, whose folder holds several splits, a path ends with the split: ``FOLDER/emnist-letters``. Its images lie
    on their side in the files, and are turned upright.

    :returns: ``x_train``, ``x_test``, ``(n, H, W)``, and ``y_train``, ``y_test``, ``(n,)``.
    :raises DataError: when a file is missing or damaged, or there are several splits.
    """
    folder, prefix = (folder, "") if folder.is_dir() else (folder.parent, f"{folder.name}-")
    if not prefix and not any(_spelt(folder, IDX_FILES["x_train"])):
        prefix = _only_split(folder)
    out: dict[str, AnyArray] = {}
    for part, stem in IDX_FILES.items():
        names = (prefix + stem, prefix + stem.replace("t10k", "test"))
        found = next((path for name in names for path in _spelt(folder, name)), None)
        if found is None:
            raise DataError(
                f"{folder} holds no {names[0]}[.gz]. Expected torchvision's layout, {folder}/MNIST/raw/{stem}.gz; or "
                "pictures by class, train/CLASS/*.png and test/CLASS/*.png."
            )
        array = read_idx(found)
        out[part] = array.swapaxes(1, 2) if prefix.startswith(_EMNIST) and array.ndim == 3 else array
    return out


def is_idx_prefix(path: Path) -> bool:
    """Whether a path is no folder, but files of a split begin with it.

    >>> is_idx_prefix(Path("nowhere/emnist-letters"))
    False
    """
    return path.parent.is_dir() and any(_spelt(path.parent, f"{path.name}-{IDX_FILES['x_train']}"))


def _spelt(folder: Path, name: str) -> Iterator[Path]:
    """The files of a name, which some write with a dot, zip, or put in a folder of the same name."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for place in _PLACES:
            for path in (
                folder / place / spelling,
                folder / place / f"{spelling}.gz",
                folder / place / spelling / spelling,
            ):
                if path.is_file():
                    yield path


def _only_split(folder: Path) -> str:
    """The split whose files are in a folder, as ``emnist-letters-``; "" for none."""
    ending = IDX_FILES["x_train"].replace("-idx", "?idx")
    files = [path for place in _PLACES for path in (folder / place).glob(f"{_EMNIST}*{ending}*")]
    splits = sorted({(path.parent, path.name.partition("-train-images")[0]) for path in files})
    if len(splits) > 1:
        names = ", ".join(name for _, name in splits)
        raise DataError(f"{folder} holds several splits ({names}). Name one: {splits[0][0] / splits[0][1]}.")
    return f"{splits[0][1]}-" if splits else ""


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
