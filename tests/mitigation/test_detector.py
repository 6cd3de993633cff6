"""Detector response against dense matrices and exact distributions; order, errors and limits."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from qpu_sdk.arrays import ComplexArray, FloatArray
from qpu_sdk.errors import MitigationError, ProgramError
from qpu_sdk.mitigation import detector as module
from qpu_sdk.mitigation.detector import Corrected, correct_response, select
from qpu_sdk.mitigation.distribution import Distribution
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.mitigation.uncertainty import Multinomial, Reweighted
from qpu_sdk.photonics.click_model import accurate_click_distribution
from qpu_sdk.photonics.counts import Counts, Detector, wires
from qpu_sdk.photonics.photon_counting import fock_distribution
from qpu_sdk.photonics.program_noise import ProgramNoise
from tests.oracles.unitaries import haar

#: Windows of an "exact" count: a probability is rounded by 1e-18.
WINDOWS = 10**18


def noise(modes: int, inputs: int, **changes: Any) -> ProgramNoise:
    rng = np.random.default_rng(modes + 10 * inputs)
    values: dict[str, Any] = {
        "brightness": 0.9,
        "indistinguishability": 0.8,
        "g2": 0.0,
        "transmittance": np.full(inputs, 0.6),
        "efficiency": rng.uniform(0.4, 0.9, modes),
        "dark_counts": rng.uniform(0.0, 2e-3, modes),
    }
    return ProgramNoise(**(values | changes))


def even(device: ProgramNoise) -> ProgramNoise:
    """All detectors as good as the best, none fires by itself."""
    best = float(device.efficiency.max())
    modes = len(device.efficiency)
    return replace(device, efficiency=np.full(modes, best), dark_counts=np.zeros(modes))


def exact(columns: ComplexArray, device: ProgramNoise, detector: Detector) -> tuple[Any, FloatArray]:
    """All patterns, the empty one first, and their probabilities."""
    if detector == "pnr":
        return fock_distribution(columns, device)
    sets, p = accurate_click_distribution(columns, device)
    return sets.members.astype(np.uint8), p


def counted(columns: ComplexArray, device: ProgramNoise, detector: Detector) -> Counts:
    patterns, p = exact(columns, device, detector)
    numbers = np.rint(p[1:] * WINDOWS).astype(np.int64)
    return Counts(photons=columns.shape[1], outcomes=patterns[1:], numbers=numbers, detector=detector)


def full(columns: ComplexArray, device: ProgramNoise, detector: Detector) -> FloatArray:
    """The collision-free N-click part of a distribution, normalised."""
    p = counted(columns, device, detector).collision_free().astype(np.float64)
    return np.asarray(p / p.sum())


def drawn(rng: np.random.Generator, modes: int, photons: int, detector: Detector, kinds: int = 40) -> Counts:
    top = 2 if detector == "threshold" else photons + 1
    outcomes = rng.integers(0, top, (kinds, modes)).astype(np.uint8)
    outcomes = outcomes[outcomes.sum(axis=1) <= photons + (detector == "threshold")]
    return Counts(photons=photons, outcomes=outcomes, numbers=rng.integers(0, 500, len(outcomes)), detector=detector)


# Against dense matrices


def dense_response(r: float, d: float, size: int, detector: Detector) -> FloatArray:
    """K[s, t], from what happens to t photons one after the other."""
    if detector == "threshold":
        return np.array([[1 - d, (1 - d) * (1 - r)], [d, 1 - (1 - d) * (1 - r)]])
    if (number := wires(detector)) is not None:
        return wire_response(r, d, size, number)
    out: FloatArray = np.zeros((size, size))
    for t in range(size):
        for kept in itertools.product((0, 1), repeat=t):
            p = math.prod(r if k else 1 - r for k in kept)
            out[sum(kept), t] += p * (1 - d)
            if sum(kept) + 1 < size:
                out[sum(kept) + 1, t] += p * d
    return out


def wire_response(r: float, d: float, size: int, number: int) -> FloatArray:
    """The same for a detector of several wires: photons, and a dark count, take them one after the other."""
    out: FloatArray = np.zeros((size, size))
    for t in range(size):
        for taken in itertools.product(range(number), repeat=t):
            for kept in itertools.product((0, 1), repeat=t):
                p = math.prod(r if k else 1 - r for k in kept) / number**t
                clicked = {wire for wire, k in zip(taken, kept, strict=True) if k}
                out[len(clicked), t] += p * (1 - d)
                for wire in range(number):
                    if (seen := len(clicked | {wire})) < size:
                        out[seen, t] += p * d / number
    return out


@pytest.mark.parametrize("detector", ["threshold", "pnr", "ppnr:2", "ppnr:5"])
@pytest.mark.parametrize(("modes", "photons", "most"), [(4, 2, 4), (4, 2, 3), (3, 3, 3), (4, 1, 2), (2, 2, 2)])
def test_equals_the_inverse_of_the_kronecker_product(detector: Detector, modes: int, photons: int, most: int) -> None:
    """Lattices that end at the largest pattern seen are no approximation."""
    rng = np.random.default_rng(modes + photons + most)
    size = min(wires(detector) or most, most) + 1 if detector != "threshold" else 2
    r, d = rng.uniform(0.3, 1.0, modes), rng.uniform(0.0, module.MOST_DARK, modes)
    r /= r.max()
    box = np.array(list(itertools.product(range(size), repeat=modes)))
    inside = (box.sum(axis=1) <= most) & (box.sum(axis=1) > 0)
    seen = np.where(inside, rng.integers(0, 1000, len(box)), 0)
    if not seen[box.sum(axis=1) == most].any():
        seen[np.flatnonzero(box.sum(axis=1) == most)[0]] = 7
    counts = Counts(photons=photons, outcomes=box[inside], numbers=seen[inside], detector=detector)
    windows = counts.shots + 5000
    found = correct_response(counts, 0.7 * r, d, windows=windows)
    inverse = reduce(np.kron, [np.linalg.inv(dense_response(a, b, size, detector)) for a, b in zip(r, d, strict=True)])
    seen[0] = 5000
    expected = {tuple(s): (n, v) for s, n, v in zip(box, inverse @ seen, inverse**2 @ seen, strict=True)}
    shown = found.patterns.max(axis=1) < size  # the others are of more clicks than a detector has wires
    assert np.count_nonzero(shown) == sum(1 for s in expected if 0 < sum(s) <= most)
    assert not found.numbers[~shown].any()
    assert not found.variances[~shown].any()
    for pattern, number, variance in zip(
        found.patterns[shown], found.numbers[shown], found.variances[shown], strict=True
    ):
        n, v = expected[tuple(int(k) for k in pattern)]
        assert number == pytest.approx(n, rel=1e-10, abs=1e-8)
        assert variance == pytest.approx(v, rel=1e-10, abs=1e-8)
    diagonal = dict(zip(map(tuple, box.tolist()), np.diag(inverse), strict=True))
    expected_weights = [diagonal[tuple(s)] for s in found.patterns[shown].tolist()]
    assert found.weights[shown] == pytest.approx(expected_weights, rel=1e-12)


def test_triangles_of_the_poorest_detectors_have_positive_pivots() -> None:
    for most, r, d in itertools.product(
        (1, 2, 5, 9, 18), (module.LEAST_EFFICIENCY, 0.3, 1.0), (0.0, 1e-6, module.MOST_DARK)
    ):
        inverse, partly = (module._inverse(r, d, most, name) for name in ("pnr", "ppnr:3"))
        for matrix in (inverse, inverse**2, partly, partly**2):
            lower, upper = module._triangles(matrix)
            assert np.diag(upper).min() > 0.0
            np.testing.assert_allclose(lower @ upper, matrix, rtol=1e-9)


# Against exact distributions


@pytest.mark.parametrize(("modes", "photons"), [(4, 1), (4, 2), (5, 3), (3, 3), (2, 2), (1, 1)])
def test_threshold_n_clicks_are_exact_without_second_photons(modes: int, photons: int) -> None:
    """N clicks of at most N photons have no mode with two, whatever bunches below and however distinguishable."""
    columns, device = haar(modes, 1)[:, :photons], noise(modes, photons)
    counts = counted(columns, device, "threshold")
    found = select(correct_response(counts, device.efficiency, device.dark_counts, windows=WINDOWS))
    wanted = full(columns, even(device), "threshold")
    assert found.probabilities == pytest.approx(wanted, abs=1e-11)
    if modes > photons:
        assert np.abs(post_select(counts).probabilities - wanted).max() > 1e-2


def test_uneven_efficiencies_alone_need_no_windows() -> None:
    columns, device = haar(6, 2)[:, :3], noise(6, 3, dark_counts=np.zeros(6))
    counts = counted(columns, device, "threshold")
    found = select(correct_response(counts, device.efficiency, device.dark_counts))
    assert found.probabilities == pytest.approx(full(columns, even(device), "threshold"), abs=1e-11)
    assert found.diagnostics.negative_mass == 0.0


def test_every_class_is_exact_where_no_mode_holds_two_photons() -> None:
    device = noise(5, 3)
    columns = np.eye(5)[:, [0, 2, 3]].astype(complex)
    counts = counted(columns, device, "threshold")
    found = correct_response(counts, device.efficiency, device.dark_counts, windows=WINDOWS)
    patterns, p = exact(columns, even(device), "threshold")
    assert (found.patterns == patterns[1:]).all()
    assert found.numbers / WINDOWS == pytest.approx(p[1:], abs=1e-15)


def test_without_windows_only_the_dark_counts_of_empty_ones_stay() -> None:
    for photons in (1, 2, 3):
        columns, device = haar(4, 3)[:, :photons], noise(4, photons)
        counts = counted(columns, device, "threshold")
        known = correct_response(counts, device.efficiency, device.dark_counts, windows=WINDOWS)
        unknown = correct_response(counts, device.efficiency, device.dark_counts)
        r, d = device.efficiency / device.efficiency.max(), device.dark_counts
        inside = known.patterns.astype(bool)
        other = (r + d * (1 - r)) / ((1 - d) * r)
        factor = np.where(inside, -d / ((1 - d) * r), other).prod(axis=1)
        empty = float(exact(columns, device, "threshold")[1][0])
        assert (known.numbers - unknown.numbers) / WINDOWS == pytest.approx(factor * empty, rel=1e-9, abs=1e-14)
        k = known.patterns.sum(axis=1)
        assert np.abs(factor).max() <= (2.0 * d.max() / r.min())  # a factor d for every click
        assert (np.abs(factor) <= (2.0 * d.max() / r.min()) ** k * 4.0).all()


@pytest.mark.parametrize(("modes", "photons", "g2"), [(3, 1, 0.2), (3, 2, 0.1), (2, 2, 0.0)])
def test_number_resolving_detectors_are_exact_with_second_photons(modes: int, photons: int, g2: float) -> None:
    columns, device = haar(modes, 4)[:, :photons], noise(modes, photons, g2=g2)
    counts = counted(columns, device, "pnr")
    found = correct_response(counts, device.efficiency, device.dark_counts, windows=WINDOWS)
    patterns, p = exact(columns, even(device), "pnr")
    wanted = {tuple(s): q for s, q in zip(patterns.tolist(), p, strict=True)}
    for pattern, number in zip(found.patterns.tolist(), found.numbers, strict=True):
        assert number / WINDOWS == pytest.approx(wanted.get(tuple(pattern), 0.0), abs=1e-12)
    assert select(found).probabilities == pytest.approx(full(columns, even(device), "pnr"), abs=1e-11)


def test_threshold_bunched_second_photons_are_the_known_limit() -> None:
    """Two photons in a mode click with 1 - (1 - r)^2, the model has r; most of the error goes all the same."""
    columns, device = haar(6, 5)[:, :3], noise(6, 3, g2=0.05, dark_counts=np.zeros(6))
    counts = counted(columns, device, "threshold")
    wanted = full(columns, even(device), "threshold")
    found = select(correct_response(counts, device.efficiency, device.dark_counts)).probabilities
    error, raw = (0.5 * np.abs(p - wanted).sum() for p in (found, post_select(counts).probabilities))
    assert 1e-4 < error < 0.1 * raw


def test_selecting_first_is_worse_than_nothing() -> None:
    """Mode 0 is poor and noisy: its N-click events are dark counts, which the wrong order divides by its efficiency."""
    efficiencies, dark = np.array([0.15, 1.0, 1.0, 1.0, 1.0]), np.array([0.01, 0.0, 0.0, 0.0, 0.0])
    columns = haar(5, 6)[:, :3]
    device = noise(5, 3, efficiency=efficiencies, dark_counts=dark, transmittance=np.full(3, 0.05))
    counts = counted(columns, device, "threshold")
    wanted = full(columns, even(device), "threshold")
    raw = post_select(counts)
    occupied = np.array(list(itertools.combinations(range(5), 3)))
    wrong = raw.probabilities / efficiencies[occupied].prod(axis=1)
    wrong /= wrong.sum()
    right = select(correct_response(counts, efficiencies, dark)).probabilities
    error = [0.5 * np.abs(p - wanted).sum() for p in (wrong, raw.probabilities, right)]
    assert error[0] > 1.5 * error[1] > 50 * error[2]


def test_even_detectors_are_left_alone() -> None:
    counts = drawn(np.random.default_rng(1), 5, 2, "threshold")
    found = correct_response(counts, np.full(5, 0.37), np.zeros(5))
    seen = {tuple(s): 0 for s in found.patterns.tolist()}
    for pattern, number in zip(counts.outcomes.tolist(), counts.numbers.tolist(), strict=True):
        if sum(pattern):
            seen[tuple(pattern)] += number
    assert found.numbers.tolist() == list(seen.values())
    assert found.variances.tolist() == found.numbers.tolist()
    chosen, plain = select(found), post_select(counts)
    assert chosen.probabilities.tolist() == plain.probabilities.tolist()
    assert chosen.covariance == pytest.approx(plain.covariance, rel=1e-12)
    for here, there in zip(chosen.interval(0.9), plain.interval(0.9), strict=True):
        assert here == pytest.approx(there, rel=1e-12)
    assert chosen.overhead == pytest.approx(1.0)


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
def test_modes_can_be_renamed_and_counts_scaled(detector: Detector) -> None:
    rng = np.random.default_rng(2)
    counts = drawn(rng, 4, 2, detector)
    eta, dark, order = rng.uniform(0.5, 1, 4), rng.uniform(0, 1e-3, 4), np.array([2, 0, 3, 1])
    outcomes = np.array(list(itertools.combinations(range(4), 2)))
    names = {tuple(sorted(int(np.flatnonzero(order == i)[0]) for i in s)): k for k, s in enumerate(outcomes)}
    plain = select(correct_response(counts, eta, dark))
    other = select(correct_response(replace(counts, outcomes=counts.outcomes[:, order]), eta[order], dark[order]))
    back = [names[tuple(s)] for s in outcomes.tolist()]
    assert other.probabilities == pytest.approx(plain.probabilities[back], abs=1e-13)
    assert other.standard_errors == pytest.approx(plain.standard_errors[back], abs=1e-13)
    ten = select(correct_response(replace(counts, numbers=10 * counts.numbers), eta, dark))
    assert ten.probabilities == pytest.approx(plain.probabilities, abs=1e-13)
    assert ten.standard_errors == pytest.approx(plain.standard_errors / math.sqrt(10), rel=1e-12)


# Uncertainty


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
def test_variances_are_those_of_repeated_counts(detector: Detector) -> None:
    draws = 400
    found, statistic = repeated(detector, draws)
    # Covariances between patterns are left out: of order d, and of the share of three-click events.
    slack, tail = 0.02, 1e-4 / (2 * len(statistic))
    assert (statistic > (1 - slack) * chi2.ppf(tail, draws - 1)).all()
    assert (statistic < (1 + slack) * chi2.isf(tail, draws - 1)).all()
    low, high = found.interval(0.95)
    assert (low <= found.probabilities).all()
    assert (found.probabilities <= high).all()


def repeated(detector: Detector, draws: int) -> tuple[Any, FloatArray]:
    """One estimate, and chi-squares of the variances of many, ``draws - 1`` degrees of freedom each."""
    shots = 100_000
    device = noise(4, 2, g2=0.02)
    columns = haar(4, 8)[:, :2]
    patterns, p = exact(columns, device, detector)
    rng = np.random.default_rng(3)
    samples = rng.multinomial(shots, p[1:] / p[1:].sum(), size=draws)
    found = []
    for numbers in samples:
        counts = Counts(photons=2, outcomes=patterns[1:], numbers=numbers, detector=detector)
        found.append(select(correct_response(counts, device.efficiency, device.dark_counts)))
    estimates = np.array([one.unprojected for one in found])
    predicted = np.mean([one.standard_errors**2 for one in found], axis=0)
    return found[0], (draws - 1) * estimates.var(axis=0, ddof=1) / predicted


def test_intervals_hold_the_truth_of_rare_outcomes() -> None:
    """10 events with weights: Wilson's interval of an outcome of 2 % holds it where a normal one is empty."""
    rng = np.random.default_rng(4)
    truth, r = np.array([0.02, 0.38, 0.6]), np.array([0.5, 0.8, 1.0])
    seen = truth * r / (truth * r).sum()
    held = np.zeros(3)
    for numbers in rng.multinomial(10, seen, size=2000):
        low, high = Reweighted(numbers / r, numbers / r**2, 1 / r).interval(0.95)
        held += (low <= truth) & (truth <= high)
    assert (held / 2000 > [0.87, 0.93, 0.93]).all()  # one event alone puts the lower end above 2 %


