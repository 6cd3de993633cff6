"""Detector response: efficiencies that differ by mode, and dark counts. Corrected first, selected afterwards.

Only relative efficiencies ``r_i = eta_i / max(eta)`` are inverted: loss that all modes share commutes with the
interferometer and is removed by selection. A mode shows s for a true t with probability K_i[s, t], ``K_i = D_i B_i``,
loss and then at most one dark count::

    threshold, t = 0, 1:     B = [[1, 1 - r], [0, r]],                        D = [[1 - d, 0], [d, 1]]
    number-resolving:        B[s, t] = C(t, s) r^s (1 - r)^(t - s),           D[s, s] = 1 - d,  D[s + 1, s] = d
    W wires, t = 0, ..., W:  B[s, t] = sum_k P(s | k) C(t, k) r^k (1 - r)^(t - k),
                             D[s, s] = 1 - d (1 - s / W),  D[s + 1, s] = d (1 - s / W)

P(s | k) being that k photons are s clicks (:func:`~qpu_sdk.photonics.detectors.click_chances`),

so that seen patterns are the Kronecker product of all K_i times true ones, and the inverse goes mode by mode. With
``K_i^-1 = L_i U_i``, triangular, all U_i come first and feed patterns of fewer clicks, then all L_i feed those of more.
In this order a lattice that ends at the largest number of clicks seen is no approximation: what is above was seen zero
times. Only if that is more than N + :data:`SURPLUS` clicks, or too many patterns, are the largest ones left out, and
reported; k surplus clicks feed the N-click class with ``((1 - r) / r)^k``. Matrices of squared entries take Poisson
variances through in the same way; covariances between patterns are not kept (of order d, and 1 - r times the share of
events with surplus clicks).

What holds, and what does not:

* Number-resolving detectors: exact, whatever the source.
* Detectors of W wires: exact as long as no mode holds more than W photons.
* Threshold detectors: the model is per click. A mode with t photons clicks with ``1 - (1 - r)^t``, not r; only where
  no mode holds two photons is it exact. N clicks of N photons are such, so without second photons (g2 = 0) the N-click
  class is exact, for any distinguishability and brightness. Unfolding (:mod:`qpu_sdk.mitigation.unfolding`) has the
  exact response of bunched photons.
* Windows without a click are not recorded, so dark counts in them are not subtracted unless the number of windows is
  given. Patterns of k clicks keep a share of ``prod d_i / r_i`` of these, a product of k factors: nothing for two
  clicks or more, but all single dark clicks of a one-photon program stay.
* Shots with fewer clicks that the device filtered away cannot be subtracted as promoted by dark counts.

Selected distributions have lost the classes that this takes and feeds, so they are refused. In the other order a poor
detector's dark counts, real events of N-1 clicks, are divided by its efficiency too: worse than no correction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import final

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import MitigationError
from ..photonics.counts import Counts, Detector, wires
from ..photonics.detectors import click_chances
from ..photonics.fock import check_modes_photons, rank_collision_free
from ..photonics.patterns import MAX_SETS, Lattice, count_patterns, lattice
from .distribution import Diagnostics, Distribution, MethodReport
from .simplex import project
from .uncertainty import Reweighted

#: Least efficiency relative to the best detector's, and largest dark count probability, that are inverted.
#: Beyond the first, one event would stand for more than a hundred; real dark counts are far below the second.
LEAST_EFFICIENCY, MOST_DARK = 0.01, 0.01
#: Patterns of up to so many clicks more than photons are kept; what rarer ones would feed is left out and reported.
SURPLUS = 6


@final
@dataclass(frozen=True, eq=False)
class Corrected:
    """Counts after correction of the detectors' response, before selection.

    :param patterns: clicks per mode, at least one, ``(K, M)``.
    :param numbers: how often each would have been seen, ``(K,)``; may be negative.
    :param variances: of the numbers, ``(K,)``; 0 for what nothing seen feeds.
    :param weights: what one shot of each pattern adds to its number, ``(K,)``.
    :param left_out: shots with more clicks than the patterns have.
    :param raw: the counts as seen.
    :param report: what was done.
    """

    modes: int
    photons: int
    detector: Detector
    patterns: npt.NDArray[np.uint8] = field(repr=False)
    numbers: FloatArray = field(repr=False)
    variances: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)
    left_out: int
    raw: Counts = field(repr=False)
    report: MethodReport


def correct_response(
    counts: Counts, efficiencies: npt.ArrayLike, dark_counts: npt.ArrayLike, *, windows: int | None = None
) -> Corrected:
    """Undo relative detector efficiencies and dark counts; see the module's docstring.

    :param counts: as seen, of all click classes.
    :param efficiencies: eta_i, ``(M,)``; only their ratios matter.
    :param dark_counts: d_i, probability that a detector fires by itself in one window, ``(M,)``.
    :param windows: shots and windows without a click together; needed to subtract dark counts of the latter.
    :raises MitigationError: when something else than counts comes in, a detector is too poor, or patterns are too many.
    :raises ProgramError: unless ``1 <= photons <= modes``.

    >>> counts = Counts(photons=2, outcomes=np.array([[1, 1, 0], [0, 1, 1]]), numbers=np.array([50, 100]))
    >>> select(correct_response(counts, [0.4, 0.8, 0.8], np.zeros(3))).probabilities.tolist()
    [0.5, 0.0, 0.5]
    """
    if not isinstance(counts, Counts):
        raise MitigationError(
            f"detector response comes before selection; {type(counts).__name__} is no raw counts. "
            "Correct the counts, then select."
        )
    check_modes_photons(counts.modes, counts.photons)
    r, d = _checked(counts, efficiencies, dark_counts)
    empty = _empty_windows(counts, windows)
    most = _most_clicks(counts)
    patterns = lattice(counts.modes, most, counts.detector)
    clicks = counts.outcomes.sum(axis=1, dtype=np.int64)
    kept = (clicks <= most) & (clicks > 0) & (counts.numbers > 0)
    seen = np.zeros(len(patterns.counts))
    np.add.at(seen, patterns.find(counts.outcomes[kept]), counts.numbers[kept])
    seen[0] = empty  # where dark counts become single clicks
    inverses = [_inverse(float(a), float(b), most, counts.detector) for a, b in zip(r, d, strict=True)]
    numbers = _apply(seen, inverses, patterns)
    variances = _apply(seen, [inverse**2 for inverse in inverses], patterns)  # squares go mode by mode as well
    weights = np.prod([np.diag(k)[patterns.counts[:, i]] for i, k in enumerate(inverses)], axis=0)
    left_out = int(counts.numbers[clicks > most].sum())
    return Corrected(
        modes=counts.modes,
        photons=counts.photons,
        detector=counts.detector,
        patterns=patterns.counts[1:],
        numbers=numbers[1:],
        variances=variances[1:],
        weights=weights[1:],
        left_out=left_out,
        raw=counts,
        report=MethodReport("response", True, _why(counts, r, d, most, left_out)),
    )


def select(corrected: Corrected) -> Distribution:
    """The collision-free N-click part of corrected counts.

    :raises MitigationError: when raw counts come in, no such event was seen, or correction leaves none.

    >>> counts = Counts(photons=1, outcomes=np.array([[1, 0], [0, 1]]), numbers=np.array([30, 30]))
    >>> found = select(correct_response(counts, [0.5, 1.0], np.zeros(2)))
    >>> found.probabilities.round(3).tolist(), [report.name for report in found.history]
    ([0.667, 0.333], ['response', 'post-select'])
    """
    if not isinstance(corrected, Corrected):
        raise MitigationError(
            f"detector response comes before selection; {type(corrected).__name__} is not corrected. "
            "Use correct_response first, or post_select without a correction."
        )
    counts = corrected.raw
    samples = int(counts.collision_free().sum())
    if samples == 0:
        raise MitigationError(
            f"no collision-free {counts.photons}-photon event in {counts.shots} shots. Use more shots or fewer photons."
        )
    of_clicks = corrected.patterns.sum(axis=1, dtype=np.int64) == counts.photons
    full = np.flatnonzero(of_clicks & (corrected.patterns.max(axis=1) == 1))
    occupied = np.nonzero(corrected.patterns[full])[1].reshape(-1, counts.photons)
    # A lattice counts modes as bits, the last one highest; outcomes of a distribution are lexicographic.
    full = full[np.argsort(rank_collision_free(occupied, counts.modes))]
    numbers = corrected.numbers[full]
    total = float(numbers.sum())
    if total <= 0.0:
        raise MitigationError(
            f"{samples} collision-free {counts.photons}-photon events are {total:.3g} after correction of the "
            "detectors: all may be dark counts. Use more shots or fewer photons."
        )
    plain = numbers / total
    sure = Reweighted(numbers, corrected.variances[full], corrected.weights[full])
    why = f"{samples} of {counts.shots} shots have all photons in different modes"
    return Distribution(
        probabilities=project(plain) if plain.min() < 0.0 else plain,  # projected, a distribution changes by rounding
        samples=samples,
        shots=counts.shots,
        uncertainty=sure,
        unprojected=plain,
        method="response",
        history=(corrected.report, MethodReport("post-select", True, why)),
        diagnostics=Diagnostics(negative_mass=float(np.maximum(-plain, 0.0).sum())),
        raw=counts,
    )


def _checked(counts: Counts, efficiencies: npt.ArrayLike, dark_counts: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """r and d, ``(M,)`` each."""
    eta, dark = np.asarray(efficiencies, dtype=np.float64), np.asarray(dark_counts, dtype=np.float64)
    for name, values in (("efficiencies", eta), ("dark counts", dark)):
        if values.shape != (counts.modes,) or not np.isfinite(values).all():
            raise MitigationError(
                f"{name} of shape {values.shape} are not {counts.modes} finite numbers. Give one for each mode."
            )
    worst, best = int(eta.argmin()), float(eta.max())
    if best <= 0.0 or eta[worst] < LEAST_EFFICIENCY * best:
        raise MitigationError(
            f"the detector of mode {worst} has an efficiency of {eta[worst]:.3g}, the best {best:.3g}; less than "
            f"{LEAST_EFFICIENCY} of that is not inverted. Use programs without that mode."
        )
    if dark.min() < 0.0 or dark.max() > MOST_DARK:
        mode = int(np.abs(dark - 0.5 * MOST_DARK).argmax())  # the farthest outside, on either side
        raise MitigationError(
            f"the detector of mode {mode} has a dark count probability of {dark[mode]:.3g} a window; it must be within "
            f"0..{MOST_DARK}. Use programs without that mode."
        )
    return eta / best, dark


def _empty_windows(counts: Counts, windows: int | None) -> int:
    if windows is None:
        return 0
    if windows < counts.shots:
        raise MitigationError(
            f"{counts.shots} shots with clicks were seen in {windows} windows. Give the number of all windows."
        )
    return windows - counts.shots


def _most_clicks(counts: Counts) -> int:
    """Clicks of the largest patterns that are kept."""
    size = partial(count_patterns, detector=counts.detector)
    seen = int(counts.outcomes[counts.numbers > 0].sum(axis=1, dtype=np.int64).max(initial=0))
    most = min(max(seen, counts.photons), counts.photons + SURPLUS)
    while most > counts.photons and size(counts.modes, most) > MAX_SETS:
        most -= 1
    if counts.modes > 62 or size(counts.modes, most) > MAX_SETS:
        raise MitigationError(
            f"{counts.photons} photons in {counts.modes} modes have {size(counts.modes, most)} patterns; {MAX_SETS} "
            "are corrected. Use method post-select, or smaller programs."
        )
    return most


def _inverse(r: float, d: float, most: int, detector: Detector) -> FloatArray:
    """K^-1 of one mode, as large as the patterns show numbers; B(1 / r) is the inverse of B(r)."""
    number = wires(detector)
    size = 2 if detector == "threshold" else most + 1
    out = np.zeros((size, size))
    for t in range(size):
        for s in range(t + 1):
            out[s, t] = math.comb(t, s) * (1.0 / r) ** s * (1.0 - 1.0 / r) ** (t - s)
    fired = -d / (1.0 - d)  # D^-1 is the geometric series of it
    if detector == "threshold":
        return np.asarray(out @ np.array([[1.0 - fired, 0.0], [fired, 1.0]]))
    if number is None:
        dark = np.array([[fired ** (s - t) if s >= t else 0.0 for t in range(size)] for s in range(size)])
        return np.asarray(out @ dark / (1.0 - d))
    shown = min(number, most) + 1  # what is above is never shown, and stays by itself
    new = d * (1.0 - np.arange(shown) / number)
    fires = np.diag(1.0 - new) + np.diag(new[:-1], -1)
    clicks = click_chances(most, number)[:shown, :shown]
    out[:shown, :shown] = out[:shown, :shown] @ np.linalg.inv(fires @ clicks)
    return out


def _apply(p: FloatArray, matrices: list[FloatArray], patterns: Lattice) -> FloatArray:
    """The Kronecker product of one matrix a mode times p, ``(K,)``."""
    factors = [_triangles(matrix) for matrix in matrices]
    for mode, (_, upper) in enumerate(factors):
        p = _along(p, upper, patterns, mode, above=True)
    for mode, (lower, _) in enumerate(factors):
        p = _along(p, lower, patterns, mode, above=False)
    return p


def _along(p: FloatArray, triangle: FloatArray, patterns: Lattice, mode: int, *, above: bool) -> FloatArray:
    """A triangular matrix of one mode: every pattern is fed from those above, or below, in that mode, ``(K,)``."""
    size = len(triangle)
    if np.array_equal(triangle, np.eye(size)):  # as the best detector's without dark counts
        return p
    beside, here = patterns.neighbours(mode, above=above), patterns.counts[:, mode]
    padded, source, out = np.append(p, 0.0), np.arange(len(p)), np.zeros(len(p))  # K: no such pattern, no shots
    for distance in range(size):
        values = np.zeros(size)
        if above:
            values[: size - distance] = np.diagonal(triangle, distance)
        else:
            values[distance:] = np.diagonal(triangle, -distance)
        if values.any():
            out += values[here] * padded[source]
        source = beside[source]
    return out


def _triangles(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """L, with ones on its diagonal, and U of ``matrix = L U``; pivots are near those of U = B^-1, so none is moved."""
    upper, lower = matrix.copy(), np.eye(len(matrix))
    for k in range(len(matrix) - 1):
        lower[k + 1 :, k] = upper[k + 1 :, k] / upper[k, k]
        upper[k + 1 :] -= np.outer(lower[k + 1 :, k], upper[k])
        upper[k + 1 :, k] = 0.0
    return lower, upper


def _why(counts: Counts, r: FloatArray, d: FloatArray, most: int, left_out: int) -> str:
    parts = [f"relative efficiencies {r.min():.3g} to 1, dark counts up to {d.max():.2g} a window"]
    clicks = counts.outcomes[counts.numbers > 0].sum(axis=1, dtype=np.int64)
    if d.any() and counts.photons > 1 and not (clicks < counts.photons).any():
        parts.append("shots of fewer clicks were filtered, so dark counts on top of them are not subtracted")
    if left_out:
        parts.append(f"{left_out} shots of more than {most} clicks were left out")
    return "; ".join(parts)
