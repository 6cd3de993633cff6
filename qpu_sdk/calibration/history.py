"""All that is known of a device over time: every number with its interval by date, and which of them changed.

Records are independent, so that without a change ``sum ((x_i - m) / s_i)^2`` of a number over n of them, m its weighted
mean, is chi-square on n - 1 degrees of freedom. That finds what drifts too slowly for any two records in a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from ..markup import Html, notebook_table
from ..rendering.text import chance, number_of, quantity
from ..statistics import chi_square_tail
from .drift import RecordChanges, record_changes
from .parts import UNITS, ChiSquare, Measured
from .record import CalibrationRecord
from .verdict import ALARM, record_verdict

#: Two-sided 95 % of a normal distribution.
_HALF_WIDTH = 1.96
#: Columns of :meth:`CalibrationHistory.rows`.
HISTORY_HEAD = ("number", "time", "value", "95 % interval", "change")
#: A value that changed since the record before, and what says so.
CHANGED = "changed"


@final
@dataclass(frozen=True, eq=False, repr=False)
class CalibrationHistory:
    """Records of one device with one number of modes, one kind of detector and one gauge, oldest first.

    :param records: at least one.
    :param left_out: one line for each thing that could not be compared or read.
    """

    device: str
    records: tuple[CalibrationRecord, ...] = field(repr=False)
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, device: str, records: Sequence[CalibrationRecord], damaged: Sequence[str] = ()) -> CalibrationHistory:
        """Of the records that are like the newest one.

        :param records: of the device, oldest first, at least one.
        """
        newest = records[-1]
        like = tuple(record for record in records if _kind(record) == _kind(newest))
        other = [
            f"{record.id} of {record.utc_end}: {record.modes} modes, {record.detector} detectors"
            for record in records
            if _kind(record) != _kind(newest)
        ]
        return cls(device, like, (*other, *damaged))

    @cached_property
    def numbers(self) -> Mapping[str, tuple[tuple[CalibrationRecord, Measured], ...]]:
        """Every number by name, with the records that have it."""
        found: dict[str, list[tuple[CalibrationRecord, Measured]]] = {}
        for record in self.records:
            for name, measured in record.measured().items():
                if name != "brightness":  # it is 1 in every record
                    found.setdefault(name, []).append((record, measured))
        return {name: tuple(values) for name, values in found.items()}

    @cached_property
    def constancy(self) -> Mapping[str, ChiSquare]:
        """Of every number with two errors or more: the test that it never changed."""
        found = {name: _constant([measured for _, measured in values]) for name, values in self.numbers.items()}
        return {name: test for name, test in found.items() if test is not None}

    @cached_property
    def drifted(self) -> tuple[str, ...]:
        """Numbers that changed, by :data:`~qpu_sdk.calibration.verdict.ALARM` over how many there are."""
        limit = ALARM / max(1, len(self.constancy))
        return tuple(name for name, test in self.constancy.items() if test.p_value is not None and test.p_value < limit)

    @cached_property
    def steps(self) -> tuple[RecordChanges, ...]:
        """What changed from each record to the next, one less than there are records."""
        return tuple(record_changes(a, b) for a, b in zip(self.records, self.records[1:], strict=False))

    @cached_property
    def _marks(self) -> frozenset[tuple[str, str]]:
        """Id of a record and name of a number that changed with it."""
        return frozenset(
            (step.after, change.parameter)
            for step in self.steps
            for change in step.changes
            if change.p_value is not None and change.p_value * len(step.changes) < ALARM
        )

    def changed(self, record: CalibrationRecord, name: str) -> bool:
        """Whether a number is another one than in the record before.

        :param name: as of :meth:`CalibrationRecord.measured`.
        """
        return (record.id, name) in self._marks

    @property
    def verdict(self) -> str:
        """Whether anything changed, in one line."""
        first, last = self.records[0], self.records[-1]
        if len(self.records) == 1:
            return f"One record of {self.device}, {first.utc_end}: nothing to compare it with yet."
        over = f"over {len(self.records)} records, {first.utc_end} to {last.utc_end}"
        if not self.constancy:
            return f"Nothing tells whether {self.device} changed {over}: they give no errors to compare with."
        if not self.drifted:
            return f"Nothing changed that the records could tell {over} ({number_of(len(self.constancy), 'number')})."
        name = min(self.drifted, key=lambda one: self.constancy[one].p_value or 0.0)
        values = [measured for _, measured in self.numbers[name]]
        most = f"{_spoken(name)} the most, from {values[0].value:.6g} to {values[-1].value:.6g}"
        many = f"{len(self.drifted)} of {number_of(len(self.constancy), 'number')}"
        return f"The device changed {over}: {most} ({chance(self.constancy[name].p_value or 0.0)}); {many} did."

    def shown(self, *, details: bool) -> list[str]:
        """Names of the numbers that a table has: those of the whole device and those that changed, or all.

        :param details: True for all.
        """
        marked = {name for _, name in self._marks} | set(self.drifted)
        return [name for name in self.numbers if details or "[" not in name or name in marked]

    def rows(self, *, details: bool = False) -> list[tuple[str, ...]]:
        """Rows of :data:`HISTORY_HEAD`: numbers with their intervals, each by date.

        :param details: True for every number, else those of the whole device and those that changed.
        """
        return [
            (_spoken(name), record.utc_end, *_figures(measured), CHANGED if self.changed(record, name) else "")
            for name in self.shown(details=details)
            for record, measured in self.numbers[name]
        ]

    def record_rows(self) -> list[tuple[str, ...]]:
        """One row for each record: time, id, origin, how many numbers changed with it, and whether to believe it."""
        steps = dict(zip((record.id for record in self.records[1:]), self.steps, strict=True))
        return [
            (record.utc_end, record.id, record.origin, self._moved(steps.get(record.id)), record_verdict(record))
            for record in self.records
        ]

    def _moved(self, step: RecordChanges | None) -> str:
        if step is None:
            return "first"
        number = sum(mark[0] == step.after for mark in self._marks)
        joint = (
            "" if step.joint is None or step.joint.p_value is None else f", all together {chance(step.joint.p_value)}"
        )
        return f"{number} of {len(step.changes)}{joint}"

    def data(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "device": self.device,
            "verdict": self.verdict,
            "records": [_record_data(record) for record in self.records],
            "numbers": {
                name: [
                    {"record": record.id, **_number_data(measured), "changed": self.changed(record, name)}
                    for record, measured in values
                ]
                for name, values in self.numbers.items()
            },
            "constancy": {name: test.model_dump(mode="json") for name, test in self.constancy.items()},
            "drifted": list(self.drifted),
            "left_out": list(self.left_out),
        }

    def __repr__(self) -> str:
        return f"CalibrationHistory({self.device!r}, {number_of(len(self.records), 'record')})"

    def __str__(self) -> str:
        return self.verdict

    def _repr_html_(self) -> Html:
        head = ("time", "record", "origin", "changed", "does it fit")
        return notebook_table(f"Calibrations of {self.device}", self.record_rows(), head=head, note=self.verdict)


def _kind(record: CalibrationRecord) -> tuple[object, ...]:
    return record.modes, record.detector, record.gauge


def _constant(values: Sequence[Measured]) -> ChiSquare | None:
    known = [(m.value, m.standard_error) for m in values if m.standard_error]
    if len(known) < 2:
        return None
    x, weights = np.array([value for value, _ in known]), np.array([error**-2.0 for _, error in known])
    statistic = float(weights @ (x - (weights @ x) / weights.sum()) ** 2)
    return ChiSquare(chi2=statistic, dof=len(known) - 1, p_value=chi_square_tail(statistic, len(known) - 1))


def interval_of(measured: Measured) -> tuple[float, float] | None:
    """Ends of its 95 % interval, None without an error; nothing that is measured is negative.

    >>> interval_of(Measured(value=1.0, standard_error=1.0))
    (0.0, 2.96)
    """
    if measured.standard_error is None:
        return None
    half = _HALF_WIDTH * measured.standard_error
    return max(0.0, measured.value - half), measured.value + half


def _figures(measured: Measured) -> tuple[str, str]:
    unit, ends = UNITS[measured.unit], interval_of(measured)
    if ends is None or not measured.standard_error:
        return quantity(measured.value, measured.standard_error) + unit, ""
    digits = max(0, 1 - math.floor(math.log10(measured.standard_error)))
    write = f"{{:.{digits}f}}" if digits <= 6 else "{:.1e}"
    return quantity(measured.value, measured.standard_error) + unit, " .. ".join(write.format(end) for end in ends)


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _record_data(record: CalibrationRecord) -> dict[str, Any]:
    own = {key: getattr(record, key) for key in ("id", "utc_start", "utc_end", "origin")}
    return own | {"verdict": record_verdict(record)}


def _number_data(measured: Measured) -> dict[str, Any]:
    ends = interval_of(measured)
    low, high = (None, None) if ends is None else ends
    return {"value": measured.value, "unit": measured.unit, "standard_error": measured.standard_error} | {
        "low": low,
        "high": high,
    }
