"""Fusion against scipy's functions, an exhaustive search, and truths that are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import beta, binom

from qpu_sdk.arrays import FloatArray
from qpu_sdk.errors import MitigationError, ProgramError
from qpu_sdk.mitigation.fusion import GAINS, LOG_KAPPA, Fusion, fuse, log_evidence, priors
from qpu_sdk.mitigation.recycling import recycle, recycled
from qpu_sdk.photonics.counts import Counts
from tests.mitigation.test_recycling import (
    any_counts,
    frequencies,
    only_loss,
    permuted,
    simulated,
    tvd,
    where,
    with_clicks,
)
from tests.oracles.unitaries import haar


def events(modes: int, photons: int, numbers: npt.ArrayLike) -> Counts:
    """Counts without lossy shots."""
    outcomes = [np.eye(modes, dtype=int)[list(c)].sum(axis=0) for c in itertools.combinations(range(modes), photons)]
    return Counts(photons=photons, outcomes=np.array(outcomes), numbers=np.asarray(numbers).astype(np.int64))


# -- the evidence ----------------------------------------------------------------------------------------------


def evidence_by_scipy(numbers: FloatArray, prior: FloatArray, kappa: float) -> float:
    """The formula as it is written down."""
    total = float(gammaln(kappa) - gammaln(numbers.sum() + kappa))
    return total + float((gammaln(numbers + kappa * prior) - gammaln(kappa * prior)).sum())


@given(st.integers(0, 10_000), st.floats(-1.0, 12.0))
def test_evidence_is_the_formula(seed: int, log_kappa: float) -> None:
    rng = np.random.default_rng(seed)
    numbers, prior = rng.poisson(rng.exponential(20.0, 40)).astype(float), rng.dirichlet(np.full(40, 0.5)) + 1e-6
    prior /= prior.sum()
    [value] = log_evidence(numbers, prior, np.exp([log_kappa]))
    assert value == pytest.approx(evidence_by_scipy(numbers, prior, math.exp(log_kappa)), rel=1e-9, abs=1e-8)


def test_evidence_is_the_probability_of_the_events_in_order() -> None:
    """Polya's urn: each event adds one to what it drew."""
    numbers, prior, kappa = np.array([3.0, 0.0, 2.0]), np.array([0.5, 0.2, 0.3]), 1.7
    urn, p = kappa * prior, 1.0
    for outcome in (0, 2, 0, 0, 2):
        p *= urn[outcome] / urn.sum()
        urn[outcome] += 1.0
    assert log_evidence(numbers, prior, np.array([kappa]))[0] == pytest.approx(math.log(p), rel=1e-13)


def every_prior(counts: Counts) -> Iterator[tuple[float, int, float, float]]:
    """Largest evidence, k, g and log kappa of each prior, by scipy."""
    numbers = counts.collision_free().astype(float)
    for lost, gain, prior in priors(recycled(counts)):

        def cost(log_kappa: float, prior: FloatArray = prior) -> float:
            return -evidence_by_scipy(numbers, prior, math.exp(log_kappa))

        grid = np.linspace(*LOG_KAPPA, 191)
        middle = grid[np.argmin([cost(x) for x in grid])]
        bounds = max(middle - 0.1, LOG_KAPPA[0]), min(middle + 0.1, LOG_KAPPA[1])
        found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-9})
        yield -found.fun, lost, gain, found.x


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("modes", "photons", "transmittance"), [(9, 4, 0.3), (9, 4, 0.06), (6, 3, 0.1), (8, 2, 0.06), (5, 1, 0.1)]
)
def test_an_exhaustive_search_finds_the_same(modes: int, photons: int, transmittance: float, seed: int) -> None:
    counts = simulated(modes, photons, seed=seed, transmittance=transmittance)
    found = fuse(counts)
    value, lost, gain, log_kappa = max(every_prior(counts))
    assert found.log_evidence == pytest.approx(value, abs=1e-6)
    assert (found.lost, found.gain) == (lost, gain)
    if log_kappa < 12.0:  # beyond, the evidence hardly depends on kappa
        assert math.log(found.concentration) == pytest.approx(log_kappa, abs=1e-4)


def test_priors_are_compared_at_their_best_concentration() -> None:
    """Here the largest evidence of the grid belongs to a prior that is worse by 0.7 than the best one."""
    counts = simulated(8, 2, seed=67, transmittance=0.1)
    value, lost, gain, _ = max(every_prior(counts))
    found = fuse(counts)
    assert found.log_evidence == pytest.approx(value, abs=1e-6)
    assert (found.lost, found.gain) == (lost, gain)


# -- what is returned ------------------------------------------------------------------------------------------


