"""What an unknown N-photon distribution looks like behind a calibrated device.

The counts of click pattern T are Poisson around ``A (R pi + b)``: pi is the wanted distribution over Fock outcomes s of
N photons, R the response of the device when all N photons are common, b what comes of fewer common photons, and A the
number of windows, which need not be known. With the notation of :mod:`qpu_sdk.photonics.click_model`, behind threshold
detectors::

    R[T|s] = Moebius_T { prod_{i not in T} (1 - d_i) (1 - eta_i)^{s_i}  prod_j x_j (p1 + p2 q_j(T)) }
    b      = P_model - R pi_model

The branch of N common photons is exact, second photons included. b is the sum of the other branches: the interference
of N-1 photons or fewer. pi_model is subtracted to get it and cancels, so no estimate sees the N-photon answer. Behind
detectors that count, the Moebius transform is replaced by binomial losses and the second photons are added one by one;
behind detectors of W wires too, where a further photon is one more click with ``1 - c / W``.

Transmissions that differ by input are split: the largest joins the efficiencies, the rest scales R. Overlaps S_jk that
differ by pair are fitted by ``S_jk = sqrt(x_j x_k)``, exact when each photon is in the common state with a probability
x_j of its own; what is left over is in b.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

import numpy as np
import numpy.typing as npt

from ..arrays import ComplexArray, FloatArray, IntArray
from ..errors import MitigationError
from ..photonics.counts import Counts, Detector, wires
from ..photonics.detection import detected_distribution
from ..photonics.detectors import click_chances
from ..photonics.fock import check_modes_photons, collision_free_index, fock_outcomes, occupations
from ..photonics.noise import Noise, mean_pair
from ..photonics.patterns import (
    ModeSets,
    count_fock_states,
    count_patterns,
    fock_states,
    lattice,
    mode_sets,
    moebius,
    moebius_rows,
    zeta_rows,
)
from ..photonics.permanents import fock_tree, probabilities
from ..photonics.photon_counting import add_count, binomial
from ..photonics.program_noise import ProgramNoise, emission
from .response import Additions, DenseResponse, Response, factorised, gains

#: Largest dark count probability, below 1.
#: At 1 its logarithm would be -inf, and that times 0 NaN.
CERTAIN = 1.0 - 2.0**-53
#: Up to so many entries R is a matrix, above it is applied factor by factor.
MAX_DENSE = 1_000_000
#: Most Fock outcomes, patterns, and N-click patterns: what unfolds these takes a gigabyte.
MOST_STATES, MOST_PATTERNS, MOST_FULL = 250_000, 100_000, 20_000
#: Most modes: patterns are signed 64-bit numbers.
MASKED_MODES = 62


@final
@dataclass(frozen=True, eq=False)
class Space:
    """Outcomes of N photons in M modes, and what detectors show of them: at most N clicks, at least one.

    :param states: photons per mode of every Fock outcome, ``(S, M)``.
    :param free: the collision-free ones among them, ``(C(M, N),)``.
    :param patterns: clicks per mode, ``(K, M)``.
    :param full: the collision-free patterns of N clicks, in the order of ``free``.
    :param places: where each pattern of the lattice stands among ``patterns``, -1 for what detectors never show.
    """

    photons: int
    detector: Detector
    states: npt.NDArray[np.uint8] = field(repr=False)
    free: IntArray = field(repr=False)
    patterns: npt.NDArray[np.uint8] = field(repr=False)
    full: IntArray = field(repr=False)
    places: IntArray = field(repr=False)

    @property
    def modes(self) -> int:
        """Number of modes M."""
        return int(self.states.shape[1])

    @property
    def shown(self) -> IntArray:
        """Where the patterns stand in the lattice, ``(K,)``."""
        return np.flatnonzero(self.places >= 0)

    @property
    def small(self) -> bool:
        """Whether R is held as a matrix."""
        return len(self.patterns) * len(self.states) <= MAX_DENSE

    @property
    def below(self) -> IntArray:
        """The patterns with fewer than N clicks.

        :returns: ``(K,)``.
        """
        return np.flatnonzero(self.patterns.sum(axis=1) < self.photons)

    def numbers(self, counts: Counts) -> FloatArray:
        """How often each pattern was seen, ``(K,)``; patterns of more than N clicks are left out."""
        clicks = counts.outcomes.sum(axis=1, dtype=np.int64)
        kept = (clicks >= 1) & (clicks <= self.photons)
        out = np.zeros(len(self.patterns))
        places = self.places[lattice(self.modes, self.photons, self.detector).find(counts.outcomes[kept])]
        np.add.at(out, places, counts.numbers[kept])
        return out


@lru_cache(maxsize=8)
def space(modes: int, photons: int, detector: Detector) -> Space:
    """The outcomes and patterns of ``photons`` photons in ``modes`` modes.

    :raises MitigationError: when there are too many of them.

    >>> threshold = space(9, 4, "threshold")
    >>> threshold.states.shape, threshold.patterns.shape, len(threshold.full)
    ((495, 9), (255, 9), 126)
    """
    check_modes_photons(modes, photons)
    _check_size(modes, photons, detector)
    free = collision_free_index(modes, photons)
    states = occupations(fock_outcomes(modes, photons), modes)
    seen, most = lattice(modes, photons, detector), wires(detector)
    shown = np.ones(len(seen.counts), dtype=np.bool_) if most is None else seen.counts.max(axis=1) <= most
    shown[0] = False  # the empty pattern
    places = np.where(shown, np.cumsum(shown) - 1, -1)
    return Space(photons, detector, states, free, seen.counts[shown], places[seen.find(states[free])], places)


def _check_size(modes: int, photons: int, detector: Detector) -> None:
    """Raise :class:`MitigationError`, with the limit and the way out, when unfolding would take too much memory."""
    outcomes = count_fock_states(modes, photons) - count_fock_states(modes, photons - 1)
    patterns, full = count_patterns(modes, photons, detector) - 1, math.comb(modes, photons)
    for size, limit, what in (
        (outcomes, MOST_STATES, "outcomes"),
        (patterns, MOST_PATTERNS, "patterns of clicks"),
        (full, MOST_FULL, "collision-free outcomes"),
    ):
        if size > limit or modes > MASKED_MODES:
            held = f"{size} {what}; {limit} are held" if size > limit else f"a model of {MASKED_MODES} modes at most"
            raise MitigationError(
                f"unfolding {photons} photons in {modes} modes takes {held}. "
                "Use method response, fuse or post-select, or fewer photons or modes."
            )


@final
@dataclass(frozen=True, eq=False)
class Forward:
    """The forward model of one program on one device.

    :param response: R, ``(K, S)``.
    :param gain: g_s = R[s|s], that a collision-free outcome is seen as it is, ``(C(M, N),)``.
    :param background: b, ``(K,)``.
    :param model: P of the calibrated device with the ideal circuit, ``(K,)``.
    :param ideal: pi of the ideal circuit, ``(S,)``; for the background, and never an answer.
    """

    space: Space
    response: Response = field(repr=False)
    gain: FloatArray = field(repr=False)
    background: FloatArray = field(repr=False)
    model: FloatArray = field(repr=False)
    ideal: FloatArray = field(repr=False)

    def rates(self, pi: FloatArray) -> FloatArray:
        """R pi + b, ``(..., S) -> (..., K)``."""
        return self.response.rates(pi) + self.background

    def mistaken(self, pi: FloatArray) -> FloatArray:
        """What looks like N photons apart and is not, from all common photons, ``(C(M, N),)``."""
        return np.maximum(self.response.rates(pi)[self.space.full] - self.gain * pi[self.space.free], 0.0)


def forward(columns: ComplexArray, noise: ProgramNoise, detector: Detector = "threshold") -> Forward:
    """The forward model of a program.

    :param columns: occupied columns of the ideal unitary, ``(M, N)``.
    :raises MitigationError: when it is too large.
    :raises ProgramError: for overlaps that differ by pair with detectors that count.
    """
    modes, photons = columns.shape
    here = space(modes, photons, detector)
    ideal = probabilities(columns, fock_tree(modes, photons))
    model = detected_distribution(columns, noise, detector, most_clicks=photons)[1][here.places >= 0]
    response, gain = _response(columns, noise, here)
    background = np.maximum(model - response.rates(ideal), 0.0)  # rounding may go below 0
    return Forward(here, response, gain, background, model, ideal)


def without_circuit(noise: ProgramNoise, detector: Detector, *, modes: int, photons: int) -> Forward:
    """Loss alone, where the circuit is not known: no background, and no second photons."""
    here, efficiency = space(modes, photons, detector), noise.efficiency * float(np.mean(noise.transmittance))
    if here.small:
        response, gain = _matrix(here, _of_losses(here, efficiency))
    else:
        nothing = Additions(1.0, 0.0, np.zeros((modes, 0)), np.zeros(modes), wires(detector))
        response, gain = _factors(here, efficiency, nothing)
    uniform = np.full(len(here.states), 1.0 / len(here.states))
    return Forward(here, response, gain, np.zeros(len(here.patterns)), response.rates(uniform), uniform)


def _matrix(here: Space, every: FloatArray) -> tuple[Response, FloatArray]:
    """Of all patterns of the lattice, ``(L, S)``."""
    matrix = np.ascontiguousarray(every[here.places >= 0])
    return DenseResponse(matrix), matrix[here.full, here.free]


def _factors(here: Space, efficiency: FloatArray, added: Additions) -> tuple[Response, FloatArray]:
    tables = [_of_one_mode(here.photons, here.detector, float(eta)) for eta in np.clip(efficiency, 0.0, 1.0)]
    occupied = np.nonzero(here.states[here.free])[1].reshape(-1, here.photons)
    response = factorised(tables, lattice(here.modes, here.photons, here.detector), here.detector, here.shown, added)
    return response, gains(occupied, tables, added)


def signal_without_circuit(noise: Noise, photons: int) -> float:
    """Share of the events of N clicks that N common photons and no second one made, about, whatever the circuit.

    ``I^(N/2) / (1 + N^2 p2 (1 - t))``: an event may be one of N + 1 photons, of which one of the N is lost.

    >>> round(signal_without_circuit(Noise(indistinguishability=0.9, g2=0.02, transmittance=0.1), 4), 2)
    0.71
    """
    _, two = emission(noise.brightness, noise.g2)
    common = mean_pair(noise.indistinguishability) ** (photons / 2.0)
    return float(common / (1.0 + photons**2 * float(two) * (1.0 - noise.click_probability)))


def common_probabilities(noise: ProgramNoise) -> FloatArray:
    """x_j, the probability of each photon to be in the common state, ``(N,)``."""
    photons, roots = len(noise.transmittance), np.sqrt(np.asarray(noise.indistinguishability, dtype=np.float64))
    if roots.ndim == 0 or photons == 1:
        return np.full(photons, float(roots) if roots.ndim == 0 else 1.0)
    pairs = list(itertools.combinations(range(photons), 2))
    # log S_jk = (log x_j + log x_k) / 2 is linear in the unknown.
    halves = np.array([[0.5 * (j in pair) for j in range(photons)] for pair in pairs])
    logs = np.array([np.log(max(float(roots[pair]), 1e-12)) for pair in pairs])
    return np.asarray(np.minimum(np.exp(np.linalg.lstsq(halves, logs, rcond=None)[0]), 1.0))


def _response(columns: ComplexArray, noise: ProgramNoise, here: Space) -> tuple[Response, FloatArray]:
    """R, ``(K, S)``, and the gains in it, ``(C(M, N),)``."""
    transmissions = np.asarray(noise.transmittance, dtype=np.float64)
    best = float(transmissions.max())
    one, two = (float(p) for p in emission(noise.brightness, noise.g2))
    x = common_probabilities(noise)
    scale = float(np.prod(x) * np.prod(transmissions / best)) if best > 0.0 else 0.0
    arrives = noise.efficiency[:, None] * np.abs(columns) ** 2 * transmissions  # of a second photon, (M, N)
    if not here.small:
        added = Additions(one, two, arrives, noise.dark_counts, wires(here.detector), scale)
        return _factors(here, noise.efficiency * best, added)
    lost = _of_losses(here, noise.efficiency * best)
    if here.detector == "threshold":
        if two == 0.0 and not noise.dark_counts.any():
            return _matrix(here, lost * (scale * one**here.photons))
        sets = mode_sets(here.modes, here.photons)
        factor = scale * _seconds_and_dark(arrives, one, two, noise.dark_counts, sets)
        inside = _within_of_losses(here.modes, here.photons, _as_key(noise.efficiency * best)) * factor[:, None]
        return _matrix(here, np.maximum(moebius_rows(inside, sets), 0.0))
    out = lost * scale
    for j in range(arrives.shape[1]):
        out = _one_second(out, arrives[:, j], one, two, here)
    for mode in np.flatnonzero(noise.dark_counts):
        dark = noise.dark_counts[mode]
        seen = (1.0 - dark) * out
        add_count(seen, dark * out, fock_states(here.modes, here.photons), int(mode), wires(here.detector))
        out = seen
    return _matrix(here, out)


def _seconds_and_dark(arrives: FloatArray, one: float, two: float, dark: FloatArray, sets: ModeSets) -> FloatArray:
    """Threshold detectors: within T, second photons and dark counts are a factor, ``(L,)``."""
    outside = (~sets.members).astype(np.float64)
    q = 1.0 - outside @ arrives  # (L, N)
    return np.asarray(np.prod(one + two * q, axis=1) * np.exp(outside @ np.log1p(-np.minimum(dark, CERTAIN))))


def _one_second(p: FloatArray, arrives: FloatArray, one: float, two: float, here: Space) -> FloatArray:
    """Detectors that count: input j sent a second photon with p2, which is lost or adds a count."""
    out = (one + two * (1.0 - arrives.sum())) * p
    if two > 0.0:
        for mode, arrival in enumerate(arrives):
            add_count(out, two * arrival * p, fock_states(here.modes, here.photons), mode, wires(here.detector))
    return np.asarray(out)


def _of_losses(here: Space, eta: FloatArray) -> FloatArray:
    """What photons that are only lost leave, over the whole lattice, the empty pattern first, ``(L, S)``."""
    return _losses(here.modes, here.photons, here.detector, _as_key(eta))


def _as_key(eta: FloatArray) -> bytes:
    """Arrays are no keys of a cache, bytes are."""
    return np.ascontiguousarray(np.clip(eta, 0.0, 1.0)).tobytes()


@lru_cache(maxsize=4)
def _losses(modes: int, photons: int, detector: Detector, eta_bytes: bytes) -> FloatArray:
    here, eta = space(modes, photons, detector), np.frombuffer(eta_bytes)
    if detector == "threshold":
        sets = mode_sets(modes, photons)
        outside = (~sets.members).astype(np.float64)
        logs = np.log(np.maximum(1.0 - eta, 1e-300))  # log 0 of a perfect detector times no photon is NaN
        missed = np.exp((outside * logs) @ here.states.T.astype(np.float64))
        out = np.maximum(moebius(np.ascontiguousarray(missed.T), sets).T, 0.0)
    else:
        seen, chances = fock_states(modes, photons).counts, click_chances(photons, wires(detector))
        out = np.ones((len(seen), len(here.states)))
        for mode in range(modes):
            out *= (chances @ binomial(photons, eta[mode]))[seen[:, mode][:, None], here.states[:, mode]]
    out = np.ascontiguousarray(out)
    out.setflags(write=False)
    return out


@lru_cache(maxsize=4)
def _within_of_losses(modes: int, photons: int, eta_bytes: bytes) -> FloatArray:
    """P(clicks within T) of threshold detectors that only lose photons, ``(L, S)``; programs of a record share it."""
    out = zeta_rows(_losses(modes, photons, "threshold", eta_bytes).copy(), mode_sets(modes, photons))
    out.setflags(write=False)
    return out


def _of_one_mode(photons: int, detector: Detector, eta: float) -> FloatArray:
    """Probability that one mode shows t of s photons that reach it, ``[t, s]``."""
    return np.asarray(click_chances(photons, wires(detector)) @ binomial(photons, eta))
