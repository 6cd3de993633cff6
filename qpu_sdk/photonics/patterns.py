"""Lattices of click patterns and of photon counts, and transforms over them."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, IntArray
from ..errors import ProgramError
from .counts import Detector
from .fock import fock_outcomes, occupations, rank_collision_free


@dataclass(frozen=True, eq=False)
class Lattice(abc.ABC):
    """All patterns of up to so many clicks in M modes, the empty one first.

    :param counts: clicks per mode, ``(K, M)``.
    :param neighbour_pairs: for each mode, the patterns with a click in it and the same with one click less there.
    """

    counts: npt.NDArray[np.uint8] = field(repr=False)
    neighbour_pairs: tuple[tuple[IntArray, IntArray], ...] = field(repr=False)

    @abc.abstractmethod
    def find(self, patterns: npt.NDArray[np.uint8]) -> IntArray:
        """Where patterns of the lattice stand in it, ``(P, M) -> (P,)``."""

    def neighbours(self, mode: int, *, above: bool) -> IntArray:
        """The pattern with one click more, or less, in ``mode``; K stands for none, ``(K + 1,)``."""
        more, fewer = self.neighbour_pairs[mode]
        out: IntArray = np.full(len(self.counts) + 1, len(self.counts))  # K leads to K: a chain may run past the end
        out[fewer if above else more] = more if above else fewer
        return out


def lattice(modes: int, clicks: int, detector: Detector) -> Lattice:
    """The patterns of at most ``clicks`` clicks.

    :raises ProgramError: when there are more than :data:`MAX_SETS`.

    >>> lattice(2, 2, "threshold").counts.tolist(), lattice(2, 2, "pnr").counts.tolist()
    ([[0, 0], [1, 0], [0, 1], [1, 1]], [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]])
    """
    return mode_sets(modes, clicks) if detector == "threshold" else fock_states(modes, clicks)


def count_patterns(modes: int, clicks: int, detector: Detector) -> int:
    """Number of patterns of at most ``clicks`` clicks.

    >>> count_patterns(2, 2, "threshold"), count_patterns(2, 2, "pnr")
    (4, 6)
    """
    return (count_sets if detector == "threshold" else count_fock_states)(modes, clicks)


def zeta_rows(p: FloatArray, sets: ModeSets) -> FloatArray:
    """From P(clicks = T) to P(clicks within T), over the first axis, ``(K, ...)``, in place."""
    for with_mode, without in reversed(sets.neighbour_pairs):
        p[with_mode] += p[without]
    return p


def moebius_rows(q: FloatArray, sets: ModeSets) -> FloatArray:
    """Back again, over the first axis, ``(K, ...)``, in place."""
    for with_mode, without in sets.neighbour_pairs:
        q[with_mode] -= q[without]
    return q


#: Most sets of modes in one evaluation.
#: With 24 modes that is some 200 MB: patterns, and who is whose neighbour.
MAX_SETS = 2_000_000


@final
@dataclass(frozen=True, eq=False)
class ModeSets(Lattice):
    """All sets of at most so many of M modes, and how they contain each other.

    :param masks: bit i stands for mode i; ascending, ``(K,)``.
    :param clicks: size of each set, ``(K,)``.
    """

    masks: IntArray
    clicks: IntArray = field(repr=False)

    @property
    def members(self) -> npt.NDArray[np.bool_]:
        """Which modes each set has, ``(K, M)``."""
        return self.counts.view(np.bool_)

    def find(self, patterns: npt.NDArray[np.uint8]) -> IntArray:
        """Where sets stand, ``(P, M) -> (P,)``."""
        return np.searchsorted(self.masks, patterns @ (np.int64(1) << np.arange(patterns.shape[1])))


def count_sets(modes: int, clicks: int) -> int:
    """Number of sets of at most ``clicks`` of ``modes`` modes.

    >>> count_sets(9, 9), count_sets(24, 4)
    (512, 12951)
    """
    return sum(math.comb(modes, k) for k in range(clicks + 1))


@lru_cache(maxsize=16)
def mode_sets(modes: int, clicks: int) -> ModeSets:
    """The sets of at most ``clicks`` of ``modes`` modes.

    :raises ProgramError: when there are more than :data:`MAX_SETS`.
    """
    if modes > 62 or count_sets(modes, clicks) > MAX_SETS:  # masks are int64, with a sign
        raise ProgramError(
            f"{clicks} clicks in {modes} modes are {count_sets(modes, clicks)} patterns; the click model holds "
            f"{MAX_SETS}. Ask for fewer clicks."
        )
    masks, sizes = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    for mode in range(modes):  # sets with a higher mode are larger numbers, so the order stays ascending
        room = sizes < clicks
        masks = np.concatenate([masks, masks[room] | np.int64(1 << mode)])
        sizes = np.concatenate([sizes, sizes[room] + 1])
    has = [masks & np.int64(1 << mode) != 0 for mode in range(modes)]
    counts = np.stack(has, axis=1).view(np.uint8)
    # Taking a mode away keeps the order too, so the n-th set with it becomes the n-th that has room for it.
    pairs = [(np.flatnonzero(with_it), np.flatnonzero(~with_it & (sizes < clicks))) for with_it in has]
    return ModeSets(counts, tuple(pairs), masks, sizes)


def moebius(q: FloatArray, sets: ModeSets) -> FloatArray:
    """From P(clicks within T) to P(clicks = T): subtract, mode by mode, the set without it; ``(..., K)``, in place."""
    for with_mode, without in sets.neighbour_pairs:
        q[..., with_mode] -= q[..., without]
    return q


@final
@dataclass(frozen=True, eq=False)
class FockStates(Lattice):
    """All outcomes of at most P photons in M modes, by number of photons, lexicographic among equals.

    :param starts: index of the first outcome of 0, 1, ..., P photons, and K, ``(P + 2,)``.
    """

    starts: IntArray = field(repr=False)

    def find(self, patterns: npt.NDArray[np.uint8]) -> IntArray:
        """Where outcomes stand, ``(P, M) -> (P,)``."""
        photons, modes = patterns.sum(axis=1, dtype=np.int64), patterns.shape[1]
        out: IntArray = np.empty(len(patterns), dtype=np.int64)
        for k in np.unique(photons):
            rows = np.flatnonzero(photons == k)
            occupied = np.repeat(np.tile(np.arange(modes), len(rows)), patterns[rows].ravel()).reshape(len(rows), k)
            out[rows] = self.starts[k] + _rank_fock(occupied, modes)
        return out


def count_fock_states(modes: int, photons: int) -> int:
    """Number of outcomes of at most ``photons`` photons in ``modes`` modes, C(M + P, P).

    >>> count_fock_states(2, 2)
    6
    """
    return math.comb(modes + photons, photons)


@lru_cache(maxsize=4)  # few: one lattice can be hundreds of megabytes
def fock_states(modes: int, photons: int) -> FockStates:
    """The outcomes of at most ``photons`` photons in ``modes`` modes.

    :raises ProgramError: when there are more than :data:`MAX_SETS`.
    """
    if count_fock_states(modes, photons) > MAX_SETS:
        raise ProgramError(
            f"{photons} photons in {modes} modes are {count_fock_states(modes, photons)} outcomes; the model of "
            f"detectors that count holds {MAX_SETS}. Ask for fewer photons."
        )
    by_photons = [fock_outcomes(modes, k) for k in range(photons + 1)]
    starts: IntArray = np.cumsum([0, *(len(rows) for rows in by_photons)], dtype=np.int64)
    nothing = np.zeros(0, dtype=np.int64)
    found: list[list[tuple[IntArray, IntArray]]] = [[(nothing, nothing)] for _ in range(modes)]
    for k, rows in enumerate(by_photons):
        for place in range(k):
            fewer = starts[k - 1] + _rank_fock(np.delete(rows, place, axis=1), modes)
            # Whichever of two photons of one mode goes, the same is left: only the first of them counts.
            first = np.ones(len(rows), dtype=np.bool_) if place == 0 else rows[:, place] > rows[:, place - 1]
            for mode in range(modes):
                here = np.flatnonzero(first & (rows[:, place] == mode))
                found[mode].append((starts[k] + here, fewer[here]))
    pairs_of = tuple((np.concatenate([m for m, _ in pairs]), np.concatenate([f for _, f in pairs])) for pairs in found)
    counts = np.concatenate([occupations(rows, modes) for rows in by_photons])
    return FockStates(counts, pairs_of, starts)


def _rank_fock(outcomes: IntArray, modes: int) -> IntArray:
    """Index in lexicographic order: adding 0, 1, 2, ... makes the modes of an outcome distinct."""
    photons = outcomes.shape[1]
    if photons == 0:
        return np.zeros(len(outcomes), dtype=np.int64)
    return rank_collision_free(outcomes + np.arange(photons), modes + photons - 1)
