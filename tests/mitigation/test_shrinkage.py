"""The posterior against scipy's gamma distributions and quadrature, its limits, and its coverage."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import integrate, special, stats  # type: ignore[import-untyped]

from qpu_sdk.arrays import FloatArray
from qpu_sdk.mitigation.posterior import Posterior
from qpu_sdk.mitigation.shrinkage import CONCENTRATIONS, DELTA, LOWEST_GUESS, SHAPES, Shrunk, shrink


def uneven(rng: np.random.Generator, size: int) -> FloatArray:
    """A distribution with a few large entries and many small ones."""
    return np.asarray(rng.dirichlet(np.full(size, 0.5)))


def spread(found: Shrunk) -> FloatArray:
    """Standard deviations of the posteriors."""
    middle = 0.5 * (found.edges[:, 1:] + found.edges[:, :-1])
    return np.asarray(np.sqrt((found.masses * (middle - found.mean[:, None]) ** 2).sum(axis=1)))


def by_quadrature(n: float, scale: float, b: float, m: float, weights: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of u given n counts of mean ``scale u + b``, by the formulas of the docstring.

    The integrals run over v = log u, piecewise, since components may be sharp or pile up at zero.
    """
    certain = m**2 / (m + DELTA)
    parts = [(c * certain, m) for c in CONCENTRATIONS] + [(shape, 1.0) for shape in SHAPES]
    peak = stats.poisson.logpmf(n, max(n, b, 1e-12))

    shapes, scales = np.array([k for k, _ in parts]), np.array([mean / k for k, mean in parts])
    norms = special.gammaln(shapes) + shapes * np.log(scales) - np.log(weights)

    def density(v: float) -> float:
        u = math.exp(v)
        prior = float(np.exp(shapes * v - u / scales - norms).sum())
        return prior * math.exp(n * math.log(scale * u + b) - scale * u - b - math.lgamma(n + 1.0) - peak)

    low = -120.0
    below = sum(
        w * stats.gamma.cdf(np.exp(low), k, scale=mean / k) for w, (k, mean) in zip(weights, parts, strict=True)
    )
    seen = max(n - b, 1.0) / scale
    wide = np.sqrt(n + 1.0) / scale / seen
    near = [np.log(seen) + s * wide for s in (-7.0, -3.0, 0.0, 3.0, 7.0)]
    guess = [np.log(m) + s / np.sqrt(512.0 * m**2 / (m + DELTA)) for s in (-7.0, -3.0, 0.0, 3.0, 7.0)]
    ends = np.unique(np.clip([low, -40.0, -15.0, -6.0, -2.0, 0.0, 2.0, 5.0, *near, *guess], low, 6.0))
    moments = [below * float(np.exp(stats.poisson.logpmf(n, max(b, 1e-12)) - peak)), 0.0, 0.0]
    for a, z in itertools.pairwise(ends):
        for power in range(3):
            moments[power] += integrate.quad(lambda v, k=power: density(v) * np.exp(k * v), a, z, limit=100)[0]
    mean = moments[1] / moments[0]
    return mean, float(np.sqrt(moments[2] / moments[0] - mean**2))


