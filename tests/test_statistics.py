"""Special functions against mpmath with 40 digits, and statistics against draws."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_sdk.errors import DataError
from qpu_sdk.statistics import (
    beta_quantile,
    chi_square,
    chi_square_tail,
    log_rising,
    sampling_distance,
    total_variation,
)

DIGITS = 40


@given(st.floats(1e-6, 1e9), st.floats(0.0, 1e4))
def test_log_rising_is_a_difference_of_two_log_gammas(x: float, n: float) -> None:
    with mpmath.workdps(DIGITS):
        expected = float(mpmath.loggamma(mpmath.mpf(x) + n) - mpmath.loggamma(x))
    assert log_rising(np.array([x]), np.array([n]))[0] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.floats(1e-6, 1e9), st.integers(0, 60))
def test_log_rising_of_whole_numbers_is_a_sum_of_logarithms(x: float, n: int) -> None:
    expected = math.fsum(math.log(x + j) for j in range(n))
    assert log_rising(np.array([x]), np.array([float(n)]))[0] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("q", [1e-15, 1e-6, 0.025, 0.5, 0.9])
@pytest.mark.parametrize("powers", [(-2.0, 2.0), (1.0, 3.5)])
def test_beta_quantiles_leave_that_much_below_them(q: float, powers: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    a, b = 10.0 ** rng.uniform(*powers, 20), 10.0 ** rng.uniform(*powers, 20)
    x, rest = beta_quantile(q, a, b)
    for one in np.flatnonzero(np.minimum(x, rest) > 1e-30):
        with mpmath.workdps(DIGITS):
            p, r = mpmath.mpf(a[one]), mpmath.mpf(b[one])
            at, left = mpmath.mpf(x[one]), 1 - mpmath.mpf(x[one])
            if x[one] > 0.5:
                at, left = 1 - mpmath.mpf(rest[one]), mpmath.mpf(rest[one])
            density = at ** (p - 1) * left ** (r - 1) / mpmath.beta(p, r)
            below = mpmath.betainc(p, r, 0, at, regularized=True)
            assert abs(below - q) <= 1e-12 * density * min(at, left) + 1e-9 * q


@pytest.mark.parametrize("q", [1e-4, 0.025, 0.3, 0.9])
def test_beta_quantiles_of_powers_are_exact(q: float) -> None:
    """I_x(a, 1) = x^a; far below the smallest number, x is 0 to any precision that is asked for."""
    a = np.array([1e-6, 1e-3, 0.1, 1.0, 7.0, 1e5])
    x, rest = beta_quantile(q, a, np.ones(6))
    np.testing.assert_allclose(x, q ** (1.0 / a), rtol=1e-12, atol=1e-280)
    np.testing.assert_allclose(rest, -np.expm1(np.log(q) / a), rtol=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 5, 9, 69, 500])
@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0, 2.0, 5.0, 20.0])
def test_tails_of_chi_square_are_exact_as_far_as_numbers_reach(degrees: int, ratio: float) -> None:
    with mpmath.workdps(DIGITS):
        expected = mpmath.gammainc(mpmath.mpf(degrees) / 2, mpmath.mpf(ratio * degrees) / 2, regularized=True)
    assert chi_square_tail(ratio * degrees, degrees) == pytest.approx(float(expected), rel=1e-12, abs=1e-300)


def test_rare_bins_are_put_together() -> None:
    statistic, degrees = chi_square(np.array([20.0, 1.0, 2.0, 9.0]), np.array([18.0, 2.0, 2.0, 10.0]))
    assert degrees == 1
    assert abs(statistic - (4 / 18 + 4 / 14)) < 1e-12
    assert chi_square(np.array([1.0, 0.0]), np.array([0.5, 0.5]))[1] == 0


def test_chi_square_rejects_as_often_as_it_should() -> None:
    rng, p = np.random.default_rng(1), np.array([0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    draws = rng.multinomial(1000, p, size=2000).astype(np.float64)
    tails = np.array([chi_square_tail(*chi_square(drawn, 1000 * p)) for drawn in draws])
    for level in (0.05, 0.5, 0.95):
        expected, sigma = 2000 * level, np.sqrt(2000 * level * (1 - level))
        assert abs((tails < level).sum() - expected) < 5 * sigma


@pytest.mark.parametrize(("outcomes", "events"), [(2, 500), (10, 2000), (40, 20_000)])
def test_the_distance_of_an_estimate_is_that_of_drawn_ones(outcomes: int, events: int) -> None:
    rng = np.random.default_rng(outcomes)
    p = rng.dirichlet(np.full(outcomes, 2.0))
    distances = np.abs(rng.multinomial(events, p, size=4000) / events - p).sum(axis=1) / 2
    error = distances.std() / len(distances) ** 0.5
    expected = sampling_distance(p, events)
    # next to leading order: E|X - np| of a binomial is that of a normal up to a part of about 1 / (8 n p (1 - p))
    rest = float(np.sqrt(p * (1 - p) / (2 * np.pi * events)) @ (1 / (8 * events * p * (1 - p))))
    assert abs(distances.mean() - expected) <= 5 * error + 2 * rest


def test_the_distance_is_never_above_one_and_shrinks_with_the_root_of_the_events() -> None:
    p = np.full(100, 0.01)
    assert sampling_distance(p, 0.0) == sampling_distance(p, 1e-3) == 1.0
    assert sampling_distance(p, 4e6) == pytest.approx(sampling_distance(p, 1e6) / 2)
    assert sampling_distance(np.array([1.0, 0.0]), 10) == 0.0


def test_distances_take_lists_and_distributions() -> None:
    told = SimpleNamespace(probabilities=np.array([1.0, 0.0]))
    assert total_variation([0.5, 0.5], told) == total_variation(told, (0.5, 0.5)) == 0.5


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([1.0], [0.5, 0.5]),
        (np.ones((2, 2)), np.ones((2, 2))),
        (1.0, 1.0),
        (["a"], [1.0]),
        ([[1], [1, 2]], [1.0]),
        ({}, [1.0]),
    ],
)
def test_distances_are_between_vectors_of_one_length(p: Any, q: Any) -> None:
    with pytest.raises(DataError, match="Give") as caught:
        total_variation(p, q)
    assert "\n" not in str(caught.value)
