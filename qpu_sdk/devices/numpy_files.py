"""NumPy's files, read without pickle, and no larger than they say before anything is made of them."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import regular
from ..words import short

#: Bytes of all arrays of a file.
LARGEST_ARRAYS = 2**30
_MOST_ARRAYS = 100
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def arrays_of(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays of an ``.npz`` by name, of any shapes; that of an ``.npy`` under ``""``.

    :returns: read-only arrays of the shapes that the file gives, ``(...)``.
    :raises DataError: when it cannot be read, is damaged or too large, or holds objects, which are pickles.
    """
    try:
        with regular(path).open("rb") as file:
            if path.suffix.lower() != ".npz":
                return {"": _array(file, LARGEST_ARRAYS)}
            with zipfile.ZipFile(file) as archive:
                return _archived(archive)
    except DataError as error:
        raise DataError(f"{path} looks like a file of NumPy: {error}") from error
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} looks like a file of NumPy and cannot be read ({short(str(error), 120)}).") from error


def _archived(archive: zipfile.ZipFile) -> dict[str, npt.NDArray[Any]]:
    found, left = {}, LARGEST_ARRAYS
    members = archive.infolist()
    if len(members) > _MOST_ARRAYS:
        raise DataError(f"it has {len(members)} arrays; {_MOST_ARRAYS} are read at most.")
    for member in members:
        with archive.open(member) as file:
            array = _array(file, left)
        found[member.filename.removesuffix(".npy")] = array
        left -= array.nbytes
    return found


def _array(file: IO[bytes], most: int) -> npt.NDArray[Any]:
    """One array; its header is looked at first, because NumPy takes the memory that it announces."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise DataError(f"it is of version {version}. Save it again with numpy.save.")
    shape, fortran, kind = _HEADERS[version](file)
    if kind.hasobject:
        raise DataError("it holds objects, which only pickle reads. Save arrays of numbers.")
    size = math.prod(shape) * kind.itemsize
    if size > most:
        raise DataError(f"an array of shape {shape} has {size:,} bytes; {most:,} are read at most.")
    data = file.read(size)
    if len(data) < size:
        raise DataError("it is cut off. Save it again.")
    array = np.frombuffer(data, dtype=kind)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
