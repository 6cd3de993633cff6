"""What is known about a device at one time: every number with its standard error, and how it was found.

A record holds the parameters of the click model (:mod:`qpu_sdk.photonics.click_model`), their covariance, the jobs
behind them and how well the model fits these. ``origin`` tells whether a device was measured, whether a simulation was,
or whether the figures are the vendor's own. Records are values: a new measurement is a new record.

Counts hold brightness only times transmission, and transmission only times efficiency. So brightness is 1 in every
record and the input transmissions carry it; ``gauge`` says what else is fixed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from ..errors import CalibrationError
from ..photonics.click_model import DeviceNoise, emission
from ..photonics.counts import Detector
from ..photonics.permanents import FloatArray

SCHEMA_VERSION = 1
MODEL = "OBB, distinguishable second photon, threshold, one permanent per set"
GAUGE = (
    "Brightness is fixed to 1 and the input transmissions carry it, because counts hold only their product; "
    "the output efficiencies have mean 1, because counts hold only transmission times efficiency."
)

Unit = Literal["1", "1/window", "rad", "s"]
Origin = Literal["measured", "simulated", "vendor"]
Role = Literal["fit", "validation", "drift"]
UtcText = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$")]
Mode = Annotated[int, Field(ge=0)]
Natural = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
#: Unit and largest value of each parameter. Above g2 = 0.5 no source of brightness 1 exists.
LIMITS: Mapping[str, tuple[Unit, float]] = {
    "brightness": ("1", 1.0),
    "indistinguishability": ("1", 1.0),
    "g2": ("1", 0.5),
    "input_transmissions": ("1", 1.0),
    "output_efficiencies": ("1", 10.0),  # relative to their mean
    "dark_counts": ("1/window", 1.0),
    "phase_error": ("rad", math.pi),
}
#: The time of a record that nobody measured: equal simulators have equal records.
TIMELESS = "1970-01-01T00:00:00Z"
#: How far a covariance may be from symmetric and from positive semidefinite, as a correlation.
CORRELATION_TOLERANCE = 1e-8


@final
class Measured(BaseModel):
    """A number with its standard error, both in ``unit``; only a vendor's figure has no error."""

    model_config = CONFIG

    value: float
    standard_error: NonNegative | None
    unit: Unit = "1"


@final
class MeasuredPair(BaseModel):
    """Indistinguishability of the photons of two inputs, ``modes`` ascending."""

    model_config = CONFIG

    modes: tuple[Mode, Mode]
    value: float
    standard_error: NonNegative | None
    unit: Unit = "1"

    @property
    def measured(self) -> Measured:
        """The number without its modes."""
        return Measured(value=self.value, standard_error=self.standard_error, unit=self.unit)


@final
class ChiSquare(BaseModel):
    """A test: the statistic, its degrees of freedom and, where it was worked out, its p-value."""

    model_config = CONFIG

    chi2: NonNegative
    dof: Natural
    p_value: Fraction | None = None


@final
class CalibrationJob(BaseModel):
    """One circuit that was run for the record.

    :param role: whether it was fitted, predicted, or compared with an earlier one.
    :param program: fingerprint.
    :param shots: windows with at least one click.
    :param windows: pulses, None where the platform does not tell.
    :param clicks: windows by number of clicks.
    """

    model_config = CONFIG

    name: str
    role: Role
    tag: str = ""
    job_id: str = ""
    program: str
    input_modes: tuple[Mode, ...]
    shots: Natural
    windows: Natural | None = None
    clicks: dict[Natural, Natural]
    chi2: NonNegative | None = None
    dof: Natural | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> CalibrationJob:
        seen = sum(number for clicks, number in self.clicks.items() if clicks > 0)
        if seen > self.shots:
            raise ValueError(f"clicks of job {self.name!r} add up to {seen}, its shots are {self.shots}")
        if self.windows is not None and self.windows < self.shots:
            raise ValueError(f"windows of job {self.name!r} are {self.windows}, its shots are {self.shots}")
        if (self.chi2 is None) != (self.dof is None):
            raise ValueError(f"chi2 and dof of job {self.name!r} stand together or not at all")
        return self


