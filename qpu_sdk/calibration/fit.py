"""One maximum-likelihood fit of all parameters to all settings.

The click model (:mod:`qpu_sdk.photonics.click_model`) gives P(T | theta) for every setting, so its parameters need no
chain of estimators. Windows without a click are usually not recorded; then what is observed is

    p(T | theta) = P(T | theta) / (1 - P(empty | theta)),        L = sum_settings sum_T N_T log p(T | theta),

and the absolute transmission comes from coincidences. With known numbers of windows the empty one is a pattern like
the others. The maximum is found by Fisher scoring, theta <- theta + F^-1 dL/dtheta with the information

    F = sum_settings N sum_T (dp/dtheta)(dp/dtheta)^T / p,

damped as by Levenberg and Marquardt; the inverse of F is the covariance. Brightness times transmission is all that
counts tell, and so is transmission times efficiency: the gauge is B = 1, and output efficiencies of mean 1, so that
an input transmission is the chance of a click averaged over outputs. (Were the best efficiency 1, its choice would
bias all others: the best of noisy estimates is too good.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ..errors import CalibrationError
from ..photonics.click_model import ClickArrays, ClickNoise, ModeSets, emission, mode_sets, moebius, within
from ..photonics.counts import Counts
from ..photonics.permanents import ComplexArray, FloatArray
from .plan import Setting
from .record import parameter_name

#: Two-click events that the Hong-Ou-Mandel settings must bring, so that the fit is better than a guess.
FEWEST_COINCIDENCES = 100
#: Most steps of scoring; five to ten are usual.
MOST_STEPS = 60
#: Smallest dark-count probability that is told from none.
LEAST_DARK = 1e-10
#: The click model is right to a few 1e-15: no pattern is rarer than that for sure.
ROUNDING = 1e-15
#: Curvature below which a direction counts as flat.
FLAT = 1e-4
#: A step that would raise the log-likelihood by less is not worth taking.
SETTLED = 1e-3


@final
@dataclass(frozen=True, eq=False)
class Observation:
    """Clicks of one setting, by pattern.

    :param columns: occupied columns of its unitary, ``(M, N)``.
    :param numbers: shots of every pattern of the sets, ``(K,)``; the first is the empty one.
    :param more: shots with more clicks than the sets have.
    :param windows: detection windows, empty ones included, ``None`` when unknown.
    """

    name: str
    inputs: tuple[int, ...]
    columns: ComplexArray
    numbers: FloatArray
    more: float
    windows: int | None = None

    @property
    def shots(self) -> float:
        """Windows with a click."""
        return float(self.numbers[1:].sum() + self.more)

    def observed(self) -> FloatArray:
        """Numbers by pattern: empty (0 when windows are unknown), each pattern, more clicks, ``(K + 1,)``."""
        empty = 0.0 if self.windows is None else self.windows - self.shots
        return np.concatenate([[empty], self.numbers[1:], [self.more]])


@final
@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of a device with one value a name.

    :param overlap: I of every pair, ``(1,)``, or of each pair of inputs, ``(n (n-1) / 2,)``.
    :param transmissions: of the inputs in ``inputs``, ``(n,)``.
    :param efficiencies: of all modes, ``(M,)``.
    :param dark: of all modes, ``(M,)``.
    """

    inputs: tuple[int, ...]
    overlap: FloatArray
    g2: float
    transmissions: FloatArray
    efficiencies: FloatArray
    dark: FloatArray

    @property
    def names(self) -> list[str]:
        """In the order of :meth:`vector`."""
        n, pairs = self.inputs, len(self.overlap) > 1
        kind = "indistinguishability"
        overlap = [parameter_name(kind, j, k) for a, j in enumerate(n) for k in n[a + 1 :]] if pairs else []
        return [
            *(overlap or [kind]),
            "g2",
            *(parameter_name("input_transmissions", j) for j in n),
            *(parameter_name("output_efficiencies", i) for i in range(len(self.efficiencies))),
            *(parameter_name("dark_counts", i) for i in range(len(self.dark))),
        ]

    def vector(self) -> FloatArray:
        """All values, ``(P,)``."""
        return np.concatenate([self.overlap, [self.g2], self.transmissions, self.efficiencies, self.dark])

    def of(self, vector: FloatArray) -> Parameters:
        """The same device with other values."""
        sizes = [len(self.overlap), 1, len(self.transmissions), len(self.efficiencies)]
        overlap, g2, t, eta, dark = np.split(vector, np.cumsum(sizes))
        return replace(self, overlap=overlap, g2=float(g2[0]), transmissions=t, efficiencies=eta, dark=dark)

    def noise(self, inputs: tuple[int, ...]) -> ClickNoise:
        """What a program that uses these inputs sees."""
        places, best = [self.inputs.index(j) for j in inputs], self.efficiencies.max()
        return ClickNoise(
            brightness=1.0,
            overlap=float(self.overlap[0]) if len(self.overlap) == 1 else self.pairs()[np.ix_(places, places)],
            g2=self.g2,
            input_transmissions=np.minimum(self.transmissions[places] * best, 1.0),
            output_efficiencies=self.efficiencies / best,
            dark_counts=self.dark,
        )

    def pairs(self) -> FloatArray:
        """Overlaps sqrt(I) of every pair of inputs, ``(n, n)``."""
        n = len(self.inputs)
        out = np.eye(n)
        out[np.triu_indices(n, 1)] = np.sqrt(self.overlap)
        return np.asarray(np.maximum(out, out.T))


