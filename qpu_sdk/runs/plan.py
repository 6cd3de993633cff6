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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from ..devices.base import DeviceSpec
from ..devices.budget import Cost
from ..errors import BudgetExceeded
from ..files import user_path
from ..photonics.permanents import collision_free_tree, probabilities
from ..seeds import child_seed
from ..statistics import sampling_distance
from ..training.config import QNNConfig, RunConfig, checked_config
from ..training.schedule import Schedule
from .device_figures import Figures, device_figures

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
    """What a run takes, and what stands in its way."""

    devices: tuple[DevicePlan, ...]
    settings: tuple[SettingPlan, ...]
    problems: tuple[str, ...]

    @property
    def total(self) -> Cost:
        """Over all devices."""
        return sum((d.cost for d in self.devices), Cost())

    @property
    def wall_s(self) -> float:
        """Machine time without queues: devices work side by side."""
        return max(d.cost.seconds for d in self.devices)


def plan(config: RunConfig, *, offline: bool = False, records: str | Path | None = None) -> Plan:
    """What a run takes before it takes it: settings, jobs, events, errors, time and credits.

    :param offline: True to use published figures only and open no connection.
    :param records: folder of calibration records; the newest of a device goes before published figures.
    :raises ConfigError: when nothing is known of a device offline, or ``config`` is no :class:`RunConfig`.
    :raises CalibrationError: when the newest record of a device is damaged or too old.

    >>> plan(RunConfig()).total.settings
    102
    """
    names = checked_config(config).device_names
    folder = None if records is None else user_path(records, "records")
    return plan_run(config, {n: device_figures(config, n, offline=offline, records=folder) for n in names})


def plan_run(config: RunConfig, figures: Mapping[str, Figures]) -> Plan:
    """Work out what a run takes.

    :param figures: of every device that the configuration names, by its string.
    """
    schedule, shared = Schedule.of(config), Counter(config.device_of(i) for i in range(len(config.qnn)))
    devices = tuple(_device_plan(schedule, name, shared[name], figures[name]) for name in config.device_names)
    settings = tuple(
        row
        for i, qnn in enumerate(config.qnn)
        for row in _setting_plans(config, schedule, i, qnn, figures[config.device_of(i)])
    )
    problems = [text for i, qnn in enumerate(config.qnn) for text in _misfits(i, qnn, figures[config.device_of(i)])]
    problems += [text for row in settings for text in _too_many_shots(row, figures[config.device_of(row.qnn)].spec)]
    problems += [_too_few(row, figures[config.device_of(row.qnn)]) for row in settings if row.events < FEWEST_EVENTS]
    problems += _over_budget(config, devices)
    return Plan(devices, settings, tuple(dict.fromkeys(problems)))  # each once: rounds share their problems


def _device_plan(schedule: Schedule, name: str, qnns: int, figures: Figures) -> DevicePlan:
    """What a device is asked for by the QNNs that it runs."""
    cost = Cost()
    for unit in schedule.units:
        settings = qnns * unit.settings
        if settings:
            jobs = math.ceil(settings / (figures.spec.job_size or settings))
            one = figures.rates.cost(settings=settings, shots=unit.shots)
            cost += Cost(one.settings, one.shots, one.credits, jobs, one.seconds)
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
        f"at transmittance {figures.transmittance:g}; at least {FEWEST_EVENTS} are needed. "
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