@final
@dataclass(frozen=True)
class Identity:
    """Whose state it is.

    :param device: as configurations name it.
    :param platform: as the provider names it.
    :param modes: number of modes M.
    :param input_modes: modes with a source.
    :param architecture_hash: SHA-256 of the architecture the platform publishes, ``""`` where it publishes none.
    """

    device: str
    platform: str
    modes: int
    input_modes: tuple[int, ...]
    detector: Detector
    architecture_hash: str = ""


@final
class CalibrationRecord(BaseModel):
    """The state of a device of M modes; see the module's docstring.

    :param indistinguishability: of every pair of photons: one number, or one for every pair of ``input_modes``.
    :param g2: of every source.
    :param input_transmissions: by mode, for ``input_modes``.
    :param output_efficiencies: ``(M,)``.
    :param dark_counts: probability that a detector fires by itself in one window, ``(M,)``.
    :param phase_error: largest error of a phase, radians.
    :param parameters: names out of :meth:`measured`, in the order of ``covariance``.
    :param covariance: of these, ``(P, P)``, in their units.
    :param fit: how well the model fits the jobs it was fitted to; ``validation``: others; ``drift``: first and last.
    :param vendor: what the platform published, word for word.
    :param validity_h: hours after which the record should not be used.
    :param seed: of a simulation.
    :raises pydantic.ValidationError: when numbers, shapes or times do not fit together.

    >>> record = vendor_record(
    ...     {"Transmittance (%)": 5.0, "HOM (%)": 90.0, "g2 (%)": 2.0},
    ...     Identity("quandela:sim:belenos", "sim:belenos", 3, (0, 2), "threshold"),
    ...     utc="2026-03-01T12:00:00Z",
    ... )
    >>> record.noise().input_transmissions.tolist()
    [0.05, 0.0, 0.05]
    >>> CalibrationRecord.from_json(record.to_json()) == record
    True
    """

    model_config = CONFIG

    schema_version: Literal[1] = 1
    device: Annotated[str, Field(min_length=1)]
    platform: str
    architecture_hash: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    modes: Annotated[int, Field(ge=1)]
    input_modes: tuple[Mode, ...]
    detector: Detector
    origin: Origin
    model: str = MODEL
    gauge: str = GAUGE

    brightness: Measured
    indistinguishability: Measured | tuple[MeasuredPair, ...]
    g2: Measured
    input_transmissions: dict[Mode, Measured]
    output_efficiencies: tuple[Measured, ...]
    dark_counts: tuple[Measured, ...]
    phase_error: Measured | None = None
    parameters: tuple[str, ...] = ()
    covariance: tuple[tuple[float, ...], ...] = ()

    jobs: tuple[CalibrationJob, ...] = ()
    fit: ChiSquare | None = None
    validation: ChiSquare | None = None
    drift: ChiSquare | None = None

    utc_start: UtcText
    utc_end: UtcText
    mitigations_requested: str = ""
    mitigations_returned: str = ""
    vendor: dict[str, JsonValue] = {}
    versions: dict[str, str] = {}
    validity_h: Annotated[float, Field(gt=0.0)] | None = None
    seed: int | None = None
    notes: str = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> CalibrationRecord:
        _check_shapes(self)
        _check_numbers(self)
        _check_covariance(self)
        if _moment(self.utc_start, "utc_start") > _moment(self.utc_end, "utc_end"):
            raise ValueError(f"utc_start is {self.utc_start}, after utc_end {self.utc_end}")
        try:
            json.dumps(self.vendor, allow_nan=False)
        except ValueError as error:
            raise ValueError(f"vendor holds what JSON cannot ({error})") from error
        return self

    @property
    def id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the content; any change changes it."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def measured(self) -> dict[str, Measured]:
        """Every number by name: ``g2``, ``dark_counts[3]``, ``indistinguishability[0,2]``."""
        return dict(_named(self))

    def noise(self) -> DeviceNoise:
        """What the click model and a noisy twin run with: efficiencies relative to the best, so that none is above 1.

        An overlap of pairs is S_jk = sqrt(I_jk), 0 where one of the inputs has no source.
        """
        transmissions = np.zeros(self.modes)
        for mode, measured in self.input_transmissions.items():
            transmissions[mode] = measured.value
        efficiencies = np.array([m.value for m in self.output_efficiencies])
        best = efficiencies.max()
        return DeviceNoise(
            brightness=self.brightness.value,
            indistinguishability=self._overlap(),
            g2=self.g2.value,
            input_transmissions=np.minimum(transmissions * best, 1.0),
            output_efficiencies=efficiencies / best,
            dark_counts=np.array([m.value for m in self.dark_counts]),
            phase_error=0.0 if self.phase_error is None else self.phase_error.value,
            detector=self.detector,
        )

    def _overlap(self) -> float | FloatArray:
        if isinstance(self.indistinguishability, Measured):
            return self.indistinguishability.value
        overlaps = np.eye(self.modes)
        for pair in self.indistinguishability:
            overlaps[pair.modes, pair.modes[::-1]] = math.sqrt(pair.value)
        return overlaps

    def covariance_array(self) -> FloatArray:
        """Covariance of ``parameters``, ``(P, P)``."""
        return np.array(self.covariance, dtype=np.float64).reshape(len(self.parameters), len(self.parameters))

    def age_h(self, now: datetime) -> float:
        """Hours from the end of the measurement to ``now``, a time with its zone.

        :raises CalibrationError: when ``now`` has no time zone.
        """
        if now.tzinfo is None:
            raise CalibrationError(f"now is {now.isoformat()} without a time zone. Use datetime.now(UTC).")
        return (now - self.ended).total_seconds() / 3600.0

    @property
    def ended(self) -> datetime:
        """``utc_end`` as a time."""
        return _moment(self.utc_end, "utc_end")

    def to_json(self) -> str:
        """JSON for people and machines: what is short stands on one line."""
        return _pretty(self.model_dump(mode="json")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CalibrationRecord:
        """Read what :meth:`to_json` wrote.

        :raises CalibrationError: on anything else, with the key it is about.
        """
        try:
            data = json.loads(text, object_pairs_hook=_unique)
            if not isinstance(data, dict):
                raise ValueError("it is not an object")
            version = data.get("schema_version")
            if type(version) is not int or version != SCHEMA_VERSION:
                raise ValueError(f"schema_version is {version!r}, this SDK reads {SCHEMA_VERSION}")
            return cls.model_validate_json(text, strict=True)
        except (ValueError, RecursionError) as error:
            raise CalibrationError(
                f"not a calibration record: {_one_line(error)}. Take the file as it was written, or calibrate again."
            ) from error


def json_schema() -> dict[str, Any]:
    """JSON Schema of a record, ``calibration/schema.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | CalibrationRecord.model_json_schema()


def utc_text(moment: datetime) -> str:
    """A time as records write it.

    >>> utc_text(datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC))
    '2026-03-01T12:00:00Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parameter_name(kind: str, *modes: int) -> str:
    """Name of a parameter in ``parameters`` and in :meth:`CalibrationRecord.measured`.

    >>> parameter_name("dark_counts", 3), parameter_name("indistinguishability", 0, 2), parameter_name("g2")
    ('dark_counts[3]', 'indistinguishability[0,2]', 'g2')
    """
    return f"{kind}[{','.join(map(str, modes))}]" if modes else kind


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
            brightness=_published(1.0),
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
            f"no record from the figures of {identity.device}: {_one_line(error)}. Calibrate the device instead."
        ) from error


