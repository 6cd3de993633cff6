"""HTML that is escaped: what pages are made of, and the small tables with which objects show themselves in a notebook.

A notebook has a style of its own, light or dark, so that what is shown there takes its colours from around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NewType

#: HTML whose text is escaped already; what is not is a ``str``.
Html = NewType("Html", str)

_BOX = "max-width: 100%; overflow-x: auto; color: inherit; background: none; margin-bottom: .8em"
_CELL = "padding: .2em .7em; text-align: left; background: none; border: 0; border-top: 1px solid #8886"


def table_row(tag: str, row: Sequence[str], attributes: str = "") -> str:
    """One row of a table.

    :param tag: of a cell, ``td`` or ``th``.
    :param attributes: of every cell, HTML.

    >>> table_row("td", ["a", "1 < 2"])
    '<tr><td>a</td><td>1 &lt; 2</td></tr>'
    """
    return "<tr>" + "".join(f"<{tag}{attributes}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"


def notebook_table(title: str, rows: Iterable[Sequence[str]], *, head: Sequence[str] = (), note: str = "") -> Html:
    """A small table as a notebook shows it, in the colours around it; one that is too wide scrolls in its own box.

    :param note: a line below the table.

    >>> notebook_table("Counts", [("shots", "7")], note="a < b").count("<td")
    2
    """
    style = f' style="{_CELL}"'
    body = "".join([table_row("th", head, style) if head else "", *(table_row("td", row, style) for row in rows)])
    below = f'<div style="font-size: 90%">{escape(note)}</div>' if note else ""
    table = f'<table style="border-collapse: collapse; color: inherit; background: none; margin: .3em 0">{body}</table>'
    return Html(f'<div style="{_BOX}"><b>{escape(title)}</b>{table}{below}</div>')


def notebook_figure(svg: str, note: str) -> Html:
    """A drawing in a box that scrolls, not smaller than it was drawn.

    :param note: a line above it.

    >>> notebook_figure("<svg></svg>", "a < b").count("&lt;")
    1
    """
    return Html(f'<div style="{_BOX}"><div>{escape(note)}</div>{svg}</div>')
