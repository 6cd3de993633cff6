"""SPSA against its expectation, an exact recursion of its error, and a reference written from Spall's formulas."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.errors import ConfigError
from qpu_sdk.training.spsa import SPSA, SPSAState

Array = npt.NDArray[np.float64]
Loss = Callable[[Array], Array]


def advance(spsa: SPSA, state: SPSAState, loss: Loss, steps: int) -> SPSAState:
    for _ in range(steps):
        plus, minus = spsa.ask(state)
        state = spsa.tell(state, loss(plus), loss(minus))
    return state


def quadratic(points: Array) -> Array:
    return np.asarray(((points - 1.0) ** 2).sum(axis=1))


def bumpy(points: Array) -> Array:
    return np.asarray(np.sin(3 * points).sum(axis=1) + (points**2).sum(axis=1))


def rms(x: Array) -> float:
    return float(np.sqrt((x**2).mean()))


# -- the estimate ------------------------------------------------------------------------------------------


def gradient_estimates(resamplings: int, seeds: int) -> tuple[Array, Array]:
    slope = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    spsa = SPSA(a=0.7, c=0.3, A=2.0, resamplings=resamplings)
    start = np.arange(5.0)
    ends = [advance(spsa, spsa.init(start, seed=s), lambda x: x @ slope, 1).x for s in range(seeds)]
    return slope, (start - np.stack(ends)) / (0.7 / 3.0**0.602)


@pytest.mark.parametrize("resamplings", [1, 4])
def test_gradient_of_a_linear_loss_is_unbiased(resamplings: int) -> None:
    slope, estimates = gradient_estimates(resamplings, 1500)
    variance = ((slope**2).sum() - slope**2) / resamplings  # the cross terms Delta_i Delta_j of the other slopes
    z = (estimates.mean(axis=0) - slope) / np.sqrt(variance / len(estimates))
    assert np.abs(z).max() < 5


def test_resamplings_divide_the_variance() -> None:
    variances = [gradient_estimates(r, 1500)[1].var(axis=0, ddof=1).mean() for r in (1, 4)]
    assert variances[0] / variances[1] == pytest.approx(4.0, rel=5 * np.sqrt(2 * 2 / 1500))


def test_directions_are_signs_and_change_with_step_and_seed() -> None:
    spsa = SPSA(a=0.1, c=0.2, resamplings=3)
    state = spsa.init(np.zeros(50), seed=1)
    later = spsa.tell(state, np.zeros(3), np.zeros(3))
    draws = [spsa.ask(s)[0] / spsa.c_k(s.k) for s in (state, later, spsa.init(np.zeros(50), seed=2))]
    assert all(np.allclose(np.abs(d), 1.0) for d in draws)
    assert not np.allclose(draws[0], draws[1])
    assert not np.allclose(draws[0], draws[2])
    assert not np.allclose(draws[0][0], draws[0][1])


def test_points_lie_symmetrically_around_x() -> None:
    spsa = SPSA(a=0.1, c=0.2)
    state = spsa.init(np.linspace(-1, 1, 7), seed=3)
    plus, minus = spsa.ask(state)
    np.testing.assert_allclose((plus + minus) / 2, state.x[None], atol=1e-15)
    np.testing.assert_allclose(np.abs(plus - minus), 0.4, atol=1e-15)


def test_ask_gives_the_same_points_until_told() -> None:
    spsa = SPSA(c=0.2)
    state = advance(spsa, spsa.init(np.ones(4), seed=4), quadratic, 3)
    first, again = spsa.ask(state), spsa.ask(state)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(first[0]) == spsa.pairs(state)


# -- gains and convergence ---------------------------------------------------------------------------------


def spall_gains(spsa: SPSA, a: float, k: int) -> tuple[float, float]:
    return a / (k + 1 + spsa.A) ** spsa.alpha, spsa.c / (k + 1) ** spsa.gamma


def test_gains_are_spalls() -> None:
    spsa = SPSA(a=0.9, c=0.2, A=7.0, alpha=0.7, gamma=0.12)
    state = spsa.init(np.zeros(2), seed=1)
    for k in range(20):
        assert (spsa.a_k(state), spsa.c_k(k)) == pytest.approx(spall_gains(spsa, 0.9, k), rel=1e-14)
        state = advance(spsa, state, quadratic, 1)


def expected_errors(spsa: SPSA, a: float, *, size: int, noise: float, start: float, steps: int) -> Array:
    """E|x_k|^2 on |x|^2 / 2 with noisy losses: x' = x - a_k (Delta.x + (e+ - e-) / 2 c_k) Delta, exactly."""
    k = np.arange(1.0, steps + 1)
    a_k, c_k = a / (k + spsa.A) ** spsa.alpha, spsa.c / k**spsa.gamma
    factors, terms = 1 - 2 * a_k + a_k**2 * size, a_k**2 * size * noise**2 / (2 * c_k**2)
    errors = [start]
    for factor, term in zip(factors.tolist(), terms.tolist(), strict=True):
        errors.append(errors[-1] * factor + term)
    return np.array(errors)


