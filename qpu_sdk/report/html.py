"""The frame of every page: one self-contained file, in one style; text is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NewType

#: HTML whose text is escaped already; what is not is a ``str``.
Html = NewType("Html", str)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }
h1 { font-size: 1.5rem; overflow-wrap: anywhere } table { border-collapse: collapse; width: 100% }
th, td { padding: .35rem .6rem; text-align: left } td:first-child { color: #5a6575 }
td { border-bottom: 1px solid #dde2ea; vertical-align: top }
.verdict { font-size: 1.1rem; font-weight: 600; border-left: .25rem solid #2f6fb3; padding-left: .8rem }
summary { cursor: pointer; color: #2f6fb3; margin: 1rem 0 .5rem }
svg { max-width: 100%; height: auto } pre { background: #f4f6f9; padding: 1rem; overflow: auto; font-size: 13px }
"""


def page(title: str, parts: Iterable[Html], *, headline: str | None = None) -> str:
    """A whole page, which loads nothing.

    :param headline: over the page, when it says more than the title.

    >>> page("<1>", [paragraph("a < b")]).splitlines()[-3:]
    ['<h1>&lt;1&gt;</h1>', '<p>a &lt; b</p>', '</body></html>']
    """
    body = "\n".join(parts)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title if headline is None else headline)}</h1>
{body}
</body></html>
"""
    return text.encode("utf-8", "backslashreplace").decode()  # names of files need not be UTF-8, a page is


def section(heading: str, *parts: Html) -> Html:
    """Parts under a heading."""
    return Html("\n".join([f"<h2>{escape(heading)}</h2>", *parts]))


def paragraph(text: str) -> Html:
    """Sentences."""
    return Html(f"<p>{escape(text)}</p>")


def verdict_line(text: str) -> Html:
    """What a page says in one line, before anything else."""
    return Html(f'<p class="verdict">{escape(text)}</p>')


def fold(summary: str, *parts: Html) -> Html:
    """Parts that are shown when somebody asks for them.

    >>> fold("All numbers", paragraph("1 < 2")).splitlines()
    ['<details><summary>All numbers</summary>', '<p>1 &lt; 2</p>', '</details>']
    """
    return Html("\n".join([f"<details><summary>{escape(summary)}</summary>", *parts, "</details>"]))


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> Html:
    """Cells in rows, the first one the name of its row."""
    lines = [_row("th", head)] if head else []
    return Html("<table>" + "\n".join([*lines, *(_row("td", row) for row in rows)]) + "</table>")


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def bullets(lines: Iterable[str]) -> Html:
    """A list."""
    return Html("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")


def listing(text: str) -> Html:
    """Text as it stands, such as a configuration."""
    return Html(f"<pre>{escape(text)}</pre>")


def figure(svg: str) -> Html:
    """A figure that :func:`qpu_sdk.report.figures.svg` drew."""
    return Html(svg)
