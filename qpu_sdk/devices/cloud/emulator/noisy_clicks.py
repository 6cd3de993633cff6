"""Exact click patterns of a noisy source behind threshold detectors, without a list of all annotated photons.

Perceval's simulator lists every way in which photons are lost, doubled or distinguishable and drops the rare ones;
at 5 % transmittance the events that matter *are* the rare ones. Here each input is its own small mixture: it gives
a photon of the common wave packet or none, plus up to two photons that interfere with nothing. Only the common
photons need permanents, one SLOS run for every subset of inputs; the others are added one at a time, since a photon
from input i that interferes with nothing turns mode j on with probability |U_ji|^2.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import numpy.typing as npt

from ....photonics.fock import IntArray, fock_outcomes, occupations
from ....photonics.noise import NoiseParameters
from ....photonics.permanents import ComplexArray, FloatArray
from ...local import exact_probabilities

#: Largest number of (pattern, subset of inputs) pairs held at once: 160 MB.
MAX_ENTRIES = 20_000_000

#: Weights of the events with too many clicks that may be dropped, relative to the events that are kept; the first
#: that memory allows is used.
NEGLECTED = (1e-9, 1e-6, 1e-4)


@final
@dataclass(frozen=True)
class _Emission:
    """Probabilities of what one input sends on: (common photons, photons that interfere with nothing)."""

    nothing: float
    other: float
    two_others: float
    common: float
    common_and_other: float

    @classmethod
    def of(cls, noise: NoiseParameters) -> _Emission:
        """Perceval's source: a second photon with p2 from g2, a common first photon with sqrt(indistinguishability)."""
        beta, g2, eta = noise.brightness, noise.g2, noise.transmittance
        # Root of g2 = 2 p2 / (p1 + 2 p2)^2 with p1 + p2 = beta, written without cancellation for small g2.
        two = beta**2 * g2 / (1.0 - beta * g2 + math.sqrt(max(0.0, 1.0 - 2.0 * beta * g2)))
        common = math.sqrt(noise.indistinguishability)
        both = eta**2 * two
        first, second = eta * (beta - two) + eta * (1.0 - eta) * two, eta * (1.0 - eta) * two
        return cls(
            nothing=1.0 - first - second - both,
            other=(1.0 - common) * first + second,
            two_others=(1.0 - common) * both,
            common=common * first,
            common_and_other=common * both,
        )

    def photon_numbers(self, inputs: int) -> FloatArray:
        """Distribution of the number of photons that arrive from all inputs, ``(2 inputs + 1,)``."""
        one = [self.nothing, self.other + self.common, self.two_others + self.common_and_other]
        out = np.ones(1)
        for _ in range(inputs):
            out = np.convolve(out, one)
        return out


@final
@dataclass(frozen=True)
class _Patterns:
    """All click patterns with at most so many clicks, and the pattern left when a click is taken away.

    :param masks: bit j is mode j, ascending, ``(K,)``.
    :param modes: modes with a click, ``(K, clicks)``, padded with M.
    :param without: index of the pattern without that click, ``(K, clicks)``, padded with K.
    """

    masks: IntArray
    modes: IntArray
    without: IntArray


def count_patterns(modes: int, clicks: int) -> int:
    """Number of click patterns with at most so many clicks."""
    return sum(math.comb(modes, k) for k in range(clicks + 1))


@lru_cache(maxsize=8)
def _patterns(modes: int, clicks: int) -> _Patterns:
    chosen = [c for k in range(clicks + 1) for c in itertools.combinations(range(modes), k)]
    masks = np.array([sum(1 << j for j in c) for c in chosen], dtype=np.int64)
    order = np.argsort(masks)
    masks = masks[order]
    table = np.full((len(chosen), max(clicks, 1)), modes, dtype=np.int64)
    for row, index in enumerate(order):
        table[row, : len(chosen[index])] = chosen[index]
    real = table < modes
    bits = np.where(real, np.int64(1) << np.minimum(table, modes - 1), 0)
    without = np.where(real, np.searchsorted(masks, masks[:, None] - bits), len(masks))
    return _Patterns(masks, table, without)