def followed(spsa: SPSA, *, size: int, noise: float, steps: int, seed: int) -> tuple[Array, Array, Array]:
    """Signs, ``(steps, size)``, noise, ``(steps, 2)``, and squared errors, ``(steps + 1,)``, of one run."""
    rng = np.random.default_rng([seed, 99])
    state, errors = spsa.init(np.full(size, 0.1), seed=seed), [0.01 * size]
    signs, added = [], noise * rng.standard_normal((steps, 2))
    for more in added:
        points = spsa.ask(state)
        signs.append(np.sign(points[0][0] - state.x))
        state = spsa.tell(state, *((x**2).sum(axis=1) / 2 + e for x, e in zip(points, more, strict=True)))
        errors.append(float((state.x**2).sum()))
    return np.array(signs), added, np.array(errors)


def squared_errors(spsa: SPSA, a: float, signs: Array, added: Array) -> Array:
    """The same errors by Spall's formulas for many runs at once, ``(runs, steps + 1)``.

    :param signs: ``(steps, runs, size)``.
    :param added: to the two losses, ``(steps, runs, 2)``.
    """
    x = np.full(signs.shape[1:], 0.1)
    errors = [(x**2).sum(axis=1)]
    for k, (delta, more) in enumerate(zip(signs, added, strict=True)):
        a_k, c_k = spall_gains(spsa, a, k)
        plus, minus = (((x + side * c_k * delta) ** 2).sum(axis=1) / 2 for side in (1, -1))
        x = x - a_k * ((plus - minus + more[:, 0] - more[:, 1]) / (2 * c_k))[:, None] * delta
        errors.append((x**2).sum(axis=1))
    return np.stack(errors, axis=1)


def log_slope(errors: Array, early: tuple[int, int], late: tuple[int, int]) -> float:
    (a, b), (c, d) = early, late
    rise = np.log(errors[c:d].mean() / errors[a:b].mean())
    return float(rise / np.log((c + d) / (a + b)))


RATES = [SPSA(a=0.6, c=0.2), SPSA(a=1.5, c=0.2, A=10.0, alpha=1.0, gamma=1 / 6)]


@pytest.mark.parametrize("spsa", RATES)
def test_error_falls_at_spalls_rate(spsa: SPSA) -> None:
    """The exact recursion tends to k^-(alpha - 2 gamma); runs follow the recursion within their spread."""
    size, noise, steps, seeds = 2, 0.05, 300, 400
    law = expected_errors(spsa, spsa.a or 0.0, size=size, noise=noise, start=0.01 * size, steps=200_000)
    assert log_slope(law, (20_000, 25_000), (190_000, 200_000)) == pytest.approx(2 * spsa.gamma - spsa.alpha, abs=0.02)
    rng = np.random.default_rng(5)
    signs, added = rng.choice([-1.0, 1.0], (steps, seeds, size)), noise * rng.standard_normal((steps, seeds, 2))
    runs = squared_errors(spsa, spsa.a or 0.0, signs, added)
    windows = ((40, 80), (220, 300))
    groups = [log_slope(group.mean(axis=0), *windows) for group in np.split(runs, 10)]
    slope, error = np.mean(groups), np.std(groups, ddof=1) / np.sqrt(len(groups))
    assert error < 0.05
    assert abs(slope - log_slope(law, *windows)) < 4 * error
    for begin, end in windows:
        means = runs[:, begin:end].mean(axis=1)
        assert abs(means.mean() - law[begin:end].mean()) < 5 * means.std(ddof=1) / np.sqrt(seeds)


