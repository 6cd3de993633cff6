"""Post-selection, and each kind of uncertainty against known values or many draws."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.arrays import FloatArray
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.errors import MitigationError
from qpu_sdk.mitigation.distribution import Diagnostics, Distribution, MethodReport
from qpu_sdk.mitigation.posterior import UPPER, Posterior
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.mitigation.uncertainty import Multinomial, Replicas, Uncertainty
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program
from tests.photonics.test_counts import Table, counts_of, tables

DRAWS = 200_000
P = np.array([0.5, 0.3, 0.15, 0.05])


# -- post-selection --------------------------------------------------------------------------------------------


@given(tables(largest=1))
def test_post_selection_gives_relative_frequencies(case: tuple[int, int, Table]) -> None:
    modes, photons, table = case
    counts = counts_of(modes, photons, table, other=5)
    numbers = counts.collision_free()
    if not numbers.any():
        with pytest.raises(MitigationError, match=f"in {counts.shots} shots"):
            post_select(counts)
        return
    found = post_select(counts)
    np.testing.assert_allclose(found.probabilities, numbers / numbers.sum(), rtol=1e-15)
    assert (found.samples, found.shots) == (numbers.sum(), counts.shots)
    assert found.overhead == pytest.approx(1.0)
    assert [(s.name, s.used) for s in found.history] == [("post-select", True)]
    assert found.raw is counts


@pytest.mark.parametrize("table", [{}, {(2, 0): 7}, {(1, 0): 7}, {(1, 1): 0}])
def test_post_selection_needs_an_event(table: Table) -> None:
    with pytest.raises(MitigationError, match=r"(?i)use .*more shots"):
        post_select(counts_of(2, 2, table))


# -- relative frequencies --------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), st.floats(1.0, 9.0))
def test_covariance_is_symmetric_with_vanishing_row_sums(numbers: list[int], overhead: float) -> None:
    p, samples = np.array(numbers) / sum(numbers), sum(numbers)
    found = distribution(p, Multinomial(p, samples, overhead), samples=samples)
    np.testing.assert_array_equal(found.covariance, found.covariance.T)
    np.testing.assert_allclose(found.covariance.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(found.standard_errors**2, np.diag(found.covariance), atol=1e-15)
    if np.count_nonzero(numbers) > 1:
        assert found.overhead == pytest.approx(overhead)
        assert found.effective_samples == pytest.approx(samples / overhead)


def test_covariance_is_that_of_many_draws() -> None:
    """The mean of (x - p)(x - p)^T over n draws scatters by its own standard error, estimated from the draws."""
    samples, draws = 200, 20_000
    frequencies = np.random.default_rng(1).multinomial(samples, P, size=draws) / samples
    products = np.einsum("di,dj->dij", frequencies - P, frequencies - P)
    error = products.std(axis=0) / np.sqrt(draws)
    expected = Distribution(probabilities=P, samples=samples, shots=samples).covariance
    assert (np.abs(products.mean(axis=0) - expected) < 5.0 * error).all()


@pytest.mark.parametrize(
    ("seen", "samples", "low", "high"),
    [
        (15, 148, 0.0624, 0.1605),  # Newcombe, Stat. Med. 17, 857 (1998), table I, method 3, as are the next three
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_intervals_are_the_published_ones(seen: int, samples: int, low: float, high: float) -> None:
    p = np.array([seen, samples - seen]) / samples
    lower, upper = Multinomial(p, samples).interval(0.95)
    assert (lower[0], upper[0]) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert (lower[1], upper[1]) == (pytest.approx(1 - high, abs=1e-4), pytest.approx(1 - low, abs=1e-4))


def test_an_overhead_is_fewer_samples() -> None:
    np.testing.assert_allclose(Multinomial(P, 400, 4.0).interval(0.9), Multinomial(P, 100).interval(0.9), rtol=1e-15)


@pytest.mark.parametrize("samples", [30, 300])
def test_intervals_hold_the_truth_as_often_as_they_say(samples: int) -> None:
    """Wilson's are of that level on average over outcomes, to within 2 points for so few events."""
    rng, held = np.random.default_rng(2), np.zeros(4)
    for numbers in rng.multinomial(samples, P, size=4000):
        low, high = Multinomial(numbers / samples, samples).interval(0.95)
        held += (low <= P) & (high >= P)
    assert 0.93 < held.mean() / 4000 < 0.975


