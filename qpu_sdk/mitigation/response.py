"""R, what detectors show of N common photons, as a linear map from Fock outcomes to patterns of clicks.

Small ones are a matrix. Large ones are applied factor by factor and never formed: with c the clicks of the modes, ::

    R = s D_M ... D_1  T_N ... T_1  (L_1 x ... x L_M)

L_i[c, s] is the probability that the detectors of mode i show c of s photons. Losses so factorise by mode, and the
modes are split into two halves, a and b: for every number n of photons in the first half the outcomes are a table of
(states of a) x (states of b), and both halves are applied to it as matrix products, ``L_a X_n L_b^T``. T_j adds the
second photon of input j, which is lost or arrives in a mode, D_i a dark count in mode i; both are sparse, as one click
more is all they do. Only positive numbers are added, so that rare patterns keep their digits, in single precision too.

Where a click more would fall on one of W wires that already clicked, with probability c / W, nothing changes: W = 1
is a threshold detector, and one that counts has no such limit.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, IntArray
from ..photonics.counts import Detector
from ..photonics.fock import fock_outcomes, occupations
from ..photonics.patterns import Lattice, lattice


class Response(abc.ABC):
    """R, ``(K, S)``: patterns of clicks by Fock outcomes."""

    @abc.abstractmethod
    def rates(self, pi: FloatArray) -> FloatArray:
        """R pi of each row, ``(..., S) -> (..., K)``."""

    @abc.abstractmethod
    def pull(self, y: FloatArray) -> FloatArray:
        """R^T y of each row, ``(..., K) -> (..., S)``."""

    @abc.abstractmethod
    def astype(self, kind: npt.DTypeLike) -> Response:
        """The same in another precision."""

    @abc.abstractmethod
    def lower(self, below: IntArray, full: IntArray) -> Response:
        """The patterns ``below`` alone, and one row for all of ``full`` together."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """(K, S)."""

    @cached_property
    def seen(self) -> FloatArray:
        """R^T 1, the probability that an outcome is seen at all, ``(S,)``."""
        return self.pull(np.ones(self.shape[0]))

    @cached_property
    def reached(self) -> FloatArray:
        """R 1, zero for patterns that no outcome leads to, ``(K,)``."""
        return self.rates(np.ones(self.shape[1]))

    def dense(self) -> FloatArray:
        """All entries, ``(K, S)``: for small ones, and to check large ones with."""
        return np.ascontiguousarray(self.rates(np.eye(self.shape[1])).T)


@final
@dataclass(frozen=True, eq=False)
class DenseResponse(Response):
    """R as a matrix.

    >>> response = DenseResponse(np.array([[0.8, 0.0], [0.1, 0.5]]))
    >>> response.rates(np.array([0.5, 0.5])).tolist(), response.seen.tolist()
    ([0.4, 0.3], [0.9, 0.5])
    """

    matrix: FloatArray = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(K, S)."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @cached_property
    def _transposed(self) -> FloatArray:
        return np.ascontiguousarray(self.matrix.T)

    def rates(self, pi: FloatArray) -> FloatArray:
        """R pi of each row, ``(..., S) -> (..., K)``."""
        return np.asarray(pi @ self._transposed)

    def pull(self, y: FloatArray) -> FloatArray:
        """R^T y of each row, ``(..., K) -> (..., S)``."""
        return np.asarray(y @ self.matrix)

    def astype(self, kind: npt.DTypeLike) -> DenseResponse:
        """The same in another precision."""
        return DenseResponse(np.ascontiguousarray(self.matrix, dtype=kind))

    def lower(self, below: IntArray, full: IntArray) -> DenseResponse:
        """The patterns ``below`` alone, and one row for all of ``full`` together."""
        return DenseResponse(np.concatenate([self.matrix[below], self.matrix[full].sum(axis=0, keepdims=True)]))

    def dense(self) -> FloatArray:
        """All entries, ``(K, S)``."""
        return self.matrix


@final
@dataclass(frozen=True, eq=False)
class Block:
    """The outcomes with n photons in the first half of the modes.

    :param patterns: where the patterns stand that they may show, the empty one first of all, ``(A * B,)``.
    :param a, b: clicks per mode of the patterns of each half, ``(A, M_a)`` and ``(B, M_b)``.
    :param s, t: photons per mode of the states of each half.
    """

    patterns: IntArray
    a: npt.NDArray[np.uint8]
    b: npt.NDArray[np.uint8]
    s: npt.NDArray[np.uint8]
    t: npt.NDArray[np.uint8]


@final
@dataclass(frozen=True, eq=False)
class Blocks:
    """All of them, and in which order they take the Fock outcomes, ``(S,)``."""

    order: IntArray
    back: IntArray
    parts: tuple[Block, ...]


@lru_cache(maxsize=4)
def blocks(modes: int, photons: int, detector: Detector) -> Blocks:
    """The outcomes of N photons by the number of photons in the first half of the modes."""
    half, seen = modes // 2, lattice(modes, photons, detector)
    first = occupations(fock_outcomes(modes, photons), half).sum(axis=1, dtype=np.int64)
    parts = []
    for n in range(photons + 1):
        a, b = lattice(half, n, detector).counts, lattice(modes - half, photons - n, detector).counts
        both = np.concatenate([np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1))], axis=1)
        s, t = (
            occupations(fock_outcomes(half, n), half),
            occupations(fock_outcomes(modes - half, photons - n), modes - half),
        )
        parts.append(Block(seen.find(both), a, b, s, t))
    # Of equal n, outcomes in lexicographic order are so in the first half, and then in the second.
    order = np.argsort(first, kind="stable")
    return Blocks(order, np.argsort(order, kind="stable"), tuple(parts))


@final
@dataclass(frozen=True, eq=False)
class FactorisedResponse(Response):
    """R as its factors; :func:`factorised` makes it.

    :param halves: L_a and transposed L_b of every block.
    :param steps: T_1 ... T_N, D_1 ... D_M, sparse.
    :param back: their transposes, the last one first.
    :param size: of the lattice, L: steps are ``(L, L)``, the empty pattern first.
    :param shown: where the patterns stand in it, ``(K,)``.
    :param together: None, or where those stand in it that are one more row, of :meth:`Response.lower`.
    """

    blocks: Blocks = field(repr=False)
    halves: tuple[tuple[FloatArray, FloatArray], ...] = field(repr=False)
    steps: tuple[Any, ...] = field(repr=False)
    back: tuple[Any, ...] = field(repr=False)
    size: int
    shown: IntArray = field(repr=False)
    together: IntArray | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(K, S)."""
        return len(self.shown) + (self.together is not None), len(self.blocks.order)

    def rates(self, pi: FloatArray) -> FloatArray:
        """R pi of each row, ``(..., S) -> (..., K)``."""
        flat = pi.reshape(-1, pi.shape[-1])[:, self.blocks.order]
        p = np.zeros((len(flat), self.size), dtype=flat.dtype)
        begun = 0
        for block, (left, right) in zip(self.blocks.parts, self.halves, strict=True):
            x = flat[:, begun : begun + len(block.s) * len(block.t)].reshape(-1, len(block.s), len(block.t))
            begun += len(block.s) * len(block.t)
            p[:, block.patterns] += (left @ x @ right).reshape(len(flat), -1)  # patterns of one block differ
        columns = p.T
        for step in self.steps:
            columns = step @ columns
        return np.ascontiguousarray(self._kept(columns.T)).reshape(*pi.shape[:-1], -1)

    def pull(self, y: FloatArray) -> FloatArray:
        """R^T y of each row, ``(..., K) -> (..., S)``."""
        flat = y.reshape(-1, y.shape[-1])
        columns = self._spread(flat).T
        for step in self.back:
            columns = step @ columns
        p = np.ascontiguousarray(columns.T)
        out = []
        for block, (left, right) in zip(self.blocks.parts, self.halves, strict=True):
            x = p[:, block.patterns].reshape(-1, len(block.a), len(block.b))
            out.append((left.T @ x @ right.T).reshape(len(flat), -1))
        return np.concatenate(out, axis=1)[:, self.blocks.back].reshape(*y.shape[:-1], -1)

    def astype(self, kind: npt.DTypeLike) -> FactorisedResponse:
        """The same in another precision."""
        halves = tuple((left.astype(kind), right.astype(kind)) for left, right in self.halves)
        steps, back = (tuple(step.astype(kind) for step in those) for those in (self.steps, self.back))
        return replace(self, halves=halves, steps=steps, back=back)

    def lower(self, below: IntArray, full: IntArray) -> FactorisedResponse:
        """The patterns ``below`` alone, and one row for all of ``full`` together."""
        return replace(self, shown=self.shown[below], together=self.shown[full])

    def _kept(self, p: FloatArray) -> FloatArray:
        if self.together is None:
            return p[:, self.shown]
        return np.concatenate([p[:, self.shown], p[:, self.together].sum(axis=1, keepdims=True)], axis=1)

    def _spread(self, y: FloatArray) -> FloatArray:
        p = np.zeros((len(y), self.size), dtype=y.dtype)
        p[:, self.shown] = y[:, : len(self.shown)]
        if self.together is not None:
            p[:, self.together] = y[:, -1:]
        return p


