"""Rows of a comparison: means over programs, and their standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from .compare import RAW, SAME, Trial


@final
@dataclass(frozen=True)
class MeanRow:
    """A method over all programs of a group.

    :param tvd: mean, with its standard error over programs; over those it gave an estimate for.
    :param difference: mean of (method - raw) of the same programs, at as many settings, with its standard error.
    :param worse: programs where it is worse than raw.
    :param failed: programs without an estimate.
    """

    method: str
    settings: int
    programs: int
    events: float
    tvd: float | None
    tvd_error: float
    difference: float | None
    difference_error: float
    worse: int
    failed: int
    floor: float
    covered: float | None


def rows(trials: Sequence[Trial]) -> list[MeanRow]:
    """One row for every method and number of settings, few settings first, of trials with equal shots."""
    groups = dict.fromkeys((t.method, t.settings) for t in trials)
    raw = {(t.kind, t.number, t.shots, t.settings): t for t in trials if t.method == RAW}
    out = []
    for method, settings in sorted(groups, key=lambda key: (key[1], key[0] != RAW)):  # others are read against raw
        own = [t for t in trials if (t.method, t.settings) == (method, settings)]
        found = [t for t in own if t.tvd is not None]
        pairs = [(t, raw.get((t.kind, t.number, t.shots, settings))) for t in found]
        gains = [t.tvd - r.tvd for t, r in pairs if t.tvd is not None and r is not None and r.tvd is not None]
        inside = [t.covered for t in found if t.covered is not None]
        mean, error = _mean([t.tvd for t in found if t.tvd is not None])
        gain, gain_error = _mean(gains)
        out.append(
            MeanRow(
                method,
                settings,
                programs=len(own),
                events=float(np.mean([t.events for t in own])),
                tvd=mean,
                tvd_error=error,
                difference=gain,
                difference_error=gain_error,
                worse=sum(g > SAME for g in gains),
                failed=len(own) - len(found),
                floor=float(np.mean([t.floor for t in own])),
                covered=float(np.mean(inside)) if inside else None,
            )
        )
    return out


def _mean(values: Sequence[float]) -> tuple[float | None, float]:
    """Mean and its standard error."""
    if not values:
        return None, 0.0
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
