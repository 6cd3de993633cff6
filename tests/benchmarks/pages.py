"""Tables that commands write into pages, between an HTML comment of their name and one that ends it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS_PAGE = ROOT / "docs" / "explanation" / "results.md"
README = ROOT / "README.md"


def replace_between(page: Path, name: str, content: str) -> None:
    """Put ``content`` between ``<!-- name -->`` and ``<!-- end of name -->``."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = page.read_text(encoding="utf-8")
    start, stop = text.index(begin) + len(begin), text.index(end)
    page.write_text(f"{text[:start]}\n{content}\n{text[stop:]}", encoding="utf-8")


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean and standard deviation (ddof = 1) in percent; nothing for no values."""
    if len(values) < 2:
        return "".join(f"{100 * value:.2f}" for value in values)
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f}"
