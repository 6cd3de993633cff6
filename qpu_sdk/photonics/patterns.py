"""Lattices of click patterns and of photon counts, and transforms over them."""

from __future__ import annotations

import itertools
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


@final
@dataclass(frozen=True, eq=False)
class Lattice:
    """All patterns of up to so many clicks, the empty one first: :class:`ModeSets` or :class:`FockStates`.

    :param counts: clicks per mode, ``(K, M)``.
    :param neighbour_pairs: for each mode, the patterns with a click in it and the same with one click less there.
    """

    counts: npt.NDArray[np.uint8] = field(repr=False)
    neighbour_pairs: tuple[tuple[IntArray, IntArray], ...] = field(repr=False)

    @classmethod
    def of(cls, modes: int, clicks: int, detector: Detector) -> Lattice:
        """The patterns of at most ``clicks`` clicks."""
        if detector == "threshold":
            sets = mode_sets(modes, clicks)
            return cls(sets.members.astype(np.uint8), sets.neighbour_pairs)
        states = fock_states(modes, clicks)
        return cls(states.counts, states.neighbour_pairs)

    def neighbours(self, mode: int, *, above: bool) -> IntArray:
        """The pattern with one click more, or less, in ``mode``; K stands for none, ``(K + 1,)``."""
        more, fewer = self.neighbour_pairs[mode]
        out: IntArray = np.full(len(self.counts) + 1, len(self.counts))
        out[fewer if above else more] = more if above else fewer
        return out

    def find(self, patterns: npt.NDArray[np.uint8]) -> IntArray:
        """Where patterns stand, by adding click after click to the empty one, ``(P, M) -> (P,)``."""
        out: IntArray = np.zeros(len(patterns), dtype=np.int64)
        for mode in np.flatnonzero(patterns.any(axis=0)):
            above = self.neighbours(int(mode), above=True)
            for level in range(int(patterns[:, mode].max())):
                rows = patterns[:, mode] > level
                out[rows] = above[out[rows]]
        return out


def zeta_rows(p: FloatArray, sets: ModeSets) -> FloatArray:
    """From P(clicks = T) to P(clicks within T), over the first axis."""
    for with_mode, without in reversed(sets.neighbour_pairs):
        p[with_mode] += p[without]
    return p


def moebius_rows(q: FloatArray, sets: ModeSets) -> FloatArray:
    """Back again, over the first axis."""
    for with_mode, without in sets.neighbour_pairs:
        q[with_mode] -= q[without]
    return q


#: Most sets of modes in one evaluation.
MAX_SETS = 2_000_000


@final
@dataclass(frozen=True, eq=False)
class ModeSets:
    """All sets of at most so many of M modes, and how they contain each other.

    :param masks: bit i stands for mode i; ascending, ``(K,)``.
    :param members: ``(K, M)`` booleans.
    :param clicks: size of each set, ``(K,)``.
    :param neighbour_pairs: for each mode, the sets with it and the same sets without it.
    """

    masks: IntArray
    members: npt.NDArray[np.bool_] = field(repr=False)
    clicks: IntArray = field(repr=False)
    neighbour_pairs: tuple[tuple[IntArray, IntArray], ...] = field(repr=False)


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
    if modes > 62 or count_sets(modes, clicks) > MAX_SETS:
        raise ProgramError(
            f"{clicks} clicks in {modes} modes are {count_sets(modes, clicks)} patterns; the click model holds "
            f"{MAX_SETS}. Ask for fewer clicks."
        )
    chosen = (c for k in range(clicks + 1) for c in itertools.combinations(range(modes), k))
    masks = np.sort(np.fromiter((sum(1 << i for i in c) for c in chosen), dtype=np.int64))
    members = (masks[:, None] >> np.arange(modes)) & 1 == 1
    pairs = []
    for mode in range(modes):
        with_mode = np.flatnonzero(members[:, mode])
        pairs.append((with_mode, np.searchsorted(masks, masks[with_mode] ^ (1 << mode))))
    return ModeSets(masks, members, members.sum(axis=1), tuple(pairs))


def moebius(q: FloatArray, sets: ModeSets) -> FloatArray:
    """From P(clicks within T) to P(clicks = T): subtract, mode by mode, the set without it; ``(..., K)``, in place."""
    for with_mode, without in sets.neighbour_pairs:
        q[..., with_mode] -= q[..., without]
    return q


@final
@dataclass(frozen=True, eq=False)
class FockStates:
    """All outcomes of at most P photons in M modes, by number of photons, lexicographic among equals.

    :param counts: photons per mode, ``(K, M)``.
    :param starts: index of the first outcome of 0, 1, ..., P photons, and K, ``(P + 2,)``.
    :param neighbour_pairs: for each mode, the outcomes with a photon in it and the same with one photon less there.
    """

    counts: npt.NDArray[np.uint8] = field(repr=False)
    starts: IntArray = field(repr=False)
    neighbour_pairs: tuple[tuple[IntArray, IntArray], ...] = field(repr=False)


def count_fock_states(modes: int, photons: int) -> int:
    """Number of outcomes of at most ``photons`` photons in ``modes`` modes, C(M + P, P).

    >>> count_fock_states(2, 2)
    6
    """
    return math.comb(modes + photons, photons)


@lru_cache(maxsize=4)
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
    found: list[list[tuple[IntArray, IntArray]]] = [[] for _ in range(modes)]
    for k, rows in enumerate(by_photons):
        for place in range(k):
            fewer = starts[k - 1] + _rank_fock(np.delete(rows, place, axis=1), modes)
            first = np.ones(len(rows), dtype=np.bool_) if place == 0 else rows[:, place] > rows[:, place - 1]
            for mode in range(modes):
                here = np.flatnonzero(first & (rows[:, place] == mode))
                found[mode].append((starts[k] + here, fewer[here]))
    nothing = np.zeros(0, dtype=np.int64)
    sides = [[np.concatenate([nothing, *side]) for side in zip(*pairs, strict=True)] for pairs in found]
    counts = np.concatenate([occupations(rows, modes) for rows in by_photons])
    return FockStates(counts, starts, tuple((more, fewer) for more, fewer in sides))


def _rank_fock(outcomes: IntArray, modes: int) -> IntArray:
    """Index in lexicographic order: adding 0, 1, 2, ... makes the modes of an outcome distinct."""
    photons = outcomes.shape[1]
    if photons == 0:
        return np.zeros(len(outcomes), dtype=np.int64)
    return rank_collision_free(outcomes + np.arange(photons), modes + photons - 1)