# -- the others ------------------------------------------------------------------------------------------------


def distribution(p: FloatArray, uncertainty: Uncertainty | None = None, samples: int = 100) -> Distribution:
    return Distribution(probabilities=p, samples=samples, shots=4 * samples, uncertainty=uncertainty)


def covariance_of(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of draws ``(D, K)``, and its own standard error."""
    centred = draws - draws.mean(axis=0)
    products = np.einsum("di,dj->dij", centred, centred)
    return products.mean(axis=0), products.std(axis=0) / np.sqrt(len(draws))


def test_replicas_have_the_spread_of_their_values() -> None:
    rng = np.random.default_rng(3)
    sure = Replicas(rng.dirichlet(40.0 * P, 5000))
    expected = (np.diag(P) - np.outer(P, P)) / 41.0
    np.testing.assert_allclose(sure.covariance(), expected, atol=5e-4)
    np.testing.assert_allclose(sure.variances(), np.diag(sure.covariance()), rtol=1e-12)
    low, high = sure.interval(0.8)
    inside = (sure.values >= low) & (sure.values <= high)
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=0.001)


def posterior(rng: np.random.Generator, *, outcomes: int = 4, cells: int = 60, causes: int = 2) -> Posterior:
    """Gamma-like masses that sum to about 1, and small common errors."""
    edges = np.sort(rng.uniform(0.0, 0.02, (outcomes, cells + 1)), axis=1) + 0.02 * rng.uniform(
        5.0, 15.0, (outcomes, 1)
    )
    masses = rng.dirichlet(np.full(cells, 0.7), outcomes)
    total = ((edges[:, 1:] + edges[:, :-1]) / 2 * masses).sum()
    return Posterior(edges / total, masses, rng.normal(0.0, 0.004, (causes, outcomes)))


def drawn(sure: Posterior, rng: np.random.Generator) -> FloatArray:
    """Independent draws of x, all mass in the middle of the cells, with the common errors, ``(D, K)``."""
    middle = (sure.edges[:, 1:] + sure.edges[:, :-1]) / 2
    x = np.stack([rng.choice(m, DRAWS, p=w / w.sum()) for m, w in zip(middle, sure.masses, strict=True)], axis=1)
    return x + rng.normal(size=(DRAWS, len(sure.shared))) @ sure.shared


@pytest.mark.parametrize("causes", [0, 1, 3])
def test_posterior_covariance_is_that_of_many_draws(causes: int) -> None:
    """p = x / sum x to first order: x - p0 sum x about its mean."""
    rng = np.random.default_rng(4 + causes)
    sure = posterior(rng, causes=causes)
    x = drawn(sure, rng)
    p0 = x.mean(axis=0) / x.mean(axis=0).sum()
    linear, error = covariance_of(x - p0 * x.sum(axis=1, keepdims=True))
    assert (np.abs(sure.covariance() - linear) < 5.0 * error + 1e-3 * np.abs(linear).max()).all()
    exact, _ = covariance_of(x / x.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(np.diag(sure.covariance()), np.diag(exact), rtol=0.05)
    np.testing.assert_allclose(sure.variances(), np.diag(sure.covariance()), rtol=1e-10)
    np.testing.assert_allclose(sure.covariance().sum(axis=1), 0.0, atol=1e-15)


def test_posterior_quantiles_are_those_of_many_draws() -> None:
    rng = np.random.default_rng(7)
    sure = posterior(rng)
    cells = np.stack([rng.choice(60, DRAWS, p=w / w.sum()) for w in sure.masses], axis=1)
    rows = np.arange(4)
    left, right = sure.edges[rows, cells], sure.edges[rows, cells + 1]
    x = left + rng.uniform(size=left.shape) * (right - left)
    for level in (0.0, 0.025, 0.3, 0.5, 0.8, 0.975, 1.0):
        below = (x <= sure.quantile(level)).mean(axis=0)
        np.testing.assert_allclose(below, level, atol=5.0 * math.sqrt(0.25 / DRAWS))


def test_posterior_quantiles_grow_with_the_level() -> None:
    sure = posterior(np.random.default_rng(8))
    found = np.stack([sure.quantile(level) for level in np.linspace(0.0, 1.0, 101)])
    assert (np.diff(found, axis=0) >= 0.0).all()
    np.testing.assert_allclose(found[[0, -1]], sure.edges[:, [0, -1]].T)


def test_common_errors_widen_posterior_intervals_in_quadrature() -> None:
    rng = np.random.default_rng(9)
    alone, both = (posterior(np.random.default_rng(9), causes=2) for _ in range(2))
    alone = Posterior(alone.edges, alone.masses, np.zeros((0, 4)))
    mean = drawn(alone, rng).mean(axis=0)
    for one, other in zip(alone.interval(0.9), both.interval(0.9), strict=True):
        extra = (other - mean) ** 2 - (one - mean) ** 2
        np.testing.assert_allclose(extra, 1.644854**2 * (both.shared**2).sum(axis=0), rtol=0.03)
    low, high = alone.interval(0.9)
    np.testing.assert_allclose([low, high], [alone.quantile(0.05), alone.quantile(1.0 - 0.05 * UPPER)], rtol=1e-12)


UNCERTAINTIES: dict[str, Any] = {
    "multinomial": Multinomial(P, 100),
    "replicas": Replicas(np.random.default_rng(1).dirichlet(100 * P, 50)),
    "posterior": posterior(np.random.default_rng(1)),
}


@pytest.mark.parametrize("name", UNCERTAINTIES)
@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 95.0, math.nan])
def test_levels_outside_0_and_1_are_refused(name: str, level: float) -> None:
    with pytest.raises(MitigationError, match="between 0 and 1"):
        distribution(P, UNCERTAINTIES[name]).interval(level)


@pytest.mark.parametrize("name", UNCERTAINTIES)
def test_intervals_are_ordered_and_nested(name: str) -> None:
    found = distribution(P, UNCERTAINTIES[name])
    narrow, wide = found.interval(0.5), found.interval(0.99)
    assert (wide[0] >= 0.0).all()
    assert (wide[0] <= narrow[0]).all()
    assert (narrow[0] <= narrow[1]).all()
    assert (narrow[1] <= wide[1]).all()
    assert (wide[1] <= 1.0).all()


# -- the distribution itself -----------------------------------------------------------------------------------


def test_effective_samples_are_those_of_equal_total_variance() -> None:
    spread = Replicas(np.random.default_rng(4).dirichlet(200.0 * P, 50))
    found = distribution(P, spread, samples=50)
    assert found.effective_samples == pytest.approx((1.0 - (P**2).sum()) / np.trace(spread.covariance()))
    assert found.overhead == pytest.approx(50 / found.effective_samples)


def test_events_that_are_all_alike_are_worth_themselves_and_not_certain() -> None:
    found = distribution(np.array([1.0, 0.0]))
    assert (found.effective_samples, found.overhead) == (found.samples, 1.0)
    assert (found.standard_errors > 0.0).all()
    once = Distribution(probabilities=np.array([1.0, 0.0, 0.0]), samples=1, shots=10)
    assert once.standard_errors[0] > 0.2
    assert "Only 1 event of all photons" in str(once).splitlines()[0]
    assert found.interval(0.95)[0][0] < 1.0


def test_defaults_are_those_of_relative_frequencies() -> None:
    found = distribution(P)
    assert isinstance(found.uncertainty, Multinomial)
    assert found.unprojected is P
    assert (found.diagnostics, found.record_id, found.history) == (Diagnostics(), "", ())


def test_reports_say_whether_a_method_was_used() -> None:
    assert str(MethodReport("unfold", True, "3 iterations")) == "unfold: 3 iterations"
    assert str(MethodReport("fuse", False, "no lossy shots")) == "fuse not used: no lossy shots"


def test_a_test_on_no_degree_of_freedom_is_not_told() -> None:
    assert Diagnostics(chi2=0.0, dof=0, p_value=1.0).rows() == []
    [(name, told)] = Diagnostics(chi2=1.0, dof=2, p_value=0.6).rows()
    assert (name, told) == ("fit", "chi-square 1.0 on 2 degrees of freedom, p = 0.6")


def test_perceval_gets_the_same_probabilities_by_name() -> None:
    program = Program.random(IsometryMesh(5, 2), seed=3)
    found = post_select(LocalDevice(seed=3).run(program, shots=500))
    states = found.to_perceval()
    assert all(p > 0 for p in states.values())
    order = itertools.combinations(range(5), 2)
    named = [states[pcvl.BasicState([int(mode in modes) for mode in range(5)])] for modes in order]
    np.testing.assert_array_equal(named, found.probabilities)
