"""The response and the background against sums over who is common, and against each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.errors import MitigationError
from qpu_sdk.mitigation.forward import common_probabilities, forward, space, without_circuit
from qpu_sdk.photonics.click_model import accurate_click_distribution
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.patterns import mode_sets
from qpu_sdk.photonics.photon_counting import fock_distribution
from qpu_sdk.photonics.program_noise import ProgramNoise, emission
from tests.oracles.unitaries import haar


def noise_of(photons: int, modes: int, *, seed: int, g2: float = 0.05, dark: float = 1e-4) -> ProgramNoise:
    """Uneven noise."""
    rng = np.random.default_rng(seed)
    return ProgramNoise(
        brightness=1.0,
        indistinguishability=0.85,
        g2=g2,
        transmittance=rng.uniform(0.2, 0.5, photons),
        efficiency=rng.uniform(0.5, 1.0, modes),
        dark_counts=np.full(modes, dark),
    )


def brute_force_common_branch(columns: np.ndarray, noise: ProgramNoise) -> np.ndarray:
    """P(clicks = T and all photons common), by permutations: the C = S term of the click model's permanent."""
    modes, photons = columns.shape
    sets = mode_sets(modes, photons)
    one, two = (float(p) for p in emission(noise.brightness, noise.g2))
    x, t = np.sqrt(float(noise.indistinguishability)), noise.transmittance
    assert np.ptp(t) == 0.0
    within = np.empty(len(sets.masks))
    for row, members in enumerate(sets.members):
        eta = noise.efficiency * ~members
        entered = columns * np.sqrt(t)
        h = np.eye(photons) - entered.conj().T @ (eta[:, None] * entered)
        alpha = np.prod([x * (one + two * h[j, j].real) for j in range(photons)])
        permanent = sum(
            np.prod([h[j, k] for j, k in enumerate(order)]) for order in itertools.permutations(range(photons))
        ).real
        within[row] = alpha * permanent * np.prod((1.0 - noise.dark_counts)[~members])
    out = within.copy()
    for row, mask in enumerate(sets.masks):
        out[row] = sum(
            (-1) ** (int(sets.clicks[row]) - int(sets.clicks[other])) * within[other]
            for other, smaller in enumerate(sets.masks)
            if smaller & ~mask == 0
        )
    return out[1:]


@pytest.mark.parametrize(("modes", "photons"), [(3, 1), (4, 2), (5, 3), (3, 3)])
def test_response_times_ideal_is_the_branch_of_common_photons(modes: int, photons: int) -> None:
    noise = noise_of(photons, modes, seed=modes)
    even = ProgramNoise(1.0, 0.85, 0.05, np.full(photons, 0.3), noise.efficiency, noise.dark_counts)
    columns = haar(modes, seed=photons)[:, :photons]
    model = forward(columns, even)
    np.testing.assert_allclose(model.response.rates(model.ideal), brute_force_common_branch(columns, even), atol=1e-14)


@pytest.mark.parametrize("detector", ["threshold", "pnr", "ppnr:2"])
@pytest.mark.parametrize(("modes", "photons"), [(3, 1), (4, 2), (5, 3), (3, 3)])
def test_the_background_is_never_negative(modes: int, photons: int, detector: str) -> None:
    for seed in range(5):
        columns = haar(modes, seed=seed)[:, :photons]
        noise = noise_of(photons, modes, seed=seed)
        model = forward(columns, noise, detector)
        assert (model.model - model.response.rates(model.ideal)).min() > -1e-14
        total = model.response.rates(model.ideal) + model.background
        np.testing.assert_allclose(total, model.model, atol=1e-14)


def test_ideal_sources_leave_no_background() -> None:
    columns = haar(5, seed=1)[:, :3]
    for detector in ("threshold", "pnr", "ppnr:2"):
        noise = ProgramNoise(1.0, 1.0, 0.0, np.full(3, 0.4), np.linspace(0.6, 1.0, 5), np.zeros(5))
        model = forward(columns, noise, detector)
        assert model.background.max() < 1e-15
        alone = without_circuit(noise, detector, modes=5, photons=3)
        np.testing.assert_allclose(alone.response.dense(), model.response.dense(), atol=1e-15)


