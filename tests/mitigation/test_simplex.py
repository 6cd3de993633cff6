"""The projection against all supports tried one by one, a root finder and a quadratic program."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq, minimize

from qpu_sdk.arrays import FloatArray
from qpu_sdk.errors import MitigationError
from qpu_sdk.mitigation.simplex import project

VALUES = st.floats(-10.0, 10.0)


def by_supports(v: FloatArray) -> FloatArray:
    """The nearest of the projections on all faces that are distributions."""
    found: list[FloatArray] = []
    for size in range(1, len(v) + 1):
        for support in itertools.combinations(range(len(v)), size):
            p = np.zeros(len(v))
            chosen = list(support)
            p[chosen] = v[chosen] - (v[chosen].sum() - 1.0) / size
            if p.min() >= -1e-12:
                found.append(p)
    return min(found, key=lambda p: float(((p - v) ** 2).sum()))


@given(st.integers(1, 6).flatmap(lambda size: arrays(np.float64, size, elements=VALUES)))
def test_is_the_nearest_of_all_faces(v: FloatArray) -> None:
    p = project(v)
    assert p.min() >= 0.0
    assert p.sum() == pytest.approx(1.0, abs=1e-14)
    assert p == pytest.approx(by_supports(v), abs=1e-12)


@given(st.integers(1, 200).flatmap(lambda size: arrays(np.float64, size, elements=VALUES)))
def test_is_the_root_of_the_threshold_equation(v: FloatArray) -> None:
    tau = brentq(lambda t: np.maximum(v - t, 0.0).sum() - 1.0, v.min() - 1.0, v.max(), xtol=1e-14)
    assert project(v) == pytest.approx(np.maximum(v - tau, 0.0), abs=1e-11)


def test_is_the_solution_of_the_quadratic_program() -> None:
    v = np.random.default_rng(0).normal(0.1, 0.3, 8)
    found = minimize(
        lambda p: ((p - v) ** 2).sum(),
        np.full(8, 1 / 8),
        jac=lambda p: 2 * (p - v),
        bounds=[(0, 1)] * 8,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1, "jac": lambda _: np.ones(8)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 200},
    )
    assert project(v) == pytest.approx(found.x, abs=1e-6)


@given(arrays(np.float64, (2, 3, 5), elements=VALUES))
def test_rows_are_projected_by_themselves(v: FloatArray) -> None:
    found = project(v)
    for i, j in np.ndindex(2, 3):
        assert found[i, j].tolist() == project(v[i, j]).tolist()


@given(arrays(np.float64, 7, elements=st.floats(0.0, 10.0)), st.permutations(range(7)))
def test_distributions_stay_and_order_does_not_matter(v: FloatArray, order: list[int]) -> None:
    if v.sum() > 0.0:
        p = v / v.sum()
        assert project(p) == pytest.approx(p, abs=1e-15)
    assert project(v[order]) == pytest.approx(project(v)[order], abs=1e-14)


@pytest.mark.parametrize(
    ("v", "p"),
    [([5.0], [1.0]), ([-3.0], [1.0]), ([2.0, 2.0], [0.5, 0.5]), ([1e17, 0.0], [1.0, 0.0]), ([0.0, 1e-9], [0.5, 0.5])],
)
def test_known(v: list[float], p: list[float]) -> None:
    assert project(v) == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize("v", [[], np.nan, 1.0, [1.0, np.nan], [np.inf, 0.0], np.zeros((2, 0))])
def test_nothing_or_not_finite_is_refused(v: object) -> None:
    with pytest.raises(MitigationError, match="not finite"):
        project(v)  # type: ignore[arg-type]


def test_extremes_do_not_overflow() -> None:
    assert project([1.7e308, -1.7e308, 1.7e308]).tolist() == [0.5, 0.0, 0.5]
