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
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, final

import numpy as np
from pydantic import BaseModel, Field, JsonValue, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..arrays import FloatArray
from ..errors import CalibrationError
from ..files import first_problem, pretty_json, unique_keys
from ..markup import Html, notebook_table
from ..photonics.noise import Noise
from ..rendering.text import Rows, two_columns, typeset
from .covariance import check_covariance
from .parts import (
    CONFIG,
    CalibrationJob,
    ChiSquare,
    DetectorText,
    Measured,
    MeasuredPair,
    Mode,
    Origin,
    PhysicalUnit,
    Predicted,
    UtcText,
    parameter_name,
    without_nones,
)
from .times import moment_of

SCHEMA_VERSION = 1
MODEL = "OBB, distinguishable second photon, threshold, one permanent per set"
GAUGE = (
    "Brightness is fixed to 1 and the input transmissions carry it, because counts hold only their product; "
    "the output efficiencies have mean 1, because counts hold only transmission times efficiency."
)
#: PhysicalUnit and largest value of each parameter. Above g2 = 0.5 no source of brightness 1 exists.
LIMITS: Mapping[str, tuple[PhysicalUnit, float]] = {
    "brightness": ("1", 1.0),
    "indistinguishability": ("1", 1.0),
    "g2": ("1", 0.5),
    "input_transmissions": ("1", 1.0),
    "output_efficiencies": ("1", 10.0),  # relative to their mean
    "dark_counts": ("1/window", 1.0),
    "phase_error": ("rad", math.pi),
    "angle_error": ("rad", math.pi),
}
#: Rows in a notebook.
_SHOWN = {"origin", "record", "time", "modes", "detectors", "indistinguishability", "g2", "phase error", "fit"}
_SHOWN |= {"validation", "drift", "predicts", "jobs", "valid for"}
#: Above this chi-square over its degrees of freedom a fit is poor: by chance it is 1 +- 0.1 on two hundred of them.
POOR_FIT = 2.0


