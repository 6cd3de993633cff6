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
and summing over who is which adds up to the permanent of a sum. With overlaps S_jk that differ by pair, H is replaced
by H * S, elementwise. The last line is a Moebius transform over subsets; only sets up to the wanted number of clicks
are needed for it, so 24 modes work. For an ideal source this is the formula of Bulmer, Paesani, Chadwick and Quesada,
"Threshold detection statistics of bosonic states" (arXiv:2202.04600).

Three ways in: :func:`click_distribution` is the formula, fast, for batches, right to a few 1e-15;
:func:`accurate_click_distribution` keeps the relative accuracy of rare patterns, for what is conditioned on many clicks
behind much loss; :func:`fock_distribution` is the same noise in front of detectors that count photons.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, ProgramError
from .counts import Detector
from .fock import IntArray, fock_outcomes, occupations, rank_collision_free
from .noise import NoiseParameters
from .permanents import ComplexArray, FloatArray, fock_tree, glynn_signs, permanents, probabilities

#: Most sets of modes in one evaluation.
MAX_SETS = 2_000_000
#: Complex numbers of one chunk: 64 MB.
CHUNK_ENTRIES = 100000
#: Most numbers that :func:`accurate_click_distribution` holds at once (160 MB), and most products it forms (a minute).
MAX_ENTRIES, MAX_PRODUCTS = 20_000_000, 2_000_000_000


