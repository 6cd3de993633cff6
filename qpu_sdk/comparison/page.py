"""A comparison of mitigations for people: tables, a figure and a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..rendering.figures import NARROW, svg
from ..rendering.html import bullets, figures, page, paragraph, section, table, verdict_line
from ..rendering.text import number_of
from .compare import SAME
from .table import MeanRow, rows
from .trial import Comparison, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure


HEAD = (
    "method",
    "settings",
    "TVD",
    "95 % interval of TVD - raw",
    "worse than raw",
    "no estimate",
    "sampling floor",
    "in 95 % intervals",
)
#: Two-sided 95 % of a normal distribution.
Z95 = 1.96


def groups(comparison: Comparison) -> Iterator[tuple[str, int, list[Trial]]]:
    """Trials by kind of program and shots."""
    for shots in comparison.request.shots:
        for kind in comparison.request.kinds:
            yield kind, shots, [t for t in comparison.trials if t.kind == kind and t.shots == shots]


def name_of(method: str) -> str:
    """A method for a reader.

    >>> name_of("ours"), name_of("high")
    ('ours', 'Perceval high')
    """
    return method if method == "raw" or method.startswith("ours") else f"Perceval {method}"


def cells(row: MeanRow) -> list[str]:
    """A row of the table."""
    difference = "-"
    if row.difference is not None and row.method != "raw" and row.programs - row.failed > 1:
        low, high = (row.difference + sign * Z95 * row.difference_error for sign in (-1.0, 1.0))
        difference = f"{_signed(low)} to {_signed(high)}"
    spread = f" ± {row.tvd_error:.3f}" if row.programs - row.failed > 1 else ""
    return [
        name_of(row.method),
        str(row.settings),
        "-" if row.tvd is None else f"{row.tvd:.3f}{spread}",
        difference,
        f"{row.worse} of {row.programs - row.failed}" if row.method != "raw" else "-",
        str(row.failed),
        f"{row.floor:.3f}",
        "-" if row.covered is None else f"{100 * row.covered:.0f} %",
    ]


def _signed(value: float) -> str:
    """In three digits, of which none is a sign of nothing."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0.0 else text


def _title(kind: str, shots: int, trials: Sequence[Trial]) -> str:
    programs = len({t.number for t in trials})
    events = [t.events for t in trials if t.method == "raw" and t.settings == 1]
    span = f"{min(events):,} to {max(events):,}" if len(set(events)) > 1 else f"{events[0]:,}"
    seen = "1 event" if span == "1" else f"{span} events"
    return f"{number_of(programs, f'{kind} program')}, {shots:,} shots an estimate, {seen}"


def comparison_rows(comparison: Comparison) -> list[tuple[str, str]]:
    """Name and value, for the terminal."""
    out = [
        ("verdict", comparison_verdict(comparison)),
        ("device", comparison.device),
        ("record", f"{comparison.record_id}, {_cost(comparison)}"),
    ]
    for kind, shots, trials in groups(comparison):
        out.append((_title(kind, shots, trials), ""))
        for row in rows(trials):
            _, settings, tvd, difference, worse, *_ = cells(row)
            word = "setting" if row.settings == 1 else "settings"
            out.append(
                (f"  {name_of(row.method)}, {settings} {word}", f"TVD {tvd}; to raw {difference}; worse in {worse}")
            )
    return out + [("where ours is worse than raw", line) for line in harm(comparison)]


def _cost(comparison: Comparison) -> str:
    return f"{comparison.calibration_settings} settings and {comparison.calibration_shots:,} shots of calibration"


def harm(comparison: Comparison) -> list[str]:
    """Programs where what ``auto`` chose is worse than raw, the worst first."""
    raw = {(t.kind, t.number, t.shots, t.settings): t for t in comparison.trials if t.method == "raw"}
    found = []
    for t in comparison.trials:
        other = raw.get((t.kind, t.number, t.shots, t.settings))
        if t.method == "ours" and other is not None and t.tvd is not None and other.tvd is not None:
            found.append((t.tvd - other.tvd, t, other.tvd))
    return [
        f"{t.kind} {t.number}, {t.shots:,} shots in {t.settings}: {t.tvd:.4f}, raw {before:.4f}"
        for worse, t, before in sorted(found, key=lambda entry: -entry[0])
        if worse > SAME
    ]