def test_equal_weights_are_multinomial() -> None:
    numbers = np.array([0.0, 3.0, 7.0])
    ours, plain = Reweighted(2 * numbers, 4 * numbers, np.full(3, 2.0)), Multinomial(numbers / 10, 10)
    assert ours.covariance() == pytest.approx(plain.covariance(), abs=1e-16)
    assert ours.variances() == pytest.approx(plain.variances(), abs=1e-16)
    assert ours.covariance().sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-16)
    for here, there in zip(ours.interval(0.8), plain.interval(0.8), strict=True):
        assert here == pytest.approx(there, abs=1e-15)
    with pytest.raises(MitigationError, match="level of an interval"):
        ours.interval(1.0)


# Order, history, limits


def two_photons(**changes: Any) -> Counts:
    values: dict[str, Any] = {
        "photons": 2,
        "outcomes": np.array([[1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 1, 1]]),
        "numbers": np.array([40, 60, 900, 3]),
        "detector": "threshold",
    }
    return Counts(**(values | changes))


def test_only_raw_counts_are_corrected_and_only_corrected_ones_selected() -> None:
    counts = two_photons()
    corrected = correct_response(counts, np.ones(3), np.zeros(3))
    for wrong in (corrected, select(corrected), post_select(counts), counts.numbers):
        with pytest.raises(MitigationError, match="detector response comes before selection"):
            correct_response(wrong, np.ones(3), np.zeros(3))  # type: ignore[arg-type]
    for other in (counts, post_select(counts)):
        with pytest.raises(MitigationError, match="detector response comes before selection"):
            select(other)  # type: ignore[arg-type]


