"""What threshold detectors behind a noisy source see, exactly: one permanent for every set of modes.

N inputs each emit a photon with probability p1, or a photon and a second one that interferes with nothing with
probability p2 (Perceval's source: ``p1 + p2 = B``, ``g2 = 2 p2 / (p1 + 2 p2)^2``). A photon is in the common state with
probability x = sqrt(I) and in a state of its own otherwise. It survives its input with t_j, the detector of mode i
fires for it with eta_i, and by itself with d_i. For a set of modes T, with ``A = U[:, inputs] diag(sqrt(t))``::

    H(T) = 1 - A^dagger diag(eta_i [i not in T]) A,              q_j = H_jj
    alpha_j = x (p1 + p2 q_j),    beta_j = (1 - B) + (1 - x) (p1 q_j + p2 q_j^2)
    Q(T) = P(clicks within T) = prod_{i not in T} (1 - d_i) per[diag(beta) + diag(alpha) H(T)]
    P(clicks = T) = sum_{R in T} (-1)^{|T| - |R|} Q(R)

because a group C of common photons is lost or ends inside T with probability per(H_CC), a photon on its own with q_j,
and summing over who is which adds up to the permanent of a sum. With S_jk = sqrt(I_jk) that differ by pair, H is
replaced by H * S, elementwise. The last line is a Moebius transform over subsets; only sets up to the wanted number of
clicks are needed for it, so 24 modes work. For an ideal source this is the formula of Bulmer, Paesani, Chadwick and
Quesada, "Threshold detection statistics of bosonic states" (arXiv:2202.04600).

Three ways in: :func:`click_distribution` is the formula, fast, for batches, right to a few 1e-15;
:func:`accurate_click_distribution` keeps the relative accuracy of rare patterns, for what is conditioned on many clicks
behind much loss; :func:`fock_distribution` is the same noise in front of detectors that count photons.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..arrays import ComplexArray, FloatArray
from ..errors import ProgramError
from .patterns import MAX_SETS, ModeSets, count_sets, mode_sets, moebius
from .permanents import MOST_BY_ROWS, glynn_signs, permanents, permanents_by_rows
from .program_noise import ProgramNoise, emission

#: Complex numbers of one chunk: 1.6 MB, little enough for a core's cache.
CACHED_ENTRIES = 100_000
#: Most numbers that :func:`accurate_click_distribution` holds at once (160 MB), and most products it forms (a minute).
MAX_ENTRIES, MAX_PRODUCTS = 20_000_000, 2_000_000_000


def check_click_work(modes: int, photons: int, clicks: int, *, products: int = MAX_PRODUCTS) -> None:
    """Raise :class:`ProgramError` when :func:`accurate_click_distribution` would take too much memory or time.

    It holds 2N + 1 numbers a pattern, and forms N^2 2^(N-1) products for each, about 3e7 a second.
    """
    sets = count_sets(modes, min(clicks, modes))
    if (
        modes > 62
        or sets > MAX_SETS
        or sets * (2 * photons + 1) > MAX_ENTRIES
        or sets * photons**2 * 2 ** (photons - 1) > products
    ):
        raise ProgramError(
            f"{photons} photons in {modes} modes with up to {clicks} clicks have {sets} patterns, too many for the "
            "click model. Use fewer photons or modes."
        )


@final
@dataclass(frozen=True, eq=False)
class ClickArrays:
    """:class:`ProgramNoise` of a batch: every field has a first axis B, or is broadcast along it.

    ``common`` is x = sqrt(I), ``(B,)``; ``pairs`` the inner products S of each pair, ``(B, N, N)``, or None where
    x is enough.
    """

    one: FloatArray
    two: FloatArray
    common: FloatArray
    pairs: FloatArray | None
    t: FloatArray
    eta: FloatArray
    dark: FloatArray

    @classmethod
    def of(cls, noise: ProgramNoise) -> ClickArrays:
        """A batch of one."""
        one, two = emission(noise.brightness, noise.g2)
        roots = np.sqrt(np.asarray(noise.indistinguishability, dtype=np.float64))
        pairs = roots[None] if roots.ndim == 2 else None
        return cls(
            np.atleast_1d(one),
            np.atleast_1d(two),
            np.ones(1) if pairs is not None else np.atleast_1d(roots),
            pairs,
            np.asarray(noise.transmittance, dtype=np.float64)[None],
            np.asarray(noise.efficiency, dtype=np.float64)[None],
            np.asarray(noise.dark_counts, dtype=np.float64)[None],
        )


def within(columns: ComplexArray, arrays: ClickArrays, sets: ModeSets) -> FloatArray:
    """Q(T) = P(clicks within T) of a batch, ``(B, M, N) -> (B, K)``; see the module's docstring."""
    batch = np.broadcast_shapes((len(columns),), arrays.t.shape[:1], arrays.eta.shape[:1], arrays.common.shape)[0]
    entered = columns * np.sqrt(arrays.t)[:, None, :]
    photons = entered.shape[2]
    outer = entered.conj()[:, :, :, None] * entered[:, :, None, :] * arrays.eta[:, :, None, None]  # (B, M, N, N)
    planes = np.ascontiguousarray(outer.transpose(2, 3, 0, 1))
    out = np.empty((batch, len(sets.masks)))
    outside = (~sets.members).astype(np.float64)
    rows = min(len(outside), max(1, CACHED_ENTRIES // photons**2))
    size = max(1, CACHED_ENTRIES // (rows * photons**2))
    for start, first in itertools.product(range(0, batch, size), range(0, len(outside), rows)):
        part, some = slice(start, start + size), slice(first, first + rows)
        h = _outside(planes if len(outer) == 1 else planes[:, :, part], outside[some].T)
        if arrays.pairs is not None:
            h *= np.moveaxis(_rows(arrays.pairs, part), 0, 2)[..., None]
        out[part, some] = _permanent(h, arrays, part)
    # d = 1 would have log 0, and -inf times the 0 of a mode inside T is NaN.
    silent = np.log1p(-np.minimum(arrays.dark, 1.0 - 2.0**-53)) @ outside.T  # sum of log (1 - d_i) outside T
    return out * np.exp(silent)


def _outside(planes: ComplexArray, outside: FloatArray) -> ComplexArray:
    """H = 1 - sum over modes outside T, ``(N, N, B, M), (M, K) -> (N, N, B, K)``: entries first, sets last."""
    h = np.empty((*planes.shape[:-1], outside.shape[1]), dtype=np.complex128)
    # Real times complex: numpy would make the real factor complex and do twice the work.
    h.real, h.imag = planes.real @ -outside, planes.imag @ -outside
    index = np.arange(len(h))
    h[index, index] += 1.0
    return h


def _real_product(real: FloatArray, matrices: ComplexArray) -> ComplexArray:
    """``(K, M), (M, N, N) -> (K, N, N)`` as one real matrix product."""
    flat = np.ascontiguousarray(matrices, dtype=np.complex128).reshape(len(matrices), -1).view(np.float64)
    return (real @ flat).view(np.complex128).reshape(len(real), *matrices.shape[1:])


def _permanent(h: ComplexArray, arrays: ClickArrays, part: slice) -> FloatArray:
    """per[diag(beta) + diag(alpha) H], ``(N, N, b, K) -> (b, K)``."""
    one, two, x = (_rows(a, part)[:, None] for a in (arrays.one, arrays.two, arrays.common))
    index = np.arange(len(h))
    q = h[index, index].real
    alpha = x * (one + two * q)
    beta = (1.0 - one - two) + (1.0 - x) * (one * q + two * q**2)
    matrix = alpha[:, None] * h
    matrix[index, index] += beta
    if len(matrix) > MOST_BY_ROWS:
        return permanents(np.moveaxis(matrix, (0, 1), (-2, -1))).real
    return permanents_by_rows(matrix).real  # rows are real multiples of a Hermitian matrix, whose permanent is real


def _rows(array: npt.NDArray[Any], part: slice) -> npt.NDArray[Any]:
    """Rows of a batch; a batch of one serves all."""
    return array if len(array) == 1 else array[part]


def click_distribution(
    columns: ComplexArray, noise: ProgramNoise, *, most_clicks: int | None = None
) -> tuple[ModeSets, FloatArray]:
    """Probabilities of click patterns, the empty window included.

    Absolute errors are a few 1e-15; :func:`accurate_click_distribution` keeps the relative accuracy of rare patterns.

    :param columns: occupied columns of each unitary, ``(B, M, N)``.
    :param most_clicks: leave out patterns with more; ``None`` for all 2^M.
    :returns: the patterns, and their probabilities ``(B, K)``; what these lack to 1 are patterns with more clicks.
    :raises ProgramError: when there are too many patterns.

    Two photons on a balanced beam splitter leave apart with probability (1 - I) / 2:

    >>> from qpu_sdk.photonics.noise import Noise
    >>> h = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    >>> noise = Noise(indistinguishability=0.9).at((0, 1), modes=2)
    >>> sets, p = click_distribution(h[None], noise)
    >>> sets.masks.tolist(), p.round(3).tolist()
    ([0, 1, 2, 3], [[0.0, 0.475, 0.475, 0.05]])
    """
    modes = columns.shape[1]
    sets = mode_sets(modes, modes if most_clicks is None else min(most_clicks, modes))
    return sets, np.maximum(moebius(within(columns, ClickArrays.of(noise), sets), sets), 0.0)


def accurate_click_distribution(
    columns: ComplexArray, noise: ProgramNoise, *, most_clicks: int | None = None
) -> tuple[ModeSets, FloatArray]:
    """:func:`click_distribution` of one program without the Moebius transform's loss of digits.

    With ``H(T) = H(0) + G(T)`` and ``G(T) = A^dagger diag(eta_i [i in T]) A`` the permanent is a polynomial in G. Its
    terms of degree d are as small as the probability to detect d photons, and those of a degree below the number of
    clicks cancel exactly in the transform: each degree is computed and transformed by itself, and such terms are left
    out. A pattern of k clicks so has a relative error of about 2^k roundings, however rare it is; behind 5 % of
    transmittance the plain formula has no digit left at 6 clicks. Dark counts come last, as sums of positive numbers.

    :param columns: occupied columns of the unitary, ``(M, N)``.
    :param most_clicks: leave out patterns with more; ``None`` for all 2^M.
    :returns: the patterns, and their probabilities ``(K,)``.
    :raises ProgramError: when there are too many patterns.

    >>> from qpu_sdk.photonics.noise import Noise
    >>> noise = Noise(transmittance=1e-6).at((0, 1), modes=3)
    >>> sets, p = accurate_click_distribution(np.eye(3)[:, :2], noise)
    >>> f"{p[sets.masks == 0b011][0]:.12e}"
    '1.000000000000e-12'
    """
    modes = columns.shape[0]
    most = modes if most_clicks is None else min(most_clicks, modes)
    check_click_work(modes, columns.shape[1], most)
    sets, arrays = mode_sets(modes, most), ClickArrays.of(noise)
    entered = columns * np.sqrt(arrays.t[0])
    photons = entered.shape[1]
    outer = entered.conj()[:, :, None] * entered[:, None, :] * arrays.eta[0][:, None, None]
    overlaps = np.ones((photons, photons)) if arrays.pairs is None else arrays.pairs[0]
    outer = outer * overlaps
    lost = np.eye(photons) - outer.sum(axis=0)
    by_degree = np.empty((2 * photons + 1, len(sets.masks)))
    size = max(1, CACHED_ENTRIES // (4 * photons * (photons + 2 ** (photons - 1))))
    for start in range(0, len(sets.masks), size):
        part = slice(start, start + size)
        inside = _real_product(sets.members[part].astype(np.float64), outer)
        by_degree[:, part] = _graded_permanent(lost, inside, arrays)
    moebius(by_degree, sets)
    by_degree *= np.arange(2 * photons + 1)[:, None] >= sets.clicks  # k clicks take k photons: less is rounding
    return sets, _add_dark_counts(np.maximum(by_degree.sum(axis=0), 0.0), arrays.dark[0], sets)


def _graded_permanent(lost: ComplexArray, inside: ComplexArray, arrays: ClickArrays) -> FloatArray:
    """Terms of degree 0..2N in G of the permanent, ``(N, N), (K, N, N) -> (2N + 1, K)``, by Glynn's formula."""
    photons = len(lost)
    signs = glynn_signs(photons)
    coefficients = [matrix @ signs.T for matrix in _matrix_coefficients(lost, inside, arrays)]  # (1 or K, N, signs)
    terms = [np.ones((1, len(signs)), dtype=np.complex128)]
    for row in range(photons):
        factors = [c[:, row] for c in coefficients]
        longer: list[ComplexArray] = []
        for degree in range(len(terms) + len(factors) - 1):
            pairs = [(terms[degree - k], f) for k, f in enumerate(factors) if 0 <= degree - k < len(terms)]
            longer.append(sum((a * b for a, b in pairs[1:]), pairs[0][0] * pairs[0][1]))
        terms = longer
    out = np.zeros((2 * photons + 1, len(inside)))
    for degree, term in enumerate(terms):
        out[degree] = (term @ signs.prod(axis=1)).real * 2.0 ** (1 - photons)
    return out


def _matrix_coefficients(lost: ComplexArray, inside: ComplexArray, arrays: ClickArrays) -> list[ComplexArray]:
    """diag(beta) + diag(alpha) H as a polynomial of G: one matrix for each power, the last only with second photons."""
    one, two, x = arrays.one[0], arrays.two[0], arrays.common[0]
    index = np.arange(len(lost))
    h, g = lost[index, index].real, inside[:, index, index].real
    # q_j = h_j + g_j, put into alpha and beta and sorted by powers of g.
    zeroth = (x * (one + two * h))[:, None] * lost[None]
    zeroth[:, index, index] += (1.0 - one - two) + (1.0 - x) * (one * h + two * h**2)
    first = (x * (one + two * h))[:, None] * inside + (x * two * g)[..., None] * lost
    first[:, index, index] += (1.0 - x) * (one + 2.0 * two * h) * g
    if two == 0.0:
        return [zeroth, first]
    second = (x * two * g)[..., None] * inside
    second[:, index, index] += (1.0 - x) * two * g**2
    return [zeroth, first, second]


def _add_dark_counts(p: FloatArray, dark: FloatArray, sets: ModeSets) -> FloatArray:
    """Detectors that fire by themselves, ``(K,)``: a mode without a photon clicks with d_i."""
    for mode in np.flatnonzero(dark):
        with_mode, without = sets.neighbour_pairs[mode]
        alone = p[without]  # a copy, of before p is scaled
        p = np.where(sets.members[:, mode], p, (1.0 - dark[mode]) * p)
        p[with_mode] += dark[mode] * alone
    return p
