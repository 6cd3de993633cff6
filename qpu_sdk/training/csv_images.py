"""Images in CSV files: a list an image (Perceval Quest), or a column a pixel (Kaggle), with or without a header."""

from __future__ import annotations

import csv
import gzip
import io
import json
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import regular
from ..words import one_line, short
from .pixels import AnyArray

#: How people call the column of labels.
_LABEL = ("label", "labels", "class", "target", "digit")
_EXPECTED = "Expected columns image (list of 784 floats) and label, or label and one column a pixel."


def read_csv_pair(train: Path, test: Path) -> dict[str, AnyArray]:
    """Two CSV files, plain or gzipped.

    :returns: images ``(n, pixels)`` and labels ``(n,)``.
    :raises DataError: when one is damaged, or has no labels.
    """
    (x_train, y_train), (x_test, y_test) = _read_csv(train), _read_csv(test)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _read_csv(path: Path) -> tuple[AnyArray, AnyArray]:
    try:
        raw = regular(path).read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        text = raw.decode("utf-8-sig")  # spreadsheets write a byte-order mark
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as CSV ({one_line(error, 160)}). Check the file.") from error
    first = next(csv.reader(io.StringIO(text, newline="")), []) if "\0" not in text[:1000] else []
    header = [name.strip().lower() for name in first]
    if "image" in header:
        return _lists(text, path)
    if len(first) > 2 and all(_number(cell) for cell in first):  # no header: the label comes first
        return _columns(text, path, label=0, skip=0)
    named = [i for i, name in enumerate(header) if name in _LABEL]
    if len(named) == 1 and len(header) > 2:
        return _columns(text, path, label=named[0], skip=1)
    raise DataError(f"{path} is no CSV of images with labels ({_why(header)}). {_EXPECTED}")


def _why(header: Sequence[str]) -> str:
    if len(header) == 1 and ";" in header[0]:
        return "semicolons between its columns; write commas"
    if len(header) > 2 and any(name.startswith("pixel") for name in header):
        return (
            "no column label, as in Kaggle's test.csv; take both parts of TRAIN.csv: --data TRAIN.csv,TRAIN.csv --set "
            "data.draw=training, with data.train_size and data.test_size"
        )
    return f"columns {short(', '.join(header[:4]))}" if header else "empty, or no text"


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _lists(text: str, path: Path) -> tuple[AnyArray, AnyArray]:
    """Perceval Quest's: each image a list in JSON."""
    images, labels = [], []
    try:
        for row in csv.DictReader(io.StringIO(text, newline="")):
            row = {str(key).strip().lower(): value for key, value in row.items()}
            image = np.asarray(json.loads(row["image"]))
            # Whole numbers stay what they are: they may be bytes.
            images.append(image if image.dtype.kind == "i" else image.astype(np.float64))
            labels.append(float(row["label"]))
        return np.stack(images), np.array(labels)
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        where = f" near row {len(images) + 1}" if images else ""
        raise DataError(
            f"{path} is not a Perceval Quest CSV{where} ({type(error).__name__}: {one_line(error, 160)}). {_EXPECTED}"
        ) from error


def _columns(text: str, path: Path, *, label: int, skip: int) -> tuple[AnyArray, AnyArray]:
    """Kaggle's: a column a pixel, whole numbers unless one is written otherwise."""
    table: AnyArray
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy would read 0.5 as the integer 0, with a warning
            try:
                table = _loaded(text, skip, np.int64)
            except (ValueError, DeprecationWarning):
                table = _loaded(text, skip, np.float64)
    except (ValueError, IndexError, Warning) as error:
        raise DataError(f"{path} is no table of numbers ({one_line(error, 160)}). {_EXPECTED}") from error
    return np.delete(table, label, axis=1), table[:, label]


def _loaded(text: str, skip: int, kind: type) -> AnyArray:
    return np.loadtxt(io.StringIO(text), delimiter=",", skiprows=skip, dtype=kind, ndmin=2, quotechar='"')