@final
@dataclass(frozen=True, eq=False)
class ClickNoise:
    """Everything between a program and its clicks, for N inputs and M modes.

    :param brightness: B, probability that a source emits.
    :param overlap: I of every pair of photons: one number, or ``(N, N)`` inner products of their states, S_jk =
        sqrt(I_jk), with ones on the diagonal, in which case every photon is in the common state.
    :param g2: second-order autocorrelation of each source.
    :param input_transmissions: t_j, ``(N,)``.
    :param output_efficiencies: eta_i, ``(M,)``.
    :param dark_counts: d_i, probability that a detector fires by itself in one window, ``(M,)``.
    :raises ConfigError: when a value is out of range.
    """

    brightness: float
    overlap: float | FloatArray
    g2: float
    input_transmissions: FloatArray = field(repr=False)
    output_efficiencies: FloatArray = field(repr=False)
    dark_counts: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("brightness", "overlap", "g2", "input_transmissions", "output_efficiencies", "dark_counts"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if not np.isfinite(value).all() or value.min(initial=0.0) < 0.0 or value.max(initial=0.0) > 1.0:
                raise ConfigError(f"{name} is {value.tolist()}; it must be within 0..1. Choose such values.")
        if 2.0 * self.brightness * self.g2 > 1.0:
            raise ConfigError(
                f"g2 is {self.g2} with brightness {self.brightness}; a source has g2 * brightness <= 0.5. Lower one."
            )

    @classmethod
    def of(cls, noise: NoiseParameters, *, inputs: int, modes: int) -> ClickNoise:
        """The same for every input and mode, from Perceval's parameters."""
        return DeviceNoise.of(noise, modes=max(inputs, modes)).at(tuple(range(inputs)), modes=modes)


@final
@dataclass(frozen=True, eq=False)
class DeviceNoise:
    """The noise of a whole device of M modes: what a calibration record says, and what a noisy twin runs with.

    :param indistinguishability: I of every pair of inputs, or ``(M, M)`` inner products S_jk = sqrt(I_jk) of the states
        of their photons.
    :param input_transmissions: ``(M,)``; 0 where no source is connected.
    :param phase_error: largest error of a phase, radians; uniform, drawn once a program.
    :param detector: what the detectors resolve.
    :param phase_imprecision: step to which phases are rounded, radians, 0 for none.
    """

    brightness: float
    indistinguishability: float | FloatArray
    g2: float
    input_transmissions: FloatArray = field(repr=False)
    output_efficiencies: FloatArray = field(repr=False)
    dark_counts: FloatArray = field(repr=False)
    phase_error: float = 0.0
    detector: Detector = "threshold"
    phase_imprecision: float = 0.0

    @classmethod
    def of(cls, noise: NoiseParameters, *, modes: int, detector: Detector = "threshold") -> DeviceNoise:
        """The same for every input and mode.

        :raises ConfigError: for second photons that equal the first, which the click model does not have.
        """
        if noise.g2 > 0.0 and not noise.g2_distinguishable:
            raise ConfigError(
                "the click model has no second photon that equals the first. Use g2_distinguishable=true, or "
                "engine=perceval."
            )
        return cls(
            brightness=noise.brightness,
            indistinguishability=noise.indistinguishability,
            g2=noise.g2,
            input_transmissions=np.full(modes, noise.transmittance),
            output_efficiencies=np.ones(modes),
            dark_counts=np.zeros(modes),
            phase_error=noise.phase_error,
            detector=detector,
            phase_imprecision=noise.phase_imprecision,
        )

    @property
    def modes(self) -> int:
        """Number of modes M."""
        return len(self.output_efficiencies)

    def at(self, input_modes: tuple[int, ...], *, modes: int) -> ClickNoise:
        """What a program on the first ``modes`` modes sees that sends photons into ``input_modes``.

        :raises ProgramError: when the program has more modes than the device.
        """
        if modes > self.modes:
            raise ProgramError(f"program uses {modes} modes; the noise is known of {self.modes}. Use {self.modes}.")
        inputs = list(input_modes)
        overlap = self.indistinguishability
        return ClickNoise(
            brightness=self.brightness,
            overlap=overlap if np.ndim(overlap) == 0 else np.asarray(overlap)[np.ix_(inputs, inputs)],
            g2=self.g2,
            input_transmissions=np.asarray(self.input_transmissions)[inputs],
            output_efficiencies=np.asarray(self.output_efficiencies)[:modes],
            dark_counts=np.asarray(self.dark_counts)[:modes],
        )


def emission(brightness: FloatArray | float, g2: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """p1 and p2, the probabilities of one photon and of two.

    p2 is the root of ``g2 = 2 p2 / (p1 + 2 p2)^2`` with ``p1 + p2 = B``, written without cancellation for small g2.

    >>> [float(p.round(4)) for p in emission(1.0, 0.18)]
    [0.8889, 0.1111]
    """
    b, g = np.asarray(brightness, dtype=np.float64), np.asarray(g2, dtype=np.float64)
    two = b**2 * g / (1.0 - b * g + np.sqrt(np.maximum(0.0, 1.0 - 2.0 * b * g)))
    return b - two, two


def enough_counts(noise: ClickNoise, *, neglected: float = 1e-9, at_least: int = 1) -> int:
    """Smallest k such that windows with more than k counts are rare among those with ``at_least`` counts or more.

    Counts are photons at detectors as good as the best one, and dark counts; threshold detectors show fewer.

    :param neglected: largest share of the windows with more than k counts.
    :raises ProgramError: when no window has so many counts.

    >>> enough_counts(ClickNoise.of(NoiseParameters(transmittance=0.01), inputs=4, modes=9))
    4
    >>> enough_counts(ClickNoise.of(NoiseParameters(transmittance=0.01, g2=0.02), inputs=4, modes=9), neglected=1e-6)
    3
    """
    one, two = (float(p) for p in emission(noise.brightness, noise.g2))
    numbers = np.ones(1)
    for t in np.asarray(noise.input_transmissions) * noise.output_efficiencies.max():
        both, lost = two * t**2, 1.0 - one - two + one * (1.0 - t) + two * (1.0 - t) ** 2
        numbers = np.convolve(numbers, [lost, one * t + 2.0 * two * t * (1.0 - t), both])
    for dark in noise.dark_counts[np.flatnonzero(noise.dark_counts)]:
        numbers = np.convolve(numbers, [1.0 - dark, dark])
    above = np.append(np.cumsum(numbers[::-1])[::-1], 0.0)  # probability of k or more
    wanted = above[min(at_least, len(above) - 1)]
    if wanted <= 0.0:
        raise ProgramError(f"no window of this program has {at_least} counts or more. Check losses and input modes.")
    return int(np.flatnonzero(above[1:] <= neglected * wanted)[0])


@final
@dataclass(frozen=True, eq=False)
class ModeSets:
    """All sets of at most so many of M modes, and how they contain each other.

    :param masks: bit i stands for mode i; ascending, ``(K,)``.
    :param members: ``(K, M)`` booleans.
    :param clicks: size of each set, ``(K,)``.
    :param steps: for each mode, the sets with it and the same sets without it.
    """

    masks: IntArray
    members: npt.NDArray[np.bool_] = field(repr=False)
    clicks: IntArray = field(repr=False)
    steps: tuple[tuple[IntArray, IntArray], ...] = field(repr=False)


def count_sets(modes: int, clicks: int) -> int:
    """Number of sets of at most ``clicks`` of ``modes`` modes.

    >>> count_sets(9, 9), count_sets(24, 4)
    (512, 12951)
    """
    return sum(math.comb(modes, k) for k in range(clicks + 1))


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
    steps = []
    for mode in range(modes):
        with_mode = np.flatnonzero(members[:, mode])
        steps.append((with_mode, np.searchsorted(masks, masks[with_mode] ^ (1 << mode))))
    return ModeSets(masks, members, members.sum(axis=1), tuple(steps))


def moebius(q: FloatArray, sets: ModeSets) -> FloatArray:
    """From P(clicks within T) to P(clicks = T): subtract, mode by mode, the set without it; ``(..., K)``, in place."""
    for with_mode, without in sets.steps:
        q[..., with_mode] -= q[..., without]
    return q


@final
@dataclass(frozen=True, eq=False)
class ClickArrays:
    """:class:`ClickNoise` of a batch: every field has a first axis B, or is broadcast along it.

    ``common`` is x = sqrt(I), ``(B,)``; ``pairs`` the overlaps of each pair, ``(B, N, N)``, or None where x is enough.
    """

    one: FloatArray
    two: FloatArray
    common: FloatArray
    pairs: FloatArray | None
    t: FloatArray
    eta: FloatArray
    dark: FloatArray

    @classmethod
    def of(cls, noise: ClickNoise) -> ClickArrays:
        """A batch of one."""
        one, two = emission(noise.brightness, noise.g2)
        pairs = np.asarray(noise.overlap)[None] if np.ndim(noise.overlap) == 2 else None
        common = (
            np.ones(1) if pairs is not None else np.sqrt(np.atleast_1d(np.asarray(noise.overlap, dtype=np.float64)))
        )
        return cls(
            np.atleast_1d(one),
            np.atleast_1d(two),
            common,
            pairs,
            np.asarray(noise.input_transmissions, dtype=np.float64)[None],
            np.asarray(noise.output_efficiencies, dtype=np.float64)[None],
            np.asarray(noise.dark_counts, dtype=np.float64)[None],
        )


def within(columns: ComplexArray, arrays: ClickArrays, sets: ModeSets) -> FloatArray:
    """Q(T) = P(clicks within T) of a batch, ``(B, M, N) -> (B, K)``; see the module's docstring."""
    batch = np.broadcast_shapes((len(columns),), arrays.t.shape[:1], arrays.eta.shape[:1], arrays.common.shape)[0]
    entered = columns * np.sqrt(arrays.t)[:, None, :]
    photons = entered.shape[2]
    outer = entered.conj()[:, :, :, None] * entered[:, :, None, :] * arrays.eta[:, :, None, None]  # (B, M, N, N)
    out = np.empty((batch, len(sets.masks)))
    outside = (~sets.members).astype(np.float64)
    rows = min(len(outside), max(1, CHUNK_ENTRIES // photons**2))
    size = max(1, CHUNK_ENTRIES // (rows * photons**2))
    for start, first in itertools.product(range(0, batch, size), range(0, len(outside), rows)):
        part, some = slice(start, start + size), slice(first, first + rows)
        h = np.eye(photons) - _real_product(outside[some], _rows(outer, part))
        if arrays.pairs is not None:
            h = h * _rows(arrays.pairs, part)[:, None]
        out[part, some] = _permanent(h, arrays, part)
    silent = np.log1p(-np.minimum(arrays.dark, 1.0 - 2.0**-53)) @ outside.T  # sum of log (1 - d_i) outside T
    return out * np.exp(silent)


def _real_product(real: FloatArray, matrices: ComplexArray) -> ComplexArray:
    """``(K, M), (B, M, N, N) -> (B, K, N, N)`` as real matrix products."""
    flat = np.ascontiguousarray(matrices, dtype=np.complex128).reshape(*matrices.shape[:2], -1).view(np.float64)
    return (real @ flat).view(np.complex128).reshape(len(flat), len(real), *matrices.shape[2:])


def _permanent(h: ComplexArray, arrays: ClickArrays, part: slice) -> FloatArray:
    """per[diag(beta) + diag(alpha) H], ``(b, K, N, N) -> (b, K)``."""
    one, two, x = (_rows(a, part)[:, None, None] for a in (arrays.one, arrays.two, arrays.common))
    q = np.einsum("bkjj->bkj", h).real
    alpha = x * (one + two * q)
    beta = (1.0 - one - two) + (1.0 - x) * (one * q + two * q**2)
    matrix = alpha[..., None] * h
    index = np.arange(h.shape[-1])
    matrix[..., index, index] += beta
    return permanents(matrix).real


def _rows(array: npt.NDArray[Any], part: slice) -> npt.NDArray[Any]:
    """Rows of a batch; a batch of one serves all."""
    return array if len(array) == 1 else array[part]


def click_distribution(
    columns: ComplexArray, noise: ClickNoise, *, most_clicks: int | None = None
) -> tuple[ModeSets, FloatArray]:
    """Probabilities of click patterns, the empty window included.

    Absolute errors are a few 1e-15; :func:`accurate_click_distribution` keeps the relative accuracy of rare patterns.

    :param columns: occupied columns of each unitary, ``(B, M, N)``.
    :param most_clicks: leave out patterns with more; ``None`` for all 2^M.
    :returns: the patterns, and their probabilities ``(B, K)``; what these lack to 1 are patterns with more clicks.
    :raises ProgramError: when there are too many patterns.

    Two photons on a balanced beam splitter leave apart with probability (1 - I) / 2:

    >>> h = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    >>> noise = ClickNoise.of(NoiseParameters(indistinguishability=0.9), inputs=2, modes=2)
    >>> sets, p = click_distribution(h[None], noise)
    >>> sets.masks.tolist(), p.round(3).tolist()
    ([0, 1, 2, 3], [[0.0, 0.475, 0.475, 0.05]])
    """
    modes = columns.shape[1]
    sets = mode_sets(modes, modes if most_clicks is None else min(most_clicks, modes))
    return sets, np.maximum(moebius(within(columns, ClickArrays.of(noise), sets), sets), 0.0)


def accurate_click_distribution(
    columns: ComplexArray, noise: ClickNoise, *, most_clicks: int | None = None
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

    >>> noise = ClickNoise.of(NoiseParameters(transmittance=1e-6), inputs=2, modes=3)
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
    size = max(1, CHUNK_ENTRIES // (4 * photons * (photons + 2 ** (photons - 1))))
    for start in range(0, len(sets.masks), size):
        part = slice(start, start + size)
        inside = _real_product(sets.members[part].astype(np.float64), outer[None])[0]
        by_degree[:, part] = _graded_permanent(lost, inside, arrays)
    moebius(by_degree, sets)
    by_degree *= np.arange(2 * photons + 1)[:, None] >= sets.clicks
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
        with_mode, without = sets.steps[mode]
        alone = p[without]
        p = np.where(sets.members[:, mode], p, (1.0 - dark[mode]) * p)
        p[with_mode] += dark[mode] * alone
    return p


# -- detectors that count photons ---------------------------------------------------------------------------


@final
@dataclass(frozen=True, eq=False)
class FockStates:
    """All outcomes of at most P photons in M modes, by number of photons, lexicographic among equals.

    :param counts: photons per mode, ``(K, M)``.
    :param starts: index of the first outcome of 0, 1, ..., P photons, and K, ``(P + 2,)``.
    :param steps: for each mode, the outcomes with a photon in it and the same with one photon less there.
    """

    counts: npt.NDArray[np.uint8] = field(repr=False)
    starts: IntArray = field(repr=False)
    steps: tuple[tuple[IntArray, IntArray], ...] = field(repr=False)


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
    steps = [tuple(np.concatenate([nothing, *side]) for side in zip(*pairs, strict=True)) for pairs in found]
    counts = np.concatenate([occupations(rows, modes) for rows in by_photons])
    return FockStates(counts, starts, tuple((steps_of[0], steps_of[1]) for steps_of in steps))


def _rank_fock(outcomes: IntArray, modes: int) -> IntArray:
    """Index in lexicographic order: adding 0, 1, 2, ... makes the modes of an outcome distinct."""
    photons = outcomes.shape[1]
    if photons == 0:
        return np.zeros(len(outcomes), dtype=np.int64)
    return rank_collision_free(outcomes + np.arange(photons), modes + photons - 1)


def fock_distribution(
    columns: ComplexArray, noise: ClickNoise, *, most_photons: int | None = None
) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Probabilities of what number-resolving detectors count, the empty window included.

    Every input emits nothing, a common photon, a photon of its own, or one of these and an independent one. The common
    photons of every subset of inputs interfere, ``|per(A_s)|^2 / prod s_i!``; the others are added one at a time,
    ``new(s) = sum_j |A_ji|^2 old(s - e_j)``. A photon is counted with eta_i, so that k photons are t counts with
    probability ``C(k, t) eta_i^t (1 - eta_i)^(k - t)``. A dark count adds one count to its mode at most. Only positive
    numbers are added: rare outcomes are as accurate as frequent ones.

    :param columns: occupied columns of the unitary, ``(M, N)``, orthonormal.
    :param most_photons: leave out windows with more common photons, or more counts; ``None`` for all of them.
    :returns: counts of each mode ``(K, M)``, and probabilities ``(K,)``; what these lack to 1 was left out.
    :raises ProgramError: when there are too many outcomes, and for overlaps that differ by pair.

    >>> h = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    >>> outcomes, p = fock_distribution(h, ClickNoise.of(NoiseParameters(), inputs=2, modes=2), most_photons=2)
    >>> dict(zip(map(tuple, outcomes.tolist()), p.round(3).tolist()))[(2, 0)]
    0.5
    """
    if np.ndim(noise.overlap) == 2:
        raise ProgramError("only threshold detectors have overlaps that differ by pair. Use detector=threshold.")
    modes, inputs = columns.shape
    dark, eta = np.asarray(noise.dark_counts, dtype=np.float64), np.asarray(noise.output_efficiencies, dtype=np.float64)
    if most_photons is None:
        most_photons = (2 if noise.g2 > 0.0 else 1) * inputs + int(np.count_nonzero(dark))
    states = fock_states(modes, most_photons)
    best = float(eta.max())  # loss that all modes share acts as well at the inputs
    emissions = [_Emission.of(noise, best * float(t)) for t in noise.input_transmissions]
    p = _InputAverage(columns, emissions, states, eta / best if best > 0.0 else np.ones(modes)).over(0, ())
    for noisy in np.flatnonzero(dark):
        more, fewer = states.steps[noisy]
        alone = dark[noisy] * p[fewer]
        p = (1.0 - dark[noisy]) * p
        p[more] += alone
    return states.counts, p


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
    def of(cls, noise: ClickNoise, t: float) -> _Emission:
        """Of an input with transmission t: a lost first photon leaves the second one, which interferes with nothing."""
        one, two = (float(p) for p in emission(noise.brightness, noise.g2))
        common = math.sqrt(float(noise.overlap))
        first, second, both = t * one + t * (1.0 - t) * two, t * (1.0 - t) * two, t**2 * two
        return cls(
            nothing=(1.0 - one - two) + one * (1.0 - t) + two * (1.0 - t) ** 2,
            other=(1.0 - common) * first + second,
            two_others=(1.0 - common) * both,
            common=common * first,
            common_and_other=common * both,
        )


@final
@dataclass(frozen=True, eq=False)
class _InputAverage:
    """The average over what every input sends, depth first: 2N distributions are held, not 2^N.

    ``efficiencies``, relative to the best: photons are lost before others are added, so that what is left out had more
    counts, and not only more photons.
    """

    columns: ComplexArray
    emissions: list[_Emission]
    states: FockStates
    efficiencies: FloatArray

    def over(self, first: int, common: tuple[int, ...]) -> FloatArray:
        """Inputs before ``first`` send a common photon, if in ``common``, or nothing; those from it on are averaged."""
        if first == len(self.emissions):
            return self._interfering(common)
        sent = self.emissions[first]
        absent = self.over(first + 1, common)
        out, extra = sent.nothing * absent, sent.other * absent
        if sent.common + sent.common_and_other > 0.0:
            present = self.over(first + 1, (*common, first))
            out += sent.common * present
            extra += sent.common_and_other * present
        if sent.two_others > 0.0:
            extra += self._one_more(sent.two_others * absent, first)
        return out + self._one_more(extra, first) if sent.other + sent.common_and_other > 0.0 else out

    def _interfering(self, common: tuple[int, ...]) -> FloatArray:
        out, photons = np.zeros(len(self.states.counts)), len(common)
        if photons == 0:
            out[0] = 1.0
        elif photons + 1 < len(self.states.starts):
            part = slice(self.states.starts[photons], self.states.starts[photons + 1])
            tree = fock_tree(len(self.columns), photons)
            out[part] = probabilities(self.columns[:, list(common)], tree)
            seen = out[: part.stop]
            for mode in np.flatnonzero(self.efficiencies < 1.0):
                seen = _thin(seen, self.states, int(mode), float(self.efficiencies[mode]))
            out[: part.stop] = seen
        return out

    def _one_more(self, p: FloatArray, which: int) -> FloatArray:
        """A photon from one input that interferes with nothing."""
        arrives = np.abs(self.columns[:, which]) ** 2
        out = float(arrives @ (1.0 - self.efficiencies)) * p
        for arrival, (more, fewer) in zip(arrives * self.efficiencies, self.states.steps, strict=True):
            out[more] += arrival * p[fewer]
        return out


def _thin(p: FloatArray, states: FockStates, mode: int, efficiency: float) -> FloatArray:
    """Each photon in ``mode`` is counted with ``efficiency``: t counts of k photons have a binomial probability.

    :param p: of the first outcomes, up to some number of photons.
    """
    size = len(p)
    more, fewer = (side[states.steps[mode][0] < size] for side in states.steps[mode])
    with_one_more = np.full(size + 1, size)
    with_one_more[fewer] = more
    padded, seen = np.append(p, 0.0), states.counts[:size, mode].astype(np.int64)
    most = int(seen.max(initial=0))
    binomial = np.array([[math.comb(t + lost, t) for t in range(most + 1)] for lost in range(most + 1)], dtype=float)
    out, source = np.zeros(size), np.arange(size)
    for lost in range(most + 1):
        out += binomial[lost, seen] * (1.0 - efficiency) ** lost * padded[source]
        source = with_one_more[source]
    return out * efficiency**seen
