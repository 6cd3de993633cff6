"""The frame of every page: one self-contained file, in one style; text is escaped here and in ``qpu_sdk/markup.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ..markup import Html, table_row

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2330; --soft: #5a6575; --faint: #a9b1bd; --line: #dde2ea;
  --panel: #f4f6f9; --accent: #2f6fb3; --blue: #1f77b4; --orange: #d9730d; --green: #2a8f2a; --red: #c62828;
  --purple: #7f57a8 }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e4e8ef; --soft: #a3adbb; --faint: #727d8c;
  --line: #323a46; --panel: #1d232c; --accent: #7db4ec; --blue: #6cb2ee; --orange: #f6a75c; --green: #6fce72;
  --red: #f58078; --purple: #bf9fe2 } }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25 } h2 { font-size: 1.2rem; margin-top: 2rem } h3 { font-size: 1rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { padding: .35rem .6rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
td:first-child { color: var(--soft) } th, td { overflow-wrap: break-word } .wide td, .wide th { min-width: 6rem }
.verdict { font-size: 1.1rem; font-weight: 600; border-left: .25rem solid var(--accent); padding-left: .8rem }
summary { cursor: pointer; color: var(--accent); margin: 1rem 0 .5rem } details { border-top: 1px solid var(--line) }
svg { max-width: 100%; height: auto; fill: var(--ink) } .scroll > svg { max-width: none }
.figures { display: flex; flex-wrap: wrap; gap: 1rem }
.figures > * { max-width: 100% } pre { background: var(--panel); padding: 1rem; overflow: auto; font-size: 13px }
@media (max-width: 30rem) { body { margin: 1rem auto } th, td { padding: .35rem .3rem } }
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


def section(heading: str, *parts: Html, level: int = 2) -> Html:
    """Parts under a heading.

    :param level: of the heading, 2 to 6.
    """
    return Html("\n".join([f"<h{level}>{escape(heading)}</h{level}>", *parts]))


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
    """Cells in rows, the first one the name of its row; a table wider than the screen scrolls in its own box."""
    lines = [table_row("th", head)] if head else []
    wide = ' class="wide"' if len(head) > 3 else ""
    body = "\n".join([*lines, *(table_row("td", row) for row in rows)])
    return Html(f'<div class="scroll"><table{wide}>{body}</table></div>')


def bullets(lines: Iterable[str]) -> Html:
    """A list."""
    return Html("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")


def listing(text: str) -> Html:
    """Text as it stands, such as a configuration."""
    return Html(f"<pre>{escape(text)}</pre>")


def figure(svg: str) -> Html:
    """A figure that :func:`qpu_sdk.rendering.figures.svg` drew."""
    return Html(svg)


def figures(svgs: Iterable[str]) -> Html:
    """Figures side by side where the screen is wide enough, else one below the other."""
    return Html("\n".join(['<div class="figures">', *(f"<div>{one}</div>" for one in svgs), "</div>"]))


def scrolling(svg: str, what: str) -> Html:
    """A figure that may be wider than the screen, in a box of its own that scrolls.

    :param what: is to be seen, for those who cannot.
    """
    return Html(f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(what)}">{svg}</div>')
