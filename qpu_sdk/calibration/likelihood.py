"""Probabilities of all calibration settings, and their derivatives by the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from ..arrays import ComplexArray, FloatArray
from ..errors import CalibrationError
from ..photonics.click_model import ClickArrays, within
from ..photonics.counts import Counts
from ..photonics.patterns import ModeSets, mode_sets, moebius
from ..photonics.program_noise import emission
from .parameters import Parameters
from .plan import CalibrationSetting, Circuit

#: Smallest dark-count probability that is told from none.
#: Its logarithm is a coordinate, so a detector that never fires by itself stands here.
LEAST_DARK = 1e-10
#: The click model is right to a few 1e-15: no pattern is rarer than that for sure.
RAREST = 1e-15
#: Curvature below which a direction counts as flat.
#: Added to it, so that a move along one is finite.
FLAT = 1e-4


@final
@dataclass(frozen=True, eq=False)
class Observation:
    """Clicks of one setting, by pattern.

    :param columns: occupied columns of its unitary, ``(M, N)``.
    :param numbers: shots of every pattern of the sets, ``(K,)``; the first is the empty one.
    :param more: shots with more clicks than the sets have.
    :param windows: detection windows, empty ones included, ``None`` when unknown.
    """

    circuit: Circuit
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


def observe(
    setting: CalibrationSetting, counts: Counts, *, most_clicks: int, windows: int | None = None
) -> Observation:
    """Sort counts by click pattern.

    :param most_clicks: patterns with more clicks are put together.
    :raises CalibrationError: when counts are of another program or none, or lack single clicks.

    Counts of number-resolving detectors are taken as clicks, because the model is of clicks.
    """
    program = setting.program
    if counts.modes != program.modes or (counts.fingerprint and counts.fingerprint != program.fingerprint):
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
    masks = patterns[kept] @ (np.int64(1) << np.arange(program.modes))  # as ModeSets.masks: bit i is mode i
    numbers = np.zeros(len(sets.masks))
    # Not +=: |2,0> and |1,0> of detectors that count share a click pattern, and += would keep one of them.
    np.add.at(numbers, np.searchsorted(sets.masks, masks), counts.numbers[kept])
    more = float(counts.numbers[~kept].sum() + counts.other)
    columns = program.mesh.columns(program.phases, program.input_modes)
    return Observation(setting.circuit, program.input_modes, columns, numbers, more, windows)


@final
class Likelihood:
    """Probabilities and their derivatives, for every observation at once.

    Coordinates are the natural ones for I and g2, which may be at their limits, and logarithms for all others. The
    efficiency of one mode is held: scaling all of them changes nothing that transmissions do not.
    """

    def __init__(self, observations: Sequence[Observation], sets: ModeSets, start: Parameters) -> None:
        self.observations, self.sets, self.start = list(observations), sets, start
        self.observed = [o.observed() for o in self.observations]
        self.layout = start.layout
        held = self.layout.efficiencies.start + int(np.argmax(start.efficiencies))
        self.free = np.flatnonzero(np.arange(self.layout.size) != held)
        # No finite slope: sqrt(I) at 0, emission at g2 = 0.5. Beside the held one an efficiency may pass 1.
        self._lowest = self._everywhere(1e-4, 0.0, np.log(1e-6), np.log(LEAST_DARK))
        self._highest = self._everywhere(1.0, 0.49, np.log(10.0), np.log(0.1))

    def _everywhere(self, overlap: float, g2: float, efficiency: float, dark: float) -> FloatArray:
        """Coordinates with one value a kind, ``(P,)``."""
        out, at = np.empty(self.layout.size), self.layout
        out[at.overlap], out[at.g2], out[at.transmissions], out[at.efficiencies] = overlap, g2, efficiency, efficiency
        out[at.dark] = dark
        return out

    def coordinates(self, vector: FloatArray) -> FloatArray:
        """From natural values, ``(P,)``."""
        out, logs = vector.copy(), self.layout.positive
        out[logs] = np.log(np.maximum(vector[logs], LEAST_DARK))
        return out

    def vector(self, coordinates: FloatArray) -> FloatArray:
        """To natural values, ``(..., P)``."""
        out, logs = coordinates.copy(), self.layout.positive
        out[..., logs] = np.exp(coordinates[..., logs])
        return out

    def clipped(self, coordinates: FloatArray) -> FloatArray:
        """Within the physical range, ``(P,)``."""
        return np.clip(coordinates, self._lowest, self._highest)

    def probabilities(self, coordinates: FloatArray) -> list[FloatArray]:
        """p of every observation at a batch of points, ``(D, P) -> [(D, K + 1)]``."""
        points = self.vector(coordinates)
        out: list[FloatArray] = []
        for o in self.observations:
            p = moebius(within(o.columns[None], _arrays(self.start, points, o.inputs), self.sets), self.sets)
            p = np.maximum(p, RAREST)
            p = np.concatenate([p, np.maximum(1.0 - p.sum(axis=1, keepdims=True), RAREST)], axis=1)
            if o.windows is None:
                p[:, 0] = 0.0  # only windows with a click are recorded
                p /= p.sum(axis=1, keepdims=True)
            out.append(p)
        return out

    def likelihood(self, ps: Sequence[FloatArray]) -> float:
        """Log-likelihood at one point."""
        total = 0.0
        for n, p in zip(self.observed, ps, strict=True):
            seen = n > 0  # 0 log 0 is 0
            total += float(n[seen] @ np.log(np.maximum(p[0, seen], 1e-300)))
        return total

    def around(self, coordinates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points a little above and below in one coordinate after the other, ``(P, P)`` each."""
        # probabilities are linear in dark counts, and rounding spoils small differences of rare patterns
        sizes, g2 = np.diag(self._everywhere(1e-4, 1e-4, 1e-4, 0.1)), self.layout.g2
        above, below = coordinates + sizes, coordinates - sizes
        below[:, g2] = np.maximum(below[:, g2], 0.0)  # it may be 0
        return above, below

    def derivatives(self, coordinates: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Gradient ``(F,)``, a curvature for moves, and the Fisher information, ``(F, F)``, in the F free coordinates.

        Differences are central. The curvature weighs a pattern with what is seen or expected, whichever is more: a
        rare pattern that was seen bends the likelihood more than its expectation says.
        """
        free = self.free
        above, below = (points[free] for points in self.around(coordinates))
        apart = (above - below)[np.arange(len(free)), free]
        points = np.concatenate([above, below])
        size = len(self.free)
        gradient, curvature, information = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
        at = self.probabilities(coordinates[None])
        for n, p, moved in zip(self.observed, at, self.probabilities(points), strict=True):
            slope = (moved[: len(free)] - moved[len(free) :]) / apart[:, None]
            total, seen = n.sum(), (n > 0) | (n.sum() * p[0] > 1e-3)  # else slope / p is rounding by rounding
            relative = slope[:, seen] / p[0, seen]
            gradient += relative @ n[seen]
            curvature += (relative * np.maximum(n, total * p[0])[seen]) @ relative.T
            # a pattern that is never expected would count as infinitely telling: half an event is its least weight
            information += total * (slope / np.maximum(p[0], 0.5 / total)) @ slope.T
        return gradient, curvature, information

    def move(self, x: FloatArray, gradient: FloatArray, curvature: FloatArray, damping: float) -> FloatArray:
        """A damped move of scoring; what stands at a limit and wants beyond it stays, ``(P,)``."""
        at_lowest, at_highest = self._lowest[self.free] >= x[self.free], self._highest[self.free] <= x[self.free]
        stays = (at_lowest & (gradient < 0.0)) | (at_highest & (gradient > 0.0))
        goes = np.flatnonzero(~stays)
        part = curvature[np.ix_(goes, goes)]
        out = np.zeros(len(x))
        ridge = damping * np.diag(part) + FLAT  # dark counts that no shot speaks of have no curvature
        out[self.free[goes]] = np.linalg.solve(part + np.diag(ridge), gradient[goes])
        return out

    def covariance(self, coordinates: FloatArray, information: FloatArray) -> FloatArray:
        """Of the natural values, ``(P, P)``, from the information about the free coordinates at a point.

        A logarithm's derivative by its value is 1 / value.
        """
        slope, logs = np.ones(self.layout.size), self.layout.positive
        slope[logs] /= self.vector(coordinates)[logs]
        slope = slope[self.free]
        out = np.zeros((self.layout.size,) * 2)
        out[np.ix_(self.free, self.free)] = np.linalg.inv(slope[:, None] * information * slope)
        return out


def _arrays(start: Parameters, points: FloatArray, inputs: tuple[int, ...]) -> ClickArrays:
    """A batch of parameter vectors ``(D, P)`` for a program that uses these inputs."""
    places = [start.inputs.index(j) for j in inputs]
    overlap, g2, t, eta, dark = start.layout.unflatten(points)
    one, two = emission(np.ones(len(points)), np.clip(g2, 0.0, 0.5))
    pairs = None
    if overlap.shape[1] > 1:
        pairs = np.tile(np.eye(len(start.inputs)), (len(points), 1, 1))
        rows, columns = np.triu_indices(len(start.inputs), 1)
        pairs[:, rows, columns] = pairs[:, columns, rows] = np.sqrt(np.maximum(overlap, 0.0))
        pairs = pairs[:, places][:, :, places]
    common = np.ones(len(points)) if pairs is not None else np.sqrt(np.maximum(overlap[:, 0], 0.0))
    return ClickArrays(one, two, common, pairs, t[:, places], eta, np.maximum(dark, 0.0))


def expected(observation: Observation, parameters: Parameters, *, most_clicks: int) -> FloatArray:
    """Expected numbers by pattern, as :meth:`Observation.observed`, ``(K + 1,)``."""
    sets = mode_sets(observation.columns.shape[0], most_clicks)
    problem = Likelihood([observation], sets, parameters)
    [p] = problem.probabilities(problem.coordinates(parameters.vector())[None])
    return np.asarray(problem.observed[0].sum() * p[0])


def slopes(observation: Observation, parameters: Parameters, *, most_clicks: int) -> FloatArray:
    """Derivatives of :func:`expected` by :meth:`Parameters.vector`, ``(P, K + 1)``."""
    sets = mode_sets(observation.columns.shape[0], most_clicks)
    problem = Likelihood([observation], sets, parameters)
    above, below = problem.around(problem.coordinates(parameters.vector()))
    moved = np.diag(problem.vector(above) - problem.vector(below))[:, None]
    [p] = problem.probabilities(np.concatenate([above, below]))
    return np.asarray(problem.observed[0].sum() * (p[: len(above)] - p[len(above) :]) / moved)
