"""Mitigated distributions for people: rows of text, a figure and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray, IntArray
from ..photonics.fock import collision_free_outcomes
from ..report.figures import svg
from ..report.html import Html, figure, page, section, table
from ..report.text import percent
from ..statistics import total_variation
from .distribution import Diagnostics, Distribution
from .selection import post_select

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def distribution_data(found: Distribution) -> dict[str, Any]:
    """A distribution as JSON; what is not finite is None."""
    assert found.raw is not None
    low, high = found.interval(LEVEL)
    assert found.unprojected is not None
    return {
        "device": found.raw.device,
        "program": found.raw.program,
        "job_id": found.raw.job_id,
        "modes": found.raw.modes,
        "photons": found.raw.photons,
        "shots": found.shots,
        "samples": found.samples,
        "effective_samples": _finite(found.effective_samples),
        "overhead": _finite(found.overhead),
        "shift": shift(found),
        "record_id": found.record_id,
        "history": [asdict(step) for step in found.history],
        "diagnostics": asdict(found.diagnostics),
        "outcomes": collision_free_outcomes(found.raw.modes, found.raw.photons).tolist(),
        "probabilities": found.probabilities.tolist(),
        "unprojected": found.unprojected.tolist(),
        "standard_errors": _list(found.standard_errors),
        "interval": {"level": LEVEL, "lower": _list(low), "upper": _list(high)},
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _list(values: FloatArray) -> list[float | None]:
    return [_finite(value) for value in values.tolist()]


#: Outcomes in the rows and in the figure, the most probable ones.
MOST_ROWS, MOST_BARS = 10, 48
LEVEL = 0.95
BARS: dict[str, Any] = {"width": 0.4, "capsize": 2, "error_kw": {"elinewidth": 0.8}}


def shift(found: Distribution) -> float | None:
    """Total variation distance from post-selection of the same counts, None where these are not kept."""
    if found.raw is None:
        return None
    return total_variation(found.probabilities, post_select(found.raw).probabilities)


def distribution_rows(found: Distribution) -> list[tuple[str, str]]:
    """Name and value of everything a reader needs to judge the estimate, and its most probable outcomes."""
    rows = [(step.name, step.why if step.used else f"not used: {step.why}") for step in found.history]
    moved = shift(found)
    rows += [
        ("record", found.record_id or "none"),
        ("shots", f"{found.shots:,}"),
        ("samples", f"{found.samples:,} collision-free events of all photons"),
        ("effective samples", f"{_number(found.effective_samples)} events of a perfect device"),
        ("overhead", f"{found.overhead:.3f} times the variance of as many events of a perfect device"),
        *([] if moved is None else [("shift", f"{moved:.4f} from post-selection, total variation")]),
        *_diagnostic_rows(found.diagnostics),
    ]
    low, high = found.interval(LEVEL)
    names = outcome_names(found)
    for k in _most_probable(found.probabilities, MOST_ROWS):
        p, error = found.probabilities[k], found.standard_errors[k]
        interval = f"{100 * LEVEL:.0f} % within {low[k]:.5f}..{high[k]:.5f}"
        rows.append((f"p({names[k]})", f"{p:.5f} +- {error:.5f}, {interval}"))
    if len(names) > MOST_ROWS:
        rows.append((f"{len(names) - MOST_ROWS} others", f"{_rest(found.probabilities):.5f} together"))
    return rows


def _rest(p: FloatArray) -> float:
    return max(0.0, 1.0 - float(p[_most_probable(p, MOST_ROWS)].sum()))


def _number(value: float) -> str:
    return f"{value:,.1f}" if math.isfinite(value) else "unlimited"


def _diagnostic_rows(found: Diagnostics) -> list[tuple[str, str]]:
    rows = []
    if found.chi2 is not None and found.dof is not None:
        p = "" if found.p_value is None else f", p = {found.p_value:.2g}"
        rows.append(("fit", f"chi-square {found.chi2:.1f} on {found.dof} degrees of freedom{p}"))
    if found.background_fraction is not None:
        rows.append(("background", f"{percent(found.background_fraction)} of the events of all photons"))
    if found.phase_error is not None:
        rows.append(("phase error", f"{found.phase_error:.2g} rad"))
    if found.negative_mass > 0.0:
        rows.append(("negative mass", f"{found.negative_mass:.5f} before it was made a distribution"))
    return rows


def outcome_names(found: Distribution) -> list[str]:
    """Modes of each outcome, as ``0,2,5``; numbers where the counts are not kept."""
    if found.raw is None:
        return [str(k) for k in range(len(found.probabilities))]
    outcomes = collision_free_outcomes(found.raw.modes, found.raw.photons)
    return [",".join(map(str, modes)) for modes in outcomes.tolist()]


def _most_probable(p: FloatArray, most: int) -> IntArray:
    return np.argsort(-p, kind="stable")[:most]


def distribution_figure(found: Distribution) -> str:
    """Raw and mitigated probabilities with one standard error, and their difference, as SVG."""
    return svg(draw_distribution(found), title="Raw and mitigated probabilities")


def draw_distribution(found: Distribution) -> Figure:
    """The figure: bars above, differences below, the most probable outcomes in lexicographic order."""
    from matplotlib.figure import Figure

    shown = np.sort(_most_probable(found.probabilities, MOST_BARS))
    names, x = outcome_names(found), np.arange(len(shown))
    raw = found if found.raw is None else post_select(found.raw)
    drawn = Figure(figsize=(11, 5.6), layout="constrained")
    bars, below = drawn.subplots(2, 1, sharex=True, height_ratios=(2.2, 1.0))
    for offset, one, label, colour in ((-0.2, raw, "post-selected", "0.7"), (0.2, found, "mitigated", "tab:blue")):
        errors = one.standard_errors[shown]
        bars.bar(x + offset, one.probabilities[shown], yerr=errors, label=label, color=colour, **BARS)
    difference = (found.probabilities - raw.probabilities)[shown]
    below.errorbar(x, difference, yerr=found.standard_errors[shown], fmt="o", markersize=3, capsize=2, linewidth=0.8)
    below.axhline(0.0, color="0.4", linewidth=0.8)
    bars.set(ylabel="probability", ylim=(0.0, None))
    bars.legend(frameon=False, fontsize=8)
    below.set(ylabel="difference", xlim=(-0.8, len(shown) - 0.2))
    below.set_xticks(x, [names[k] for k in shown], rotation=90 if len(shown) > 12 else 0, fontsize=7)
    all_of = f"the {len(shown)} most probable of " if len(shown) < len(names) else ""
    below.set_xlabel(
        f"modes of the photons ({all_of}{len(names)} outcomes); error bars are one standard error", fontsize=8
    )
    for axes in (bars, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.set_axisbelow(True)
    return drawn


def distribution_page(name: str, found: Sequence[Distribution]) -> str:
    """One self-contained HTML page: a figure and a table for each distribution.

    :param name: title.
    """
    return page(name, [_part(one, index, len(found)) for index, one in enumerate(found)])


def _part(found: Distribution, index: int, number: int) -> Html:
    parts = figure(distribution_figure(found)), table(distribution_rows(found))
    return section(title(found, index, number), *parts) if number > 1 else Html("\n".join(parts))


def title(found: Distribution, index: int, number: int) -> str:
    """Which of several distributions this is, and the program it is of."""
    program = "" if found.raw is None or not found.raw.program else f", program {found.raw.program[:12]}"
    return f"counts {index + 1} of {number}{program}"
