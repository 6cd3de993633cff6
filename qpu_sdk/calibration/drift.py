"""Did a device change between two records? Every parameter by itself, and all of them at once.

Two independent records differ by ``d = b - a`` with covariance ``C_a + C_b``, so without a change ``z = d / sigma`` is
normal and ``d^T (C_a + C_b)^-1 d`` is chi-square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from ..arrays import FloatArray
from ..errors import CalibrationMismatch
from ..statistics import chi_square_tail, correlations
from .parts import ChiSquare, Measured, PhysicalUnit
from .record import CalibrationRecord

#: Smallest eigenvalue of a correlation matrix that counts as a degree of freedom.
#: The gauge makes a covariance singular, and such a zero comes out as +-1e-16: divided by, it would outweigh all.
SMALLEST_EIGENVALUE = 1e-9


@final
@dataclass(frozen=True)
class Change:
    """One parameter in two records, all in ``unit``.

    :param difference: after minus before.
    :param standard_error: of the difference; None where a record gives none, 0 where both hold it fixed.
    :param z: difference in standard errors, None where there is no error to compare with.
    :param p_value: two-sided.
    """

    parameter: str
    unit: PhysicalUnit
    before: float
    after: float
    difference: float
    standard_error: float | None
    z: float | None
    p_value: float | None


@final
@dataclass(frozen=True)
class RecordChanges:
    """Two records of one device.

    :param before: id of the first record; ``after``: of the second.
    :param changes: every parameter that both have.
    :param joint: of all changes that have an error, with their correlations; None where none has.
    """

    before: str
    after: str
    changes: tuple[Change, ...]
    joint: ChiSquare | None


def record_changes(a: CalibrationRecord, b: CalibrationRecord) -> RecordChanges:
    """What changed from ``a`` to ``b``, two independent records of one device.

    :raises CalibrationMismatch: when they are of different devices, modes, detectors or gauges.

    >>> from qpu_sdk.calibration.known import vendor_record
    >>> from qpu_sdk.calibration.parts import Identity
    >>> perfs = {"Transmittance (%)": 5.0, "HOM (%)": 90.0, "g2 (%)": 2.0}
    >>> record = vendor_record(perfs, Identity("d", "p", 2, (0, 1), "threshold"), utc="2026-03-01T12:00:00Z")
    >>> [(c.parameter, c.difference) for c in record_changes(record, record).changes][:2]
    [('brightness', 0.0), ('indistinguishability', 0.0)]
    """
    for key in ("device", "modes", "detector", "gauge"):
        first, second = getattr(a, key), getattr(b, key)
        if first != second:
            raise CalibrationMismatch(
                f"the records {a.id} and {b.id} differ in {key}: {first} and {second}. Compare records of one device."
            )
    before, after = a.measured(), b.measured()
    names = [name for name in before if name in after]
    changes = tuple(_change(name, before[name], after[name]) for name in names)
    return RecordChanges(a.id, b.id, changes, _joint(a, b, changes))


def _change(name: str, before: Measured, after: Measured) -> Change:
    difference = after.value - before.value
    if before.standard_error is None or after.standard_error is None:
        return Change(name, before.unit, before.value, after.value, difference, None, None, None)
    error = math.hypot(before.standard_error, after.standard_error)
    z = difference / error if error > 0.0 else None
    p_value = None if z is None else math.erfc(abs(z) / math.sqrt(2.0))
    return Change(name, before.unit, before.value, after.value, difference, error, z, p_value)


def _joint(a: CalibrationRecord, b: CalibrationRecord, changes: tuple[Change, ...]) -> ChiSquare | None:
    """d^T C^-1 d on the space where C is not singular."""
    tested = [change for change in changes if change.z is not None]
    names = [change.parameter for change in tested]
    if not names:
        return None
    covariance = _covariance(a, names) + _covariance(b, names)
    # Correlations: variances of dark counts and transmissions are 1e10 apart, and no threshold would suit both.
    values, vectors = np.linalg.eigh(correlations(covariance))
    along = vectors.T @ np.array([change.z for change in tested])
    keep = values > SMALLEST_EIGENVALUE * len(names)
    statistic, degrees = float((along[keep] ** 2 / values[keep]).sum()), int(keep.sum())
    return ChiSquare(chi2=statistic, dof=degrees, p_value=chi_square_tail(statistic, degrees))


def _covariance(record: CalibrationRecord, names: list[str]) -> FloatArray:
    """Covariance of the named numbers, ``(P, P)``; those outside the record's covariance are independent."""
    known = record.measured()
    covariance = np.diag([(known[name].standard_error or 0.0) ** 2 for name in names])
    rows = [i for i, name in enumerate(names) if name in record.parameters]
    order = [record.parameters.index(names[i]) for i in rows]
    covariance[np.ix_(rows, rows)] = record.covariance_array()[np.ix_(order, order)]
    return covariance
