"""Pictures of the pages: SVG files in docs/pictures, in the colours of the SDK's own pages, light and dark."""

from __future__ import annotations

from matplotlib.figure import Figure

from qpu_sdk.rendering.figures import svg
from qpu_sdk.rendering.html import STYLE
from tests.benchmarks.pages import ROOT

PICTURES = ROOT / "docs" / "pictures"
#: The colours of pages, which a file that stands alone has to bring along.
COLOURS = STYLE[: STYLE.index("html {")].strip() + " svg { background: var(--paper); fill: var(--ink) }"


def picture(figure: Figure, title: str) -> str:
    """A figure as the text of a file of its own.

    :param title: for those who cannot see it.
    """
    text = svg(figure, title=title)
    end = text.index(">") + 1
    return f"{text[:end]}\n<style>{COLOURS}</style>{text[end:]}"


def write_picture(name: str, text: str) -> None:
    """Put a picture beside the others."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.svg").write_text(text, encoding="utf-8")