def test_models_are_those_of_the_devices() -> None:
    columns, noise = haar(5, seed=2)[:, :3], noise_of(3, 5, seed=2)
    clicks = accurate_click_distribution(columns, noise, most_clicks=3)[1]
    np.testing.assert_allclose(forward(columns, noise).model, clicks[1:], rtol=1e-13)
    outcomes, p = fock_distribution(columns, noise, most_photons=3)
    model = forward(columns, noise, "pnr")
    np.testing.assert_array_equal(model.space.patterns, outcomes[1:])
    np.testing.assert_allclose(model.model, p[1:], rtol=1e-13)


def test_counting_detectors_seen_as_clicks_are_threshold_detectors() -> None:
    columns = haar(5, seed=3)[:, :3]
    noise = noise_of(3, 5, seed=3, g2=0.0, dark=0.0)  # no fourth count that one of them would drop
    threshold, counting = forward(columns, noise), forward(columns, noise, "pnr")
    masks = (counting.space.patterns > 0) @ (1 << np.arange(5))
    order = np.searchsorted(mode_sets(5, 3).masks, masks) - 1
    together = np.zeros_like(threshold.response.dense())
    np.add.at(together, order, counting.response.dense())
    np.testing.assert_allclose(together, threshold.response.dense(), atol=1e-14)


def test_loss_keeps_photons_or_loses_them() -> None:
    noise = ProgramNoise(1.0, 1.0, 0.0, np.ones(3), np.ones(5), np.zeros(5))
    for detector in ("threshold", "pnr"):
        response = without_circuit(noise, detector, modes=5, photons=3).response.dense()
        np.testing.assert_allclose(response.sum(axis=0), 1.0, atol=1e-14)
        assert set(np.unique(response.round(12))) == {0.0, 1.0}


def test_pairs_of_common_photons() -> None:
    x = np.array([0.9, 0.8, 0.95])
    pairs = np.outer(x, x)
    np.fill_diagonal(pairs, 1.0)
    noise = ProgramNoise(1.0, pairs, 0.0, np.full(3, 0.5), np.ones(5), np.zeros(5))
    np.testing.assert_allclose(common_probabilities(noise), x, rtol=1e-12)
    same = np.full((3, 3), 0.85)
    np.fill_diagonal(same, 1.0)
    columns = haar(5, seed=4)[:, :3]
    by_pair = forward(columns, ProgramNoise(1.0, same, 0.03, np.full(3, 0.5), np.ones(5), np.zeros(5)))
    alike = forward(columns, ProgramNoise(1.0, 0.85, 0.03, np.full(3, 0.5), np.ones(5), np.zeros(5)))
    np.testing.assert_allclose(by_pair.response.dense(), alike.response.dense(), rtol=1e-12)
    np.testing.assert_allclose(by_pair.background, alike.background, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.sampled_from(["threshold", "pnr", "ppnr:2"]), st.integers(0, 2**16))
def test_numbers_stand_where_their_patterns_stand(photons: int, detector: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    here = space(4, photons, detector)
    numbers = rng.integers(0, 50, len(here.patterns))
    more = np.ones((1, 4), dtype=np.uint8)  # four clicks are more than N
    order = rng.permutation(len(numbers))
    counts = Counts(
        photons=photons,
        outcomes=np.concatenate([here.patterns[order], more]),
        numbers=np.append(numbers[order], 7),
        detector=detector,
    )
    np.testing.assert_array_equal(here.numbers(counts), numbers)
    np.testing.assert_array_equal(here.numbers(counts)[here.full], counts.collision_free())
    assert len(here.below) == (here.patterns.sum(axis=1) < photons).sum()


def test_what_is_too_large_says_so() -> None:
    with pytest.raises(MitigationError, match="unfolding 8 photons in 20 modes"):
        space(20, 8, "threshold")


def test_second_photons_lost_at_a_poor_detector_are_background() -> None:
    """More photons at the detectors than counts: nothing of them may be left out."""
    noise = ProgramNoise(1.0, 0.85, 0.3, np.full(3, 0.4), np.array([0.5, 0.6, 0.7, 0.8, 1.0]), np.full(5, 1e-4))
    columns = haar(5, seed=8)[:, :3]
    model = forward(columns, noise, "pnr")
    outcomes, p = fock_distribution(columns, noise)  # with up to six photons and five dark counts
    counts = outcomes.sum(axis=1)
    exact = p[(counts >= 1) & (counts <= 3)]
    assert np.abs(model.model / exact - 1.0).max() < 1e-12
    assert (model.model - model.response.rates(model.ideal)).min() > 0.0