def click_probabilities(
    unitary: ComplexArray, inputs: tuple[int, ...], noise: NoiseParameters, *, at_least: int = 0
) -> tuple[npt.NDArray[np.uint8], FloatArray] | None:
    """Click patterns of single photons sent into ``inputs``, seen by threshold detectors.

    The events that are dropped because they have too many clicks weigh less than 1e-9 of those with ``at_least``
    clicks or more; less than 1e-4 when memory is short, from 24 modes with 5 photons on.

    :param noise: its phase noise must already be in ``unitary``.
    :returns: clicks per mode ``(K, M)`` and their probabilities ``(K,)`` with the empty window included, or None
        when this method does not apply (second photons equal to the first) or would take too much memory.
    """
    modes, emission = len(unitary), _Emission.of(noise)
    arriving = emission.photon_numbers(len(inputs))
    if (noise.g2 > 0.0 and not noise.g2_distinguishable) or modes > 62:
        return None
    tried = (_most_clicks(arriving, at_least, modes, neglected) for neglected in NEGLECTED)
    most = next((m for m in tried if count_patterns(modes, m) * 2 ** len(inputs) <= MAX_ENTRIES), None)
    if most is None:
        return None
    patterns = _patterns(modes, most)
    p = _add_inputs(_common_photons(unitary, inputs, patterns, most), unitary, inputs, emission, patterns)
    clicks = (patterns.masks[:, None] >> np.arange(modes)) & 1
    return clicks.astype(np.uint8), p


def _most_clicks(arriving: FloatArray, at_least: int, modes: int, neglected: float) -> int:
    above = np.cumsum(arriving[::-1])[::-1]  # probability of k or more photons
    wanted = above[min(at_least, len(above) - 1)]
    enough = np.flatnonzero(above > neglected * wanted) if wanted > 0.0 else np.array([at_least])
    return int(min(modes, max(int(enough[-1]), 1)))


def _common_photons(unitary: ComplexArray, inputs: tuple[int, ...], patterns: _Patterns, most: int) -> FloatArray:
    """Click probabilities if exactly the inputs of a subset send a common photon, ``(2^N, K)``; bit i is input i."""
    modes, size = len(unitary), len(patterns.masks)
    out = np.zeros((2 ** len(inputs), size))
    out[0, 0] = 1.0
    for photons in range(1, min(most, len(inputs)) + 1):
        subsets = list(itertools.combinations(range(len(inputs)), photons))
        columns = np.stack([unitary[:, [inputs[i] for i in subset]] for subset in subsets])
        rows = exact_probabilities(columns, collision_free=False)
        seen = occupations(fock_outcomes(modes, photons), modes) > 0
        index = np.searchsorted(patterns.masks, seen @ (np.int64(1) << np.arange(modes)))
        for subset, row in zip(subsets, rows, strict=True):
            out[sum(1 << i for i in subset)] = np.bincount(index, weights=row, minlength=size)
    return out


def _add_inputs(
    given: FloatArray, unitary: ComplexArray, inputs: tuple[int, ...], emission: _Emission, patterns: _Patterns
) -> FloatArray:
    """Average over what every input sends, the last input first: each step halves the number of subsets."""
    for i in reversed(range(len(inputs))):
        arrival = np.append(np.abs(unitary[:, inputs[i]]) ** 2, 0.0)
        absent, common = given[: 1 << i], given[1 << i :]
        given = emission.nothing * absent + emission.common * common
        second = emission.other * absent + emission.common_and_other * common
        if emission.two_others > 0.0:
            second = second + _add_photon(emission.two_others * absent, arrival, patterns)
        if emission.other + emission.common_and_other > 0.0:
            given = given + _add_photon(second, arrival, patterns)
    return np.asarray(given[0])


def _add_photon(p: FloatArray, arrival: FloatArray, patterns: _Patterns) -> FloatArray:
    """One more photon that interferes with nothing: ``new(A) = sum_{j in A} arrival_j (p(A) + p(A without j))``."""
    padded = np.concatenate([p, np.zeros((len(p), 1))], axis=1)
    out = np.zeros_like(p)
    for clicked, without in zip(patterns.modes.T, patterns.without.T, strict=True):
        out += arrival[clicked] * (p + padded[:, without])
    return out