@final
@dataclass(frozen=True, eq=False)
class Additions:
    """What else clicks, and what all of R is multiplied with.

    :param one, two: p1 and p2, probabilities of one photon and of two.
    :param arrives: that a second photon of input j is seen in mode i, ``(M, N)``.
    :param dark: ``(M,)``.
    :param wires: W of each mode's detector, None for one that counts.
    :param scale: s.
    """

    one: float
    two: float
    arrives: FloatArray = field(repr=False)
    dark: FloatArray = field(repr=False)
    wires: int | None
    scale: float = 1.0

    def stays(self, clicks: npt.NDArray[Any]) -> FloatArray:
        """That one click more falls on a wire that clicked already, of the shape of ``clicks``, ``(...)``."""
        return np.zeros(clicks.shape) if self.wires is None else np.minimum(clicks / self.wires, 1.0)


def factorised(
    tables: Sequence[FloatArray], seen: Lattice, detector: Detector, shown: IntArray, added: Additions
) -> FactorisedResponse:
    """R of detectors whose losses are ``tables``: L_i of every mode, ``[c, s]``.

    :param seen: the lattice of patterns, of which ``shown`` are kept.
    """
    modes, photons = len(tables), int(tables[0].shape[1]) - 1
    cut, half = blocks(modes, photons, detector), modes // 2
    halves = []
    for block in cut.parts:
        left, right = _product(tables[:half], block.a, block.s), _product(tables[half:], block.b, block.t)
        halves.append((added.scale * left, np.ascontiguousarray(right.T)))
    steps = []
    if added.two > 0.0:
        steps = [_second(seen, added, j) for j in range(added.arrives.shape[1])]
    elif added.one != 1.0:
        halves = [(left * added.one**photons, right) for left, right in halves]
    steps += [_dark(seen, added, int(mode)) for mode in np.flatnonzero(added.dark)]
    back = [step.T.tocsr() for step in reversed(steps)]  # to transpose takes longer than to multiply
    return FactorisedResponse(cut, tuple(halves), tuple(steps), tuple(back), len(seen.counts), shown)