def test_the_estimate_is_the_mean_of_the_posterior() -> None:
    counts = simulated(9, 4, seed=1)
    found = fuse(counts)
    numbers = counts.collision_free()
    np.testing.assert_allclose(found.posterior, numbers + found.concentration * found.prior, rtol=1e-13)
    expected = (numbers + found.concentration * found.prior) / (numbers.sum() + found.concentration)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-12)


def test_the_prior_is_made_of_the_recycled_distribution() -> None:
    counts = simulated(9, 4, seed=1)
    found = fuse(counts)
    assert found.lost in (1, 2)
    assert found.gain in GAINS
    expected = np.maximum(1 / 126 + found.gain * (recycled(counts)[found.lost] - 1 / 126), 1e-4 / 126)
    np.testing.assert_allclose(found.prior, expected / expected.sum(), rtol=1e-13)


def test_a_concentrated_truth_takes_the_largest_gain_down_to_the_floor() -> None:
    counts, _ = only_loss(np.eye(9, dtype=complex)[:, :4], seed=1, transmittance=0.3, pulses=1_000_000)
    found = fuse(counts)
    assert found.gain == 6.0
    assert found.prior.min() / found.prior.max() == pytest.approx(
        1e-4 / (126 * recycled(counts)[found.lost].max() * 6 - 5)
    )


def test_all_priors_are_tried_and_the_uniform_one_is_the_first() -> None:
    tried = [(lost, gain) for lost, gain, _ in priors(recycled(simulated(9, 4, seed=1)))]
    assert tried == [(0, 0.0), *itertools.product((1, 2), GAINS)]


@pytest.mark.parametrize(("kept", "lost"), [((4,), {0}), ((4, 3), {0, 1}), ((4, 2), {0, 2})])
def test_a_missing_class_is_no_prior(kept: tuple[int, ...], lost: set[int]) -> None:
    counts = with_clicks(simulated(9, 4, seed=1), *kept)
    assert {k for k, _, _ in priors(recycled(counts))} == lost
    found = fuse(counts)
    assert found.lost in lost
    if lost == {0}:
        assert found.gain == 0.0
        np.testing.assert_array_equal(found.prior, np.full(126, 1 / 126))


def test_events_in_even_numbers_give_the_uniform_distribution() -> None:
    found = fuse(events(5, 3, np.full(10, 20)))
    np.testing.assert_allclose(found.probabilities, np.full(10, 0.1), rtol=1e-12)
    assert math.log(found.concentration) == pytest.approx(LOG_KAPPA[1])


def test_one_event_takes_the_largest_concentration() -> None:
    """The evidence of one event does not depend on it; the estimate is then the prior mean."""
    found = fuse(events(5, 3, np.eye(10)[3]))
    assert (found.lost, found.gain) == (0, 0.0)
    assert math.log(found.concentration) == pytest.approx(LOG_KAPPA[1])
    assert found.concentration == pytest.approx(math.exp(18))
    assert found.log_evidence == pytest.approx(math.log(0.1))
    np.testing.assert_allclose(found.probabilities, np.full(10, 0.1), rtol=1e-6)


def test_a_single_outcome_is_certain() -> None:
    found = fuse(Counts(photons=3, outcomes=np.ones((1, 3), dtype=int), numbers=np.array([5])))
    low, high = found.interval(0.9)
    assert found.probabilities.tolist() == low.tolist() == high.tolist() == [1.0]


@pytest.mark.parametrize("kept", [(), (3,), (3, 2)])
def test_without_events_there_is_one_line(kept: tuple[int, ...]) -> None:
    counts = with_clicks(simulated(9, 4, seed=1), *kept)
    with pytest.raises(MitigationError, match=rf"^no collision-free 4-photon event in {counts.shots} shots\. Use .*$"):
        fuse(counts)


def test_more_photons_than_modes_are_refused() -> None:
    with pytest.raises(ProgramError, match="5 photons in 4 modes"):
        fuse(Counts(photons=5, outcomes=np.eye(4, dtype=int), numbers=np.ones(4, dtype=int)))


@settings(deadline=None)
@given(any_counts(), st.floats(0.01, 0.999))
def test_the_answer_is_a_distribution_or_an_error(counts: Counts, level: float) -> None:
    try:
        found = fuse(counts)
    except MitigationError:
        assert not counts.collision_free().any()
        return
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (found.probabilities > 0.0).all()
    low, high = found.interval(level)
    assert ((low >= 0.0) & (low <= high) & (high <= 1.0)).all()


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(7)), st.integers(0, 3))
def test_permuted_modes_permute_the_estimate(order: list[int], seed: int) -> None:
    counts = simulated(7, 3, seed=seed, pulses=100_000)
    expected = fuse(counts).probabilities[where(7, 3, order)]
    np.testing.assert_allclose(fuse(permuted(counts, order)).probabilities, expected, rtol=1e-4)


