"""What a run will take before it takes it: settings, jobs, events, errors, time and credits.

A shot is a window with at least one click. With N photons, each detected with probability eta, a share

    P(N clicks | >= 1 click) = eta^N / (1 - (1 - eta)^N)

of the shots shows all of them, and of those a share P_cf, about C(M, N) / C(M + N - 1, N), is collision-free. The
total variation distance between a distribution p and its estimate from n events is, on average and to leading order,
sum_k sqrt(p_k (1 - p_k) / (2 pi n)), never above 1. Source noise (g2, distinguishability) adds events and background
that these figures leave out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from torch import nn

from ..devices.base import DeviceSpec
from ..devices.budget import Cost
from ..errors import BudgetExceeded, DeviceError, ProgramError, QPUError
from ..files import user_path
from ..layer.estimator import Mitigation
from ..photonics.permanents import collision_free_tree, probabilities
from ..seeds import child_seed
from ..statistics import sampling_distance
from ..training.config import QNNConfig, RunConfig, checked_config
from ..training.data import Dataset
from ..training.schedule import Schedule
from .device_figures import Figures, device_figures, figures_of, planned_cost
from .feasible import check_config, method_problems
from .given import Given
from .records import resolve_records

#: Fewer expected events than this in a setting, and the run would soon stop for want of any.
FEWEST_EVENTS = 10
#: What is recommended instead.
ENOUGH_EVENTS = 200
#: Random phases that the figures are the middle of; odd.
DRAWS = 31


@final
@dataclass(frozen=True)
class SettingPlan:
    """One kind of setting of one QNN.

    :param events: expected collision-free events in one setting.
    :param distance: expected total variation distance of the measured distribution from the true one.
    """

    qnn: int
    device: str
    modes: int
    photons: int
    kind: str
    settings: int
    shots: int
    events: float
    distance: float


@final
@dataclass(frozen=True)
class DevicePlan:
    """What one device is asked for over the whole run.

    :param cost: an upper limit: equal settings are not run twice.
    """

    device: str
    cost: Cost
    transmittance: float
    source: str


@final
@dataclass(frozen=True)
class Plan:
    """What a run takes, and what stands in its way.

    :param notes: why devices that may need a calibration record have none, and what assumed
        figures would mean.
    """

    devices: tuple[DevicePlan, ...]
    settings: tuple[SettingPlan, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Cost:
        """Over all devices."""
        return sum((d.cost for d in self.devices), Cost())

    @property
    def wall_s(self) -> float:
        """Machine time without queues: devices work side by side."""
        return max(d.cost.seconds for d in self.devices)


def plan(
    config: RunConfig,
    *,
    target: nn.Module | None = None,
    data: Dataset | tuple[Any, Any] | None = None,
    offline: bool = False,
    records: str | Path | None = None,
) -> Plan:
    """What a run takes before it takes it: settings, jobs, events, errors, time and credits.

    What :func:`~qpu_sdk.runs.train.train` would refuse is refused here, with the same errors.

    :param target: what the run will be given in place of the configuration's, and so ``data``.
    :param offline: True to use published figures only and open no connection.
    :param records: folder of calibration records; the newest of a device goes before published figures.
    :raises ConfigError: when nothing is known of a device offline, ``config`` is no :class:`RunConfig`, or its circuits
        and its target do not fit together.
    :raises CalibrationError: when the newest record of a device is damaged or too old.

    >>> plan(RunConfig()).total.settings
    102
    """
    config = checked_config(config)
    given = Given.of(target, data, config)
    config = given.named(config)
    check_config(config, given)
    names = config.device_names
    folder = None if records is None else user_path(records, "records")
    figures = {n: device_figures(config, n, offline=offline, records=folder) for n in names}
    mitigation = resolve_records(config, {name: figures[name].spec for name in names})
    planned = plan_run(config, figures)
    problems = planned.problems or tuple(map(str, method_problems(config, mitigation)))
    unknown = [row for row in _poor(planned.settings) if figures[row.device].assumed]
    notes = [*mitigation.notes.values(), *(_too_few(row, figures[row.device]) for row in unknown)]
    return replace(planned, problems=problems, notes=tuple(dict.fromkeys(notes)))


def plan_run(config: RunConfig, figures: Mapping[str, Figures]) -> Plan:
    """Work out what a run takes.

    :param figures: of every device that the configuration names, by its string.
    """
    schedule, shared = Schedule.of(config), Counter(config.device_of(i) for i in range(len(config.qnn)))
    devices = tuple(_device_plan(schedule, name, shared[name], figures[name]) for name in config.device_names)
    settings = tuple(
        row
        for i, qnn in enumerate(config.qnn)
        if not _misfits(i, qnn, figures[config.device_of(i)])  # what no device runs may take hours to simulate
        for row in _setting_plans(config, schedule, i, qnn, figures[config.device_of(i)])
    )
    problems = [str(error) for error in _problems(config, figures, devices, settings)]
    return Plan(devices, settings, tuple(dict.fromkeys(problems)))  # each once: rounds share their problems


def refuse_what_cannot_work(config: RunConfig, specs: Mapping[str, DeviceSpec], known: Mitigation, force: bool) -> None:
    """What :func:`plan` knows, before a run begins.

    :param specs: of the run's devices, by their strings.
    :param force: True to go on where that is only expected.
    :raises ProgramError: see :func:`_problems` for all that is raised.
    """
    figures = {name: figures_of(config, spec, known.records.get(name)) for name, spec in specs.items()}
    planned = plan_run(config, figures)
    found = _problems(config, figures, planned.devices, planned.settings) or method_problems(config, known)
    for error in found:
        if isinstance(error, ProgramError):
            raise error
        if not force:
            raise error.saying(f"{error} To begin all the same: --force, in Python force=True.")


def _problems(
    config: RunConfig,
    figures: Mapping[str, Figures],
    devices: tuple[DevicePlan, ...],
    settings: tuple[SettingPlan, ...],
) -> list[QPUError]:
    """What stands in the way: a :class:`ProgramError` for certain, another as far as one can know before."""
    found: list[QPUError] = []
    for i, qnn in enumerate(config.qnn):
        found += map(ProgramError, _misfits(i, qnn, figures[config.device_of(i)]))
    for row in settings:
        found += map(ProgramError, _too_many_shots(row, figures[config.device_of(row.qnn)].spec))
    # A figure that nobody knows of this device stops no run: a plan notes what it would mean.
    poor = [row for row in _poor(settings) if not figures[row.device].assumed]
    found += [DeviceError(_too_few(row, figures[row.device])) for row in poor]
    return found + list(map(BudgetExceeded, _over_budget(config, devices)))


def _device_plan(schedule: Schedule, name: str, qnns: int, figures: Figures) -> DevicePlan:
    """What a device is asked for by the QNNs that it runs."""
    cost = planned_cost(schedule, figures, qnns=qnns)
    return DevicePlan(name, cost, figures.transmittance, figures.source)


def _setting_plans(
    config: RunConfig, schedule: Schedule, index: int, qnn: QNNConfig, figures: Figures
) -> list[SettingPlan]:
    """One row for every kind of setting: each round's measurement, the SPSA steps, the last measurement."""
    p = _typical(qnn, seed=child_seed(config.seed, "plan", index))
    share = full_share(qnn.photons, figures.transmittance) * float(p.sum())
    counted: dict[tuple[str, int], int] = {}
    for unit in schedule.units:
        if unit.settings:
            last = unit == schedule.last_measurement
            kind = "last measurement" if last else {"measure": "measurement"}.get(unit.kind, unit.kind)
            counted[kind, unit.shots] = counted.get((kind, unit.shots), 0) + unit.settings
    return [
        SettingPlan(
            qnn=index,
            device=config.device_of(index),
            modes=qnn.modes,
            photons=qnn.photons,
            kind=kind,
            settings=settings,
            shots=shots,
            events=shots * share,
            distance=sampling_distance(p / p.sum(), shots * share),
        )
        for (kind, shots), settings in counted.items()
    ]


