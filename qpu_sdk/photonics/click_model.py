"""What threshold detectors behind a noisy source see, exactly: one permanent for every set of modes.

N inputs each emit a photon with probability p1, or a photon and a second one that interferes with nothing with
probability p2 (Perceval's source: ``p1 + p2 = B``, ``g2 = 2 p2 / (p1 + 2 p2)^2``). A photon is in the common state with
probability x = sqrt(I) and in a state of its own otherwise. It survives its input with t_j, the detector of mode i
fires for it with eta_i, and by itself with d_i. For a set of modes T, with ``A = U[:, inputs] diag(sqrt(t))``,

    H(T) = 1 - A^dagger diag(eta_i [i not in T]) A,              q_j = H_jj
    alpha_j = x (p1 + p2 q_j),    beta_j = (1 - B) + (1 - x) (p1 q_j + p2 q_j^2)
    Q(T) = P(clicks within T) = prod_{i not in T} (1 - d_i) per[diag(beta) + diag(alpha) H(T)]
    P(clicks = T) = sum_{R in T} (-1)^{|T| - |R|} Q(R)

because a group C of common photons is lost or ends inside T with probability per(H_CC), a photon on its own with q_j,
and summing over who is which adds up to the permanent of a sum. With overlaps S_jk that differ by pair, H is replaced
by H * S, elementwise. The last line is a Moebius transform over subsets; only sets up to the wanted number of clicks
are needed for it, so 24 modes work. For an ideal source this is the formula of Bulmer, Paesani, Chadwick and Quesada,
"Threshold detection statistics of bosonic states" (arXiv:2202.04600).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, ProgramError
from .counts import Detector
from .fock import IntArray
from .noise import NoiseParameters
from .permanents import ComplexArray, FloatArray, permanents

#: Most sets of modes in one evaluation.
MAX_SETS = 2_000_000
#: Complex numbers of one chunk: 64 MB.
CHUNK_ENTRIES = 4_000_000


@final
@dataclass(frozen=True, eq=False)
class ClickNoise:
    """Everything between a program and its clicks, for N inputs and M modes.

    :param brightness: B, probability that a source emits.
    :param overlap: I of every pair of photons: one number, or ``(N, N)`` overlaps S_jk of their states with ones on the
        diagonal, in which case every photon is in the common state.
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

    :param indistinguishability: I of every pair of inputs, or ``(M, M)`` overlaps of their photons.
    :param input_transmissions: ``(M,)``; 0 where no source is connected.
    :param phase_error: largest error of a phase, radians; uniform, drawn once a program.
    :param detector: what the detectors resolve.
    """

    brightness: float
    indistinguishability: float | FloatArray
    g2: float
    input_transmissions: FloatArray = field(repr=False)
    output_efficiencies: FloatArray = field(repr=False)
    dark_counts: FloatArray = field(repr=False)
    phase_error: float = 0.0
    detector: Detector = "threshold"

    @classmethod
    def of(cls, noise: NoiseParameters, *, modes: int, detector: Detector = "threshold") -> DeviceNoise:
        """The same for every input and mode.

        :raises ConfigError: for second photons that equal the first, which the click model does not have.
        """
        if noise.g2 > 0.0 and not noise.g2_distinguishable:
            raise ConfigError(
                "the click model has no second photon that equals the first. Use g2_distinguishable=true."
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

    ``common`` is x = sqrt(I), ``(B,)``; ``pairs`` the overlaps of each pair, ``(B, N, N)``, or None where x says it all.
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
    outer = outer.reshape(len(outer), outer.shape[1], -1)
    out = np.empty((batch, len(sets.masks)))
    size = max(1, CHUNK_ENTRIES // (max(1, len(sets.masks)) * photons**2))
    outside = (~sets.members).astype(np.float64)
    for start in range(0, batch, size):
        part = slice(start, start + size)
        lost = (outside @ _rows(outer, part)).reshape(-1, len(sets.masks), photons, photons)
        h = np.eye(photons) - lost
        if arrays.pairs is not None:
            h = h * _rows(arrays.pairs, part)[:, None]
        out[part] = _permanent(h, arrays, part)
    silent = np.log1p(-np.minimum(arrays.dark, 1.0 - 1e-300)) @ outside.T  # sum of log (1 - d_i) outside T
    return out * np.exp(silent)


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


def _rows(array: FloatArray, part: slice) -> FloatArray:
    """Rows of a batch; a batch of one serves all."""
    return array if len(array) == 1 else array[part]


def click_distribution(
    columns: ComplexArray, noise: ClickNoise, *, most_clicks: int | None = None
) -> tuple[ModeSets, FloatArray]:
    """Probabilities of click patterns, the empty window included.

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