def known_record(noise: DeviceNoise, identity: Identity) -> CalibrationRecord:
    """A record of a simulator from the noise it was given, without a measurement; every error is 0.

    Records have brightness 1: a source of another brightness is replaced by one of the same g2 behind such a loss, and
    of such an indistinguishability, that as many photons arrive and as many of them are common; exact for g2 = 0. The
    rounding of phases has no place in a record and is left out.

    :raises CalibrationError: when a record cannot hold it, or the noise is of fewer modes.

    >>> from qpu_sdk.photonics.noise import NoiseParameters
    >>> identity = Identity("local:slos?noise=belenos", "slos", 3, (0, 2), "threshold")
    >>> record = known_record(DeviceNoise.of(NoiseParameters(brightness=0.5, transmittance=0.2), modes=3), identity)
    >>> record.noise().input_transmissions.tolist(), record.g2.standard_error
    ([0.1, 0.0, 0.1], 0.0)
    """
    efficiencies = np.asarray(noise.output_efficiencies, dtype=np.float64)[: identity.modes]
    mean, sent, common = float(efficiencies.mean()), *_as_bright_as_one(noise.brightness, noise.g2)
    if identity.modes > noise.modes or mean == 0.0:
        raise CalibrationError(
            f"the noise of {identity.device} is that of {noise.modes} modes, and its efficiencies have mean {mean:g}; "
            f"a record of {identity.modes} modes needs as many, and light. Use fewer modes, or other noise."
        )
    try:
        return CalibrationRecord(
            **asdict(identity),
            origin="simulated",
            brightness=_known(1.0),
            indistinguishability=_known_overlaps(noise, identity.input_modes, common),
            g2=_known(noise.g2),
            input_transmissions={
                j: _known(float(noise.input_transmissions[j]) * mean * sent) for j in identity.input_modes
            },
            output_efficiencies=tuple(_known(float(eta) / mean) for eta in efficiencies),
            dark_counts=tuple(_known(float(d), "1/window") for d in noise.dark_counts[: identity.modes]),
            phase_error=_known(noise.phase_error, "rad") if noise.phase_error > 0.0 else None,
            utc_start=TIMELESS,
            utc_end=TIMELESS,
            notes="The parameters of a simulator as they were given, not measured. It stays as it is.",
        )
    except ValidationError as error:
        raise CalibrationError(
            f"no record from the noise of {identity.device}: {_one_line(error)}. Calibrate the device instead."
        ) from error


