"""What is known of a device before it is used: limits, price, transmittance, each with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from ..calibration.record import CalibrationRecord
from ..calibration.store import CalibrationStore
from ..devices.address import DeviceAddress
from ..devices.base import DeviceSpec
from ..devices.budget import Cost, Rates
from ..devices.machines import MACHINES, known_transmittance, machine_of, rates_of
from ..devices.registry import open_device
from ..errors import CalibrationNotFound, ConfigError
from ..seeds import child_seed
from ..training.config import RunConfig
from ..training.schedule import Schedule


@final
@dataclass(frozen=True)
class Figures:
    """What is known of a device before it is used.

    :param transmittance: probability that a photon that was asked for is detected.
    :param source: where that figure comes from.
    :param assumed: True where nobody knows it of this device.
    """

    spec: DeviceSpec
    rates: Rates
    transmittance: float
    source: str
    assumed: bool = False


def device_figures(config: RunConfig, name: str, *, offline: bool, records: Path | None = None) -> Figures:
    """What is known of a device that a configuration names.

    :param offline: True to use published figures only and open no connection.
    :param records: folder of calibration records; the newest of the device goes before published figures.
    :raises ConfigError: when nothing is known of it offline.
    :raises CalibrationNotFound: when there is no such folder.
    :raises CalibrationError: when the newest record of the device is damaged or too old.
    :raises CalibrationNotFound: when there is no such folder.
    """
    if records is not None and not records.is_dir():
        raise CalibrationNotFound(f"{records} is no folder of calibration records. Name one with --records.")
    figures = _uncalibrated(config, name, offline=offline)
    if records is None or not CalibrationStore(records).all(figures.spec.name).records:
        return figures
    return _recorded(figures, CalibrationStore(records).latest(figures.spec.name))


def _recorded(figures: Figures, record: CalibrationRecord) -> Figures:
    mean = sum(m.value for m in record.input_transmissions.values()) / len(record.input_transmissions)
    source = f"record {record.id}, {record.origin} {record.utc_end}"
    return replace(figures, transmittance=mean, source=source, assumed=False)


def _uncalibrated(config: RunConfig, name: str, *, offline: bool) -> Figures:
    address = DeviceAddress.parse(name)
    if address.kind in ("quandela", "scaleway") and offline:
        return _published(config, address)
    device = open_device(name, seed=child_seed(config.seed, "device", name))
    device.close()  # nothing is run
    return figures_of(config, device.spec)


def figures_of(config: RunConfig, spec: DeviceSpec, record: CalibrationRecord | None = None) -> Figures:
    """What a device that is open says of itself.

    :param record: of a device that does not know its own noise.
    """
    if record is not None and spec.noise is None:
        return _recorded(figures_of(config, spec), record)
    rates, read = config.budget.rates(spec), spec.published.get("Transmittance (%)")
    if spec.noise is not None:
        return Figures(spec, rates, spec.noise.click_probability, "the simulator's own model")
    if isinstance(read, int | float) and read > 0:
        return Figures(spec, rates, read / 100, "published by the platform")
    return _of_machine(spec, rates)


def _of_machine(spec: DeviceSpec, rates: Rates) -> Figures:
    machine = machine_of(spec.platform)
    assumed = machine is None or machine.noise is None
    return Figures(spec, rates, *known_transmittance(spec.platform), assumed=assumed)


def planned_cost(schedule: Schedule, figures: Figures, *, qnns: int) -> Cost:
    """What a device is asked for at most over a whole run.

    :param qnns: of the run that it runs.
    """
    cost = Cost()
    for unit in schedule.units:
        settings = qnns * unit.settings
        if settings:
            jobs = math.ceil(settings / (figures.spec.job_size or settings))
            one = figures.rates.cost(settings=settings, shots=unit.shots)
            cost += Cost(one.settings, one.shots, one.credits, jobs, one.seconds)
    return cost


def _published(config: RunConfig, address: DeviceAddress) -> Figures:
    machine = machine_of(address.name)
    if machine is None:
        known = ", ".join(MACHINES)
        raise ConfigError(f"nothing is published of {address.name!r} (known: {known}). Plan without --offline.")
    from ..devices.cloud.options import CloudOptions, device_name  # HTTP only where a cloud is named

    options = CloudOptions.parse(address.options)
    name = device_name(f"{address.kind}:{address.name}", options)  # as in records, whatever the other options
    simulated = address.name.lower().startswith("sim")
    spec = DeviceSpec(
        name,
        machine.modes,
        machine.photons,
        detector="threshold" if simulated else machine.detector,
        simulated=simulated,
        rehearsal=options.rehearsal,
        durable=True,
        rates=rates_of(name, simulated=simulated),
        settings_per_job=options.settings_per_job,
    )
    return Figures(spec, config.budget.rates(spec), *known_transmittance(machine.name))
