"""Records without a measurement: the vendor's figures, and a simulator's own noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from pydantic import JsonValue, ValidationError

from ..errors import CalibrationError
from ..files import first_problem
from ..photonics.noise import Noise, by_mode
from ..photonics.program_noise import emission
from .parts import Identity, Measured, MeasuredPair, PhysicalUnit
from .record import CalibrationRecord

#: The time of a record that nobody measured: equal simulators have equal records.
TIMELESS = "1970-01-01T00:00:00Z"


def vendor_record(
    perfs: Mapping[str, JsonValue],
    identity: Identity,
    *,
    utc: str,
    versions: Mapping[str, str] | None = None,
    validity_h: float | None = None,
) -> CalibrationRecord:
    """A record of what the vendor publishes; no number has an error.

    HOM is taken as indistinguishability, as Perceval does. A table per mode goes before the aggregate transmittance,
    and an aggregate of 0 is not believed. Output efficiencies are relative to the largest, as in Perceval, and the
    input transmissions carry the rest. Dark counts and phase errors are not published and stand as 0 and none.

    :param perfs: "Transmittance (%)", "HOM (%)", "g2 (%)", "Transmission per mode (%)".
    :param utc: when they were read.
    :raises CalibrationError: when a figure is missing, not a number or out of range.
    """
    into, out, note = _published_transmissions(perfs, identity)
    try:
        return CalibrationRecord(
            **asdict(identity),
            origin="vendor",
            brightness=_published(1.0),  # the gauge of every record
            indistinguishability=_published(_percent(perfs, "HOM (%)")),
            g2=_published(_percent(perfs, "g2 (%)")),
            input_transmissions={mode: _published(t) for mode, t in zip(identity.input_modes, into, strict=True)},
            output_efficiencies=tuple(map(_published, out)),
            dark_counts=(_published(0.0, "1/window"),) * identity.modes,
            utc_start=utc,
            utc_end=utc,
            vendor=dict(perfs),
            versions=dict(versions or {}),
            validity_h=validity_h,
            notes=f"Published figures, not measured. {note} HOM is taken as indistinguishability. Dark counts are "
            "not published and stand as 0.",
        )
    except ValidationError as error:
        raise CalibrationError(
            f"no record from the figures of {identity.device}: {first_problem(error)}. Calibrate the device instead."
        ) from error


def known_record(noise: Noise, identity: Identity) -> CalibrationRecord:
    """A record of a simulator from the noise it was given, without a measurement; every error is 0.

    Records have brightness 1: a source of another brightness is replaced by one of the same g2 behind such a loss, and
    of such an indistinguishability, that as many photons arrive and as many of them are common; exact for g2 = 0. The
    rounding of phases has no place in a record and is left out.

    :raises CalibrationError: when a record cannot hold it, or the noise is of fewer modes.
    :raises ConfigError: for second photons that equal the first, which the click model does not have.

    >>> identity = Identity("local:slos?noise=belenos", "slos", 3, (0, 2), "threshold")
    >>> record = known_record(Noise(brightness=0.5, transmittance=0.2), identity)
    >>> record.noise().transmittance, record.g2.standard_error
    ((0.1, 0.0, 0.1), 0.0)
    """
    noise.check_model()
    efficiencies, dark = by_mode(noise.efficiency, identity.modes), by_mode(noise.dark_counts, identity.modes)
    transmittance = by_mode(noise.transmittance, identity.modes)
    mean, sent, common = float(efficiencies.mean()), *_as_bright_as_one(noise.brightness, noise.g2)
    if (noise.modes is not None and identity.modes > noise.modes) or mean == 0.0:
        raise CalibrationError(
            f"the noise of {identity.device} is of {noise.modes or identity.modes} modes and its efficiencies of mean "
            f"{mean:g}; a record of {identity.modes} modes needs as many, and light. Use fewer modes, or other noise."
        )
    try:
        return CalibrationRecord(
            **asdict(identity),
            origin="simulated",
            brightness=_known(1.0),
            indistinguishability=_known_pairs(noise, identity.input_modes, common),
            g2=_known(noise.g2),
            input_transmissions={j: _known(float(transmittance[j]) * mean * sent) for j in identity.input_modes},
            output_efficiencies=tuple(_known(float(eta) / mean) for eta in efficiencies),
            dark_counts=tuple(_known(float(d), "1/window") for d in dark),
            phase_error=_known(noise.phase_error, "rad") if noise.phase_error > 0.0 else None,
            angle_error=_known(noise.angle_error, "rad") if noise.angle_error > 0.0 else None,
            utc_start=TIMELESS,
            utc_end=TIMELESS,
            notes="The parameters of a simulator as they were given, not measured. It stays as it is.",
        )
    except ValidationError as error:
        raise CalibrationError(
            f"no record from the noise of {identity.device}: {first_problem(error)}. Calibrate the device instead."
        ) from error


def _as_bright_as_one(brightness: float, g2: float) -> tuple[float, float]:
    """Transmission and change of sqrt(I) that stand for a brightness, with the first and second photons of each."""
    _, two = (float(p) for p in emission(brightness, g2))
    _, full = (float(p) for p in emission(1.0, g2))
    sent = (brightness + two) / (1.0 + full)
    return sent, brightness / sent if sent > 0.0 else 1.0  # a dark source has no photon that could differ


def _known_pairs(noise: Noise, inputs: tuple[int, ...], common: float) -> Measured | tuple[MeasuredPair, ...]:
    every = np.asarray(noise.indistinguishability)
    if every.ndim == 0:
        return _known(min(1.0, float(every) * common**2))
    pairs = [(j, k) for j in inputs for k in inputs if j < k]
    values = [min(1.0, float(every[pair]) * common**2) for pair in pairs]
    return tuple(MeasuredPair(modes=p, value=v, standard_error=0.0) for p, v in zip(pairs, values, strict=True))


def _known(value: float, unit: PhysicalUnit = "1") -> Measured:
    return Measured(value=value, standard_error=0.0, unit=unit)


def _published(value: float, unit: PhysicalUnit = "1") -> Measured:
    return Measured(value=value, standard_error=None, unit=unit)


def _published_transmissions(
    perfs: Mapping[str, JsonValue], identity: Identity
) -> tuple[list[float], list[float], str]:
    """Input transmissions, output efficiencies, and where they come from."""
    key = "Transmission per mode (%)"
    table = perfs.get(key)
    if table is None:
        t = _percent(perfs, "Transmittance (%)")
        if t == 0.0:
            raise CalibrationError(
                'the vendor\'s "Transmittance (%)" is 0, with which no photon arrives. Calibrate the device instead.'
            )
        return [t] * len(identity.input_modes), [1.0] * identity.modes, "Transmittance is the aggregate."
    if not isinstance(table, dict):
        raise CalibrationError(f"the vendor's {key!r} is not a table of t_in and t_out. Calibrate the device instead.")
    into = [_share(t, f"{key} t_in") for t in _list(table, "t_in", key)]
    # The table is of the whole chip; a record may be of its first modes.
    out = [_share(t, f"{key} t_out") for t in _list(table, "t_out", key)][: identity.modes]
    if len(into) != len(identity.input_modes):  # one value a mode then, not one a source
        into = [into[mode] for mode in identity.input_modes if mode < len(into)]
    if len(into) != len(identity.input_modes) or len(out) != identity.modes or max(out) == 0.0:
        raise CalibrationError(
            f"the vendor's {key!r} has {len(into)} usable inputs and {len(out)} outputs; {identity.device} has "
            f"{len(identity.input_modes)} and {identity.modes}, and not every output can be 0. Calibrate it instead."
        )
    largest = max(out)
    return [t * largest for t in into], [t / largest for t in out], "Transmissions are those per mode."


def _list(table: Mapping[str, JsonValue], name: str, key: str) -> list[JsonValue]:
    values = table.get(name)
    if not isinstance(values, list):
        raise CalibrationError(f"the vendor's {key!r} has no list {name}. Calibrate the device instead.")
    return values


def _percent(perfs: Mapping[str, JsonValue], key: str) -> float:
    if key not in perfs:
        raise CalibrationError(f"the vendor publishes no {key!r}. Calibrate the device instead.")
    return _share(perfs[key], key)


def _share(value: JsonValue, key: str) -> float:
    # JSON's true would pass for 1 %: a bool is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 100.0:
        raise CalibrationError(f"the vendor's {key!r} is {value!r:.60}, not 0..100 %. Calibrate the device instead.")
    return float(value) / 100.0