@final
class CalibrationRecord(BaseModel):
    """The state of a device of M modes; see the module's docstring.

    :param indistinguishability: of every pair of photons: one number, or one for every pair of ``input_modes``.
    :param g2: of every source.
    :param input_transmissions: by mode, for ``input_modes``.
    :param output_efficiencies: ``(M,)``.
    :param dark_counts: probability that a detector fires by itself in one window, ``(M,)``.
    :param phase_error: largest error of a phase, radians; ``angle_error``: standard deviation of that of a theta.
    :param parameters: names out of :meth:`measured`, in the order of ``covariance``.
    :param covariance: of these, ``(P, P)``, in their units.
    :param fit: how well the model fits the jobs it was fitted to; ``validation``: others; ``drift``: first and last.
    :param prediction: of settings that were kept out of the fit in turn; None where that was not tried.
    :param vendor: what the platform published, word for word.
    :param validity_h: hours after which the record should not be used.
    :param seed: of a simulation.
    :raises pydantic.ValidationError: when numbers, shapes or times do not fit together.

    >>> from qpu_sdk.calibration.known import vendor_record
    >>> from qpu_sdk.calibration.parts import Identity
    >>> record = vendor_record(
    ...     {"Transmittance (%)": 5.0, "HOM (%)": 90.0, "g2 (%)": 2.0},
    ...     Identity("quandela:sim:belenos", "sim:belenos", 3, (0, 2), "threshold"),
    ...     utc="2026-03-01T12:00:00Z",
    ... )
    >>> record.noise().transmittance
    (0.05, 0.0, 0.05)
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
    detector: DetectorText
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
    angle_error: Measured | None = None
    parameters: tuple[str, ...] = ()
    covariance: tuple[tuple[float, ...], ...] = ()

    jobs: tuple[CalibrationJob, ...] = ()
    fit: ChiSquare | None = None
    validation: ChiSquare | None = None
    drift: ChiSquare | None = None
    prediction: Predicted | None = None

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
        check_covariance(self.parameters, self.covariance, self.measured())
        if moment_of(self.utc_start, "utc_start") > moment_of(self.utc_end, "utc_end"):
            raise ValueError(f"utc_start is {self.utc_start}, after utc_end {self.utc_end}")
        try:
            json.dumps(self.vendor, allow_nan=False)
        except ValueError as error:
            raise ValueError(f"vendor holds what JSON cannot ({error})") from error
        return self

    @model_serializer(mode="wrap")
    def _written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_nones(dump(self), "angle_error", "prediction")  # added later: older records keep their ids

    @property
    def id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the content; any change changes it."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def measured(self) -> dict[str, Measured]:
        """Every number by name: ``g2``, ``dark_counts[3]``, ``indistinguishability[0,2]``."""
        return dict(_named_numbers(self))

    def noise(self) -> Noise:
        """What the click model and a noisy twin run with: efficiencies relative to the best, so that none is above 1.

        Of pairs, I is 0 where one of the inputs has no source.
        """
        transmissions = np.zeros(self.modes)
        for mode, measured in self.input_transmissions.items():
            transmissions[mode] = measured.value
        efficiencies = np.array([m.value for m in self.output_efficiencies])
        best = efficiencies.max()
        return Noise(
            brightness=self.brightness.value,
            indistinguishability=self._pairs(),
            g2=self.g2.value,
            transmittance=np.minimum(transmissions * best, 1.0),  # estimates of good sources may pass it
            efficiency=efficiencies / best,
            dark_counts=[m.value for m in self.dark_counts],
            phase_error=0.0 if self.phase_error is None else self.phase_error.value,
            angle_error=0.0 if self.angle_error is None else self.angle_error.value,
        )

    def _pairs(self) -> float | FloatArray:
        if isinstance(self.indistinguishability, Measured):
            return self.indistinguishability.value
        out = np.eye(self.modes)
        for pair in self.indistinguishability:
            out[pair.modes, pair.modes[::-1]] = pair.value  # (j, k) and (k, j) at once
        return out

    @property
    def inflation(self) -> float:
        """Largest chi-square over its degrees of freedom of fit, validation and drift, at least 1.

        Errors of a fit that describes its own counts no better are too small by the root of it (the scale factor of
        the Particle Data Group, Phys. Rev. D 110, 030001, sec. 5.2.2). Fits with phase errors have it in theirs.
        """
        if self.phase_error is not None or self.angle_error is not None:
            return 1.0
        tests = [test for test in (self.fit, self.validation, self.drift) if test is not None and test.dof > 0]
        return max([1.0, *(test.chi2 / test.dof for test in tests)])

    @property
    def licensed(self) -> bool:
        """Whether the numbers may be believed with the errors that they have: not a vendor's, nor of a poor fit."""
        return self.origin != "vendor" and self.inflation < POOR_FIT

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
        return moment_of(self.utc_end, "utc_end")

    def rows(self) -> Rows:
        """Name and value of everything a reader needs to judge the record."""
        platform = f" ({self.platform})" if self.platform else ""
        tests = {"fit": self.fit, "validation": self.validation, "drift": self.drift}
        asked, got = self.mitigations_requested or "-", self.mitigations_returned or "-"
        rows = [
            ("device", f"{self.device}{platform}"),
            ("origin", self.origin),
            ("record", self.id),
            ("time", f"{self.utc_start} to {self.utc_end}"),
            ("modes", f"{self.modes}, sources at {', '.join(map(str, self.input_modes)) or 'none'}"),
            ("detectors", self.detector),
            *((name.replace("_", " "), str(measured)) for name, measured in self.measured().items()),
            *((name, "not done" if test is None else str(test)) for name, test in tests.items()),
            *([] if self.prediction is None else [("predicts", str(self.prediction))]),
            ("jobs", f"{len(self.jobs)} circuits, {sum(job.shots for job in self.jobs):,} shots"),
            ("mitigations", f"asked for {asked}, got {got}"),
            ("valid for", "not limited" if self.validity_h is None else f"{self.validity_h:g} h"),
            ("model", self.model),
            ("gauge", self.gauge),
            ("seed", "" if self.seed is None else str(self.seed)),
            ("versions", ", ".join(f"{k} {v}" for k, v in self.versions.items())),
            ("notes", self.notes),
        ]
        return [row for row in rows if row[1] or row[0] not in ("seed", "versions", "notes")]

    def __repr__(self) -> str:
        return f"CalibrationRecord({self.device!r}, {self.id}, {self.origin}, {self.utc_end}, {self.modes} modes)"

    def _repr_html_(self) -> Html:
        rows = typeset(row for row in self.rows() if row[0] in _SHOWN)
        return notebook_table(f"Calibration of {self.device}", rows, note="print(record) shows every number")

    def __str__(self) -> str:
        return two_columns(self.rows())

    def to_json(self) -> str:
        """JSON for people and machines: what is short stands on one line."""
        return pretty_json(self.model_dump(mode="json")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CalibrationRecord:
        """Read what :meth:`to_json` wrote.

        :raises CalibrationError: on anything else, with the key it is about.
        """
        try:
            data = json.loads(text, object_pairs_hook=unique_keys)
            if not isinstance(data, dict):
                raise ValueError("it is not an object")
            version = data.get("schema_version")
            if type(version) is not int or version != SCHEMA_VERSION:  # true == 1 and 1.0 == 1 in Python
                raise ValueError(f"schema_version is {version!r}, this SDK reads {SCHEMA_VERSION}")
            return cls.model_validate_json(text, strict=True)  # from text: strict takes lists for tuples only there
        except (ValueError, RecursionError) as error:  # RecursionError: [[[[... a thousand deep
            raise CalibrationError(
                f"not a calibration record: {first_problem(error)}. "
                "Take the file as it was written, or calibrate again."
            ) from error


def json_schema() -> dict[str, Any]:
    """JSON Schema of a record, ``calibration/schema.json``."""
    schema = CalibrationRecord.model_json_schema()
    # The docstring's Python example is of no use to whoever reads records in another language.
    schema["description"] = schema["description"].partition("\n\n>>>")[0]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _named_numbers(record: CalibrationRecord) -> Iterator[tuple[str, Measured]]:
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
    yield from ((name, found) for name in ("phase_error", "angle_error") if (found := getattr(record, name)))


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
    for name, measured in _named_numbers(record):
        unit, largest = LIMITS[name.partition("[")[0]]
        if not 0.0 <= measured.value <= largest:
            raise ValueError(f"{name} is {measured.value}; it must be within 0..{largest:.6g}")
        if measured.unit != unit:
            raise ValueError(f"{name} has unit {measured.unit!r}; it must be {unit!r}")
        if measured.standard_error is None and record.origin != "vendor":
            raise ValueError(f"{name} has no standard_error; only figures of a vendor have none")
