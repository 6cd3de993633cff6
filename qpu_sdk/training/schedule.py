"""What a run will do, unit by unit: fixed by the configuration before it begins."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, final

from ..errors import BudgetExceeded, ConfigError
from .config import RunConfig, SPSAConfig, TrainingConfig
from .device_config import BudgetConfig
from .spsa import SPSA

log = logging.getLogger(__name__)

#: Most units of a run, each of which is a row of its metrics: more would take weeks for the rows alone.
MOST_UNITS = 1_000_000
#: Of all settings together: the largest integer of SQLite.
MOST_SHOTS_OF_A_RUN = 2**63 - 1

UnitKind = Literal["trial", "warm-start", "measure", "fit", "spsa"]


@final
@dataclass(frozen=True)
class Unit:
    """One unit of work: an epoch, a measurement, or an SPSA step of round ``round`` (the last is the final fit).

    For trials, ``round`` counts the trial. ``ends_round`` marks where a checkpoint is due.

    :param settings: circuit settings of each QNN; none where no circuit is run.
    :param shots: of each setting.
    """

    kind: UnitKind
    round: int
    index: int
    settings: int = 0
    shots: int = 0
    ends_round: bool = False


@final
@dataclass(frozen=True)
class Schedule:
    """A run before it begins: its units in order, and what they come to.

    :param qnns: circuits, of which each runs the settings of every unit.
    :param epochs: passes over the training images behind the final weights: the best trial's, the rest of the warm
        start, and the fits.

    >>> schedule = Schedule.of(RunConfig(spsa={"steps": 0}, training={"rounds": 3}))
    >>> schedule.settings, schedule.shots, schedule.epochs, schedule.total_epochs
    (8, 2600000, 142, 160)
    """

    units: tuple[Unit, ...]
    qnns: int
    epochs: int

    @classmethod
    def of(cls, config: RunConfig) -> Schedule:
        """The schedule that a configuration describes.

        :raises ConfigError: when the run has more units or shots than can be kept.
        """
        t = config.training
        _check_size(config)
        parts = _parts(t, config.spsa)
        units = tuple(replace(unit, ends_round=unit is part[-1]) for part in parts for unit in part)
        return cls(units, len(config.qnn), t.warm_start_epochs + t.rounds * t.generator_epochs + t.final_epochs)

    @cached_property
    def _sizes(self) -> Mapping[tuple[UnitKind, int], int]:
        """Units of each kind in a round, or in a trial; of the warm start with those of the trial that it follows."""
        return {(unit.kind, unit.round): unit.index + 1 for unit in self.units}

    def phase(self, done: int) -> str:
        """What a run is at after so many units, in words; "" after the last one.

        >>> schedule = Schedule.of(RunConfig(training={"rounds": 3}))
        >>> schedule.phase(0), schedule.phase(len(schedule.units) - 1), schedule.phase(len(schedule.units))
        ('trial 1/4, epoch 1/6', 'final fit, epoch 20/20', '')
        """
        if done >= len(self.units):
            return ""
        unit, last = self.units[done], self.last_measurement.round
        step = f"{unit.index + 1}/{self._sizes[unit.kind, unit.round]}"
        if unit.kind == "trial":
            trials = sum(kind == "trial" for kind, _ in self._sizes)
            return f"trial {unit.round + 1}/{trials}, epoch {step}"
        if unit.kind == "warm-start":
            return f"warm start, epoch {step}"
        if unit.round == last:
            return "last measurement" if unit.kind == "measure" else f"final fit, epoch {step}"
        told = {"measure": "measurement", "fit": f"epoch {step}", "spsa": f"SPSA step {step}"}[unit.kind]
        return f"round {unit.round + 1}/{last}, {told}"

    @property
    def settings(self) -> int:
        """Circuit settings of the run at most; fewer only when a setting comes twice."""
        return self.qnns * sum(unit.settings for unit in self.units)

    @property
    def shots(self) -> int:
        """Shots of all these settings."""
        return self.qnns * sum(unit.settings * unit.shots for unit in self.units)

    @property
    def total_epochs(self) -> int:
        """All passes over the training images, trials that are given up included."""
        return sum(unit.kind in ("trial", "warm-start", "fit") for unit in self.units)

    @property
    def exact_epochs(self) -> int:
        """Those of :attr:`total_epochs` that follow exact gradients of the ideal circuits."""
        return sum(unit.kind in ("trial", "warm-start") for unit in self.units)

    @cached_property
    def last_measurement(self) -> Unit:
        """The one that the exported weights are fitted to."""
        return next(unit for unit in reversed(self.units) if unit.kind == "measure")

    def check(self, budget: BudgetConfig) -> None:
        """Nothing has been spent yet.

        :raises BudgetExceeded: when the run does not fit the budget.
        """
        for name, planned, limit in (
            ("settings", self.settings, budget.settings),
            ("shots", self.shots, budget.shots),
        ):
            if limit is not None and planned > limit:
                raise BudgetExceeded(
                    f"the run needs {planned} {name}; budget.{name} allows {limit}. Lower training.rounds or "
                    f"spsa.steps, or raise it with --set budget.{name}={planned}."
                )


def _check_size(config: RunConfig) -> None:
    """Raise :class:`ConfigError` before a list of units is made that no memory holds."""
    t, s = config.training, config.spsa
    units = t.trials * t.trial_epochs + t.warm_start_epochs + t.rounds * (1 + t.generator_epochs + s.steps)
    units += 1 + t.final_epochs
    if units > MOST_UNITS:
        raise ConfigError(
            f"the run has {units:,} epochs, measurements and SPSA steps; {MOST_UNITS:,} is the limit. Lower "
            "training.rounds, spsa.steps or the epochs."
        )
    pairs = t.rounds * s.steps * s.resamplings + s.calibration_pairs
    shots = len(config.qnn) * (t.rounds * t.shots + 2 * pairs * s.shots + t.final_shots)
    if shots > MOST_SHOTS_OF_A_RUN:
        raise ConfigError(
            f"the run has {shots:,} shots; {MOST_SHOTS_OF_A_RUN:,} is the most that its journal counts. Lower "
            "training.shots, training.final_shots or spsa.shots."
        )


def _parts(training: TrainingConfig, spsa: SPSAConfig) -> Iterator[list[Unit]]:
    """Units between which a run may be cut, each part up to where a checkpoint is due."""
    t, trials = training, training.trials if training.trials > 1 else 0
    for trial in range(trials):
        yield [Unit("trial", trial, i) for i in range(t.trial_epochs)]
    yield [Unit("warm-start", 0, i) for i in range(t.trial_epochs if trials else 0, t.warm_start_epochs)]
    for r in range(t.rounds):
        fits = [Unit("fit", r, i) for i in range(t.generator_epochs)]
        steps = [Unit("spsa", r, i, 2 * _pairs(spsa, r, i), spsa.shots) for i in range(spsa.steps)]
        yield [Unit("measure", r, 0, 1, t.shots), *fits, *steps]
    yield [Unit("measure", t.rounds, 0, 1, t.final_shots), *(Unit("fit", t.rounds, i) for i in range(t.final_epochs))]


def _pairs(spsa: SPSAConfig, r: int, i: int) -> int:
    """Perturbation pairs of a step; the first of a run calibrates its gain with more than the others."""
    calibrates = spsa.a is None and r == 0 and i == 0
    return max(spsa.resamplings, spsa.calibration_pairs) if calibrates else spsa.resamplings


def open_spsa(config: SPSAConfig, *, rounds: int) -> SPSA:
    """The SPSA of a run of so many rounds; A defaults to a tenth of all steps."""
    if config.blocking and not config.blocks and config.steps * rounds:
        log.warning(
            "spsa.blocking rests: it needs several losses at one point. Set spsa.resamplings = 2, or leave spsa.a out."
        )
    return config.open(A=0.1 * config.steps * rounds)
