"""Accelerated EM against plain EM, and what unfolding must keep whatever the counts are."""

from __future__ import annotations

import numpy as np
import pytest

from qpu_sdk.arrays import ComplexArray, FloatArray, IntArray
from qpu_sdk.errors import MitigationError
from qpu_sdk.mitigation.forward import Forward, forward
from qpu_sdk.mitigation.response import DenseResponse
from qpu_sdk.mitigation.unfolding import GRID, STARTS, begin, iterate, unfold, unfold_below
from qpu_sdk.photonics.counts import Detector
from qpu_sdk.photonics.program_noise import ProgramNoise
from tests.helpers import tvd
from tests.oracles.unitaries import haar

#: Long enough to converge, for exact data only.
LONG = (2_000,)
DETECTORS: tuple[Detector, Detector] = ("threshold", "pnr")
SIZES = ((4, 2), (5, 3))


def noise_of(photons: int, modes: int, *, indistinguishability: float = 0.9, transmission: float = 0.4) -> ProgramNoise:
    return ProgramNoise(
        brightness=1.0,
        indistinguishability=indistinguishability,
        g2=0.02,
        transmittance=np.linspace(0.9, 1.0, photons) * transmission,
        efficiency=np.linspace(0.8, 1.0, modes),
        dark_counts=np.full(modes, 1e-5),
    )


def model_of(modes: int, photons: int, *, detector: Detector = "threshold", seed: int = 1, **noise: float) -> Forward:
    return forward(haar(modes, seed)[:, :photons], noise_of(photons, modes, **noise), detector)


def plain_em(n: FloatArray, r: FloatArray, b: FloatArray, iterations: int) -> FloatArray:
    """Richardson and Lucy's iteration as it is written, in double precision, from the uniform distribution."""
    pi, seen = np.full(r.shape[1], 1.0 / r.shape[1]), r.sum(axis=0)
    for _ in range(iterations):
        mu = r @ pi + b
        pi = pi * (r.T @ (n / mu)) * (mu.sum() / n.sum()) / seen
        pi /= pi.sum()
    return np.asarray(pi)


def log_likelihood(n: FloatArray, r: FloatArray, b: FloatArray, pi: FloatArray) -> float:
    mu = r @ pi + b
    return float((n * np.log(mu / mu.sum())).sum())


def uniform(model: Forward, rows: int = 1) -> FloatArray:
    return begin("uniform", np.zeros((rows, len(model.space.patterns))), model)


def conditional(pi: FloatArray, model: Forward) -> FloatArray:
    p = pi[..., model.space.free]
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def run(n: FloatArray, model: Forward, iterations: int, start: FloatArray | None = None) -> FloatArray:
    """One distribution after so many accelerated iterations, in double precision as counts are large."""
    first = uniform(model) if start is None else start
    ((_, [pi]),) = iterate(n[None], model.response, model.background, first, grid=(iterations,))
    return np.asarray(pi)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("modes", "photons"), SIZES)
def test_its_fixed_point_is_that_of_plain_em(modes: int, photons: int, detector: Detector) -> None:
    model = model_of(modes, photons, detector=detector)
    exact = 1e12 * model.model
    found, plain = run(exact, model, *LONG), plain_em(exact, model.response.dense(), model.background, LONG[0])
    best = log_likelihood(exact, model.response.dense(), model.background, model.ideal)
    for pi in (found, plain):
        assert best - log_likelihood(exact, model.response.dense(), model.background, pi) < 1e-6 * exact.sum()
    mu = [model.rates(pi) for pi in (found, plain)]
    np.testing.assert_allclose(mu[0], mu[1], rtol=0.01, atol=1e-6 * mu[1].max())


@pytest.mark.parametrize("iterations", [10, 33, 103, 310])
@pytest.mark.parametrize("detector", DETECTORS)
def test_so_many_iterations_are_more_likely_than_as_many_plain_ones(detector: Detector, iterations: int) -> None:
    model = model_of(5, 3, detector=detector, seed=4)
    exact = 1e9 * model.model
    accelerated = log_likelihood(exact, model.response.dense(), model.background, run(exact, model, iterations))
    plain = plain_em(exact, model.response.dense(), model.background, iterations)
    assert accelerated > log_likelihood(exact, model.response.dense(), model.background, plain)
    as_far = plain_em(exact, model.response.dense(), model.background, iterations**2 // 16)
    assert accelerated > log_likelihood(exact, model.response.dense(), model.background, as_far) - 1e-6 * exact.sum()


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("modes", "photons"), SIZES)
def test_exact_noisy_probabilities_give_the_ideal_ones(modes: int, photons: int, detector: Detector) -> None:
    """Raw they are off by 3 to 10 %; after 2000 accelerated iterations by a millionth: no slope is left."""
    for seed in range(3):
        model = model_of(modes, photons, detector=detector, seed=seed)
        ideal = conditional(model.ideal, model)
        seen = model.model[model.space.full]
        assert tvd(seen / seen.sum(), ideal) > 0.01
        found = run(1e12 * model.model, model, *LONG)
        assert tvd(conditional(found, model), ideal) < 1e-5


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_wrong_overlap_costs_in_proportion(detector: Detector) -> None:
    """Counts at I = 0.9 are unfolded with 0.9 + delta, every other figure right."""
    truth = model_of(4, 2, detector=detector, seed=2)
    ideal = conditional(truth.ideal, truth)
    errors = []
    for delta in (-0.02, -0.01, 0.0, 0.01, 0.02):
        believed = model_of(4, 2, detector=detector, seed=2, indistinguishability=0.9 + delta)
        found = run(1e12 * truth.model, believed, *LONG)
        errors.append(conditional(found, believed) - ideal)
    far_below, below, none, above, far_above = errors
    assert np.abs(none).max() < 1e-6
    size = np.abs(above).max()
    assert size > 2e-4
    np.testing.assert_allclose(above, -below, atol=0.15 * size)
    np.testing.assert_allclose(far_above, 2.0 * above, atol=0.15 * size)
    np.testing.assert_allclose(far_below, 2.0 * below, atol=0.15 * size)


