"""Figures as SVG text and as files, drawn with matplotlib's object interface (no display, no global state)."""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from ..files import user_path, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Colours of figures and the page's own, which are others in the dark.
_VARIABLES = {
    "#000000": "ink",
    "#ffffff": "paper",
    "#1f77b4": "blue",
    "#ff7f0e": "orange",
    "#2ca02c": "green",
    "#d62728": "red",
    "#9467bd": "purple",
    "#b0b0b0": "faint",
}
#: Greys by how light they are at most.
_GREYS = ((0x50, "ink"), (0x90, "soft"), (0xFE, "faint"))
#: Figures of a page are drawn so wide, inches: what a phone shows without shrinking the text out of sight.
NARROW = 4.4


def svg(figure: Figure, *, title: str | None = None) -> str:
    """A figure as an ``<svg>`` element for a page, the same for the same figure, in the page's colours.

    Text stays text. What is drawn in black, grey or matplotlib's own blue, orange, green, red and purple takes the
    page's colour of that name, light or dark; the ground is the page's.

    :param title: for those who cannot see it; figures of one page have different ones.
    """
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the browser has fonts of its own
        options = {"metadata": {"Date": None} | ({} if title is None else {"Title": title}), "transparent": True}
        # Ids differ by title: one figure may refer to nothing of another, which may be folded away.
        _draw(figure, out, salt=f"qpu_sdk {title}", format="svg", **options)
    text = out.getvalue()
    text = text[text.index("<svg") :]  # an XML declaration inside of HTML is an error
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[\w.]+_\d+"', "", text)  # nothing refers to figure_1, which every figure has
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    text = re.sub(r"(fill|stroke): (#[0-9a-f]{6})", _own_colour, text)
    named = ' role="img"' + ("" if title is None else f' aria-label="{escape(title)}"')
    return text.replace("<svg", f"<svg{named}", 1)


def _own_colour(found: re.Match[str]) -> str:
    """A colour as the page's variable; others stay."""
    what, colour = found[1], found[2]
    name = _VARIABLES.get(colour)
    if name is None and colour[1:3] == colour[3:5] == colour[5:7]:
        name = next((grey for most, grey in _GREYS if int(colour[1:3], 16) <= most), None)
    return f"{what}: {colour}" if name is None else f"{what}: var(--{name}, {colour})"


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


def _draw(figure: Figure, out: io.StringIO | io.BytesIO, *, salt: str = "qpu_sdk", **options: Any) -> None:
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": salt}):  # else every element of an SVG gets a random id
        figure.savefig(out, **options)
