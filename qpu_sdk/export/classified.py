"""Images of files, and what a network says of each, as rows; knows neither torch nor how the network is made."""

from __future__ import annotations

import glob
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..training.pictures import PICTURE_ENDINGS, is_light
from ..training.pixels import BYTE, NPY_BEGINNING, NPZ_BEGINNING, Pixels, read_images
from .use import Use

#: Endings of files of arrays.
_ARRAYS = frozenset({".npy", ".npz"})
#: Images whose lightest and darkest pixel differ by less show nothing.
BLANK = 0.1
#: What a network says: of images ``(n, *shape)`` a row each, ``(n, ...)``, logits or values.
_Network = Callable[[Pixels], npt.NDArray[np.floating[Any]]]


def classified(
    network: _Network, use: Use, paths: Sequence[Path], *, scale: float | None, invert: bool | None
) -> list[dict[str, Any]]:
    """A row for each image, and one for each file that cannot be read, with its error.

    :param paths: as of :func:`qpu_sdk.export.inference.predict_images`, and so is ``invert``.
    :param scale: what arrays are divided by, None to find out.
    """
    rows: list[dict[str, Any]] = []
    for path in _files(paths):
        try:
            rows += _rows(network, use, path, scale, invert)
        except DataError as error:  # the others may be fine
            rows.append({"image": str(path), "error": str(error)})
    return rows


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files in folders, and of patterns, in their order, and what is neither as it is."""
    for path in paths:
        for place in _matching(path):
            endings = PICTURE_ENDINGS | _ARRAYS
            inside = sorted(p for p in place.iterdir() if p.suffix.lower() in endings) if place.is_dir() else []
            yield from inside or [place]


def _matching(path: Path) -> list[Path]:
    """What a pattern of file names matches, where no shell saw to it; a name that is there is no pattern."""
    if not glob.has_magic(str(path)) or path.exists():
        return [path]
    return sorted(map(Path, glob.glob(str(path), recursive=True))) or [path]


def _rows(
    network: _Network, use: Use, path: Path, scale: float | None, invert: bool | None
) -> Iterator[dict[str, Any]]:
    piped = sys.stdin.buffer.read() if str(path) == "-" else b""
    source = io.BytesIO(piped) if str(path) == "-" else path
    whole = use.scale if use.scale != BYTE else None  # few levels of grey may be meant where bytes were learnt
    images = read_images(source, shape=use.shape, scale=scale, whole=whole, as_is=use.as_is)
    turned = bool(invert)
    if invert is None and use.page is not None:  # an array is as its maker wants it
        array = path.suffix.lower() in _ARRAYS or piped.startswith((NPY_BEGINNING, NPZ_BEGINNING))
        turned = not array and is_light(images[0]) != bool(use.page)
    images = 1.0 - images if turned else images
    for index, (image, output) in enumerate(zip(images, network(images), strict=True)):
        yield {
            "image": f"{path}[{index}]" if len(images) > 1 else str(path),
            **({"values": output.reshape(-1).tolist()} if use.values else _of_classes(output)),
            "inverted": turned,
            "blank": image.ndim == 3 and bool(np.ptp(image) < BLANK),
        }


def _of_classes(logits: npt.NDArray[np.floating[Any]]) -> dict[str, Any]:
    with np.errstate(under="ignore"):
        e = np.exp(logits - logits.max())
        p = e / e.sum()
    best = int(p.argmax())
    return {"label": best, "probability": float(p[best]), "probabilities": p.tolist()}
