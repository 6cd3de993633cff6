"""Transition amplitudes of photons through an interferometer, as batched permanents.

N photons enter columns ``A = U[:, inputs]`` of shape ``(M, N)``. The amplitude of an outcome ``s`` with
occupied modes ``s_1 <= ... <= s_N`` is ``per(A_s) / sqrt(prod_i s_i!)``, with ``A_s`` the rows ``s`` of ``A``
(Scheel, quant-ph/0406127). Glynn's formula (Eur. J. Combin. 31, 1887 (2010)) with the first sign fixed,

    per(A_s) = 2^(1-N) sum_delta (prod_j delta_j) prod_k S[delta, s_k],   S[delta, i] = sum_j delta_j A[i, j],

needs the same column sums S for every outcome, and outcomes with a common prefix share the product over
it. Both are used here: the outcomes form a prefix tree whose last level is one matrix product. Sign vectors
and batch entries are processed in chunks, so memory stays bounded whatever the size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np

from ..arrays import ComplexArray, FloatArray, IntArray
from ..errors import ProgramError
from .fock import bunching_factor, check_modes_photons, collision_free_outcomes, fock_outcomes

#: Complex numbers that one chunk may hold (16 bytes each): 64 MB.
CHUNK_ENTRIES = 4_000_000
#: Those of the circuits of a batch that are worked on at once: a core's cache holds them, which halves the time.
CACHE_ENTRIES = 12_000
#: Most outcomes of one tree, and most products over it, of which a core forms a hundred million a second.
MOST_LEAVES, MOST_PRODUCTS = 5_000_000, 2_000_000_000
#: Complex numbers of matrices whose permanents are found at once, so that a core's cache holds them, and largest size
#: that goes row by row: it takes one step of Python for each of N 2^(N-1) products.
ROWS_CHUNK, MOST_BY_ROWS = 20_000, 10


@final
@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Outcomes of N photons as a tree of shared prefixes.

    ``modes_at[k]`` is the mode that prefix number j of length k+1 adds, ``children[k][j]`` how many longer
    prefixes prefix j has; ``last_prefix`` and ``last_mode`` join each outcome from its prefix of length N-1.
    """

    modes: int
    photons: int
    modes_at: tuple[IntArray, ...]
    children: tuple[IntArray, ...]
    last_prefix: IntArray
    last_mode: IntArray
    norm: FloatArray

    @classmethod
    def of(cls, outcomes: IntArray, modes: int) -> PrefixTree:
        """Build the tree of lexicographically sorted outcomes ``(K, N)``."""
        photons = outcomes.shape[1]
        modes_at: list[IntArray] = []
        children: list[IntArray] = []
        parent = np.zeros(len(outcomes), dtype=np.int64)  # prefix of length k that each outcome starts with
        for k in range(photons - 1):
            key = parent * modes + outcomes[:, k]
            # Sorted outcomes have sorted prefixes: the children of one prefix are neighbours, as np.repeat has them.
            unique, prefix = np.unique(key, return_inverse=True)
            modes_at.append(unique % modes)
            if k > 0:
                children.append(np.bincount(unique // modes, minlength=len(modes_at[k - 1])))
            parent = prefix
        return cls(
            modes=modes,
            photons=photons,
            modes_at=tuple(modes_at),
            children=tuple(children),
            last_prefix=parent,
            last_mode=np.ascontiguousarray(outcomes[:, -1]),
            norm=1.0 / np.sqrt(bunching_factor(outcomes)),
        )

    @property
    def entries(self) -> int:
        """Complex numbers held per sign vector and batch entry."""
        prefixes = sum(len(m) for m in self.modes_at)
        return prefixes + self.modes

    # -- one chunk: S of shape (B, D, M) for B batch entries and D sign vectors -----------------------------

    def products(self, sums: ComplexArray) -> list[ComplexArray]:
        """Products over every prefix, level by level: ``(B, D, M) -> [(B, prefixes of length k+1, D)]``."""
        rows = np.ascontiguousarray(sums.swapaxes(1, 2))  # modes before signs: picking modes copies whole rows
        levels: list[ComplexArray] = []
        for k, modes in enumerate(self.modes_at):
            level = rows[:, modes]  # a copy, so it may be multiplied in place
            if k > 0:
                level *= np.repeat(levels[-1], self.children[k - 1], axis=1)
            levels.append(level)
        return levels

    def amplitudes(
        self, sums: ComplexArray, signs: FloatArray, products: list[ComplexArray] | None = None
    ) -> ComplexArray:
        """Sum over the chunk's sign vectors, ``(B, D, M), (D,) -> (B, K)``; ``products`` where known."""
        signed = sums * signs[:, None]
        if self.photons == 1:
            return np.asarray(signed.sum(axis=1)[:, self.last_mode])
        last = (self.products(sums) if products is None else products)[-1]
        return np.asarray((last @ signed)[:, self.last_prefix, self.last_mode])

    def pullback(
        self,
        sums: ComplexArray,
        signs: FloatArray,
        gradient: ComplexArray,
        products: list[ComplexArray] | None = None,
    ) -> ComplexArray:
        """Gradient with respect to S, ``(B, K) -> (B, D, M)``, in the convention dL/dRe + i dL/dIm."""
        batch, _, modes = sums.shape
        conj = sums.conj()
        if self.photons == 1:
            flat = np.zeros((batch, modes), dtype=np.complex128)
            flat[:, self.last_mode] = gradient
            return np.asarray(flat[:, None, :] * signs[:, None])
        levels = [level.conj() for level in (self.products(sums) if products is None else products)]
        table = np.zeros((batch, levels[-1].shape[1], modes), dtype=np.complex128)
        table[:, self.last_prefix, self.last_mode] = gradient
        grad_sums = signs[:, None] * (levels[-1].swapaxes(1, 2) @ table)
        grad = table @ (conj * signs[:, None]).swapaxes(1, 2)
        rows = np.ascontiguousarray(conj.swapaxes(1, 2))
        for k in range(len(levels) - 1, -1, -1):
            own = grad if k == 0 else grad * np.repeat(levels[k - 1], self.children[k - 1], axis=1)
            grad_sums += (_scatter(self.modes_at[k], modes) @ own).swapaxes(1, 2)
            if k > 0:
                grad = grad * rows[:, self.modes_at[k]]
                starts = np.concatenate([[0], np.cumsum(self.children[k - 1])[:-1]])
                grad = np.add.reduceat(grad, starts, axis=1)  # right because no prefix is childless
        return np.asarray(grad_sums)


def _scatter(modes_at: IntArray, modes: int) -> ComplexArray:
    """One-hot rows: adds up the prefixes that end in each mode, ``(M, prefixes)``."""
    return np.asarray(np.arange(modes)[:, None] == modes_at, dtype=np.complex128)


def prefix_counts(modes: int, photons: int, *, bunched: bool) -> list[int]:
    """Numbers of prefixes of 1 to N - 1 photons in the tree of all Fock outcomes, or of the collision-free ones.

    >>> prefix_counts(4, 3, bunched=False), prefix_counts(4, 3, bunched=True)
    ([2, 3], [4, 10])
    """
    if bunched:
        return [math.comb(modes + k - 1, k) for k in range(1, photons)]
    return [math.comb(modes - photons + k, k) for k in range(1, photons)]


def tree_products(modes: int, photons: int, *, bunched: bool) -> int:
    """Complex products that the amplitudes of one circuit take: of 2^(N-1) signs one a prefix, and for the last mode.

    >>> f"{tree_products(20, 10, bunched=False):.1e}", f"{tree_products(24, 12, bunched=False):.1e}"
    ('2.0e+08', '1.3e+10')
    """
    prefixes = prefix_counts(modes, photons, bunched=bunched)
    last = prefixes[-1] * modes // 8 if prefixes else modes  # a matrix product is several times faster than others
    return int(2 ** (photons - 1) * (sum(prefixes) + last))


def check_tree(modes: int, photons: int, *, bunched: bool) -> None:
    """Raise :class:`ProgramError` when amplitudes of all outcomes take too much memory or time."""
    outcomes = math.comb(modes + photons - 1, photons) if bunched else math.comb(modes, photons)
    products = tree_products(modes, photons, bunched=bunched)
    if outcomes > MOST_LEAVES:
        raise ProgramError(
            f"{photons} photons in {modes} modes have {outcomes} outcomes; {MOST_LEAVES} are computed. "
            "Use fewer photons or modes."
        )
    if products > MOST_PRODUCTS:
        raise ProgramError(
            f"exact probabilities of {photons} photons in {modes} modes take {products:.1e} products; "
            f"{MOST_PRODUCTS:.0e}, about half a minute, are formed. Use fewer photons or modes."
        )


@lru_cache(maxsize=64)
def collision_free_tree(modes: int, photons: int) -> PrefixTree:
    """The prefix tree of :func:`~qpu_sdk.photonics.fock.collision_free_outcomes`.

    :raises ProgramError: when it is too large.
    """
    check_modes_photons(modes, photons)
    check_tree(modes, photons, bunched=False)
    return PrefixTree.of(collision_free_outcomes(modes, photons), modes)


@lru_cache(maxsize=64)
def fock_tree(modes: int, photons: int) -> PrefixTree:
    """The prefix tree of :func:`~qpu_sdk.photonics.fock.fock_outcomes`.

    :raises ProgramError: when it is too large.
    """
    check_tree(modes, photons, bunched=True)
    return PrefixTree.of(fock_outcomes(modes, photons), modes)


@lru_cache(maxsize=32)
def glynn_signs(photons: int) -> FloatArray:
    """The sign vectors of Glynn's formula, ``(2^(N-1), N)``, first entry +1, read-only."""
    # The first bit of a number below 2^(N-1) is 0; delta and -delta give equal terms, so half of them do.
    bits = (np.arange(2 ** (photons - 1))[:, None] >> np.arange(photons)[::-1]) & 1
    signs = np.asarray(1.0 - 2.0 * bits)
    signs.setflags(write=False)
    return signs


def _chunks(total: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def _plan(tree: PrefixTree, batch: int) -> tuple[int, int]:
    """Batch entries and sign vectors a chunk: signs as fit in :data:`CHUNK_ENTRIES`, and entries as in the cache."""
    signs = min(len(glynn_signs(tree.photons)), max(1, CHUNK_ENTRIES // tree.entries))
    return max(1, min(CHUNK_ENTRIES, CACHE_ENTRIES) // (tree.entries * signs)), signs


def amplitudes(columns: ComplexArray, tree: PrefixTree) -> ComplexArray:
    """Amplitudes per(A_s) / sqrt(prod s_i!) of every outcome of the tree.

    :param columns: occupied columns of the unitary, ``(..., M, N)``.
    :returns: ``(..., K)``.

    Two photons on a balanced beam splitter never leave apart (Hong, Ou and Mandel, PRL 59, 2044):

    >>> h = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    >>> np.abs(amplitudes(h, fock_tree(2, 2))).round(3).tolist()
    [0.707, 0.0, 0.707]
    """
    flat = columns.reshape(-1, tree.modes, tree.photons)
    signs = glynn_signs(tree.photons)
    parity = signs.prod(axis=1)
    out = np.zeros((len(flat), len(tree.norm)), dtype=np.complex128)
    batch_size, sign_size = _plan(tree, len(flat))
    for b in _chunks(len(flat), batch_size):
        for d in _chunks(len(signs), sign_size):
            out[b] += tree.amplitudes(signs[d] @ flat[b].swapaxes(1, 2), parity[d])
    out *= tree.norm * 2.0 ** (1 - tree.photons)
    return out.reshape(*columns.shape[:-2], len(tree.norm))  # not -1: a batch may be empty


def amplitudes_vjp(columns: ComplexArray, tree: PrefixTree, gradient: ComplexArray) -> ComplexArray:
    """Pull a gradient back through :func:`amplitudes`: ``(..., K) -> (..., M, N)``.

    Gradients of a real loss L with respect to a complex z are dL/dRe z + i dL/dIm z, as in torch.
    """
    flat = columns.reshape(-1, tree.modes, tree.photons)
    scaled = gradient.reshape(len(flat), len(tree.norm)) * (tree.norm * 2.0 ** (1 - tree.photons))
    signs = glynn_signs(tree.photons)
    parity = signs.prod(axis=1)
    out = np.zeros_like(flat)
    batch_size, sign_size = _plan(tree, len(flat))
    for b in _chunks(len(flat), batch_size):
        for d in _chunks(len(signs), sign_size):
            sums = signs[d] @ flat[b].swapaxes(1, 2)
            out[b] += tree.pullback(sums, parity[d], scaled[b]).swapaxes(1, 2) @ signs[d]
    return out.reshape(columns.shape)


def probabilities_vjp(columns: ComplexArray, tree: PrefixTree, gradient: FloatArray) -> ComplexArray:
    """Pull a gradient back through :func:`probabilities`: ``(..., K) -> (..., M, N)``.

    ``d |a|^2 = 2 Re(conj(a) da)``, so that amplitudes are needed again; they share products with the pullback.
    """
    signs = glynn_signs(tree.photons)
    batch_size, sign_size = _plan(tree, 1)
    if sign_size < len(signs):  # amplitudes are sums over all chunks
        return amplitudes_vjp(columns, tree, amplitudes(columns, tree) * (2.0 * gradient))
    flat = columns.reshape(-1, tree.modes, tree.photons)
    weight, parity = 2.0 * gradient.reshape(len(flat), len(tree.norm)), signs.prod(axis=1)
    scale = tree.norm * 2.0 ** (1 - tree.photons)
    out = np.empty_like(flat)
    for b in _chunks(len(flat), batch_size):
        sums = signs @ flat[b].swapaxes(1, 2)
        products = tree.products(sums)
        cotangent = tree.amplitudes(sums, parity, products) * scale * weight[b] * scale
        out[b] = tree.pullback(sums, parity, cotangent, products).swapaxes(1, 2) @ signs
    return out.reshape(columns.shape)


def probabilities(columns: ComplexArray, tree: PrefixTree) -> FloatArray:
    """``|amplitude|^2`` of every outcome, ``(..., M, N) -> (..., K)``; sums to 1 over all Fock outcomes."""
    amplitude = amplitudes(columns, tree)
    return np.asarray(amplitude.real**2 + amplitude.imag**2)


def permanents(matrices: ComplexArray) -> ComplexArray:
    """Permanents of square matrices, ``(..., N, N) -> (...)``: row by row, and by Glynn's formula where they are large.

    >>> complex(permanents(np.ones((3, 3)))).real
    6.0
    """
    size = matrices.shape[-1]
    flat = np.asarray(matrices, dtype=np.complex128).reshape(-1, size, size)
    out = np.empty(len(flat), dtype=np.complex128)
    for part in _chunks(len(flat), ROWS_CHUNK // max(1, size**2)):
        entries = np.ascontiguousarray(flat[part].transpose(1, 2, 0))
        out[part] = permanents_by_rows(entries) if size <= MOST_BY_ROWS else _by_glynn(flat[part])
    return np.asarray(out.reshape(matrices.shape[:-2]))


def permanents_by_rows(entries: ComplexArray) -> ComplexArray:
    """Permanents of many matrices at once, entry by entry, ``(N, N, ...) -> (...)``.

    Of the first k rows and every k columns T, ``per_k(T) = sum_{j in T} A[k, j] per_{k-1}(T - j)``: N 2^(N-1) products,
    N times fewer than by Glynn's formula, and no cancellation where entries are positive.

    >>> permanents_by_rows(np.arange(4.0).reshape(2, 2, 1)).tolist()
    [2.0]
    """
    size = len(entries)
    level = {1 << j: entries[0, j] for j in range(size)}
    for row in range(1, size):
        longer: dict[int, ComplexArray] = {}
        for columns in itertools.combinations(range(size), row + 1):
            chosen = sum(1 << j for j in columns)
            total = entries[row, columns[0]] * level[chosen ^ (1 << columns[0])]
            for j in columns[1:]:
                total += entries[row, j] * level[chosen ^ (1 << j)]
            longer[chosen] = total
        level = longer
    return np.asarray(level[(1 << size) - 1])


def _by_glynn(flat: ComplexArray) -> ComplexArray:
    """``(K, N, N) -> (K,)``."""
    size = flat.shape[-1]
    signs = glynn_signs(size)
    out = np.zeros(len(flat), dtype=np.complex128)
    for d in _chunks(len(signs), CHUNK_ENTRIES // max(1, flat.size)):
        out += (flat @ signs[d].T).prod(axis=1) @ signs[d].prod(axis=1)
    return np.asarray(out * 2.0 ** (1 - size))