def _as_bright_as_one(brightness: float, g2: float) -> tuple[float, float]:
    """Transmission and change of sqrt(I) that stand for a brightness, with the first and second photons of each."""
    _, two = (float(p) for p in emission(brightness, g2))
    _, full = (float(p) for p in emission(1.0, g2))
    sent = (brightness + two) / (1.0 + full)
    return sent, brightness / sent if sent > 0.0 else 1.0


def _known_overlaps(noise: DeviceNoise, inputs: tuple[int, ...], common: float) -> Measured | tuple[MeasuredPair, ...]:
    overlap = noise.indistinguishability
    if np.ndim(overlap) == 0:
        return _known(min(1.0, float(overlap) * common**2))
    pairs = [(j, k) for j in inputs for k in inputs if j < k]
    values = [min(1.0, float(np.asarray(overlap)[pair]) ** 2 * common**2) for pair in pairs]
    return tuple(MeasuredPair(modes=p, value=v, standard_error=0.0) for p, v in zip(pairs, values, strict=True))


def _known(value: float, unit: Unit = "1") -> Measured:
    return Measured(value=value, standard_error=0.0, unit=unit)


def _published(value: float, unit: Unit = "1") -> Measured:
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
    out = [_share(t, f"{key} t_out") for t in _list(table, "t_out", key)][: identity.modes]
    if len(into) != len(identity.input_modes):
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
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 100.0:
        raise CalibrationError(f"the vendor's {key!r} is {value!r:.60}, not 0..100 %. Calibrate the device instead.")
    return float(value) / 100.0


def _named(record: CalibrationRecord) -> Iterator[tuple[str, Measured]]:
    yield "brightness", record.brightness
    if isinstance(record.indistinguishability, Measured):
        yield "indistinguishability", record.indistinguishability
    else:
        yield from ((parameter_name("indistinguishability", *p.modes), p.measured) for p in record.indistinguishability)
    yield "g2", record.g2
    for mode in sorted(record.input_transmissions):
        yield parameter_name("input_transmissions", mode), record.input_transmissions[mode]
    for kind, values in (("output_efficiencies", record.output_efficiencies), ("dark_counts", record.dark_counts)):
        yield from ((parameter_name(kind, mode), measured) for mode, measured in enumerate(values))
    if record.phase_error is not None:
        yield "phase_error", record.phase_error


