"""The parts of a calibration record: numbers with their errors, tests, jobs, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..photonics.counts import Counts, Detector, check_detector
from ..photonics.program import Program
from ..rendering.text import quantity

PhysicalUnit = Literal["1", "1/window", "rad", "s"]
#: Units behind numbers that people read.
UNITS: Mapping[PhysicalUnit, str] = {"1": "", "1/window": " per window", "rad": " rad", "s": " s"}
Origin = Literal["measured", "simulated", "vendor"]
Role = Literal["fit", "validation", "drift"]
UtcText = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$")]
#: A kind of detector as files have it: ``threshold``, ``pnr`` or ``ppnr:W``.
DetectorText = Annotated[
    Detector,
    Field(pattern=r"^(threshold|pnr|ppnr:[1-9][0-9]{0,4})$"),
    AfterValidator(lambda name: check_detector(name, ValueError)),
]
Mode = Annotated[int, Field(ge=0)]
Natural = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

#: A normal variable is below so many standard deviations with 95 %.
ONE_SIDED = 1.645

CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@final
class Measured(BaseModel):
    """A number with its standard error, both in ``unit``; only a vendor's figure has no error."""

    model_config = CONFIG

    value: float
    standard_error: NonNegative | None
    unit: PhysicalUnit = "1"

    def __str__(self) -> str:
        """The number with its error and unit, as tables show it; a rate that was not seen as a limit.

        >>> str(Measured(value=1e-10, standard_error=1.5e-8, unit="1/window"))
        '< 2.5e-08 per window (95 %)'
        """
        if self.unseen:
            assert self.standard_error is not None
            return f"< {self.value + ONE_SIDED * self.standard_error:.1e}{UNITS[self.unit]} (95 %)"
        return quantity(self.value, self.standard_error) + UNITS[self.unit]

    @property
    def unseen(self) -> bool:
        """Whether it is a rate that is less than two standard errors from 0, so that its counts show none.

        >>> Measured(value=2e-6, standard_error=1e-7, unit="1/window").unseen
        False
        """
        return self.unit == "1/window" and bool(self.standard_error) and self.value < 2.0 * (self.standard_error or 0.0)


@final
class MeasuredPair(BaseModel):
    """Indistinguishability of the photons of two inputs, ``modes`` ascending."""

    model_config = CONFIG

    modes: tuple[Mode, Mode]
    value: float
    standard_error: NonNegative | None
    unit: PhysicalUnit = "1"

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

    def __str__(self) -> str:
        p = "" if self.p_value is None else f", p = {self.p_value:.2g}"
        return f"chi-square {self.chi2:.1f} on {self.dof} degrees of freedom{p}"


@final
class Predicted(BaseModel):
    """How well settings were predicted that were not fitted: mean total variation distances.

    :param distance: of their counts to what the fit of the others expects.
    :param floor: what as many shots of the expectation itself would have.
    :param start: of their counts to what the figures predict where the fit began.
    """

    model_config = CONFIG

    settings: Natural
    distance: Fraction
    floor: Fraction
    start: Fraction

    def __str__(self) -> str:
        return (
            f"{self.settings} settings that were not fitted, at a distance of {self.distance:.3f} "
            f"(figures before the fit {self.start:.3f}, sampling alone {self.floor:.3f})"
        )


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

    @classmethod
    def of(cls, name: str, role: Role, counts: Counts, program: Program, test: ChiSquare) -> CalibrationJob:
        """Of the counts of a program, and their test."""
        clicks = (counts.outcomes > 0).sum(axis=1)
        by_class = {int(k): int(counts.numbers[clicks == k].sum()) for k in np.unique(clicks[counts.numbers > 0]) if k}
        return cls(
            name=name,
            role=role,
            tag=counts.tag,
            job_id=counts.job_id,
            program=program.fingerprint,
            input_modes=program.input_modes,
            shots=counts.shots,
            clicks=by_class,
            chi2=test.chi2,
            dof=test.dof,
        )

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


def without_nones(dump: dict[str, Any], *names: str) -> dict[str, Any]:
    """What is written of a model, without those fields that say nothing.

    >>> without_nones({"a": None, "b": None, "c": 1}, "a", "c")
    {'b': None, 'c': 1}
    """
    return {name: value for name, value in dump.items() if value is not None or name not in names}


def parameter_name(kind: str, *modes: int) -> str:
    """Name of a parameter in ``parameters`` and in :meth:`CalibrationRecord.measured`.

    >>> parameter_name("dark_counts", 3), parameter_name("indistinguishability", 0, 2), parameter_name("g2")
    ('dark_counts[3]', 'indistinguishability[0,2]', 'g2')
    """
    return f"{kind}[{','.join(map(str, modes))}]" if modes else kind