def _typical(qnn: QNNConfig, *, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Collision-free probabilities of the QNN's mesh, unconditional: of several random phases the middle ones.

    From one draw to another the collision-free share differs by a factor of ten and more.
    """
    mesh, tree = qnn.open_mesh(), collision_free_tree(qnn.modes, qnn.photons)
    draws = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, (DRAWS, mesh.declared))
    found = [np.asarray(probabilities(mesh.columns(phases, qnn.inputs), tree)) for phases in draws]
    return sorted(found, key=lambda p: float(p.sum()))[DRAWS // 2]  # a median: a mean would be that of one lucky draw


def full_share(photons: int, transmittance: float) -> float:
    """Part of the shots that show all photons, eta^N / (1 - (1 - eta)^N).

    >>> round(full_share(2, 0.05), 4)
    0.0256
    """
    if transmittance >= 1.0:  # log1p(-1) is -inf
        return 1.0
    return min(1.0, transmittance**photons / -math.expm1(photons * math.log1p(-transmittance)))


def _misfits(index: int, qnn: QNNConfig, figures: Figures) -> list[str]:
    spec = figures.spec
    return [
        f"qnn {index} has {value} {what}; {spec.name} has {limit}. Use {limit} {what} or fewer."
        for what, value, limit in (
            ("modes", qnn.modes, spec.max_modes),
            ("photons", qnn.photons, spec.max_photons),
        )
        if value > limit
    ]


def _too_many_shots(row: SettingPlan, spec: DeviceSpec) -> list[str]:
    if spec.max_shots is None or row.shots <= spec.max_shots:
        return []
    return [
        f"qnn {row.qnn}, {row.kind}: {row.shots} shots; {spec.name} has {spec.max_shots}. Use {spec.max_shots} shots "
        "or fewer."
    ]


def _poor(settings: Iterable[SettingPlan]) -> list[SettingPlan]:
    return [row for row in settings if row.events < FEWEST_EVENTS]


def _too_few(row: SettingPlan, figures: Figures) -> str:
    """What is wrong, and what would work: more shots, or fewer photons in more modes."""
    ways = []
    if row.events > 0:
        ways.append(f"{_round_up(row.shots * ENOUGH_EVENTS / row.events):,} shots")
    for photons in range(row.photons - 1, 0, -1):
        modes = _modes_for(photons, math.comb(row.modes, row.photons), figures.spec.max_modes)
        share = full_share(photons, figures.transmittance)
        if modes and row.shots * share * math.comb(modes, photons) / math.comb(modes + photons - 1, photons) > (
            ENOUGH_EVENTS
        ):
            ways.append(f"{photons} photons in {modes} modes")
            break
    return (
        f"qnn {row.qnn}, {row.kind}: {row.events:.2g} events expected in {row.shots:,} shots of {row.photons} photons "
        f"at {'an assumed ' if figures.assumed else ''}transmittance {figures.transmittance:g}; "
        f"at least {FEWEST_EVENTS} are needed. "
        f"Use {' or '.join(ways) if ways else 'another device'}."
    )


def _modes_for(photons: int, outcomes: int, limit: int) -> int | None:
    """Fewest modes with as many collision-free outcomes."""
    return next((m for m in range(photons + 1, limit + 1) if math.comb(m, photons) >= outcomes), None)


def _round_up(value: float) -> int:
    """To one significant digit."""
    power = 10 ** math.floor(math.log10(value))
    return int(math.ceil(value / power) * power)


def _over_budget(config: RunConfig, devices: tuple[DevicePlan, ...]) -> list[str]:
    total = sum((d.cost for d in devices), Cost())
    try:
        config.budget.limits.check(Cost(), total)
    except BudgetExceeded as error:
        return [f"the whole run does not fit the budget: {error}"]
    return []