def test_states_that_no_pattern_tells_about_stay_where_they_began() -> None:
    response = DenseResponse(np.array([[0.5, 0.0, 0.2], [0.1, 0.0, 0.4]]))
    ((_, [pi]),) = iterate(np.array([[30.0, 10.0]]), response, np.zeros(2), np.full((1, 3), 1 / 3), grid=(50,))
    assert np.isfinite(pi).all()
    assert pi[1] == pytest.approx(1 / 3, rel=0.5)
    assert pi.sum() == pytest.approx(1.0, rel=1e-6)


def test_a_blind_mode_leaves_nothing_but_numbers() -> None:
    noise = ProgramNoise(1.0, 0.9, 0.02, np.full(3, 0.3), np.array([0.0, 1.0, 1.0, 1.0, 1.0]), np.zeros(5))
    model = forward(haar(5, 1)[:, :3], noise)
    counts = np.random.default_rng(0).poisson(1e5 * model.model).astype(float)
    for found in (unfold(counts, model, seed=0), unfold_below(counts, model)):
        assert np.isfinite(found.fock).all()
        assert found.fock.sum() == pytest.approx(1.0, rel=1e-5)


def test_rows_without_counts_and_impossible_counts_stay_where_they_began() -> None:
    response, start = DenseResponse(np.array([[0.5, 0.2], [0.0, 0.0]])), np.array([[0.3, 0.7]])
    for seen in ([0.0, 0.0], [0.0, 5.0]):
        ((_, pi),) = iterate(np.array([seen]), response, np.zeros(2), start, grid=(20,))
        np.testing.assert_allclose(pi, start, rtol=1e-6)


def test_rows_of_a_batch_do_not_know_of_each_other() -> None:
    model, rng = model_of(5, 3), np.random.default_rng(3)
    counts = rng.poisson(np.array([[1e3], [1e5], [0.0], [1e7]]) * model.model).astype(float)
    ((_, together),) = iterate(counts, model.response, model.background, uniform(model, 4), grid=(60,))
    for row, pi in zip(counts, together, strict=True):
        ((_, [alone]),) = iterate(row[None], model.response, model.background, uniform(model), grid=(60,))
        np.testing.assert_allclose(pi, alone, rtol=2e-3, atol=1e-7)  # single precision, other order of sums