# -- known truths ----------------------------------------------------------------------------------------------


def test_the_estimate_converges_to_the_truth() -> None:
    """With loss only. The distance falls as the square root of the events, tenfold here."""
    distances = []
    for pulses in (10**5, 10**7, 10**9):
        counts, truth = only_loss(haar(9, 1)[:, :4], seed=1, transmittance=0.5, pulses=pulses)
        distances.append(tvd(fuse(counts).probabilities, truth))
        assert distances[-1] < 1.2 * tvd(frequencies(counts), truth)
    assert distances[1] < distances[0] / 5
    assert distances[2] < distances[1] / 5
    assert distances[2] < 2e-3


def test_identity_is_recovered_where_recycling_fails() -> None:
    counts, truth = only_loss(np.eye(9, dtype=complex)[:, :4], seed=1, transmittance=0.3, pulses=1_000_000)
    assert tvd(fuse(counts).probabilities, truth) < 1e-3


@lru_cache(maxsize=1)
def sparse_draws() -> FloatArray:
    """Distances of frequencies, Laplace's rule, recycling and fusion from the truth, 4 programs by 3 draws, by 4.

    16 modes, 4 photons, transmittance 0.1, a million pulses, loss only: about 50 events for 1820 outcomes.
    """
    rows = []
    for program, draw in itertools.product(range(4), range(3)):
        columns = haar(16, 100 + program)[:, :4]
        counts, truth = only_loss(columns, seed=10 * program + draw, transmittance=0.1, pulses=1_000_000)
        laplace = counts.collision_free() + 1.0
        estimates = (frequencies(counts), laplace / laplace.sum(), recycle(counts), fuse(counts).probabilities)
        rows.append([tvd(p, truth) for p in estimates])
    return np.array(rows).reshape(4, 3, 4)


def test_fusion_is_best_in_the_sparse_regime() -> None:
    raw, laplace, recycling, fusion = sparse_draws().reshape(12, 4).T
    assert (fusion < recycling).all()
    assert (recycling < raw).all()
    assert (fusion < laplace).all()


@pytest.mark.parametrize(("column", "published"), [(0, 0.937), (1, 0.429), (2, 0.372), (3, 0.313)])
def test_sparse_regime_agrees_with_an_independent_simulation(column: int, published: float) -> None:
    """Mean over other random programs: within four times what the spread from program to program allows for both."""
    by_program = sparse_draws()[:, :, column].mean(axis=1)
    error = math.sqrt(2.0 * (by_program.var(ddof=1) + 0.01**2) / len(by_program))
    assert by_program.mean() == pytest.approx(published, abs=4.0 * error)


# -- intervals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_truths_from_the_prior_as_often_as_they_say(level: float) -> None:
    """The prior's concentration is estimated: it costs less than the binomial spread of the programs.

    Outcomes of one program are nearly independent (their sum is fixed), so their number sets the spread.
    """
    inside, trials = truths_inside(level, programs=100)
    assert abs(inside - level * trials) < 4.0 * binom.std(trials, level)


def truths_inside(level: float, *, programs: int) -> tuple[int, int]:
    """How many outcomes have their probability inside their interval, and of how many."""
    rng, inside, trials = np.random.default_rng(1), 0, 0
    for _ in range(programs):
        truth = rng.dirichlet(np.ones(35))
        low, high = fuse(events(7, 3, rng.multinomial(400, truth))).interval(level)
        inside, trials = inside + int(((low <= truth) & (truth <= high)).sum()), trials + len(truth)
    return inside, trials


@pytest.mark.parametrize("level", [0.5, 0.9, 0.999])
def test_intervals_are_those_of_scipys_beta_distribution(level: float) -> None:
    found = fuse(simulated(9, 4, seed=2))
    a, b = found.posterior, found.posterior.sum() - found.posterior
    low, high = found.interval(level)
    np.testing.assert_allclose(low, beta.ppf((1 - level) / 2, a, b), rtol=1e-9)
    np.testing.assert_allclose(high, beta.ppf((1 + level) / 2, a, b), rtol=1e-9)


def test_intervals_of_hardly_any_prior_weight_start_at_zero() -> None:
    posterior = np.array([1e-6, 3e-4, 50.0])
    mean = posterior / posterior.sum()
    low, high = Fusion(mean, mean, 1.0, 0, 0.0, 0.0, posterior).interval(0.9)
    assert max(low[0], low[1], high[0]) < 1e-300
    assert 0.999 < low[2] <= high[2] == 1.0


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 95.0, math.nan])
def test_a_level_that_is_no_probability_is_refused(level: float) -> None:
    found = fuse(events(4, 2, np.arange(6)))
    with pytest.raises(MitigationError, match=r"it must be between 0 and 1, such as 0\.95\.$"):
        found.interval(level)
