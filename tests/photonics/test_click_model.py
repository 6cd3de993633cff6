"""The click model against analytic values, Perceval at full precision, and a sum over everything that can happen."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from perceval.runtime import SimulatedComputer

from qpu_sdk.devices.machines import NOISE_PRESETS
from qpu_sdk.errors import ConfigError, ProgramError
from qpu_sdk.photonics.click_model import (
    ClickArrays,
    accurate_click_distribution,
    check_click_work,
    click_distribution,
    within,
)
from qpu_sdk.photonics.detectors import detectors_to_perceval
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.patterns import count_sets, mode_sets
from qpu_sdk.photonics.photon_counting import fock_distribution
from qpu_sdk.photonics.program_noise import ProgramNoise, emission, enough_counts
from tests.oracles.permanents import Matrix, boson_probability, distinguishable_probability, outcomes
from tests.oracles.unitaries import haar

Shown = dict[tuple[int, ...], float]
BALANCED = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)


def ideal(inputs: int, modes: int, **changes: Any) -> ProgramNoise:
    values: dict[str, Any] = {
        "brightness": 1.0,
        "indistinguishability": 1.0,
        "g2": 0.0,
        "transmittance": np.ones(inputs),
        "efficiency": np.ones(modes),
        "dark_counts": np.zeros(modes),
    }
    return ProgramNoise(**(values | changes))


def rough(inputs: int, modes: int, seed: int, **changes: Any) -> ProgramNoise:
    """Everything at once, different in every mode."""
    rng = np.random.default_rng(seed)
    values = {
        "brightness": 0.85,
        "indistinguishability": 0.7,
        "g2": 0.2,
        "transmittance": rng.uniform(0.2, 1.0, inputs),
        "efficiency": rng.uniform(0.3, 1.0, modes),
        "dark_counts": rng.uniform(0.0, 0.1, modes),
    }
    return ideal(inputs, modes, **(values | changes))


def fast(columns: Matrix, noise: ProgramNoise, most: int | None = None) -> Shown:
    sets, p = click_distribution(columns[None], noise, most_clicks=most)
    return dict(zip(map(tuple, sets.members.astype(int).tolist()), p[0].tolist(), strict=True))


def accurate(columns: Matrix, noise: ProgramNoise, most: int | None = None) -> Shown:
    sets, p = accurate_click_distribution(columns, noise, most_clicks=most)
    return dict(zip(map(tuple, sets.members.astype(int).tolist()), p.tolist(), strict=True))


def counting(columns: Matrix, noise: ProgramNoise, most: int | None = None) -> Shown:
    rows, p = fock_distribution(columns, noise, most_photons=most)
    return dict(zip(map(tuple, rows.tolist()), p.tolist(), strict=True))


def clicks_of(counted: Shown) -> Shown:
    found: Shown = {}
    for s, p in counted.items():
        click = tuple(min(k, 1) for k in s)
        found[click] = found.get(click, 0.0) + p
    return found


def worst(found: Shown, expected: Shown) -> float:
    return max(abs(found.get(s, 0.0) - expected.get(s, 0.0)) for s in found.keys() | expected.keys())


both = pytest.mark.parametrize("model", [fast, accurate])
Model = Callable[[Matrix, ProgramNoise], Shown]


# -- what is known by hand -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.92, 1.0])
def test_hong_ou_mandel(model: Model, overlap: float) -> None:
    """Two photons leave a balanced beam splitter apart with (1 - I) / 2; one of each is lost with eta."""
    found = model(BALANCED, ideal(2, 2, indistinguishability=overlap))
    assert found[1, 1] == pytest.approx((1.0 - overlap) / 2.0, abs=1e-15)
    found = model(BALANCED, ideal(2, 2, indistinguishability=overlap, efficiency=np.array([0.5, 0.25])))
    assert found[1, 1] == pytest.approx((1.0 - overlap) / 2.0 * 0.125, abs=1e-15)


@both
def test_a_pair_of_overlaps_is_the_indistinguishability_of_two_photons(model: Model) -> None:
    pair = np.array([[1.0, 0.8], [0.8, 1.0]])
    assert model(BALANCED, ideal(2, 2, indistinguishability=pair))[1, 1] == pytest.approx(0.1, abs=1e-15)


@both
def test_a_single_photon_goes_where_its_column_says(model: Model) -> None:
    column, eta = haar(4, seed=1)[:, :1], np.array([0.9, 0.5, 0.2, 1.0])
    noise = ideal(1, 4, brightness=0.7, transmittance=np.array([0.6]), efficiency=eta, indistinguishability=0.3, g2=0.0)
    found = model(column, noise)
    for mode in range(4):
        expected = 0.42 * eta[mode] * abs(column[mode, 0]) ** 2
        assert found[tuple(int(i == mode) for i in range(4))] == pytest.approx(expected, abs=1e-15)


@both
@pytest.mark.parametrize(("modes", "photons"), [(4, 2), (5, 3), (6, 4)])
@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_without_losses_collision_free_clicks_are_permanents(
    model: Model, modes: int, photons: int, overlap: float
) -> None:
    columns = haar(modes, seed=2)[:, :photons]
    found = model(columns, ideal(photons, modes, indistinguishability=overlap))
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-13)
    probability = boson_probability if overlap else distinguishable_probability
    for s in itertools.combinations(range(modes), photons):
        assert found[tuple(int(i in s) for i in range(modes))] == pytest.approx(probability(columns, s), abs=1e-13)


def test_counting_detectors_see_permanents_of_bunched_outcomes() -> None:
    columns = haar(4, seed=3)[:, :3]
    for overlap, probability in ((1.0, boson_probability), (0.0, distinguishable_probability)):
        found = counting(columns, ideal(3, 4, indistinguishability=overlap))
        for s in outcomes(4, 3):
            counts = tuple(s.count(i) for i in range(4))
            assert found[counts] == pytest.approx(probability(columns, s), abs=1e-14)
        assert sum(found.values()) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize(("brightness", "g2"), [(1.0, 0.0), (1.0, 0.5), (0.3, 0.18), (0.8, 1e-14), (0.0, 0.1)])
def test_emission_has_the_brightness_and_the_g2(brightness: float, g2: float) -> None:
    one, two = emission(brightness, g2)
    assert one + two == pytest.approx(brightness)
    assert 2.0 * two == pytest.approx(g2 * (one + 2.0 * two) ** 2, rel=1e-12)


# -- a sum over everything that can happen -------------------------------------------------------------------


@lru_cache
def spread(columns: bytes, modes: int, internal: bytes, photons: int) -> Shown:
    """Fock outcomes of photons with states of their own: states are modes that the detectors do not tell apart."""
    a = np.frombuffer(columns, dtype=np.complex128).reshape(modes, photons)
    v = np.frombuffer(internal, dtype=np.float64).reshape(photons, -1)
    joint = (a[:, None, :] * v.T[None, :, :]).reshape(-1, photons)
    found: Counter[tuple[int, ...]] = Counter()
    for s in outcomes(len(joint), photons):
        seen = [k // v.shape[1] for k in s]
        found[tuple(seen.count(i) for i in range(modes))] += boson_probability(joint, s)  # type: ignore[assignment]
    return dict(found)


def meet(one: Shown, other: Shown) -> Shown:
    found: Shown = {}
    for (s, p), (r, q) in itertools.product(one.items(), other.items()):
        both_of = tuple(i + j for i, j in zip(s, r, strict=True))
        found[both_of] = found.get(both_of, 0.0) + p * q
    return found


def arriving(columns: Matrix, noise: ProgramNoise) -> Shown:
    """Photons at the detectors: every input sends neither, one or both of its photons, each lost or not."""
    modes, inputs = columns.shape
    one, two = (float(p) for p in emission(noise.brightness, noise.g2))
    total: Shown = {}
    for sent in itertools.product(("neither", "first", "second", "both"), repeat=inputs):
        weight = 1.0
        for t, what in zip(noise.transmittance, sent, strict=True):
            weight *= {
                "neither": 1.0 - one - two + one * (1.0 - t) + two * (1.0 - t) ** 2,
                "first": one * t + two * t * (1.0 - t),
                "second": two * t * (1.0 - t),
                "both": two * t**2,
            }[what]
        firsts = [j for j in range(inputs) if sent[j] in ("first", "both")]
        found = mixed(columns, noise, firsts)
        for j in range(inputs):
            if sent[j] in ("second", "both"):
                alone = {tuple(int(i == k) for i in range(modes)): abs(columns[k, j]) ** 2 for k in range(modes)}
                found = meet(found, alone)
        for s, p in found.items():
            total[s] = total.get(s, 0.0) + weight * p
    return total


def mixed(columns: Matrix, noise: ProgramNoise, firsts: list[int]) -> Shown:
    """The first photons, in states with given inner products, or each in the common state or in one of its own."""
    modes, inputs = columns.shape
    if not firsts:
        return {(0,) * modes: 1.0}
    flat = np.ascontiguousarray(columns[:, firsts]).tobytes()
    if np.ndim(noise.indistinguishability) == 2:
        values, vectors = np.linalg.eigh(np.sqrt(noise.indistinguishability)[np.ix_(firsts, firsts)])
        states = np.ascontiguousarray(vectors * np.sqrt(np.maximum(values, 0.0)))
        return spread(flat, modes, states.tobytes(), len(firsts))
    x, total = math.sqrt(float(noise.indistinguishability)), {}
    for private in itertools.product((False, True), repeat=len(firsts)):
        states = np.array([np.eye(inputs + 1)[j + 1 if own else 0] for j, own in zip(firsts, private, strict=True)])
        states = np.ascontiguousarray(states[:, states.any(axis=0)])
        weight = math.prod(1.0 - x if own else x for own in private)
        for s, p in spread(flat, modes, states.tobytes(), len(firsts)).items():
            total[s] = total.get(s, 0.0) + weight * p
    return total


def detected(photons: Shown, noise: ProgramNoise, *, threshold: bool) -> Shown:
    total: Shown = {}
    for s, p in photons.items():
        by_mode = []
        for k, eta, d in zip(s, noise.efficiency, noise.dark_counts, strict=True):
            seen = [math.comb(k, t) * eta**t * (1.0 - eta) ** (k - t) for t in range(k + 1)] + [0.0]
            counts = [(1.0 - d) * now + d * less for now, less in zip(seen, [0.0, *seen], strict=False)]
            by_mode.append([counts[0], 1.0 - counts[0]] if threshold else counts)
        for t in itertools.product(*(range(len(c)) for c in by_mode)):
            total[t] = total.get(t, 0.0) + p * math.prod(c[k] for c, k in zip(by_mode, t, strict=True))
    return total


def gram(inputs: int, seed: int) -> Any:
    states = np.abs(np.random.default_rng(seed).normal(size=(inputs, inputs))) + 0.5
    states /= np.linalg.norm(states, axis=1)[:, None]
    return np.minimum(states @ states.T, 1.0)


@pytest.mark.parametrize("overlap", ["one", "pairs"])
@pytest.mark.parametrize(("modes", "inputs"), [(3, 2), (4, 3)])
def test_equals_the_sum_over_emissions_states_and_losses(modes: int, inputs: int, overlap: str) -> None:
    pairs = {"indistinguishability": gram(inputs, 5) ** 2} if overlap == "pairs" else {}
    noise = rough(inputs, modes, seed=4, **pairs)
    columns = haar(modes, seed=6)[:, :inputs]
    photons = arriving(columns, noise)
    expected = detected(photons, noise, threshold=True)
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-12)
    assert worst(fast(columns, noise), expected) < 1e-13
    assert worst(accurate(columns, noise), expected) < 1e-13
    if overlap == "one":
        assert worst(counting(columns, noise), detected(photons, noise, threshold=False)) < 1e-13


# -- against Perceval ----------------------------------------------------------------------------------------


def by_perceval(columns: Matrix, noise: ProgramNoise, *, threshold: bool, least: int = 0) -> tuple[Shown, float, float]:
    """Distribution, share of the windows in it, and seconds it took."""
    modes, inputs = columns.shape
    completed, _ = np.linalg.qr(np.concatenate([columns, np.eye(modes)], axis=1))
    unitary = np.concatenate([columns, completed[:, inputs:modes]], axis=1)
    best = float(noise.transmittance.max())
    experiment = pcvl.Experiment(modes)
    for mode, t in enumerate(noise.transmittance):
        if t < best:
            experiment.add(mode, pcvl.LC(1.0 - t / best))
    experiment.add(0, pcvl.Unitary(pcvl.Matrix(unitary)))
    detectors = detectors_to_perceval(noise.efficiency, "threshold" if threshold else "pnr")
    for mode, detector in enumerate(detectors):
        experiment.add(mode, detector)
    experiment.with_input(pcvl.BasicState([1] * inputs + [0] * (modes - inputs)))
    experiment.min_detected_photons_filter(least)
    computer = SimulatedComputer("SLOS")
    computer.noise = pcvl.NoiseModel(noise.brightness, float(noise.indistinguishability), noise.g2, True, best)
    begun = time.process_time()
    answer = computer.probs(experiment, precision=1e-16)
    taken = time.process_time() - begun
    return {tuple(s): float(p) for s, p in answer["results"].items()}, float(answer["global_perf"]), taken


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("modes", "photons"), [(4, 2), (6, 3)])
def test_equals_perceval_with_losses_of_every_mode(modes: int, photons: int, seed: int) -> None:
    noise = rough(photons, modes, seed, dark_counts=np.zeros(modes))
    columns = haar(modes, seed)[:, :photons]
    expected, _, _ = by_perceval(columns, noise, threshold=True)
    assert worst(fast(columns, noise), expected) < 1e-10
    assert worst(accurate(columns, noise), expected) < 1e-10


def test_equals_perceval_with_nine_modes_and_is_a_hundred_times_faster() -> None:
    noise = rough(4, 9, seed=3, g2=0.02, dark_counts=np.zeros(9), transmittance=np.full(4, 0.2))
    columns = haar(9, seed=3)[:, :4]
    expected, _, theirs = by_perceval(columns, noise, threshold=True)
    assert worst(fast(columns, noise), expected) < 1e-10
    assert worst(accurate(columns, noise), expected) < 1e-10
    ours = math.inf
    for _ in range(5):
        begun = time.process_time()
        click_distribution(columns[None], noise)
        ours = min(ours, time.process_time() - begun)
    assert theirs > 100.0 * ours


@pytest.mark.parametrize(("modes", "photons"), [(4, 2), (5, 3)])
def test_counting_detectors_equal_perceval(modes: int, photons: int) -> None:
    noise = rough(photons, modes, seed=7, dark_counts=np.zeros(modes))
    columns = haar(modes, seed=7)[:, :photons]
    expected, _, _ = by_perceval(columns, noise, threshold=False)
    assert worst(counting(columns, noise), expected) < 1e-10


@pytest.mark.parametrize("name", ["ascella-published", "belenos-published"])
@pytest.mark.parametrize(("modes", "photons"), [(4, 2), (6, 3)])
def test_what_is_left_behind_much_loss_equals_perceval(modes: int, photons: int, name: str) -> None:
    """Windows with as many clicks as photons are one in 1e3 to 1e6; Perceval drops what is below 1e-16 of all."""
    noise = NOISE_PRESETS[name].at(range(photons), modes=modes)
    columns = haar(modes, seed=8)[:, :photons]
    expected, share, _ = by_perceval(columns, noise, threshold=True, least=photons)
    found = {s: p for s, p in accurate(columns, noise).items() if sum(s) >= photons}
    assert sum(found.values()) == pytest.approx(share, rel=1e-8)
    assert worst({s: p / sum(found.values()) for s, p in found.items()}, expected) < 1e-8


# -- accuracy of rare patterns -------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.3, 1e-2, 1e-4, 1e-8])
def test_rare_patterns_keep_their_digits(t: float) -> None:
    """Counting adds positive numbers only, so its patterns are right however rare they are."""
    columns = haar(6, seed=9)[:, :3]
    noise = rough(3, 6, seed=9, transmittance=np.array([t, t / 2.0, t]), dark_counts=np.zeros(6))
    expected, found = clicks_of(counting(columns, noise)), accurate(columns, noise)
    assert min(found[s] / p for s, p in expected.items()) > 1.0 - 1e-11
    assert max(found[s] / p for s, p in expected.items()) < 1.0 + 1e-11


def test_the_plain_formula_is_right_to_rounding_of_the_whole() -> None:
    columns = haar(9, seed=10)[:, :4]
    noise = NOISE_PRESETS["ascella-published"].at(range(4), modes=9)
    assert worst(fast(columns, noise), accurate(columns, noise)) < 1e-13


def test_dark_counts_alone() -> None:
    noise = rough(2, 4, seed=11, transmittance=np.zeros(2))
    for model in (fast, accurate):
        for s, p in model(haar(4, seed=11)[:, :2], noise).items():
            expected = math.prod(d if k else 1.0 - d for k, d in zip(s, noise.dark_counts, strict=True))
            assert p == pytest.approx(expected, abs=1e-15)


# -- properties ----------------------------------------------------------------------------------------------


@both
def test_probabilities_sum_to_one_and_are_not_negative(model: Model) -> None:
    found = model(haar(7, seed=12)[:, :3], rough(3, 7, seed=12))
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-13)
    assert min(found.values()) >= 0.0


def test_more_modes_are_more_probable() -> None:
    """P(clicks within T) grows with T."""
    sets = mode_sets(5, 5)
    [q] = within(haar(5, seed=13)[None, :, :3], ClickArrays.of(rough(3, 5, seed=13)), sets)
    for with_mode, without in sets.neighbour_pairs:
        assert (q[with_mode] >= q[without] - 1e-15).all()
    assert q[-1] == pytest.approx(1.0, abs=1e-14)


@both
def test_renaming_modes_renames_patterns(model: Model) -> None:
    columns, order = haar(5, seed=14)[:, :3], np.array([3, 0, 4, 1, 2])
    noise = rough(3, 5, seed=14)
    renamed = rough(
        3,
        5,
        seed=14,
        efficiency=noise.efficiency[order],
        dark_counts=noise.dark_counts[order],
    )
    found = {tuple(np.array(s)[order].tolist()): p for s, p in model(columns, noise).items()}
    assert worst(found, model(columns[order], renamed)) < 1e-14


@both
@pytest.mark.parametrize("most", [0, 1, 2, 4])
def test_most_clicks_only_leaves_patterns_out(model: Any, most: int) -> None:
    columns, noise = haar(5, seed=15)[:, :3], rough(3, 5, seed=15)
    every, some = model(columns, noise), model(columns, noise, most)
    assert set(some) == {s for s in every if sum(s) <= most}
    assert worst(some, {s: every[s] for s in some}) < 1e-14


def test_most_photons_leaves_windows_with_more_out() -> None:
    columns, noise = haar(4, seed=16)[:, :2], rough(2, 4, seed=16, efficiency=np.full(4, 0.5))
    every, some = counting(columns, noise), counting(columns, noise, 3)
    assert {sum(s) for s in some} == {0, 1, 2, 3}
    # Loss that all modes share is put at the inputs, so nothing but windows with more counts is left out.
    assert worst(some, {s: p for s, p in every.items() if sum(s) <= 3}) < 1e-14


@pytest.mark.parametrize("photons", [2, 4])
def test_24_modes(photons: int) -> None:
    columns = haar(24, seed=17)[:, :photons]
    noise = NOISE_PRESETS["ascella-published"].at(range(photons), modes=24)
    sets, p = click_distribution(columns[None], noise, most_clicks=photons)
    assert len(sets.masks) == count_sets(24, photons)
    assert p.sum() == pytest.approx(1.0, abs=1e-6)
    few = [0, 1, 2, 5, 9]
    alone = accurate(columns[few], ideal(photons, 5, **fields_of(noise, 5)), None)
    inside = (sets.masks & ~sum(1 << i for i in few)) == 0
    q = {tuple(row[few].astype(int).tolist()): v for row, v in zip(sets.members[inside], p[0, inside], strict=True)}
    assert sum(q.values()) <= sum(alone.values())


def fields_of(noise: ProgramNoise, modes: int) -> dict[str, Any]:
    return {
        "brightness": noise.brightness,
        "indistinguishability": noise.indistinguishability,
        "g2": noise.g2,
        "transmittance": noise.transmittance,
        "efficiency": noise.efficiency[:modes],
    }


def test_a_batch_is_its_members() -> None:
    columns = np.stack([haar(5, seed)[:, :2] for seed in (1, 2, 3)])
    noise = rough(2, 5, seed=18)
    _, together = click_distribution(columns, noise)
    for one, p in zip(columns, together, strict=True):
        np.testing.assert_allclose(click_distribution(one[None], noise)[1][0], p, atol=1e-15)


def test_counts_that_are_enough() -> None:
    noise = rough(3, 5, seed=19, efficiency=np.full(5, 0.4), dark_counts=np.full(5, 0.01))
    counted = counting(haar(5, seed=19)[:, :3], noise)
    for neglected, least in ((1e-2, 1), (1e-4, 1), (1e-4, 3), (1e-9, 2)):
        most = enough_counts(noise, neglected=neglected, at_least=least)
        above = [sum(p for s, p in counted.items() if sum(s) >= k) for k in range(13)]
        assert above[most + 1] <= neglected * above[least] < above[most]


# -- refusals ------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="indistinguishability is 1\\.5"):
        ideal(2, 2, indistinguishability=1.5)
    with pytest.raises(ConfigError, match="g2 \\* brightness"):
        ideal(2, 2, g2=0.7)
    with pytest.raises(ConfigError, match="g2_distinguishable=true"):
        Noise(g2=0.1, g2_distinguishable=False).at((0,), modes=2)
    with pytest.raises(ProgramError, match="only threshold detectors"):
        fock_distribution(BALANCED, ideal(2, 2, indistinguishability=np.eye(2)))
    with pytest.raises(ProgramError, match="Ask for fewer"):
        fock_distribution(haar(24, 1)[:, :2], ideal(2, 24), most_photons=9)
    with pytest.raises(ProgramError, match="Ask for fewer"):
        click_distribution(haar(24, 1)[None, :, :2], ideal(2, 24))
    with pytest.raises(ProgramError, match="no window"):
        enough_counts(ideal(2, 2, brightness=0.0))
    for size in ((63, 1, 1), (24, 4, 24), (24, 12, 6)):
        with pytest.raises(ProgramError, match="too many for the click model"):
            check_click_work(*size)


def test_a_device_knows_its_modes() -> None:
    device = Noise(transmittance=np.full(4, 0.3))
    assert device.at((1, 3), modes=4).transmittance.tolist() == [0.3, 0.3]
    with pytest.raises(ProgramError, match="5 modes"):
        device.at((0,), modes=5)
