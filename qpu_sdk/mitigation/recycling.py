"""Photon recycling in closed form: an estimate from the shots that lost one or two photons.

For each collision-free outcome s of N photons in M modes, K = C(M, N), the shots with N - k clicks are added up over
the click patterns t inside s, which is the adjoint of losing k photons::

    R_k(s) = sum_{t in s, |t| = N - k} n(t) / total,    k = 0, 1, 2

Recycling assumes that the deviation from uniform shrinks by the same factor w with each lost photon, here and for a
50th, which stands for infinitely many. With ``u = mean_s |R_0 - 1/K|``, ``y_k = mean_s |R_k - 1/K|`` and
``d_k = R_k - 1/K`` two least-squares fits have closed forms::

    w   = positive root of  2 w^3 + (1 - 2 y_2 / u) w - y_1 / u + 50 w^99,     kept within e^-5..e^5
    a_s = (d_1 w + d_2 w^2) / (w^2 + w^4 + w^100)
    p_s = 1/K + a_s,  but 1/K where d_1 and d_2 have opposite signs;  negative ones become 0;  normalised

Source: Mills and Mezher, "Mitigating photon loss in linear optical quantum circuits" (arXiv:2405.02278), in the form
that Perceval 1.3.1 has (``perceval.runtime.error_mitigation.photon_recycling``), whose iterative fits give the same to
the tolerance of its optimiser. Perceval also keeps a_s within -5..5, which changes nothing: every ``|d_k|`` is at
most 1 and ``|d_1|`` at most y_1 / u, hence ``|a_s| < 2.4``.

The N-click shots enter only through u. The estimate does not converge to the truth as shots are added, and it fails on
circuits whose output is not spread as that of a random one: the identity becomes nearly uniform. It is here as a peer
to compare with; its R_k are the prior of :mod:`qpu_sdk.mitigation.fusion`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import MitigationError
from ..photonics.counts import Counts
from ..photonics.fock import check_modes_photons, collision_free_outcomes, rank_collision_free

#: Most photons lost in a shot that is used.
MOST_LOST = 2
#: Fewest photons: a shot that lost two must have a click left.
FEWEST_PHOTONS = MOST_LOST + 1
#: Largest ``|log w|``.
LIMIT = 5.0
#: From ten to less than the distance of two numbers near one.
HALVINGS = 58


@lru_cache(maxsize=32)
def one_fewer(modes: int, photons: int) -> IntArray:
    """Where each collision-free outcome stands once one of its photons is lost.

    :returns: row j without the j-th photon, ``(N, C(M, N))``, indices among the outcomes of N - 1 photons; read-only.

    >>> one_fewer(3, 2).tolist()
    [[1, 2, 2], [0, 0, 1]]
    """
    outcomes = collision_free_outcomes(modes, photons)
    table = np.stack([rank_collision_free(np.delete(outcomes, j, axis=1), modes) for j in range(photons)])
    table.setflags(write=False)
    return table


def numbers_of(counts: Counts, clicks: int) -> FloatArray:
    """Shots with so many clicks, all in different modes, ``(C(M, clicks),)``, whole numbers, lexicographic.

    >>> counts = Counts(photons=2, outcomes=np.array([[1, 1, 0], [0, 0, 1], [2, 0, 0]]), numbers=np.array([3, 5, 7]))
    >>> numbers_of(counts, 1).tolist()
    [0.0, 0.0, 5.0]
    """
    keep = (counts.outcomes.sum(axis=1) == clicks) & (counts.outcomes.max(axis=1, initial=0) <= 1)
    occupied = np.nonzero(counts.outcomes[keep])[1].reshape(-1, clicks)
    rank = rank_collision_free(occupied, counts.modes)
    numbers = np.bincount(rank, counts.numbers[keep], minlength=math.comb(counts.modes, clicks))
    return np.asarray(numbers, dtype=np.float64)


def recycled(counts: Counts) -> FloatArray:
    """Distributions R_0, R_1 and R_2 from the shots that lost no photon, one and two.

    Bunched outcomes are left out. A class without shots has a row of zeros; so has one that would be left without a
    click.

    :returns: ``(3, C(M, N))``, lexicographic; each row sums to 1 or is zero.
    :raises ProgramError: unless ``1 <= photons <= modes``.

    >>> counts = Counts(photons=2, outcomes=np.array([[1, 1, 0], [1, 0, 0]]), numbers=np.array([3, 5]))
    >>> recycled(counts).tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    check_modes_photons(counts.modes, counts.photons)
    out = np.zeros((MOST_LOST + 1, math.comb(counts.modes, counts.photons)))
    for lost in range(min(MOST_LOST + 1, counts.photons)):
        numbers = numbers_of(counts, counts.photons - lost)
        # One photon at a time reaches every pattern in lost! ways, which cancels in the norm.
        for photons in range(counts.photons - lost + 1, counts.photons + 1):
            numbers = numbers[one_fewer(counts.modes, photons)].sum(axis=0)
        total = numbers.sum()
        if total > 0.0:
            out[lost] = numbers / total
    return out