def comparison_figures(comparison: Comparison) -> Iterator[str]:
    """Every estimate's distance to the truth by method, one SVG for each kind of program and number of shots."""
    for kind, shots, trials in groups(comparison):
        yield svg(_draw(kind, shots, trials), title=f"Distances: {_title(kind, shots, trials)}")


def _draw(kind: str, shots: int, trials: Sequence[Trial]) -> Figure:
    from matplotlib.figure import Figure

    found = rows(trials)
    names = [f"{name_of(row.method)}, {row.settings}" for row in found]
    drawn = Figure(figsize=(NARROW, 1.1 + 0.24 * len(found)), layout="constrained")
    axes = drawn.subplots()
    for place, row in enumerate(found):
        own = [t.tvd for t in trials if (t.method, t.settings) == (row.method, row.settings) and t.tvd is not None]
        colour = "tab:blue" if row.method.startswith("ours") else "0.3" if row.method == "raw" else "tab:orange"
        axes.plot(own, [place] * len(own), ".", color=colour, alpha=0.5, markersize=5)
        if row.tvd is not None:
            axes.errorbar(row.tvd, place, xerr=Z95 * row.tvd_error, fmt="o", color=colour, capsize=3, markersize=5)
    axes.axvline(found[0].floor, color="0.6", linestyle=":", linewidth=1.0)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(f"{kind}, {shots:,} shots", fontsize=9, loc="left")
    axes.set_xlim(left=0.0)
    axes.locator_params(axis="x", nbins=6)  # more labels than that run into each other
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25, linewidth=0.5)
    axes.set_xlabel("total variation distance to the ideal one", fontsize=8.5)
    return drawn


def comparison_verdict(comparison: Comparison) -> str:
    """Whether what ``auto`` chose is nearer to the truth than raw counts at as many settings, in one line.

    Every program counts once, by the mean of its estimates, because these are of the same counts or of the same noise.
    """
    raw = {(t.kind, t.number, t.shots, t.settings): t.tvd for t in comparison.trials if t.method == "raw"}
    gains: dict[tuple[str, int], list[float]] = {}
    for t in comparison.trials:
        before = raw.get((t.kind, t.number, t.shots, t.settings))
        if t.method == "ours" and t.tvd is not None and before is not None:
            gains.setdefault((t.kind, t.number), []).append(before - t.tvd)
    if len(gains) < 2:
        return "Nothing tells whether ours is better than raw counts: that takes estimates of two programs or more."
    means = [float(np.mean(found)) for found in gains.values()]
    mean, half = float(np.mean(means)), Z95 * float(np.std(means, ddof=1) / np.sqrt(len(means)))
    worse = f"It is worse for {sum(one < -SAME for one in means)} of {len(means)} programs."
    interval = f"{abs(mean):.3f} in total variation (95 % {_signed(mean - half)} to {_signed(mean + half)})"
    where = "nearer to the truth" if mean >= 0.0 else "farther from the truth"
    perhaps = ", which may be chance" if mean - half <= 0.0 <= mean + half else ""
    return f"Ours is {where} than raw counts by {interval}{perhaps}. {worse}"


def comparison_page(comparison: Comparison) -> str:
    """The tables and the figure, self-contained."""
    hurts = harm(comparison)
    parts = [
        verdict_line(comparison_verdict(comparison)),
        paragraph(
            f"Record {comparison.record_id}: {_cost(comparison)}, not counted below. Every estimate got the same "
            "number of shots; where it took several settings they were divided over these. Ours and raw are shown at "
            "one setting and at as many as Perceval's presets took."
        ),
        figures(comparison_figures(comparison)),
        paragraph(
            "Small dots are estimates, large ones their means with 95 % intervals, by method and number of settings. "
            "Dotted: the distance that sampling alone leaves."
        ),
    ]
    for kind, shots, trials in groups(comparison):
        parts.append(section(_title(kind, shots, trials), table([cells(row) for row in rows(trials)], HEAD)))
    parts.append(section("Where ours is worse than raw", bullets(hurts) if hurts else paragraph("Nowhere.")))
    return page(f"Mitigations on {comparison.device}", parts)