@final
@dataclass(frozen=True, eq=False)
class Fit:
    """Result of :func:`fit`.

    :param covariance: of :meth:`Parameters.vector`, ``(P, P)``; singular, because the gauge holds the mean efficiency.
    :param steps: scoring steps taken.
    """

    parameters: Parameters
    covariance: FloatArray
    log_likelihood: float
    steps: int

    @property
    def standard_errors(self) -> FloatArray:
        """Of :meth:`Parameters.vector`, ``(P,)``."""
        return np.sqrt(np.diag(self.covariance))


def observe(setting: Setting, counts: Counts, *, most_clicks: int, windows: int | None = None) -> Observation:
    """Sort counts by click pattern.

    :param most_clicks: patterns with more clicks are put together.
    :raises CalibrationError: when counts are of another program or none, or lack single clicks.

    Counts of number-resolving detectors are taken as clicks, because the model is of clicks.
    """
    program = setting.program
    if counts.modes != program.modes or (counts.program and counts.program != program.fingerprint):
        raise CalibrationError(
            f"counts of setting {setting.name} are of another program. Give them in the plan's order."
        )
    if not counts.shots:
        raise CalibrationError(f"setting {setting.name} brought no shots. Measure again.")
    if windows is not None and windows < counts.shots:
        raise CalibrationError(
            f"setting {setting.name} has {windows} windows and {counts.shots} shots. A shot is a window with a click."
        )
    patterns = counts.outcomes > 0
    clicks = patterns.sum(axis=1)
    if not counts.numbers[clicks == 1].sum():
        raise CalibrationError(
            f"setting {setting.name} has {counts.shots} shots and none with a single click: either nothing is lost and "
            "there is nothing to calibrate, or they were filtered or mitigated. Ask for raw counts, filter one click."
        )
    sets = mode_sets(program.modes, most_clicks)
    kept = clicks <= most_clicks
    masks = patterns[kept] @ (np.int64(1) << np.arange(program.modes))
    numbers = np.zeros(len(sets.masks))
    np.add.at(numbers, np.searchsorted(sets.masks, masks), counts.numbers[kept])
    more = float(counts.numbers[~kept].sum() + counts.other)
    columns = program.mesh.columns(program.phases, program.input_modes)
    return Observation(setting.name, program.input_modes, columns, numbers, more, windows)


def fit(observations: Sequence[Observation], *, most_clicks: int, pairs: bool = False) -> Fit:
    """Fit all parameters to all observations.

    :param pairs: True for an overlap of each pair, False for one of all.
    :raises CalibrationError: when the counts are too few, or a mode never fires.
    """
    inputs = tuple(sorted({j for o in observations for j in o.inputs}))
    modes = observations[0].columns.shape[0]
    sets = mode_sets(modes, most_clicks)
    check_enough(observations, sets, inputs)
    start = _start(observations, sets, inputs, pairs=pairs)
    problem = _Problem(observations, sets, start)
    vector, information, likelihood, steps = _score(problem)
    return _in_gauge(Fit(start.of(vector), problem.covariance(information), likelihood, steps))