def _product(tables: Sequence[FloatArray], clicks: npt.NDArray[np.uint8], states: npt.NDArray[np.uint8]) -> FloatArray:
    out = np.ones((len(clicks), len(states)))
    for mode, table in enumerate(tables):
        out *= table[clicks[:, mode][:, None], states[:, mode]]
    return out


def _second(seen: Lattice, added: Additions, j: int) -> Any:
    """T_j: input j sent one photon, or a second one too, which is lost, adds a click, or falls where one is."""
    arrives = added.two * added.arrives[:, j]
    stays = added.one + added.two * (1.0 - float(added.arrives[:, j].sum())) + added.stays(seen.counts) @ arrives
    entries = []
    for mode, (more, fewer) in enumerate(seen.neighbour_pairs):
        entries.append((more, fewer, arrives[mode] * (1.0 - added.stays(seen.counts[fewer, mode]))))
    return _sparse(stays, entries)


def _dark(seen: Lattice, added: Additions, mode: int) -> Any:
    """D_i: the detector of mode i fires by itself, once at most."""
    d, (more, fewer) = float(added.dark[mode]), seen.neighbour_pairs[mode]
    stays = (1.0 - d) + d * added.stays(seen.counts[:, mode])
    return _sparse(stays, [(more, fewer, d * (1.0 - added.stays(seen.counts[fewer, mode])))])


def _sparse(diagonal: FloatArray, entries: Sequence[tuple[IntArray, IntArray, FloatArray]]) -> Any:
    from scipy.sparse import csr_array  # slow to import

    index, size = np.arange(len(diagonal)), len(diagonal)
    rows, columns, values = (np.concatenate(part) for part in zip((index, index, diagonal), *entries, strict=True))
    return csr_array((values, (rows, columns)), shape=(size, size))


def gains(occupied: IntArray, tables: Sequence[FloatArray], added: Additions) -> FloatArray:
    """R[s|s] of collision-free outcomes: some photons are lost, and what is added clicks in their modes and no other.

    :param occupied: modes of each outcome, ``(F, N)``.
    :returns: ``(F,)``.
    """
    size, photons = occupied.shape
    show = np.array([[table[0, 1], table[1, 1]] for table in tables])[occupied]  # of one photon, (F, N, 2)
    p = np.full((size, 1), added.scale)
    for k in range(photons):  # over subsets of the outcome's modes: bit k, counted from the left, for its k-th mode
        p = (p[:, :, None] * show[:, None, k]).reshape(size, -1)
    bits = (np.arange(2**photons)[:, None] >> np.arange(photons)[::-1]) & 1
    again = bits * float(added.stays(np.ones(1))[0])
    for j in range(added.arrives.shape[1]):
        arrives = added.two * added.arrives[occupied, j]  # (F, N)
        out = p * (added.one + added.two * (1.0 - float(added.arrives[:, j].sum())) + arrives @ again.T)
        for k in range(photons):
            _halves(out, k)[:, :, 1] += arrives[:, k, None, None] * _halves(p, k)[:, :, 0]
        p = out
    dark = added.dark[occupied]
    for k in range(photons):
        without, with_click = (_halves(p, k)[:, :, side] for side in (0, 1))
        d = dark[:, k, None, None]
        with_click *= 1.0 - d + d * float(added.stays(np.ones(1))[0])
        with_click += d * without
        without *= 1.0 - d
    logs = np.log1p(-np.minimum(added.dark, 1.0 - 2.0**-53))
    return np.asarray(p[:, -1] * np.exp(logs.sum() - logs[occupied].sum(axis=1)))


def _halves(p: FloatArray, k: int) -> FloatArray:
    """Subsets without and with the k-th mode, ``(F, 2^N) -> (F, 2^k, 2, 2^(N - k - 1))``; a view."""
    return p.reshape(len(p), 2**k, 2, -1)