@pytest.mark.parametrize("iterations", [33, 310])
def test_single_precision_does_not_show(iterations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the sampling error, of which it must be no more than a hundredth."""
    model = model_of(5, 3, seed=6)
    counts = np.random.default_rng(1).poisson(1e6 * model.model).astype(float)
    single = conditional(run(counts, model, iterations), model)
    monkeypatch.setattr("qpu_sdk.mitigation.unfolding.SINGLE_PRECISION", 0.0)
    double = conditional(run(counts, model, iterations), model)
    events = counts[model.space.full].sum()
    assert not np.array_equal(single, double)
    np.testing.assert_allclose(single, double, atol=0.01 * np.sqrt(double.max() / events))


def permuted(columns: ComplexArray, noise: ProgramNoise, order: list[int]) -> tuple[ComplexArray, ProgramNoise]:
    """The same device with its output modes in another order."""
    other = ProgramNoise(
        noise.brightness,
        noise.indistinguishability,
        noise.g2,
        noise.transmittance,
        noise.efficiency[order],
        noise.dark_counts[order],
    )
    return columns[order], other


@pytest.mark.parametrize("detector", DETECTORS)
def test_modes_may_be_renamed(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpu_sdk.mitigation.unfolding.SINGLE_PRECISION", 0.0)
    columns, noise, order = haar(5, 7)[:, :3], noise_of(3, 5), [3, 0, 4, 1, 2]
    here, there = forward(columns, noise, detector), forward(*permuted(columns, noise, order), detector)
    index = {tuple(row): i for i, row in enumerate(here.space.patterns.tolist())}
    patterns = [index[tuple(_renamed(row, order))] for row in there.space.patterns.tolist()]
    outcome = {tuple(row): i for i, row in enumerate(here.space.states.tolist())}
    states = [outcome[tuple(_renamed(row, order))] for row in there.space.states.tolist()]
    counts = np.random.default_rng(5).poisson(1e6 * here.model).astype(float)
    np.testing.assert_allclose(there.model, here.model[patterns], rtol=1e-9, atol=1e-15)
    below = unfold_below(counts, here), unfold_below(counts[patterns], there)
    assert below[0].iterations == below[1].iterations
    np.testing.assert_allclose(below[1].fock, below[0].fock[states], rtol=1e-6, atol=1e-12)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _Evenly())  # draws depend on the order of patterns
    every = [unfold(counts, here, seed=1), unfold(counts[patterns], there, seed=1)]
    assert every[0].iterations == every[1].iterations > 0
    np.testing.assert_allclose(every[1].fock, every[0].fock[states], rtol=1e-6, atol=1e-12)


class _Evenly:
    """Holds out the same share of every pattern."""

    def binomial(self, n: IntArray, p: float) -> IntArray:
        return np.asarray(np.rint(n * p), dtype=np.int64)


def _renamed(row: list[int], order: list[int]) -> list[int]:
    """Photons of mode ``order[i]`` are found in mode i there; here they are in ``order[i]``."""
    out = [0] * len(row)
    for i, mode in enumerate(order):
        out[mode] = row[i]
    return out


@pytest.mark.parametrize("factor", [10.0, 1e4])
def test_only_ratios_of_exact_counts_matter(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpu_sdk.mitigation.unfolding.SINGLE_PRECISION", 0.0)
    model = model_of(5, 3, seed=8)
    few, many = unfold_below(1e4 * model.model, model), unfold_below(factor * 1e4 * model.model, model)
    assert few.iterations == many.iterations
    np.testing.assert_allclose(few.fock, many.fock, rtol=1e-9)
    assert many.windows == pytest.approx(factor * few.windows, rel=1e-9)


def test_windows_are_counted_from_the_shots() -> None:
    """A is known to the sampling error of the shots, though no empty window was seen."""
    model, rng = model_of(5, 3, seed=9), np.random.default_rng(2)
    counts = rng.poisson(1e6 * model.model).astype(float)
    for found in (unfold(counts, model, seed=0), unfold_below(counts, model)):
        assert found.windows == pytest.approx(1e6, rel=0.01)


def test_held_out_counts_are_those_of_the_seed() -> None:
    model = model_of(5, 3, seed=10)
    counts = np.random.default_rng(3).poisson(3e3 * model.model).astype(float)
    first, again = unfold(counts, model, seed=4), unfold(counts, model, seed=4)
    assert (first.iterations, first.start) == (again.iterations, again.start)
    np.testing.assert_array_equal(first.fock, again.fock)
    stops = {(u.iterations, u.start) for u in (unfold(counts, model, seed=s) for s in range(12))}
    assert len(stops) > 1
    assert all(iterations in (0, *GRID) and start in STARTS for iterations, start in stops)


@pytest.mark.parametrize("detector", DETECTORS)
def test_stopping_beats_going_to_the_end(detector: Detector) -> None:
    """Sparse counts, 12 circuits: paired differences are above zero by three of their standard errors."""
    gains = []
    for seed in range(12):
        model = model_of(6, 3, detector=detector, seed=seed, transmission=0.15)
        rng = np.random.default_rng(seed)
        counts = rng.poisson(60.0 / model.model[model.space.full].sum() * model.model).astype(float)
        ideal = conditional(model.ideal, model)
        stopped = tvd(conditional(unfold(counts, model, seed=seed).fock, model), ideal)
        gains.append(tvd(conditional(run(counts, model, GRID[-1]), model), ideal) - stopped)
    assert np.mean(gains) > 3.0 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_the_prior_from_fewer_clicks_is_better_than_a_flat_one() -> None:
    gains = []
    for seed in range(8):
        model = model_of(6, 3, seed=seed, transmission=0.15)
        counts = np.random.default_rng(seed).poisson(1e6 * model.model).astype(float)
        ideal = conditional(model.ideal, model)
        found = tvd(conditional(unfold_below(counts, model).fock, model), ideal)
        gains.append(tvd(np.full(len(ideal), 1.0 / len(ideal)), ideal) - found)
    assert np.mean(gains) > 3.0 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_nothing_to_unfold_says_so() -> None:
    model = model_of(4, 2)
    only_full = np.zeros(len(model.space.patterns))
    only_full[model.space.full] = 5.0
    with pytest.raises(MitigationError, match="no event of fewer than 2 clicks, so they were filtered") as caught:
        unfold_below(only_full, model)
    assert "\n" not in str(caught.value)
    with pytest.raises(MitigationError, match="no counts of at most N clicks"):
        unfold(np.zeros(len(model.space.patterns)), model, seed=0)


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_a_few_shots_are_enough_for_numbers(shots: int) -> None:
    model = model_of(4, 2)
    for seed in range(20):
        counts = np.random.default_rng(seed).multinomial(shots, model.model / model.model.sum()).astype(float)
        found = unfold(counts, model, seed=seed)
        assert np.isfinite(found.fock).all()
        assert found.fock.sum() == pytest.approx(1.0, rel=1e-5)