@pytest.mark.parametrize("events", [30, 3_000, 100_000])
def test_posteriors_are_those_of_the_formulas(events: int) -> None:
    rng, size = np.random.default_rng(events), 12
    guess = uneven(rng, size)
    x = guess * rng.gamma(20.0, 1.0 / 20.0, size)
    gain, background = rng.uniform(0.5, 1.0, size), np.full(size, 0.1 / size)
    numbers = rng.poisson(events * (gain * x / x.sum() + background)).astype(float)
    found = shrink(numbers, gain, background, guess, windows=events)
    m = (1.0 - LOWEST_GUESS) * guess / guess.mean() + LOWEST_GUESS
    tau = (numbers.sum() - events * background.sum()) / (events * gain * m).sum()
    for i in range(0, size, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", integrate.IntegrationWarning)
            mean, deviation = by_quadrature(
                numbers[i], events * gain[i] * tau, events * background[i], m[i], found.weights
            )
        assert found.mean[i] == pytest.approx(tau * mean, abs=0.01 * tau * deviation)
        assert spread(found)[i] == pytest.approx(tau * deviation, rel=0.01)


@pytest.mark.parametrize("events", [1e6, 1e8, 1e11])
def test_many_counts_speak_for_themselves(events: float) -> None:
    """Far from zero the estimate is (N / A - b) / g and its error that of Poisson counts, to a tenth of that error."""
    rng, size = np.random.default_rng(1), 40
    x, gain = uneven(rng, size) + 0.01, rng.uniform(0.5, 1.0, size)
    background = np.full(size, 0.3 / size)
    numbers = rng.poisson(events * (gain * x + background)).astype(float)
    found = shrink(numbers, gain, background, x[::-1], windows=events)
    plain, error = (numbers / events - background) / gain, np.sqrt(numbers) / events / gain
    np.testing.assert_array_less(np.abs(found.mean - plain), 50.0 / np.sqrt(events) + 0.1 * error)
    assert np.abs((found.mean - plain) / error).mean() < 0.1
    np.testing.assert_allclose(spread(found), error, rtol=0.05)


def test_without_counts_it_is_the_guess() -> None:
    """A few events spread as guessed over all outcomes but one: the last one is as guessed."""
    rng, size = np.random.default_rng(2), 60
    guess = rng.uniform(0.5, 1.5, size)
    gain = np.full(size, 1.0)
    gain[-1] = 1e-9
    numbers = np.rint(50.0 * guess / guess.mean())
    numbers[-1] = 0.0
    found = shrink(numbers, gain, np.zeros(size), guess, windows=1e4)
    assert found.trust > 0.9
    assert found.mean[-1] / found.mean[:-1].mean() == pytest.approx(guess[-1] / guess[:-1].mean(), rel=0.03)


@pytest.mark.parametrize("events", [50, 2_000, 50_000])
def test_intervals_hold_rates_drawn_from_the_prior(events: int) -> None:
    """95 % of them, within three standard errors of as many independent outcomes."""
    rng, size, repetitions = np.random.default_rng(events), 120, 12
    held: list[bool] = []
    for _ in range(repetitions):
        guess = rng.gamma(1.0, 1.0, size) + 0.02
        m = (1.0 - LOWEST_GUESS) * guess / guess.mean() + LOWEST_GUESS
        shape = 8.0 * m**2 / (m + DELTA)
        x = rng.gamma(shape, m / shape)
        gain, background = rng.uniform(0.6, 1.0, size), np.full(size, 0.2)
        windows = events / size
        numbers = rng.poisson(windows * (gain * x + background)).astype(float)
        found = shrink(numbers, gain, background, guess, windows=windows)
        total = found.mean.sum()
        sure = Posterior(found.edges / total, found.masses, np.zeros((0, size)))
        low, high = (end * total for end in sure.interval(0.95))
        held += ((low <= x) & (x <= high)).tolist()
    deviation = np.sqrt(0.95 * 0.05 / len(held))
    # The scale and the weights are found from the counts, and above lies a third of an equal tail.
    assert 0.95 - 3.0 * deviation - 0.005 < np.mean(held) < 1.0


def test_a_right_guess_helps_and_a_wrong_one_does_not_hurt() -> None:
    rng, size, events = np.random.default_rng(4), 120, 400
    gain, background = np.ones(size), np.full(size, 0.2 / size)
    right, wrong, trusts = [], [], []
    for _ in range(20):
        x = uneven(rng, size)
        numbers = rng.poisson(events * (x + background)).astype(float)
        error, trust = {}, {}
        for name, guess in (("right", x), ("wrong", rng.permutation(x)), ("flat", np.ones(size))):
            found = shrink(numbers, gain, background, guess, windows=events)
            error[name] = 0.5 * np.abs(found.mean / found.mean.sum() - x).sum()
            trust[name] = found.trust
        right.append(error["flat"] - error["right"])
        wrong.append(error["wrong"] - error["flat"])
        trusts.append((trust["right"], trust["wrong"]))
    assert np.mean(right) > 3.0 * np.std(right, ddof=1) / np.sqrt(len(right))
    assert np.mean(wrong) < 3.0 * np.std(wrong, ddof=1) / np.sqrt(len(wrong)) + 0.005
    assert all(wrong < 0.6 < 0.9 < right for right, wrong in trusts)


def test_a_right_guess_makes_the_counts_likelier() -> None:
    rng, size = np.random.default_rng(5), 80
    x = uneven(rng, size)
    numbers = rng.poisson(1e3 * x).astype(float)
    args = np.ones(size), np.zeros(size)
    right, wrong = (shrink(numbers, *args, guess, windows=1e3).log_evidence for guess in (x, rng.permutation(x)))
    assert right > wrong + 10.0


def test_the_scale_of_the_guess_says_nothing() -> None:
    rng = np.random.default_rng(6)
    guess, numbers = uneven(rng, 30), rng.poisson(10.0, 30).astype(float)
    first, second = (shrink(numbers, np.ones(30), np.zeros(30), k * guess, windows=1e3) for k in (1.0, 1e-6))
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-9)


@pytest.mark.parametrize("background", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e9])
@pytest.mark.parametrize("size", [1, 2, 30])
def test_whatever_the_counts_posteriors_are_distributions(size: int, scale: float, background: float) -> None:
    rng = np.random.default_rng(size)
    numbers = rng.poisson(scale, size).astype(float)
    found = shrink(numbers, rng.uniform(0.1, 1.0, size), np.full(size, background), uneven(rng, size), windows=1e3)
    assert np.isfinite(found.mean).all()
    assert (found.mean > 0.0).all()
    assert np.isfinite(found.log_evidence)
    np.testing.assert_allclose(found.masses.sum(axis=1), 1.0, rtol=1e-9)
    assert (found.masses >= 0.0).all()
    assert (np.diff(found.edges, axis=1) >= 0.0).all()
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.trust == pytest.approx(found.weights[: len(CONCENTRATIONS)].sum())


def test_counts_that_no_component_expects_speak_for_themselves() -> None:
    """One outcome has all of 5000, where the guess has none."""
    numbers, guess = np.zeros(5000), np.ones(5000)
    numbers[7], guess[7] = 1e6, 0.0
    found = shrink(numbers, np.ones(5000), np.zeros(5000), guess, windows=1e6)
    assert found.mean[7] == pytest.approx(1.0, abs=0.005)
    assert found.mean.sum() - found.mean[7] < 0.01


def test_more_background_than_counts_leaves_the_guess() -> None:
    rng, size = np.random.default_rng(7), 40
    guess = uneven(rng, size)
    numbers = rng.poisson(20.0, size).astype(float)
    found = shrink(numbers, np.ones(size), np.full(size, 0.03), guess, windows=1e3)  # 30 expected, 20 seen
    assert np.isfinite(found.mean).all()
    assert found.mean.sum() * 1e3 < 60.0
