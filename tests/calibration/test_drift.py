"""Comparison of two records: right when nothing changed, and seeing what did."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.drift import Change, RecordChanges, record_changes
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.errors import CalibrationMismatch
from tests.calibration.test_record import content, example, number

TRUTH = content()
NAMES: list[str] = TRUTH["parameters"]


def with_values(values: FloatArray, scale: float = 1.0) -> CalibrationRecord:
    """The example with other values of its fitted parameters, and errors ``scale`` times as large."""
    covariance = np.array(TRUTH["covariance"]) * scale**2
    data: dict[str, Any] = {key: TRUTH[key] for key in ("input_transmissions", "output_efficiencies", "dark_counts")}
    data = {key: list(v) if isinstance(v, list) else dict(v) for key, v in data.items()}
    for name, value, error in zip(NAMES, values.tolist(), np.sqrt(np.diag(covariance)).tolist(), strict=True):
        kind, _, index = name.rstrip("]").partition("[")
        new = number(value, error, "1/window" if kind == "dark_counts" else "1")
        if not index:
            data[kind] = new
        elif isinstance(data[kind], dict):
            data[kind][index] = new
        else:
            data[kind][int(index)] = new
    return example(**data, covariance=covariance.tolist(), phase_error=None)


def true_values() -> FloatArray:
    measured = example().measured()
    return np.array([measured[name].value for name in NAMES])


def sampled(rng: np.random.Generator, scale: float) -> CalibrationRecord:
    return with_values(rng.multivariate_normal(true_values(), np.array(TRUTH["covariance"]) * scale**2), scale)


@lru_cache(maxsize=1)
def same_device() -> tuple[RecordChanges, ...]:
    """200 pairs of measurements of one truth, the second with half the errors."""
    rng = np.random.default_rng(20260301)
    return tuple(record_changes(sampled(rng, 1.0), sampled(rng, 0.5)) for _ in range(200))


def change(comparison: RecordChanges, name: str) -> Change:
    return next(c for c in comparison.changes if c.parameter == name)


def test_joint_p_values_are_uniform_without_a_change() -> None:
    p = [c.joint.p_value for c in same_device() if c.joint is not None]
    assert len(p) == 200
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_p_values_of_each_parameter_are_uniform_without_a_change(name: str) -> None:
    p = [change(c, name).p_value for c in same_device()]
    assert stats.kstest(p, "uniform").pvalue > 0.01 / len(NAMES)


def test_the_joint_test_knows_the_correlations() -> None:
    """As scipy would: chi-square of the whole difference, on as many degrees of freedom as were fitted."""
    covariance = np.array(TRUTH["covariance"])
    for found in same_device()[:20]:
        assert found.joint is not None
        difference = np.array([change(found, name).difference for name in NAMES])
        statistic = difference @ np.linalg.solve(1.25 * covariance, difference)
        assert found.joint.dof == len(NAMES)
        assert found.joint.chi2 == pytest.approx(statistic, rel=1e-6)
        assert found.joint.p_value == pytest.approx(stats.chi2.sf(statistic, len(NAMES)), abs=2e-3)


def test_each_record_brings_its_own_correlations() -> None:
    covariance = np.array(TRUTH["covariance"])
    alone = np.diag(np.diag(covariance))
    a = sampled(np.random.default_rng(8), 1.0)
    b = example(covariance=alone.tolist(), phase_error=None)
    for found in (record_changes(a, b), record_changes(b, a)):
        assert found.joint is not None
        difference = np.array([change(found, name).difference for name in NAMES])
        assert found.joint.chi2 == pytest.approx(difference @ np.linalg.solve(covariance + alone, difference), rel=1e-6)


def test_a_change_is_seen_where_it_is() -> None:
    values = true_values()
    values[NAMES.index("g2")] += 0.02
    found = record_changes(with_values(true_values()), with_values(values))
    g2 = change(found, "g2")
    assert g2.difference == pytest.approx(0.02)
    assert g2.standard_error == pytest.approx(0.002 * math.sqrt(2))
    assert g2.z == pytest.approx(0.02 / 0.002 / math.sqrt(2))
    assert g2.p_value == pytest.approx(2 * stats.norm.sf(g2.z))
    assert found.joint is not None
    assert found.joint.p_value is not None
    assert found.joint.p_value < 1e-9
    assert all(c.z == 0.0 for c in found.changes if c.z is not None and c.parameter != "g2")


def test_the_other_way_round_is_the_other_sign() -> None:
    rng = np.random.default_rng(5)
    a, b = sampled(rng, 1.0), sampled(rng, 2.0)
    there, back = record_changes(a, b), record_changes(b, a)
    assert (there.before, there.after) == (back.after, back.before) == (a.id, b.id)
    assert [c.difference for c in there.changes] == [-c.difference for c in back.changes]
    assert [c.p_value for c in there.changes] == [c.p_value for c in back.changes]
    assert there.joint is not None
    assert back.joint is not None
    assert there.joint.chi2 == pytest.approx(back.joint.chi2)


def test_what_is_fixed_or_without_error_is_not_tested() -> None:
    found = record_changes(example(), example())
    fixed = change(found, "output_efficiencies[0]")
    assert (fixed.standard_error, fixed.z, fixed.p_value) == (0.0, None, None)
    assert found.joint is not None
    assert found.joint.dof == len(NAMES) + 1  # the phase error is outside the covariance and independent of it
    vendor = example(origin="vendor", g2=number(0.03, None), parameters=[], covariance=[])
    published = change(record_changes(example(), vendor), "g2")
    assert (published.standard_error, published.z, published.p_value) == (None, None, None)
    assert published.difference == pytest.approx(0.01)


def test_nothing_to_test_is_said() -> None:
    none = {key: number(TRUTH[key]["value"], None) for key in ("g2", "indistinguishability")}
    into = {k: number(v["value"], None) for k, v in TRUTH["input_transmissions"].items()}
    out = [number(v["value"], None) for v in TRUTH["output_efficiencies"]]
    dark = [number(v["value"], None, "1/window") for v in TRUTH["dark_counts"]]
    rest: dict[str, Any] = {"input_transmissions": into, "output_efficiencies": out, "dark_counts": dark}
    vendor = example(**none, **rest, origin="vendor", phase_error=None, parameters=[], covariance=[])
    assert record_changes(vendor, example()).joint is None


def test_a_singular_covariance_loses_a_degree_of_freedom() -> None:
    """Two parameters that move together are one."""
    covariance = [[4e-6, 8e-6], [8e-6, 1.6e-5]]
    record = example(parameters=["g2", "indistinguishability"], covariance=covariance)
    found = record_changes(record, record)
    assert found.joint is not None
    tested = sum(c.z is not None for c in found.changes)
    assert found.joint.dof == tested - 1


@pytest.mark.parametrize(
    ("key", "changes"),
    [("device", {"device": "other"}), ("detector", {"detector": "pnr"}), ("gauge", {"gauge": "None."})],
)
def test_records_that_cannot_be_compared_are_refused(key: str, changes: dict[str, Any]) -> None:
    with pytest.raises(CalibrationMismatch, match=f"differ in {key}") as caught:
        record_changes(example(), example(**changes))
    assert "\n" not in str(caught.value)


def test_other_modes_are_refused() -> None:
    more = {
        "modes": 4,
        "output_efficiencies": [*TRUTH["output_efficiencies"], number(1.0)],
        "dark_counts": [*TRUTH["dark_counts"], number(0.0, 0.0, "1/window")],
    }
    with pytest.raises(CalibrationMismatch, match="differ in modes: 3 and 4"):
        record_changes(example(), example(**more))
