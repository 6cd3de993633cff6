"""What a run will do, unit by unit: fixed by the configuration before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from ..errors import BudgetExceeded
from .config import RunConfig
from .spsa import SPSA


def planned_settings(config: RunConfig) -> tuple[int, int]:
    """Circuit settings and shots that a run will use at most; fewer only when a setting comes twice.

    >>> planned_settings(RunConfig(spsa={"steps": 0}, training={"rounds": 3}))[0]
    8
    """
    each = [unit_settings(config, unit) for unit in schedule(config)]
    qnns = len(config.qnn)
    return qnns * sum(n for n, _ in each), qnns * sum(n * shots for n, shots in each)


def check_budget(config: RunConfig) -> None:
    """Raise :class:`BudgetExceeded` when the plan does not fit the budget; nothing has been spent then."""
    settings, shots = planned_settings(config)
    for name, planned, limit in (
        ("settings", settings, config.budget.settings),
        ("shots", shots, config.budget.shots),
    ):
        if limit is not None and planned > limit:
            raise BudgetExceeded(
                f"the run needs {planned} {name}; budget.{name} allows {limit}. Lower training.rounds or spsa.steps, "
                f"or raise it with --set budget.{name}={planned}."
            )


Kind = Literal["trial", "warm-start", "measure", "fit", "spsa"]


@final
@dataclass(frozen=True)
class Unit:
    """One unit of work: an epoch, a measurement, or an SPSA step of round ``round`` (the last is the final fit).

    For trials, ``round`` counts the trial. ``ends_round`` marks where a checkpoint is due.
    """

    kind: Kind
    round: int
    index: int
    ends_round: bool = False


def schedule(config: RunConfig) -> tuple[Unit, ...]:
    """All units of a run, in order.

    >>> len(schedule(RunConfig())) > 0
    True
    """
    training = config.training
    trials = training.trials if training.trials > 1 else 0
    parts: list[list[Unit]] = [[Unit("trial", t, i) for i in range(training.trial_epochs)] for t in range(trials)]
    tried = training.trial_epochs if trials else 0
    parts.append([Unit("warm-start", 0, i) for i in range(tried, training.warm_start_epochs)])
    for r in range(training.rounds):
        fit = [Unit("fit", r, i) for i in range(training.generator_epochs)]
        parts.append([Unit("measure", r, 0), *fit, *(Unit("spsa", r, i) for i in range(config.spsa.steps))])
    last = training.rounds
    parts.append([Unit("measure", last, 0), *(Unit("fit", last, i) for i in range(training.final_epochs))])
    return tuple(Unit(u.kind, u.round, u.index, ends_round=u is part[-1]) for part in parts for u in part)


def schedule_epochs(config: RunConfig) -> int:
    """Epochs behind the final weights: the best trial's, the rest of the warm start, and the fits."""
    t = config.training
    return t.warm_start_epochs + t.rounds * t.generator_epochs + t.final_epochs


def total_epochs(config: RunConfig) -> int:
    """All passes over the training images, trials that were given up included."""
    return sum(unit.kind in ("trial", "warm-start", "fit") for unit in schedule(config))


def exact_epochs(config: RunConfig) -> int:
    """Those of :func:`total_epochs` that followed exact gradients of the ideal circuits."""
    return sum(unit.kind in ("trial", "warm-start") for unit in schedule(config))


def open_spsa(config: RunConfig) -> SPSA:
    """The SPSA of a configuration; A defaults to a tenth of the steps."""
    s = config.spsa
    steps = s.steps * config.training.rounds
    return SPSA(
        a=s.a,
        c=s.c,
        A=0.1 * steps if s.A is None else s.A,
        alpha=s.alpha,
        gamma=s.gamma,
        resamplings=s.resamplings,
        calibration_pairs=s.calibration_pairs,
        first_step=s.first_step,
        max_step=s.max_step,
        smoothing=s.smoothing,
        blocking=s.blocking,
    )


def unit_settings(config: RunConfig, unit: Unit) -> tuple[int, int]:
    """Circuit settings of each QNN in a unit, and the shots of each setting; (0, 0) where no circuit is run.

    The first SPSA step of a run calibrates its gain with more perturbation pairs than the others.
    """
    if unit.kind == "measure":
        last = unit.round == config.training.rounds
        return 1, config.training.final_shots if last else config.training.shots
    if unit.kind != "spsa":
        return 0, 0
    spsa = open_spsa(config)
    first = spsa.a is None and unit.round == 0 and unit.index == 0
    pairs = max(spsa.resamplings, spsa.calibration_pairs) if first else spsa.resamplings
    return 2 * pairs, config.spsa.shots


def device_names(config: RunConfig) -> Sequence[str]:
    """Device strings of a configuration, each once, in the order of the QNNs."""
    return list(dict.fromkeys(config.device_of(i) for i in range(len(config.qnn))))
