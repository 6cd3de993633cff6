"""Photon recycling against Perceval's, a count of patterns by hand, and cases whose answer is known."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import perceval as pcvl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from qpu_sdk.arrays import ComplexArray, FloatArray, IntArray
from qpu_sdk.errors import MitigationError, ProgramError
from qpu_sdk.mitigation.recycling import decay, numbers_of, one_fewer, recycle, recycled
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.fock import collision_free_outcomes, rank_collision_free
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.permanents import collision_free_tree, probabilities
from tests.benchmarks.mitigation_peers import lossy_counts, perceval_answer, perceval_recycling
from tests.helpers import tvd
from tests.oracles.unitaries import fourier, haar


def simulated(modes: int, photons: int, *, seed: int, transmittance: float = 0.3, pulses: int = 1_000_000) -> Counts:
    """A noisy Haar-random program."""
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=transmittance)
    columns = haar(modes, seed)[:, :photons]
    return lossy_counts(columns, noise.at(range(photons), modes=modes), pulses=pulses, seed=seed)


def only_loss(columns: ComplexArray, *, seed: int, transmittance: float, pulses: int) -> tuple[Counts, FloatArray]:
    """Counts behind uniform loss, and the collision-free distribution without it."""
    modes, photons = columns.shape
    noise = Noise(transmittance=transmittance).at(range(photons), modes=modes)
    truth = probabilities(columns, collision_free_tree(modes, photons))
    return lossy_counts(columns, noise, pulses=pulses, seed=seed), truth / truth.sum()


def permuted(counts: Counts, order: list[int]) -> Counts:
    """Clicks of mode ``order[i]`` are now those of mode i."""
    return Counts(photons=counts.photons, outcomes=counts.outcomes[:, order], numbers=counts.numbers)


def where(modes: int, photons: int, order: list[int]) -> IntArray:
    """Index, before, of each outcome after :func:`permuted`."""
    return rank_collision_free(np.sort(np.array(order)[collision_free_outcomes(modes, photons)], axis=1), modes)


def with_clicks(counts: Counts, *clicks: int) -> Counts:
    """Only the shots with so many clicks."""
    keep = np.isin(counts.outcomes.sum(axis=1), clicks)
    return Counts(photons=counts.photons, outcomes=counts.outcomes[keep], numbers=counts.numbers[keep])


def merged(counts: Counts) -> Counts:
    """Each outcome once."""
    outcomes, where = np.unique(counts.outcomes, axis=0, return_inverse=True)
    numbers = np.bincount(where.ravel(), counts.numbers, len(outcomes)).astype(np.int64)
    return Counts(photons=counts.photons, outcomes=outcomes, numbers=numbers)


def frequencies(counts: Counts) -> FloatArray:
    """What post-selection makes of the counts."""
    numbers = counts.collision_free()
    return np.asarray(numbers / numbers.sum())


@st.composite
def any_counts(draw: st.DrawFn, photons: int | None = None) -> Counts:
    """Few outcomes, some bunched, some with more clicks than photons, some twice in the list, some never seen."""
    modes = draw(st.integers(photons or 1, 6))
    photons = photons or draw(st.integers(1, modes))
    occupation = st.lists(st.sampled_from([0, 0, 1, 1, 1, 2]), min_size=modes, max_size=modes)
    outcomes = draw(st.lists(occupation, min_size=1, max_size=25))
    numbers = draw(st.lists(st.integers(0, 9), min_size=len(outcomes), max_size=len(outcomes)))
    return Counts(photons=photons, outcomes=np.array(outcomes), numbers=np.array(numbers))


# -- back-projections ------------------------------------------------------------------------------------------


def counted_by_hand(counts: Counts) -> FloatArray:
    """R_k by comparing every pattern with every outcome."""
    outcomes = list(itertools.combinations(range(counts.modes), counts.photons))
    out = np.zeros((3, len(outcomes)))
    for row, number in zip(counts.outcomes, counts.numbers, strict=True):
        seen = {i for i, clicks in enumerate(row) if clicks}
        lost = counts.photons - len(seen)
        if seen and row.max() == 1 and 0 <= lost <= 2:
            out[lost] += [number * (seen <= set(s)) for s in outcomes]
    return np.array([row / row.sum() if row.sum() else row for row in out])


@given(any_counts())
def test_recycled_is_the_sum_over_patterns_inside_each_outcome(counts: Counts) -> None:
    np.testing.assert_array_equal(recycled(counts), counted_by_hand(counts))


@given(any_counts())
def test_numbers_of_all_photons_are_the_collision_free_counts(counts: Counts) -> None:
    np.testing.assert_array_equal(numbers_of(counts, counts.photons), counts.collision_free())


@pytest.mark.parametrize(("modes", "photons"), [(1, 1), (5, 1), (5, 3), (9, 4), (4, 4)])
def test_one_fewer_lists_each_outcome_without_each_photon(modes: int, photons: int) -> None:
    smaller = list(itertools.combinations(range(modes), photons - 1))
    table = one_fewer(modes, photons)
    assert table.shape == (photons, math.comb(modes, photons))
    for column, outcome in zip(table.T, itertools.combinations(range(modes), photons), strict=True):
        assert [smaller[i] for i in column] == [outcome[:j] + outcome[j + 1 :] for j in range(photons)]


def test_tables_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        one_fewer(5, 3)[0, 0] = 1


# -- Perceval as oracle ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("modes", "photons"), [(6, 3), (9, 4)])
@pytest.mark.parametrize("transmittance", [0.06, 0.3])
def test_perceval_finds_the_same(modes: int, photons: int, transmittance: float, seed: int) -> None:
    counts = simulated(modes, photons, seed=seed, transmittance=transmittance)
    theirs = perceval_recycling(counts.to_perceval(), modes, photons)
    assert np.abs(recycle(counts) - theirs).max() < 1e-5


def test_perceval_finds_the_same_where_outcomes_become_zero_and_where_they_straddle_uniform() -> None:
    counts, _ = only_loss(fourier(8)[:, :3], seed=1, transmittance=0.1, pulses=20_000)
    ours, theirs = recycle(counts), perceval_recycling(counts.to_perceval(), 8, 3)
    assert (ours == 0.0).sum() >= 3
    assert (np.sign(recycled(counts)[1:] - 1 / 56).prod(axis=0) < 0.0).sum() >= 3
    np.testing.assert_array_equal(ours == 0.0, theirs == 0.0)
    assert np.abs(ours - theirs).max() < 1e-5


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(any_counts(photons=3))
def test_perceval_finds_the_same_from_few_events(counts: Counts) -> None:
    """Bunched outcomes are dropped by both, and so are those with more clicks than photons."""
    rows = recycled(counts)
    assume(all(row.any() for row in rows[1:]) and np.ptp(rows[0]) > 0.0)
    theirs = perceval_recycling(merged(counts).to_perceval(), counts.modes, counts.photons)
    assert np.abs(recycle(counts) - theirs).max() < 1e-3  # curve_fit stops early in flat places


def test_perceval_finds_the_same_without_events_of_all_photons() -> None:
    counts = with_clicks(simulated(6, 3, seed=1), 1, 2)
    theirs = perceval_recycling(counts.to_perceval(), 6, 3)
    assert np.abs(recycle(counts) - theirs).max() < 1e-5


def test_perceval_finds_the_same_where_lossy_shots_deviate_more_than_events() -> None:
    """The factor is then near one, where the 50th photon matters."""
    lossy, _ = only_loss(np.eye(6, dtype=complex)[:, :3], seed=1, transmittance=0.3, pulses=10_000)
    rng = np.random.default_rng(1)
    flat = [np.eye(6, dtype=int)[list(c)].sum(axis=0) for c in _combinations(6, 3)]
    lossy = with_clicks(lossy, 1, 2)
    counts = Counts(
        photons=3,
        outcomes=np.concatenate([flat, lossy.outcomes]),
        numbers=np.concatenate([rng.poisson(100.0, 20), lossy.numbers]),
    )
    none, one, two = np.abs(recycled(counts) - 1 / 20).mean(axis=1)
    assert 0.95 < decay(one / none, two / none) < 1.05
    theirs = perceval_recycling(counts.to_perceval(), 6, 3)
    assert np.abs(recycle(counts) - theirs).max() < 1e-4  # curve_fit stops early


@pytest.mark.parametrize("clicks", [(3,), (3, 2), (3, 1)])
def test_perceval_refuses_what_we_refuse(clicks: tuple[int, ...]) -> None:
    counts = with_clicks(simulated(6, 3, seed=1), *clicks)
    with pytest.raises(ValueError, match="photon"):
        perceval_answer(counts.to_perceval(), 3)
    with pytest.raises(MitigationError):
        recycle(counts)


def test_one_hundred_times_faster_than_perceval() -> None:
    """Best of a few; the benchmark shows five times as much on a quiet machine."""
    counts = simulated(9, 4, seed=1)
    theirs, times = counts.to_perceval(), []
    recycle(counts)
    for _ in range(20):
        begun = time.process_time()
        recycle(counts)
        times.append(time.process_time() - begun)
    begun = time.process_time()
    perceval_answer(theirs, 4)
    assert time.process_time() - begun > 100 * min(times)


# -- known answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [list(range(9)), np.random.default_rng(1).permutation(9).tolist()])
def test_recycling_fails_on_identity_and_permutation(order: list[int]) -> None:
    """It takes the output for that of a random program: all that it was not meant for comes out nearly uniform."""
    counts, truth = only_loss(np.eye(9, dtype=complex)[order][:, :4], seed=1, transmittance=0.3, pulses=1_000_000)
    assert tvd(frequencies(counts), truth) < 1e-12
    assert tvd(recycle(counts), truth) > 0.8


def test_recycling_does_not_converge_to_the_truth() -> None:
    """Without noise other than loss post-selection does."""
    counts, truth = only_loss(haar(9, 1)[:, :4], seed=1, transmittance=0.5, pulses=10**9)
    assert tvd(frequencies(counts), truth) < 2e-3
    assert tvd(recycle(counts), truth) > 0.2


@pytest.mark.parametrize(("modes", "photons"), [(5, 3), (6, 4), (4, 4)])
def test_uniform_counts_give_the_uniform_distribution(modes: int, photons: int) -> None:
    rows = [np.eye(modes, dtype=int)[list(c)].sum(axis=0) for k in (0, 1, 2) for c in _combinations(modes, photons - k)]
    counts = Counts(photons=photons, outcomes=np.array(rows), numbers=np.full(len(rows), 7))
    np.testing.assert_array_equal(recycle(counts), np.full(math.comb(modes, photons), 1 / math.comb(modes, photons)))


def _combinations(modes: int, photons: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations(range(modes), photons))


def test_uniform_events_give_the_uniform_distribution_whatever_the_lossy_ones_say() -> None:
    """Without any deviation nothing can be said of its decay."""
    rows = [np.eye(4, dtype=int)[list(c)].sum(axis=0) for c in [*_combinations(4, 3), (0, 1), (2,)]]
    counts = Counts(photons=3, outcomes=np.array(rows), numbers=np.array([5, 5, 5, 5, 30, 9]))
    np.testing.assert_array_equal(recycle(counts), np.full(4, 0.25))


def test_uniform_lossy_events_give_the_uniform_distribution() -> None:
    """y_1 = y_2 = 0: the factor is at its lower limit, and there is nothing to amplify."""
    rows = [np.eye(4, dtype=int)[list(c)].sum(axis=0) for c in [(0, 1, 2), *_combinations(4, 2), *_combinations(4, 1)]]
    counts = Counts(photons=3, outcomes=np.array(rows), numbers=np.array([8] + [6] * 6 + [4] * 4))
    np.testing.assert_allclose(recycle(counts), np.full(4, 0.25), rtol=1e-12)


def test_outcomes_that_straddle_uniform_are_all_the_same() -> None:
    counts = simulated(9, 4, seed=3)
    deviation = recycled(counts)[1:] - 1 / 126
    straddling, p = np.sign(deviation).prod(axis=0) < 0, recycle(counts)
    assert straddling.sum() > 5
    assert np.ptp(deviation[0][straddling]) > 0.0
    assert np.ptp(p[straddling]) == 0.0
    assert len(np.unique(p[~straddling & (p > 0.0)])) == (~straddling & (p > 0.0)).sum()


def test_ten_times_the_counts_change_nothing() -> None:
    counts = simulated(9, 4, seed=1)
    more = Counts(photons=4, outcomes=counts.outcomes, numbers=10 * counts.numbers)
    np.testing.assert_array_equal(recycle(more), recycle(counts))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(7)), st.integers(0, 3))
def test_permuted_modes_permute_the_estimate(order: list[int], seed: int) -> None:
    counts = simulated(7, 3, seed=seed, pulses=20_000)
    expected = recycle(counts)[where(7, 3, order)]
    np.testing.assert_allclose(recycle(permuted(counts, order)), expected, rtol=1e-9, atol=1e-14)


# -- the decay -------------------------------------------------------------------------------------------------


@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_decay_is_the_least_squares_fit(one: float, two: float) -> None:
    def cost(b: float) -> float:
        w = math.exp(-b)
        return (w - one) ** 2 + (w * w - two) ** 2 + w**100

    found = minimize_scalar(cost, bounds=(-0.5, 5.0), method="bounded", options={"xatol": 1e-10})
    ours = -math.log(decay(one, two))
    assert -0.5 < ours <= 5.0
    assert cost(ours) <= cost(found.x) + 1e-12


@given(st.floats(0.01, 1e16), st.floats(0.0, 1e16))
def test_decay_is_the_only_positive_root(one: float, two: float) -> None:
    w = decay(one, two)
    if w > math.exp(-5):
        below, above = (2 * v**3 + (1 - 2 * two) * v - one + 50 * v**99 for v in (w * (1 - 1e-9), w * (1 + 1e-9)))
        assert below < 0.0 < above


def test_decay_stays_within_its_limits() -> None:
    assert decay(0.0, 0.0) == decay(1e-3, 0.0) == math.exp(-5)
    assert decay(1e300, 0.0) == pytest.approx(math.exp(5), rel=1e-9)
    assert decay(0.0, 1.0) == pytest.approx(math.sqrt(0.5), rel=1e-9)  # 2 w^3 = w, but for the last point


# -- what cannot be recycled -----------------------------------------------------------------------------------


@pytest.mark.parametrize("photons", [1, 2])
def test_fewer_than_three_photons_are_refused(photons: int) -> None:
    counts = Counts(photons=photons, outcomes=np.eye(4, dtype=int), numbers=np.ones(4, dtype=int))
    with pytest.raises(MitigationError, match=rf"^program has {photons} photons; .* Use post_select\.$"):
        recycle(counts)


def test_more_photons_than_modes_are_refused() -> None:
    with pytest.raises(ProgramError, match="5 photons in 4 modes"):
        recycle(Counts(photons=5, outcomes=np.eye(4, dtype=int), numbers=np.ones(4, dtype=int)))


@pytest.mark.parametrize(
    ("kept", "missing"), [((4,), "3 clicks"), ((4, 3), "2 clicks"), ((4, 2), "3 clicks"), ((), "3 clicks")]
)
def test_missing_classes_are_named_in_one_line(kept: tuple[int, ...], missing: str) -> None:
    counts = with_clicks(simulated(9, 4, seed=1), *kept)
    with pytest.raises(MitigationError) as refused:
        recycle(counts)
    assert str(refused.value) == (
        f"counts hold no collision-free events of {missing}; photon recycling needs those of 3 and of 2. They may be "
        "filtered: ask the device for a filter of 1 click."
    )


def test_a_class_of_bunched_outcomes_only_is_missing() -> None:
    """Perceval counts these as present, and goes on with a row of zeros."""
    outcomes = np.array([[1, 1, 1, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    counts = Counts(photons=3, outcomes=outcomes, numbers=np.array([3, 2, 1]))
    with pytest.raises(MitigationError, match="events of 2 clicks"):
        recycle(counts)
    assert isinstance(perceval_answer(counts.to_perceval(), 3), pcvl.BSDistribution)


@given(any_counts())
def test_the_answer_is_a_distribution_or_an_error(counts: Counts) -> None:
    try:
        p = recycle(counts)
    except MitigationError:
        assert counts.photons < 3 or not all(row.any() for row in recycled(counts)[1:])
    else:
        assert p.shape == (math.comb(counts.modes, counts.photons),)
        assert (p >= 0.0).all()
        assert p.sum() == pytest.approx(1.0, abs=1e-12)
