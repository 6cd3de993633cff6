"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from textwrap import wrap

#: Names and values, shown in two columns.
Rows = list[tuple[str, str]]


def two_columns(rows: Rows, *, width: int | None = None, whole: str | None = None) -> str:
    """Names and values, one pair a line.

    :param width: of a terminal, in which what is longer is wrapped within its column; None for lines of any length.
    :param whole: what is in values that stay whole, such as commands, which are copied.

    >>> print(two_columns([("seed", "1"), ("device", "local:slos")]))
    seed    1
    device  local:slos
    >>> print(two_columns([("seed", "1"), ("device", "local:slos and others")], width=22))
    seed    1
    device  local:slos and
            others
    """
    first = max((len(name) for name, _ in rows), default=0)
    if width is None:
        return "\n".join(f"{name:<{first}}  {value}" for name, value in rows)
    first = min(first, max(width // 2 - 2, 1))
    lines = []
    for name, value in rows:
        parts = [value] if whole and whole in value else _cut_at_words(value, width - first - 2)
        pairs = zip_longest(_cut_at_words(name, first), parts, fillvalue="")
        lines += [f"{left:<{first}}  {right}".rstrip() for left, right in pairs]
    return "\n".join(lines)


def _cut_at_words(text: str, width: int) -> list[str]:
    return wrap(text, max(width, 1), break_on_hyphens=False) or [""]


def quantity(value: float, standard_error: float | None) -> str:
    """A number with two digits of its standard error.

    >>> quantity(0.90312, 0.00214), quantity(1.0, 0.0), quantity(0.05, None), quantity(2.5e-7, 3e-8)
    ('0.9031 +- 0.0021', '1 (fixed)', '0.05 (no error given)', '2.50e-07 +- 3.0e-08')
    """
    if standard_error is None:
        return f"{value:.6g} (no error given)"
    if standard_error == 0.0:
        return f"{value:.6g} (fixed)"
    digits = 1 - math.floor(math.log10(standard_error))
    if digits <= 6:  # more decimals than that are counted, not read
        return f"{value:.{max(0, digits)}f} +- {standard_error:.{max(0, digits)}f}"
    lead = math.floor(math.log10(abs(value))) if value else -digits
    return f"{value:.{max(1, lead + digits)}e} +- {standard_error:.1e}"


def typeset(rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Rows as a page has them: ± where a terminal, which may lack it, has +-.

    >>> typeset([("g2", "0.019 +- 0.003")])
    [('g2', '0.019 ± 0.003')]
    """
    return [tuple(cell.replace("+- ", "± ") for cell in row) for row in rows]


def chance(p_value: float) -> str:
    """A p-value; below one in a million how much below tells nothing.

    >>> chance(0.8812), chance(0.0), chance(2e-4)
    ('p 0.88', 'p < 1e-6', 'p 0.0002')
    """
    return "p < 1e-6" if p_value < 1e-6 else f"p {p_value:.2g}"


def number_of(number: int, thing: str) -> str:
    """How many of a thing there are.

    >>> number_of(1, "event"), number_of(2000, "event"), number_of(0, "event")
    ('1 event', '2,000 events', '0 events')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal.

    >>> percent(0.9555)
    '95.5 %'
    """
    return f"{100 * fraction:.1f} %"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever reads best.

    >>> duration(90), duration(5400), duration(6_006_000)
    ('90 s', '1.5 h', '69.5 d')
    """
    # 90 s reads better than 1.5 min, so minutes begin at two.
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 120.0)):
        if seconds >= size:
            return f"{seconds / (60.0 if unit == 'min' else size):.1f} {unit}"
    return f"{seconds:.3g} s"


def moment(text: str) -> str:
    """A time of ISO 8601 to the second and with its zone, which is UTC; what is no time stays as it is.

    >>> moment("2026-03-01T13:00:00.25+01:00"), moment("2026-03-01T12:00:00")
    ('2026-03-01 12:00:00 UTC', '2026-03-01 12:00:00 UTC')
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
