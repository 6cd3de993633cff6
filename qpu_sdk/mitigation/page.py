"""Mitigated distributions for people: rows of text, a figure and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..arrays import FloatArray
from ..markup import Html
from ..photonics.fock import collision_free_outcomes
from ..rendering.figures import svg
from ..rendering.html import figure, fold, page, scrolling, section, table, verdict_line
from ..rendering.text import number_of, typeset
from ..statistics import total_variation
from .distribution import Distribution
from .outcomes import LEVEL, MOST_ROWS
from .selection import post_select


def distribution_data(found: Distribution) -> dict[str, Any]:
    """A distribution as JSON; what is not finite is None."""
    assert found.raw is not None
    low, high = found.interval(LEVEL)
    assert found.unprojected is not None
    return {
        "device": found.raw.device,
        "program": found.raw.fingerprint,
        "job_id": found.raw.job_id,
        "modes": found.raw.modes,
        "photons": found.raw.photons,
        "shots": found.shots,
        "samples": found.samples,
        "effective_samples": _finite(found.effective_samples),
        "overhead": _finite(found.overhead),
        "shift": shift(found),
        "record_id": found.record_id,
        "method": found.method,
        "first": list(found.first),
        "history": [asdict(report) for report in found.history],
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


def shift(found: Distribution) -> float | None:
    """Total variation distance from post-selection of the same counts, None where these are not kept."""
    if found.raw is None:
        return None
    return total_variation(found.probabilities, post_select(found.raw).probabilities)


def distribution_rows(found: Distribution) -> list[tuple[str, str]]:
    """Name and value of everything a reader needs to judge the estimate, and its most probable outcomes."""
    rows = [(name, line) for name, line in (("warning", found.warning), ("verdict", found.diagnostics.verdict)) if line]
    rows += [(report.name, report.why if report.used else f"not used: {report.why}") for report in found.history]
    rows += found.rows()
    rows.append(("overhead", f"{found.overhead:.3f} times the variance of as many events of a perfect device"))
    moved, shown = shift(found), found.shown()
    if moved is not None:
        rows.append(("shift", f"{moved:.4f} from post-selection, total variation"))
    best = shown.most_probable(MOST_ROWS)
    for k in best:
        p, error = shown.probabilities[k], shown.standard_errors[k]
        interval = f"{100 * LEVEL:.0f} % within {shown.low[k]:.5f}..{shown.high[k]:.5f}"
        rows.append((f"p({shown.names[k]})", f"{p:.5f} +- {error:.5f}, {interval}"))
    if len(shown.names) > MOST_ROWS:
        rows.append((f"{len(shown.names) - MOST_ROWS} others", f"{shown.rest(best):.5f} together"))
    return rows


def distribution_figure(found: Distribution) -> str:
    """Raw and mitigated probabilities with their intervals, and their difference, as SVG."""
    return svg(found.draw(), title="Raw and mitigated probabilities")


def correlation_figure(found: Distribution) -> str:
    """Heat map of the correlations between errors of outcomes, as SVG."""
    return svg(found.draw_correlations(), title="Correlations between errors of outcomes")


def distribution_page(name: str, found: Sequence[Distribution]) -> str:
    """One self-contained HTML page: a figure and a table for each distribution.

    :param name: title.
    """
    return page(name, [_part(one, index, len(found)) for index, one in enumerate(found)])


def _part(found: Distribution, index: int, number: int) -> Html:
    rows = [row for row in distribution_rows(found) if row[0] not in ("warning", "verdict")]
    what = "Raw and mitigated probabilities"
    parts = [
        *(verdict_line(line) for line in found.first or [_unjudged(found)]),
        scrolling(distribution_figure(found), what),
        fold("every number, and how it came about", table(typeset(rows))),
        fold("how the errors of outcomes hang together", figure(correlation_figure(found))),
    ]
    return section(title(found, index, number), *parts) if number > 1 else Html("\n".join(parts))


def _unjudged(found: Distribution) -> str:
    """What is said first where nothing tells whether the counts bear what was done to them."""
    events = f"{number_of(found.samples, 'event')} of all photons in {number_of(found.shots, 'shot')}"
    if found.method == "post-select":
        return f"{events}, nothing corrected: the noise of the device is in these numbers."
    return f"{events}, by {found.method}: nothing tells whether the counts bear that."


def title(found: Distribution, index: int, number: int) -> str:
    """Which of several distributions this is, and the program it is of."""
    program = "" if found.raw is None or not found.raw.fingerprint else f", program {found.raw.fingerprint[:12]}"
    return f"counts {index + 1} of {number}{program}"