def _check_shapes(record: CalibrationRecord) -> None:
    modes, inputs = record.modes, record.input_modes
    if list(inputs) != sorted(set(inputs)) or (inputs and inputs[-1] >= modes):
        raise ValueError(f"input_modes are {list(inputs)}; they must ascend and be below {modes}")
    if set(record.input_transmissions) != set(inputs):
        raise ValueError(f"input_transmissions are of modes {sorted(record.input_transmissions)}, not {list(inputs)}")
    for key in ("output_efficiencies", "dark_counts"):
        if len(getattr(record, key)) != modes:
            raise ValueError(f"{key} has {len(getattr(record, key))} values for {modes} modes")
    if not isinstance(record.indistinguishability, Measured):
        wanted = [(j, k) for j in inputs for k in inputs if j < k]
        if sorted(pair.modes for pair in record.indistinguishability) != wanted:
            raise ValueError(f"indistinguishability has not every pair of {list(inputs)} once, the lower mode first")
    for job in record.jobs:
        if not set(job.input_modes) <= set(inputs):
            raise ValueError(f"jobs: {job.name!r} sends photons into {list(job.input_modes)}, outside input_modes")


def _check_numbers(record: CalibrationRecord) -> None:
    if record.brightness.value != 1.0:
        raise ValueError(f"brightness is {record.brightness.value}; it is fixed to 1, transmissions carry it")
    for name, measured in _named(record):
        unit, largest = LIMITS[name.partition("[")[0]]
        if not 0.0 <= measured.value <= largest:
            raise ValueError(f"{name} is {measured.value}; it must be within 0..{largest:.6g}")
        if measured.unit != unit:
            raise ValueError(f"{name} has unit {measured.unit!r}; it must be {unit!r}")
        if measured.standard_error is None and record.origin != "vendor":
            raise ValueError(f"{name} has no standard_error; only figures of a vendor have none")


def _check_covariance(record: CalibrationRecord) -> None:
    names, known = record.parameters, record.measured()
    if len(set(names)) < len(names) or not set(names) <= set(known):
        odd = next((n for n in names if n not in known), "one of them twice")
        raise ValueError(f"parameters name {odd:.60}; each must be a number of the record, once")
    if [len(row) for row in record.covariance] != [len(names)] * len(names):
        raise ValueError(f"covariance is not {len(names)} rows of {len(names)}, as parameters ask")
    covariance = record.covariance_array()
    for name, variance in zip(names, np.diag(covariance).tolist(), strict=True):
        error = known[name].standard_error
        if error is None or not math.isclose(variance, error * error, rel_tol=1e-6, abs_tol=1e-300):
            raise ValueError(f"covariance of {name} is {variance}; its standard_error is {error}, the root of that")
    correlation = correlations(covariance)
    if not np.isfinite(correlation).all() or np.abs(correlation - correlation.T).max(initial=0.0) > (
        CORRELATION_TOLERANCE
    ):
        raise ValueError("covariance is not symmetric")
    if names and np.linalg.eigvalsh(correlation)[0] < -CORRELATION_TOLERANCE * len(names):
        raise ValueError("covariance is not positive semidefinite")


def correlations(covariance: FloatArray) -> FloatArray:
    """Covariance over the product of standard deviations, ``(P, P)``; what has no variance counts as 1.

    >>> correlations(np.array([[4.0, 1.0], [1.0, 1.0]])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    variance = np.diag(covariance)
    scale = np.sqrt(np.where(variance > 0.0, variance, 1.0))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(covariance / scale[:, None] / scale)


def _moment(text: str, key: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{key} is {text}, no time ({error})") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(k for k in keys if keys.count(k) > 1)} stands there twice")
    return found


def _one_line(error: ValueError | RecursionError) -> str:
    """What is wrong and at which key, in one line of printable characters."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}" if where else first["msg"]
    text = re.sub(r"[^\x20-\x7e]+", " ", text.removeprefix("Value error, ")).replace(": Value error, ", ": ")
    return text.strip().rstrip(".")[:240]


def _pretty(value: object, indent: int = 0, before: int = 0) -> str:
    """JSON in which what fits in a line is one line."""
    compact = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(compact) + indent + before < 118 or not isinstance(value, dict | list) or not value:
        return compact
    pad = " " * (indent + 1)
    if isinstance(value, list):
        items = [pad + _pretty(item, indent + 1) for item in value]
        return "[\n" + ",\n".join(items) + "\n" + " " * indent + "]"
    keys = {key: json.dumps(key, ensure_ascii=False) + ": " for key in value}
    items = [pad + keys[key] + _pretty(item, indent + 1, len(keys[key])) for key, item in value.items()]
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"