def test_says_what_was_done() -> None:
    counts = two_photons()
    corrected = correct_response(counts, np.array([0.8, 0.4, 0.8]), np.full(3, 1e-6))
    assert isinstance(corrected, Corrected)
    assert corrected.raw is counts
    found = select(corrected)
    assert isinstance(found, Distribution)
    assert (found.samples, found.shots, found.raw) == (100, 1003, counts)
    assert [str(report) for report in found.history] == [
        "response: relative efficiencies 0.5 to 1, dark counts up to 1e-06 a window",
        "post-select: 100 of 1003 shots have all photons in different modes",
    ]
    filtered = two_photons(outcomes=np.array([[1, 1, 0]]), numbers=np.array([4]))
    assert "were filtered" in correct_response(filtered, np.ones(3), np.full(3, 1e-6)).report.why
    assert "were filtered" not in correct_response(filtered, np.ones(3), np.zeros(3)).report.why


def test_negative_numbers_are_projected_and_reported() -> None:
    counts = two_photons(numbers=np.array([40, 1, 900, 0]))
    found = select(correct_response(counts, np.ones(3), np.array([0.0, 0.0, 0.01])))
    assert found.unprojected is not None
    assert found.unprojected.min() < 0.0
    assert found.probabilities.min() == 0.0
    assert found.probabilities.sum() == pytest.approx(1.0)
    assert found.diagnostics.negative_mass == pytest.approx(-found.unprojected.min())
    low, high = found.interval()
    assert (low <= found.probabilities).all()
    assert (found.probabilities <= high).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"outcomes": np.zeros((0, 3), dtype=np.uint8), "numbers": np.zeros(0, dtype=np.int64)}, "in 0 shots"),
        ({"numbers": np.array([0, 0, 900, 3])}, "in 903 shots"),
        ({"outcomes": np.array([[2, 0, 0]]), "numbers": np.array([9]), "detector": "pnr"}, "in 9 shots"),
        ({"numbers": np.array([1, 1, 900_000, 0])}, "may be dark counts"),
    ],
)
def test_no_event_is_refused(values: dict[str, Any], message: str) -> None:
    corrected = correct_response(two_photons(**values), np.ones(3), np.full(3, 1e-3))
    assert np.isfinite(corrected.numbers).all()
    with pytest.raises(MitigationError, match=message) as caught:
        select(corrected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("efficiencies", "dark", "windows", "message"),
    [
        ([1.0, 1.0], [0.0] * 3, None, "efficiencies of shape"),
        ([1.0, np.nan, 1.0], [0.0] * 3, None, "efficiencies of shape"),
        ([1.0] * 3, [0.0] * 4, None, "dark counts of shape"),
        ([1.0, 0.0, 1.0], [0.0] * 3, None, "detector of mode 1 has an efficiency of 0"),
        ([1.0, 1.0, -0.5], [0.0] * 3, None, "detector of mode 2"),
        ([0.0] * 3, [0.0] * 3, None, "detector of mode 0"),
        ([1.0] * 3, [0.0, 0.5, 0.0], None, "mode 1 has a dark count probability of 0.5"),
        ([1.0] * 3, [0.0, 0.0, -1e-9], None, "mode 2 has a dark count probability"),
        ([1.0] * 3, [0.0] * 3, 1002, "seen in 1002 windows"),
    ],
)
def test_what_cannot_be_inverted_is_refused(
    efficiencies: list[float], dark: list[float], windows: int | None, message: str
) -> None:
    with pytest.raises(MitigationError, match=message) as caught:
        correct_response(two_photons(), efficiencies, dark, windows=windows)
    assert "\n" not in str(caught.value)


