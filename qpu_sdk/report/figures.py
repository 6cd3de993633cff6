"""Figures as SVG text, drawn with matplotlib's object interface (no display, no global state)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(figure: Figure, *, title: str | None = None) -> str:
    """A figure as an ``<svg>`` element, the same for the same figure.

    :param title: for those who cannot see it.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None} | ({} if title is None else {"Title": title}))
    text = out.getvalue()
    return text[text.index("<svg") :]