def check_enough(observations: Sequence[Observation], sets: ModeSets, inputs: tuple[int, ...]) -> None:
    """Raise :class:`CalibrationError` when the fit would be a guess; says how much is needed."""
    seen = sum((o.numbers for o in observations), np.zeros(len(sets.masks)))
    silent = [mode for mode in range(sets.members.shape[1]) if not seen[sets.members[:, mode]].sum()]
    if silent:
        shots = sum(o.shots for o in observations)
        raise CalibrationError(
            f"mode {silent[0]} never fires in {shots:,.0f} shots. Leave it out with fewer modes, or have it repaired."
        )
    hom = [o for o in observations if o.name.startswith("hom")] or list(observations)
    coincidences = sum(float(o.numbers[sets.clicks == 2].sum()) for o in hom)
    if coincidences < FEWEST_COINCIDENCES:
        shots = max(o.shots for o in hom)
        need = shots * FEWEST_COINCIDENCES / max(coincidences, 1.0)
        raise CalibrationError(
            f"{coincidences:.0f} coincidences in the Hong-Ou-Mandel settings; the fit of {len(inputs)} inputs needs "
            f"{FEWEST_COINCIDENCES}. Use at least {need:,.0f} shots a setting."
        )


def _start(observations: Sequence[Observation], sets: ModeSets, inputs: tuple[int, ...], *, pairs: bool) -> Parameters:
    """Rough values: transmission from the ratio of double to single clicks, efficiencies from singles."""
    modes = sets.members.shape[1]
    one, two, shown, expected = 0.0, 0.0, np.zeros(modes), np.zeros(modes)
    for o in observations:
        one += o.numbers[sets.clicks == 1].sum()
        two += o.numbers[sets.clicks == 2].sum()
        singles = np.array([o.numbers[sets.members[:, i]].sum() for i in range(modes)])
        light = (np.abs(o.columns) ** 2).sum(axis=1)
        shown += singles
        expected += light * o.shots / light.sum()
    ratio = 2.0 * two / (one * max(1, len(inputs) - 1))
    efficiencies = np.where(expected > 0.0, shown / np.maximum(expected, 1e-9), 1.0)
    efficiencies = np.clip(efficiencies / efficiencies.max(), 0.05, 1.0)
    return Parameters(
        inputs=inputs,
        overlap=np.full(len(inputs) * (len(inputs) - 1) // 2 if pairs else 1, 0.85),
        g2=0.03,
        transmissions=np.full(len(inputs), np.clip(ratio / (1.0 + ratio) / efficiencies.mean(), 1e-4, 0.95)),
        efficiencies=efficiencies,
        dark=np.full(modes, 1e-6),
    )


@final
class _Problem:
    """Probabilities and their derivatives, for every observation at once.

    Coordinates are the natural ones for I and g2, which may be at their limits, and logarithms for all others. The
    efficiency of one mode is held: scaling all of them changes nothing that transmissions do not.
    """

    def __init__(self, observations: Sequence[Observation], sets: ModeSets, start: Parameters) -> None:
        self.observations, self.sets, self.start = list(observations), sets, start
        self.observed = [o.observed() for o in self.observations]
        self._first_log = len(start.overlap) + 1
        self._first_dark = self._first_log + len(start.transmissions) + len(start.efficiencies)
        held = self._first_log + len(start.transmissions) + int(np.argmax(start.efficiencies))
        self.free = np.flatnonzero(np.arange(len(start.vector())) != held)

    def coordinates(self, vector: FloatArray) -> FloatArray:
        """From natural values."""
        out = vector.copy()
        out[self._first_log :] = np.log(np.maximum(vector[self._first_log :], LEAST_DARK))
        return out

    def vector(self, coordinates: FloatArray) -> FloatArray:
        """To natural values, ``(..., P)``."""
        out = coordinates.copy()
        out[..., self._first_log :] = np.exp(coordinates[..., self._first_log :])
        return out

    def clipped(self, coordinates: FloatArray) -> FloatArray:
        """Within the physical range."""
        out, first, dark = coordinates.copy(), self._first_log, self._first_dark
        out[: first - 1] = np.clip(out[: first - 1], 1e-4, 1.0)
        out[first - 1] = np.clip(out[first - 1], 0.0, 0.49)
        out[first:dark] = np.clip(out[first:dark], np.log(1e-6), np.log(10.0))
        out[dark:] = np.clip(out[dark:], np.log(LEAST_DARK), np.log(0.1))
        return np.asarray(out)

    def probabilities(self, coordinates: FloatArray) -> list[FloatArray]:
        """p of every observation at a batch of points, ``(D, P) -> [(D, K + 1)]``."""
        points = self.vector(coordinates)
        out: list[FloatArray] = []
        for o in self.observations:
            p = moebius(within(o.columns[None], _arrays(self.start, points, o.inputs), self.sets), self.sets)
            p = np.maximum(p, ROUNDING)
            p = np.concatenate([p, np.maximum(1.0 - p.sum(axis=1, keepdims=True), ROUNDING)], axis=1)
            if o.windows is None:
                p[:, 0] = 0.0
                p /= p.sum(axis=1, keepdims=True)
            out.append(p)
        return out

    def likelihood(self, ps: Sequence[FloatArray]) -> float:
        """Log-likelihood at one point."""
        total = 0.0
        for n, p in zip(self.observed, ps, strict=True):
            seen = n > 0
            total += float(n[seen] @ np.log(np.maximum(p[0, seen], 1e-300)))
        return total

    def around(self, coordinates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points a little above and below in one coordinate after the other, ``(P, P)`` each."""
        # probabilities are linear in dark counts, and rounding spoils small differences of rare patterns
        sizes = np.diag(np.where(np.arange(len(coordinates)) >= self._first_dark, 0.1, 1e-4))
        above, below = coordinates + sizes, coordinates - sizes
        below[:, self._first_log - 1] = np.maximum(below[:, self._first_log - 1], 0.0)  # g2 may be 0
        return above, below

    def derivatives(self, coordinates: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Gradient, a curvature for steps, and the Fisher information, in the free coordinates.

        Differences are central. The curvature weighs a pattern with what is seen or expected, whichever is more: a
        rare pattern that was seen bends the likelihood more than its expectation says.
        """
        free = self.free
        above, below = (points[free] for points in self.around(coordinates))
        steps = (above - below)[np.arange(len(free)), free]
        points = np.concatenate([above, below])
        size = len(self.free)
        gradient, curvature, information = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
        at = self.probabilities(coordinates[None])
        for n, p, moved in zip(self.observed, at, self.probabilities(points), strict=True):
            slope = (moved[: len(free)] - moved[len(free) :]) / steps[:, None]
            total, seen = n.sum(), (n > 0) | (n.sum() * p[0] > 1e-3)
            relative = slope[:, seen] / p[0, seen]
            gradient += relative @ n[seen]
            curvature += (relative * np.maximum(n, total * p[0])[seen]) @ relative.T
            # a pattern that is never expected would count as infinitely telling: half an event is its least weight
            information += total * (slope / np.maximum(p[0], 0.5 / total)) @ slope.T
        return gradient, curvature, information

    def move(self, x: FloatArray, gradient: FloatArray, curvature: FloatArray, damping: float) -> FloatArray:
        """A damped scoring step; what stands at a limit and wants beyond it stays, ``(P,)``."""
        lowest, highest = (self.clipped(np.full(len(x), end))[self.free] for end in (-np.inf, np.inf))
        stays = ((lowest >= x[self.free]) & (gradient < 0.0)) | ((highest <= x[self.free]) & (gradient > 0.0))
        goes = np.flatnonzero(~stays)
        part = curvature[np.ix_(goes, goes)]
        out = np.zeros(len(x))
        ridge = damping * np.diag(part) + FLAT  # dark counts that no shot speaks of have no curvature
        out[self.free[goes]] = np.linalg.solve(part + np.diag(ridge), gradient[goes])
        return out

    def covariance(self, information: FloatArray) -> FloatArray:
        """Of the natural values at the coordinates' point of ``information``; see :func:`_score`."""
        out = np.zeros((len(self.start.vector()),) * 2)
        out[np.ix_(self.free, self.free)] = np.linalg.inv(information)
        return out


def _arrays(start: Parameters, points: FloatArray, inputs: tuple[int, ...]) -> ClickArrays:
    """A batch of parameter vectors ``(D, P)`` for a program that uses these inputs."""
    overlaps, n, m = len(start.overlap), len(start.inputs), len(start.efficiencies)
    places = [start.inputs.index(j) for j in inputs]
    overlap, g2, t, eta, dark = np.split(points, np.cumsum([overlaps, 1, n, m]), axis=1)
    one, two = emission(np.ones(len(points)), np.clip(g2[:, 0], 0.0, 0.5))
    pairs = None
    if overlaps > 1:
        pairs = np.tile(np.eye(n), (len(points), 1, 1))
        rows, columns = np.triu_indices(n, 1)
        pairs[:, rows, columns] = pairs[:, columns, rows] = np.sqrt(np.maximum(overlap, 0.0))
        pairs = pairs[:, places][:, :, places]
    common = np.ones(len(points)) if pairs is not None else np.sqrt(np.maximum(overlap[:, 0], 0.0))
    return ClickArrays(one, two, common, pairs, t[:, places], eta, np.maximum(dark, 0.0))


def _score(problem: _Problem) -> tuple[FloatArray, FloatArray, float, int]:
    """Fisher scoring; the natural values, the information about them, the log-likelihood and the steps taken."""
    x = problem.clipped(problem.coordinates(problem.start.vector()))
    likelihood, damping = problem.likelihood(problem.probabilities(x[None])), 1e-3
    gradient, curvature, information = problem.derivatives(x)
    for step in range(1, MOST_STEPS + 1):
        move = problem.move(x, gradient, curvature, damping)
        if gradient @ move[problem.free] < SETTLED:
            return _natural(problem, x, information, likelihood, step)
        there = problem.clipped(x + move)
        found = problem.likelihood(problem.probabilities(there[None]))
        if found < likelihood:
            damping *= 10.0
            continue
        x, likelihood, damping = there, found, damping / 10.0
        gradient, curvature, information = problem.derivatives(x)
    raise CalibrationError(
        f"the fit has not settled after {MOST_STEPS} steps: the counts do not fit the model. Measure again, with more "
        "shots."
    )


def _natural(
    problem: _Problem, x: FloatArray, information: FloatArray, likelihood: float, steps: int
) -> tuple[FloatArray, FloatArray, float, int]:
    """Information about natural values: a logarithm's derivative is 1 / value."""
    vector = problem.vector(x)
    slope = np.ones(len(x))
    slope[problem._first_log :] /= vector[problem._first_log :]
    slope = slope[problem.free]
    return vector, slope[:, None] * information * slope, likelihood, steps


def _in_gauge(found: Fit) -> Fit:
    """Scale efficiencies to mean 1, and transmissions the other way; errors follow to first order."""
    p, vector = found.parameters, found.parameters.vector()
    t0, modes = len(p.overlap) + 1, len(p.efficiencies)
    e0, mean = t0 + len(p.transmissions), float(p.efficiencies.mean())
    t, eta = slice(t0, e0), slice(e0, e0 + modes)
    jacobian = np.eye(len(vector))
    jacobian[t, t] *= mean
    jacobian[t, eta] = vector[t, None] / modes
    jacobian[eta, eta] = np.eye(modes) / mean - vector[eta, None] / (modes * mean**2)
    vector[t], vector[eta] = vector[t] * mean, vector[eta] / mean
    return replace(found, parameters=p.of(vector), covariance=jacobian @ found.covariance @ jacobian.T)


def expected(observation: Observation, parameters: Parameters, *, most_clicks: int) -> FloatArray:
    """Expected numbers by pattern, as :meth:`Observation.observed`, ``(K + 1,)``."""
    sets = mode_sets(observation.columns.shape[0], most_clicks)
    problem = _Problem([observation], sets, parameters)
    [p] = problem.probabilities(problem.coordinates(parameters.vector())[None])
    return np.asarray(problem.observed[0].sum() * p[0])


def slopes(observation: Observation, parameters: Parameters, *, most_clicks: int) -> FloatArray:
    """Derivatives of :func:`expected` by :meth:`Parameters.vector`, ``(P, K + 1)``."""
    sets = mode_sets(observation.columns.shape[0], most_clicks)
    problem = _Problem([observation], sets, parameters)
    above, below = problem.around(problem.coordinates(parameters.vector()))
    moved = np.diag(problem.vector(above) - problem.vector(below))[:, None]
    [p] = problem.probabilities(np.concatenate([above, below]))
    return np.asarray(problem.observed[0].sum() * (p[: len(above)] - p[len(above) :]) / moved)