def recycle(counts: Counts) -> FloatArray:
    """Photon recycling's estimate of the collision-free distribution; see the module's docstring.

    N-click shots may be missing (u is then 1/K). Where they are exactly uniform, the answer is uniform.

    :returns: ``(C(M, N),)``, lexicographic, sums to 1.
    :raises MitigationError: when photons are fewer than 3, or no shot lost exactly one photon, or none exactly two.
    :raises ProgramError: when photons are more than modes.

    >>> outcomes = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0]])
    >>> recycle(Counts(photons=3, outcomes=outcomes, numbers=np.array([6, 4, 3, 1, 9]))).round(3).tolist()
    [0.534, 0.233, 0.0, 0.233]
    """
    if counts.photons < FEWEST_PHOTONS:
        raise MitigationError(
            f"program has {counts.photons} photons; photon recycling needs {FEWEST_PHOTONS} or more. Use post_select."
        )
    r = recycled(counts)
    _check_classes(counts, r)
    size = r.shape[1]
    deviation = r - 1.0 / size
    none, one, two = (float(mean) for mean in np.abs(deviation).mean(axis=1))
    if none == 0.0:
        return np.full(size, 1.0 / size)
    w = decay(one / none, two / none)
    _, first, second = deviation
    excess = (first * w + second * w**2) / (w**2 + w**4 + w**100)
    excess[np.sign(first) * np.sign(second) < 0.0] = 0.0
    p = np.maximum(excess + 1.0 / size, 0.0)
    return np.asarray(p / p.sum())


def decay(one: float, two: float) -> float:
    """The factor w by which the deviation from uniform shrinks with each lost photon.

    It minimises ``(w - one)^2 + (w^2 - two)^2 + w^100`` within e^-5..e^5. The derivative is twice
    ``f(w) = 2 w^3 + (1 - 2 two) w - one + 50 w^99``, whose coefficients change sign once: f has one positive root. It
    is found by halving the range of log w, since Newton's steps down the last term gain one per cent each.

    :param one: y_1 / u.
    :param two: y_2 / u.

    >>> round(decay(0.5, 0.25), 12), round(decay(0.0, 0.0), 4)
    (0.5, 0.0067)
    """
    low, high = -LIMIT, LIMIT
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        w = math.exp(middle)
        if 2.0 * w**3 + (1.0 - 2.0 * two) * w - one + 50.0 * w**99 > 0.0:
            high = middle
        else:
            low = middle
    return math.exp(high)


def _check_classes(counts: Counts, r: FloatArray) -> None:
    one, two = counts.photons - 1, counts.photons - 2
    for clicks, row in ((one, r[1]), (two, r[2])):
        if not row.any():
            raise MitigationError(
                f"counts hold no collision-free events of {clicks} {'click' if clicks == 1 else 'clicks'}; photon "
                f"recycling needs those of {one} and of {two}. They may be filtered: ask the device for a filter of "
                "1 click."
            )