@pytest.mark.parametrize("spsa", RATES)
def test_errors_are_those_of_spalls_formulas(spsa: SPSA) -> None:
    for seed in range(3):
        signs, added, errors = followed(spsa, size=2, noise=0.05, steps=300, seed=seed)
        expected = squared_errors(spsa, spsa.a or 0.0, signs[:, None], added[:, None])[0]
        np.testing.assert_allclose(errors, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("smoothing", ["none", "adam"])
@pytest.mark.parametrize("pairs", [1, 4])
@pytest.mark.parametrize("stability", [0.0, 12.0])
def test_calibrated_first_step_has_the_size_asked_for(smoothing: str, pairs: int, stability: float) -> None:
    spsa = SPSA(c=0.05, A=stability, first_step=0.03, calibration_pairs=pairs, smoothing=smoothing)  # type: ignore[arg-type]
    sizes = []
    for seed in range(40):
        state = spsa.init(np.linspace(-2, 2, 400), seed=seed)
        sizes.append(rms(advance(spsa, state, bumpy, 1).x - state.x))
    assert np.median(sizes) == pytest.approx(0.03, rel=0.05)


def test_gain_is_kept_after_calibration() -> None:
    spsa = SPSA(calibration_pairs=5, resamplings=2)
    state = spsa.init(np.zeros(6), seed=1)
    assert spsa.pairs(state) == 5
    with pytest.raises(ConfigError, match="not calibrated"):
        spsa.a_k(state)
    first = advance(spsa, state, bumpy, 1)
    second = advance(spsa, first, bumpy, 1)
    assert first.a == second.a is not None
    assert spsa.pairs(first) == 2


def test_calibration_on_a_flat_loss_stays_finite() -> None:
    spsa = SPSA()
    state = advance(spsa, spsa.init(np.ones(5), seed=1), lambda x: np.zeros(len(x)), 2)
    assert np.array_equal(state.x, np.ones(5))
    assert state.a is not None
    assert np.isfinite(state.a)


@pytest.mark.parametrize("smoothing", ["none", "adam"])
@pytest.mark.parametrize("pairs", [1, 4])
@pytest.mark.parametrize("level", [0.0, 2.3, -1e6])
@pytest.mark.parametrize("steepness", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("flat", [0, 1, 3])
def test_flat_losses_first_throw_nothing_away(
    smoothing: str, pairs: int, level: float, steepness: float, flat: int
) -> None:
    """Whatever came first, the step after it has the size that was asked for."""
    spsa = SPSA(c=0.1, first_step=0.02, calibration_pairs=pairs, smoothing=smoothing)  # type: ignore[arg-type]
    state = advance(spsa, spsa.init(np.zeros(9), seed=1), lambda x: np.full(len(x), level), flat)
    assert np.array_equal(state.x, np.zeros(9))
    assert spsa.pairs(state) == (1 if flat else pairs)
    after = advance(spsa, state, lambda x: level + steepness * x.sum(axis=1), 1)
    assert rms(after.x) == pytest.approx(0.02, rel=0.9)
    for _ in range(50):
        before, after = after, advance(spsa, after, lambda x: level + steepness * x.sum(axis=1), 1)
        assert rms(after.x - before.x) < 0.2


@given(
    rises=st.lists(st.floats(-1e9, 1e9) | st.just(0.0), min_size=4, max_size=12),
    first_step=st.floats(1e-4, 1.0),
    stability=st.floats(0.0, 20.0),
)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_no_losses_make_a_calibrated_step_long(rises: list[float], first_step: float, stability: float) -> None:
    spsa = SPSA(first_step=first_step, A=stability, calibration_pairs=1)
    state = spsa.init(np.zeros(5), seed=1)
    for rise in rises:
        after = spsa.tell(state, np.array([rise]), np.array([0.0]))
        assert rms(after.x - state.x) <= 10.0 * first_step * (1 + 1e-9)
        state = after


# -- against a reference -----------------------------------------------------------------------------------


def reference(x: Array, loss: Loss, signs: list[Array], *, a: float, c: float, A: float) -> Array:
    """Spall's basic algorithm with given directions, as in his introductory paper."""
    for k, delta in enumerate(signs):
        ak, ck = a / (k + 1 + A) ** 0.602, c / (k + 1) ** 0.101
        y = [float(loss((x + s * ck * delta)[None])[0]) for s in (1, -1)]
        x = x - ak * (y[0] - y[1]) / (2 * ck) * delta  # 1 / Delta_i = Delta_i for signs
    return x


@pytest.mark.parametrize("loss", [quadratic, bumpy])
def test_iterates_are_those_of_a_reference(loss: Loss) -> None:
    spsa = SPSA(a=0.05, c=0.1, A=5.0)
    state = start = spsa.init(np.linspace(-1, 1, 6), seed=9)
    signs = []
    for _ in range(50):
        signs.append(np.sign(spsa.ask(state)[0][0] - state.x))
        state = advance(spsa, state, loss, 1)
    np.testing.assert_allclose(state.x, reference(start.x, loss, signs, a=0.05, c=0.1, A=5.0), rtol=1e-9, atol=1e-12)


def test_a_step_averages_its_pairs() -> None:
    spsa = SPSA(a=0.2, c=0.1, resamplings=3)
    state = spsa.init(np.linspace(0, 1, 5), seed=2)
    plus, minus = spsa.ask(state)
    slopes = (bumpy(plus) - bumpy(minus)) / 0.2
    expected = np.mean([s * np.sign(p - state.x) for s, p in zip(slopes, plus, strict=True)], axis=0)
    np.testing.assert_allclose(advance(spsa, state, bumpy, 1).x, state.x - 0.2 * expected, rtol=1e-12)


def test_adam_smoothing_is_kingma_and_bas_formula() -> None:
    spsa = SPSA(a=0.1, c=0.1, smoothing="adam")
    state = spsa.init(np.linspace(-1, 1, 5), seed=3)
    x, m, v = state.x.copy(), np.zeros(5), np.zeros(5)
    for k in range(1, 30):
        plus, minus = spsa.ask(state)
        ck = 0.1 / k**0.101
        gradient = (bumpy(plus) - bumpy(minus))[0] / (2 * ck) * np.sign(plus[0] - state.x)
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        x = x - 0.1 / k**0.602 * (m / (1 - 0.9**k)) / np.sqrt(v / (1 - 0.99**k))
        state = advance(spsa, state, bumpy, 1)
        np.testing.assert_allclose(state.x, x, rtol=1e-8, atol=1e-10)


# -- state -------------------------------------------------------------------------------------------------


def through_json(state: SPSAState) -> SPSAState:
    fields = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(state).items()}
    read = json.loads(json.dumps(fields))
    return SPSAState(**{k: np.array(v) if isinstance(v, list) else v for k, v in read.items()})


@given(
    steps=st.integers(0, 8),
    resamplings=st.integers(1, 3),
    smoothing=st.sampled_from(["none", "adam"]),
    blocking=st.booleans(),
    gain=st.none() | st.floats(0.01, 0.5),
    scale=st.sampled_from([1.0, 0.0]),
)
@settings(deadline=None, derandomize=True, max_examples=40)
def test_a_stored_state_continues_the_same_trajectory(
    steps: int, resamplings: int, smoothing: str, blocking: bool, gain: float | None, scale: float
) -> None:
    blocking &= gain is None or resamplings > 1
    spsa = SPSA(a=gain, resamplings=resamplings, smoothing=smoothing, blocking=blocking)  # type: ignore[arg-type]
    state = advance(spsa, spsa.init(np.linspace(-1, 1, 4), seed=5), lambda x: scale * bumpy(x), steps)
    end, resumed = advance(spsa, state, bumpy, 5), advance(spsa, through_json(state), bumpy, 5)
    assert np.array_equal(end.x, resumed.x)
    assert (end.k, end.a, end.loss, end.spread) == (resumed.k, resumed.a, resumed.loss, resumed.spread)
    assert end.provisional == resumed.provisional


def test_init_copies_its_start() -> None:
    start = np.zeros(3)
    state = SPSA(a=0.1).init(start, seed=1)
    start += 1
    assert np.array_equal(state.x, np.zeros(3))


# -- blocking ----------------------------------------------------------------------------------------------


def test_blocking_undoes_a_bad_step() -> None:
    spsa = SPSA(c=0.1, blocking=True)
    good = spsa.init(np.ones(4), seed=6)
    moved = spsa.tell(good, np.array([1.0, 1.2, 0.9, 1.1]), np.array([1.1, 0.8, 1.0, 1.05]))
    assert not np.array_equal(moved.x, good.x)
    blocked = spsa.tell(moved, np.array([50.0]), np.array([60.0]))
    assert np.array_equal(blocked.x, good.x)
    assert blocked.k == moved.k + 1


def noisy(noise: float, seed: int) -> Loss:
    rng = np.random.default_rng([seed, 7])
    return lambda x: (x**2).sum(axis=1) / 2 + noise * rng.standard_normal(len(x))


@pytest.mark.parametrize("pairs", [2, 4])
@pytest.mark.parametrize("slope", [0.0, 30.0])
def test_blocking_mistakes_noise_for_a_bad_step_as_often_as_it_says(pairs: int, slope: float) -> None:
    """A loss that does not change, with slope and noise: whatever is undone is undone by chance."""
    spsa, blocked, cases = SPSA(c=0.1, calibration_pairs=pairs, max_step=1e-12, blocking=True), 0, 1500
    for seed in range(cases):
        rng = np.random.default_rng([seed, 3])
        state = spsa.init(np.zeros(3), seed=seed)

        def loss(x: Array, rng: np.random.Generator = rng) -> Array:
            return slope * x.sum(axis=1) + rng.standard_normal(len(x))

        moved = advance(spsa, state, loss, 1)
        blocked += int(advance(spsa, moved, loss, 1).loss is None)
    # Fewer where the first mean is of several pairs; at most what three standard deviations leave out.
    assert blocked <= cases * 0.00135 + 4 * np.sqrt(cases * 0.00135)


@pytest.mark.parametrize("noise", [0.02, 0.5])
@pytest.mark.parametrize(
    "spsa", [SPSA(c=0.1, A=10.0, first_step=0.05), SPSA(a=0.1, c=0.1, A=10.0, resamplings=2)], ids=["one", "two"]
)
def test_blocking_takes_nothing_from_a_run_that_goes_well(spsa: SPSA, noise: float) -> None:
    """Runs on |x|^2 / 2 in pairs, with and without blocking, over the same noise."""
    size, steps, runs = 10, 100, 30
    ends = np.empty((2, runs))
    for i, blocking in enumerate((False, True)):
        one = replace(spsa, blocking=blocking)
        for seed in range(runs):
            x = advance(one, one.init(np.ones(size), seed=seed), noisy(noise, seed), steps).x
            ends[i, seed] = (x**2).sum() / 2
    assert ends[1].mean() < 1.03 * ends[0].mean()
    assert np.median(ends[1]) < 1.03 * np.median(ends[0])


def test_blocking_helps_where_steps_are_too_long() -> None:
    ends = np.empty((2, 30))
    for i, blocking in enumerate((False, True)):
        spsa = SPSA(a=2.0, c=0.1, A=10.0, resamplings=2, blocking=blocking)
        for seed in range(30):
            ends[i, seed] = (advance(spsa, spsa.init(np.ones(10), seed=seed), noisy(0.2, seed), 100).x ** 2).sum()
    assert ends[1].mean() < 0.9 * ends[0].mean()


def test_blocking_undoes_a_step_once_and_measures_again() -> None:
    spsa = SPSA(c=0.1, blocking=True)
    moved = advance(spsa, spsa.init(np.ones(4), seed=6), bumpy, 1)
    undone = spsa.tell(moved, np.array([50.0]), np.array([60.0]))
    again = spsa.tell(undone, np.array([50.0]), np.array([60.0]))  # as high there too: nothing is left to undo
    assert np.array_equal(undone.x, moved.previous)
    assert np.array_equal(again.previous, undone.x)
    assert not np.array_equal(again.x, undone.x)


@pytest.mark.parametrize("values", [{"a": 0.1}, {"calibration_pairs": 1}, {"a": 0.1, "calibration_pairs": 9}])
def test_blocking_says_that_it_needs_several_losses(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="several losses at one point"):
        SPSA(blocking=True, **values)  # type: ignore[arg-type]
    SPSA(blocking=True, resamplings=2, **values)  # type: ignore[arg-type]


def test_blocking_compares_no_loss_across_a_change_of_the_loss() -> None:
    spsa = SPSA(c=0.1, blocking=True)
    moved = advance(spsa, spsa.init(np.ones(4), seed=6), bumpy, 1)
    after = spsa.tell(spsa.forget_loss(moved), np.array([50.0]), np.array([60.0]))
    assert np.array_equal(after.previous, moved.x)


def test_without_blocking_bad_steps_stand() -> None:
    spsa = SPSA(c=0.1)
    moved = advance(spsa, spsa.init(np.ones(4), seed=6), bumpy, 1)
    after = spsa.tell(moved, np.array([50.0]), np.array([60.0]))
    assert np.array_equal(after.previous, moved.x)


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plus", "minus"),
    [([1.0], [1.0, 2.0]), ([1.0], [1.0]), ([], [])],
)
def test_losses_that_do_not_fit_are_refused(plus: list[float], minus: list[float]) -> None:
    spsa = SPSA(a=0.1, resamplings=2)
    with pytest.raises(ConfigError, match=r"asked for 2 pairs|is of type"):
        spsa.tell(spsa.init(np.ones(3), seed=1), np.array(plus), np.array(minus))