def test_impossible_numbers_of_photons_are_refused() -> None:
    with pytest.raises(ProgramError, match="4 photons in 3 modes"):
        correct_response(two_photons(photons=4), np.ones(3), np.zeros(3))


def test_a_burst_of_counts_is_left_out() -> None:
    counts = Counts(photons=1, outcomes=np.array([[200, 0], [1, 0], [0, 1]]), numbers=np.array([1, 50, 50]))
    found = correct_response(counts, [0.01, 1.0], np.zeros(2))
    assert found.left_out == 1
    assert np.isfinite(found.variances).all()
    assert select(found).probabilities == pytest.approx([100 / 101, 1 / 101])


def test_too_many_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = two_photons()
    whole = correct_response(counts, [0.5, 1.0, 1.0], np.zeros(3))
    monkeypatch.setattr(module, "MAX_SETS", 7)  # all but the pattern of three clicks
    found = correct_response(counts, [0.5, 1.0, 1.0], np.zeros(3))
    assert (whole.left_out, found.left_out, len(found.patterns)) == (0, 3, 6)
    assert "3 shots of more than 2 clicks were left out" in found.report.why
    assert whole.numbers[2] == pytest.approx(80.0)  # modes 0 and 1
    assert whole.numbers[5] == pytest.approx(60.0 - 3.0)  # modes 1 and 2, fed by all three
    monkeypatch.setattr(module, "MAX_SETS", 6)
    with pytest.raises(MitigationError, match="have 7 patterns"):
        correct_response(counts, [0.5, 1.0, 1.0], np.zeros(3))


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
def test_24_modes(detector: Detector) -> None:
    rng = np.random.default_rng(5)
    occupied = rng.random((3000, 24)).argsort(axis=1).argsort(axis=1)
    outcomes = (occupied < rng.integers(1, 6, 3000)[:, None]).astype(np.uint8)
    counts = Counts(photons=4, outcomes=outcomes, numbers=rng.integers(1, 9, 3000), detector=detector)
    eta = rng.uniform(0.7, 1.0, 24)
    found = select(correct_response(counts, eta, np.full(24, 1e-6)))
    assert found.probabilities.shape == (math.comb(24, 4),)
    assert np.isfinite(found.standard_errors).all()
    assert 0.5 < found.standard_errors.max() / post_select(counts).standard_errors.max() < 10
