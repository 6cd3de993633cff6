"""Figures as SVG text and as files, drawn with matplotlib's object interface (no display, no global state)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from ..files import user_path, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(figure: Figure, *, title: str | None = None) -> str:
    """A figure as an ``<svg>`` element, the same for the same figure.

    :param title: for those who cannot see it.
    """
    out = io.StringIO()
    _draw(figure, out, format="svg", metadata={"Date": None} | ({} if title is None else {"Title": title}))
    text = out.getvalue()
    return text[text.index("<svg") :]  # an XML declaration inside of HTML is an error


#: What a figure says of itself in each kind of file, by suffix: no time, so that equal figures give equal files.
FIGURE_FILES: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
#: Dots per inch of files of pixels.
DPI = 200


def save(figure: Figure, path: str | Path, *, title: str) -> None:
    """Write a figure to a file, PNG, SVG or PDF by its suffix.

    :param title: for those who cannot see it.
    :raises DataError: when the suffix is another, or the file cannot be written.
    """
    try:
        path = user_path(path, "the path of a figure")
    except ConfigError as error:
        raise DataError(f"cannot draw: {error}") from None
    kind = path.suffix.lower()
    if kind not in FIGURE_FILES:
        raise DataError(f"cannot draw {path}: {kind or 'no suffix'} is no kind of figure. Use .png, .svg or .pdf.")
    out = io.BytesIO()
    _draw(figure, out, format=kind[1:], dpi=DPI, metadata=FIGURE_FILES[kind] | {"Title": title})
    try:
        write_atomic(path, out.getvalue())
    except (OSError, ValueError) as error:  # ValueError: a path that no system can have
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write {path} ({why}). Choose another place.") from error


def _draw(figure: Figure, out: io.StringIO | io.BytesIO, **options: Any) -> None:
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "qpu_sdk"}):  # else every element of an SVG gets a random id
        figure.savefig(out, **options)