@pytest.mark.parametrize(("plus", "minus"), [([1.0, np.nan], [1.0, 1.0]), ([1.0, 1.0], [np.inf, 1.0])])
def test_losses_that_are_not_finite_are_refused(plus: list[float], minus: list[float]) -> None:
    spsa = SPSA(a=0.1, resamplings=2)
    with pytest.raises(ConfigError, match="not finite"):
        spsa.tell(spsa.init(np.ones(3), seed=1), np.array(plus), np.array(minus))


@pytest.mark.parametrize("name", ["a", "c", "alpha", "gamma", "first_step", "resamplings", "calibration_pairs"])
def test_gains_must_be_positive(name: str) -> None:
    for value in (0, -1):
        with pytest.raises(ConfigError, match=f"SPSA {name} is"):
            SPSA(**{name: value})


def test_a_negative_stability_constant_is_refused() -> None:
    with pytest.raises(ConfigError, match="SPSA A is"):
        SPSA(a=0.1, A=-1.0)


# -- bounded steps -----------------------------------------------------------------------------------------


def test_no_step_is_longer_than_max_step() -> None:
    spsa = SPSA(a=10.0, c=0.1, max_step=0.01)
    state = spsa.init(np.zeros(8), seed=3)
    after = spsa.tell(state, np.array([5.0]), np.array([1.0]))
    free = SPSA(a=10.0, c=0.1).tell(state, np.array([5.0]), np.array([1.0]))
    assert np.sqrt(np.mean(after.x**2)) == pytest.approx(0.01)
    assert np.allclose(after.x / np.linalg.norm(after.x), free.x / np.linalg.norm(free.x))


def test_short_steps_are_left_alone() -> None:
    spsa = SPSA(a=1e-4, c=0.1, max_step=0.01)
    state = spsa.init(np.zeros(8), seed=3)
    free = SPSA(a=1e-4, c=0.1).tell(state, np.array([5.0]), np.array([1.0]))
    assert np.array_equal(spsa.tell(state, np.array([5.0]), np.array([1.0])).x, free.x)


def test_max_step_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="max_step"):
        SPSA(max_step=0.0)
