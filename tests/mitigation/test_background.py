"""Background subtraction: exact distributions, errors against those of repeated counts, and where the gate ends."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from qpu_sdk.arrays import FloatArray
from qpu_sdk.errors import MitigationError
from qpu_sdk.mitigation.background import Subtracted, subtract
from qpu_sdk.mitigation.forward import Forward, forward
from qpu_sdk.photonics.click_model import accurate_click_distribution
from qpu_sdk.photonics.counts import Detector
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.program_noise import ProgramNoise
from tests.helpers import ideal, tvd
from tests.oracles.unitaries import haar


def noise(modes: int, inputs: int, *, t: float = 0.3, **changes: Any) -> ProgramNoise:
    """The usual device of the figures: I = 0.92, g2 = 0.02."""
    values: dict[str, Any] = {
        "brightness": 1.0,
        "indistinguishability": 0.92,
        "g2": 0.02,
        "transmittance": np.full(inputs, t),
        "efficiency": np.ones(modes),
        "dark_counts": np.zeros(modes),
    }
    return ProgramNoise(**(values | changes))


def rough(modes: int, inputs: int) -> ProgramNoise:
    rng = np.random.default_rng(modes)
    return noise(
        modes,
        inputs,
        brightness=0.9,
        transmittance=rng.uniform(0.3, 0.6, inputs),
        efficiency=rng.uniform(0.5, 1.0, modes),
        dark_counts=rng.uniform(0.0, 1e-4, modes),
    )


def seen(model: Forward) -> FloatArray:
    """Exact probabilities of the N-click class, each window, ``(C(M, N),)``."""
    return model.model[model.space.full]


# Exact probabilities


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
@pytest.mark.parametrize(("modes", "photons"), [(4, 1), (4, 2), (5, 3), (3, 3), (1, 1)])
def test_everything_subtracted_is_the_ideal_distribution(modes: int, photons: int, detector: Detector) -> None:
    model = forward(haar(modes, 1)[:, :photons], rough(modes, photons), detector)
    found = subtract(1e15 * seen(model), model)
    whole = subtract(1e15 * seen(model), model, gate=1.0)
    raw = seen(model) / seen(model).sum()
    if modes > photons > 1:  # background of one photon or one outcome is as the signal: the gate may stay shut
        assert found.gate == 1.0
        assert tvd(raw, ideal(model)) > 0.02
    for one in (found, whole):
        assert one.probabilities == pytest.approx(ideal(model), abs=1e-9)
        assert one.unprojected == pytest.approx(ideal(model), abs=1e-9)


def test_everything_subtracted_at_nine_modes() -> None:
    model = forward(haar(9, 2)[:, [0, 2, 5, 8]], rough(9, 4))
    assert subtract(1e15 * seen(model), model).probabilities == pytest.approx(ideal(model), abs=1e-9)


@pytest.mark.parametrize("which", ["indistinguishability", "g2"])
def test_a_wrong_calibration_gives_a_proportional_error(which: str) -> None:
    columns, device = haar(6, 3)[:, :3], noise(6, 3)
    model = forward(columns, device)
    steps = np.array([0.0025, 0.005, 0.01, 0.02])
    errors = []
    for delta in steps:
        believed = forward(columns, replace(device, **{which: getattr(device, which) + delta}))
        errors.append(tvd(subtract(seen(model), believed, gate=1.0).unprojected, ideal(model)))
    assert np.diff(np.log(errors)) / np.log(2.0) == pytest.approx(np.ones(3), abs=0.1)
    assert errors[2] < 0.02


def test_shares_are_of_the_class_as_counted() -> None:
    model = forward(haar(6, 4)[:, :3], noise(6, 3))
    found = subtract(1e9 * seen(model), model)
    assert found.signal_share == pytest.approx((model.gain * model.ideal[model.space.free]).sum() / seen(model).sum())
    assert found.background_share == pytest.approx(1.0 - found.signal_share)
    assert 0.7 < found.signal_share < 0.85
    clean = forward(haar(6, 4)[:, :3], noise(6, 3, indistinguishability=1.0, g2=0.0))
    assert subtract(1e9 * seen(clean), clean).background_share == pytest.approx(0.0, abs=1e-12)


def test_efficiencies_are_undone_even_with_the_gate_shut() -> None:
    device = noise(5, 2, indistinguishability=1.0, g2=0.0, efficiency=np.array([1.0, 0.3, 0.8, 0.6, 0.9]))
    model = forward(haar(5, 5)[:, :2], device)
    found = subtract(seen(model), model)
    assert found.gate == 0.0
    assert found.probabilities == pytest.approx(ideal(model), abs=1e-12)


def test_modes_can_be_renamed_and_counts_scaled() -> None:
    columns, device, order = haar(5, 6)[:, :2], rough(5, 2), np.array([3, 0, 4, 1, 2])
    model = forward(columns, device)
    renamed = replace(device, efficiency=device.efficiency[order], dark_counts=device.dark_counts[order])
    other = forward(columns[order], renamed)
    free = model.space.states[model.space.free]
    place = [int(np.flatnonzero((free == s[np.argsort(order)]).all(axis=1))[0]) for s in free]
    numbers = np.random.default_rng(0).poisson(1e5 * seen(model)).astype(np.float64)
    one, two = subtract(numbers, model), subtract(numbers[place], other)
    assert two.gate == one.gate
    assert two.probabilities == pytest.approx(one.probabilities[place], abs=1e-12)
    assert two.covariance == pytest.approx(one.covariance[np.ix_(place, place)], abs=1e-12)
    first, second = (subtract(scale * seen(model), model) for scale in (1e13, 1e14))
    assert first.probabilities == pytest.approx(second.probabilities, abs=1e-14)
    assert first.covariance == pytest.approx(10 * second.covariance, rel=1e-9)


# The gate


@pytest.mark.parametrize(("modes", "photons"), [(6, 3), (4, 2)])
def test_the_gate_is_shut_for_a_few_events_and_open_for_many(modes: int, photons: int) -> None:
    model = forward(haar(modes, 7)[:, :photons], noise(modes, photons))
    p, rng = seen(model) / seen(model).sum(), np.random.default_rng(1)
    means = []
    for events in (1, 2, 3, 100, 1000, 10_000, 100_000, 10_000_000):
        gates = [subtract(n.astype(np.float64), model).gate for n in rng.multinomial(events, p, size=40)]
        means.append(float(np.mean(gates)))
    assert means[0] == 0.0
    assert max(means[:2]) < 0.05
    assert means[-1] > 0.99
    assert all(b > a - 0.1 for a, b in itertools.pairwise(means[2:]))


def test_one_event_wherever_it_falls() -> None:
    model = forward(haar(6, 8)[:, :3], noise(6, 3))
    for numbers in np.eye(20):
        found = subtract(numbers, model)
        assert found.gate == 0.0
        assert found.probabilities.tolist() == numbers.tolist()


def test_the_gate_minimises_the_expected_squared_error() -> None:
    """With the truth in place of its estimates: bias of the exact estimate squared, plus the multinomial variance."""
    model = forward(haar(6, 9)[:, :3], noise(6, 3))
    p, events, gates = seen(model) / seen(model).sum(), 600, np.linspace(0, 1, 101)
    error = []
    for gate in gates:
        found = subtract(events * p, model, gate=float(gate))
        error.append(((found.unprojected - ideal(model)) ** 2).sum() + np.trace(found.covariance))
    chosen = subtract(events * p, model).gate
    # Not equal: the gate takes the scatter V off the distance, and exact frequencies have none.
    assert float(gates[int(np.argmin(error))]) == pytest.approx(chosen, abs=0.1)
    assert 0.1 < chosen < 1.0


@pytest.mark.parametrize("events", [3, 30, 300, 3000, 30_000])
def test_the_gate_is_the_published_formula_for_even_gains(events: int) -> None:
    even = noise(6, 3, indistinguishability=0.85, g2=0.0)  # second photons make gains uneven
    model = forward(haar(6, 15)[:, :3], even)
    p, k = seen(model), len(seen(model))
    signal = model.gain * model.ideal[model.space.free]
    c, b = signal.sum() / p.sum(), (p - signal) / (p - signal).sum()
    for numbers in np.random.default_rng(7).multinomial(events, p / p.sum(), size=20):
        q, smoothed = numbers / events, (numbers + 1) / (events + k)
        v = (1 - (smoothed**2).sum()) / events
        d = max(0.0, ((b - q) ** 2).sum() - v) / c**2

        def error(x: float, v: float = v, d: float = d) -> float:
            return float(((1 - c) * (1 - x) / (1 - x * (1 - c))) ** 2 * d + v / (1 - x * (1 - c)) ** 2)

        best = min((i / 100 for i in range(101)), key=error)
        found = subtract(numbers.astype(np.float64), model)
        assert found.gate == pytest.approx(best, abs=1e-12)
        plain = (q - best * (1 - c) * b) / (1 - best * (1 - c))
        assert found.unprojected == pytest.approx(plain, abs=1e-12)


# Counts


def phase_noise(modes: int, photons: int, seed: int, device: ProgramNoise) -> tuple[Forward, FloatArray]:
    """The model, and N-click probabilities a shot of a device whose phases are off by up to 0.01 rad."""
    mesh, inputs, rng = RectangularMesh(modes), tuple(range(photons)), np.random.default_rng(seed)
    phases = mesh.phases_of(haar(modes, seed))
    model = forward(mesh.columns(phases, inputs), device)
    shifted = forward(mesh.columns(phases + rng.uniform(-0.01, 0.01, len(phases)), inputs), device)
    more = accurate_click_distribution(mesh.columns(phases, inputs), device)[1]
    return model, seen(shifted) / more[1:].sum()


def test_six_modes_three_photons() -> None:
    """1e6 shots at 30 %: about 0.06 becomes about 0.02, as much as errors and phases allow."""
    rng, raw, gated, expected = np.random.default_rng(2), [], [], []
    for seed in range(4):
        model, p = phase_noise(6, 3, seed, noise(6, 3))
        middle = subtract(1e6 * p, model, gate=1.0)
        # Mean of |x| for a normal x of that bias and error.
        bias, sigma = middle.unprojected - ideal(model), np.sqrt(np.diag(middle.covariance))
        z = bias / sigma
        folded = sigma * math.sqrt(2 / math.pi) * np.exp(-(z**2) / 2) + bias * np.array(
            [math.erf(x / math.sqrt(2)) for x in z]
        )
        expected.append(0.5 * folded.sum())
        for numbers in rng.poisson(1e6 * p, size=(3, len(p))).astype(np.float64):
            raw.append(tvd(numbers / numbers.sum(), ideal(model)))
            gated.append(tvd(subtract(numbers, model).probabilities, ideal(model)))
    error = float(np.std(gated)) / math.sqrt(len(gated))
    assert 0.05 < np.mean(raw) < 0.08
    assert np.mean(gated) < 0.025
    assert np.mean(gated) == pytest.approx(np.mean(expected), abs=4 * error)


SETTINGS = [
    (modes, photons, t, shots, uneven)
    for modes, photons in ((6, 3), (9, 4))
    for t in (0.06, 0.3)
    for shots in (1e6, 1e7)
    for uneven in (False, True)
]


@pytest.mark.parametrize(("modes", "photons", "t", "shots", "uneven"), SETTINGS)
def test_never_worse_than_raw(modes: int, photons: int, t: float, shots: float, uneven: bool) -> None:
    eta = np.random.default_rng(modes).uniform(0.7, 1.0, modes) if uneven else np.ones(modes)
    device, rng, gains = noise(modes, photons, t=t, efficiency=eta), np.random.default_rng(3), []
    for seed in range(3):
        model, p = phase_noise(modes, photons, seed, device)
        for numbers in rng.poisson(shots * p, size=(4, len(p))).astype(np.float64):
            if numbers.sum() > 0:
                found = subtract(numbers, model)
                gains.append(tvd(found.probabilities, ideal(model)) - tvd(numbers / numbers.sum(), ideal(model)))
    # Paired with raw. With the gate shut, undoing gains of a few events may cost a few 1e-4.
    assert np.mean(gains) <= 3.0 * np.std(gains, ddof=1) / math.sqrt(len(gains)) + 1e-3


def test_subtracting_everything_harms_where_events_are_few() -> None:
    """184 events in 126 outcomes, the reason for the gate."""
    rng, whole, gated, raw = np.random.default_rng(4), [], [], []
    for seed in range(3):
        model, p = phase_noise(9, 4, seed, noise(9, 4, t=0.06))
        for numbers in rng.poisson(1e7 * p, size=(4, len(p))).astype(np.float64):
            raw.append(tvd(numbers / numbers.sum(), ideal(model)))
            gated.append(tvd(subtract(numbers, model).probabilities, ideal(model)))
            whole.append(tvd(subtract(numbers, model, gate=1.0).probabilities, ideal(model)))
    assert np.mean(whole) > np.mean(raw) + 0.03
    assert np.mean(gated) < np.mean(raw) + 0.01


@pytest.mark.parametrize("gate", [0.0, 0.6, 1.0])
def test_covariance_is_that_of_repeated_counts(gate: float) -> None:
    draws, events = 3000, 20_000
    model = forward(haar(4, 10)[:, :2], rough(4, 2))
    p = seen(model) / seen(model).sum()
    samples = np.random.default_rng(5).multinomial(events, p, size=draws).astype(np.float64)
    estimates = np.array([subtract(numbers, model, gate=gate).unprojected for numbers in samples])
    covariance = subtract(events * p, model, gate=gate).covariance
    assert covariance.sum(axis=0) == pytest.approx(np.zeros(6), abs=1e-15)
    # Whitened in the 5 directions that vary, the sum of squares is a chi-square variable.
    values, vectors = np.linalg.eigh(covariance)
    white = (estimates - estimates.mean(axis=0)) @ vectors[:, 1:] / np.sqrt(values[1:])
    tail = 1e-4 / 10
    for column in white.T:
        assert chi2.ppf(tail, draws - 1) < (column**2).sum() < chi2.isf(tail, draws - 1)
    mixed = white.T @ white / draws - np.diag((white**2).mean(axis=0))
    assert np.abs(mixed).max() < 5.0 / math.sqrt(draws)
    mean = np.abs(estimates.mean(axis=0) - subtract(events * p, model, gate=gate).unprojected)
    assert (mean < 5.0 * np.sqrt(np.diag(covariance) / draws) + 2.0 / events).all()


# Edges


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
def test_one_outcome_and_one_photon(detector: Detector) -> None:
    model = forward(haar(3, 11), noise(3, 3), detector)
    found = subtract(np.array([7.0]), model)
    assert (found.probabilities.tolist(), found.covariance.tolist(), found.gate) == ([1.0], [[0.0]], 0.0)
    single = forward(haar(3, 12)[:, :1], noise(3, 1), detector)
    for numbers in ([1.0, 0.0, 0.0], [5.0, 3.0, 2.0]):
        one = subtract(np.array(numbers), single)
        assert one.probabilities == pytest.approx(np.array(numbers) / sum(numbers), abs=0.05)
        assert np.isfinite(one.covariance).all()


def test_identity_stays_a_single_outcome() -> None:
    model = forward(np.eye(4)[:, :2].astype(complex), noise(4, 2))
    found = subtract(1e6 * seen(model), model)
    assert found.probabilities == pytest.approx(ideal(model), abs=1e-9)
    assert ideal(model).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_projected_where_subtraction_goes_below_zero() -> None:
    model = forward(haar(6, 13)[:, :3], noise(6, 3, indistinguishability=0.6))
    numbers = np.random.default_rng(6).multinomial(300, seen(model) / seen(model).sum()).astype(np.float64)
    found = subtract(numbers, model, gate=1.0)
    assert isinstance(found, Subtracted)
    assert found.unprojected.min() < 0.0
    assert found.unprojected.sum() == pytest.approx(1.0)
    assert found.probabilities.min() == 0.0
    assert found.probabilities.sum() == pytest.approx(1.0)


def test_what_cannot_be_subtracted_is_refused() -> None:
    model = forward(haar(4, 14)[:, :2], noise(4, 2))
    numbers = np.ones(6)
    balanced = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    for wrong, of, gate, message in (
        (np.zeros(6), model, None, "no collision-free 2-photon event"),
        (np.ones(5), model, None, r"numbers of shape \(5,\)"),
        (-numbers, model, None, "zero or more"),
        (numbers * np.nan, model, None, "zero or more"),
        (numbers, model, 1.5, "gate is 1.5"),
        (numbers, model, math.nan, "gate is nan"),
        (np.ones(1), forward(balanced, noise(2, 2)), None, "all photons of this program bunch"),
        (
            numbers,
            forward(haar(4, 14)[:, :2], noise(4, 2, indistinguishability=0.0)),
            None,
            "never shows 2 interfering photons",
        ),
        (
            numbers,
            forward(haar(4, 14)[:, :2], noise(4, 2, efficiency=np.array([1.0, 1.0, 0.0, 1.0]))),
            None,
            r"in modes \[0, 2\]",
        ),
    ):
        with pytest.raises(MitigationError, match=message) as caught:
            subtract(wrong, of, gate=gate)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("events", [30, 1000])
def test_intervals_hold_outcomes_that_were_not_seen(events: int) -> None:
    """An outcome without an event has an error bar too."""
    model = forward(haar(6, seed=5)[:, :3], rough(6, 3))
    truth, full = ideal(model), seen(model)
    rng = np.random.default_rng(events)
    inside = []
    for _ in range(60):
        found = subtract(rng.poisson(events * full / full.sum()).astype(np.float64), model)
        low, high = found.uncertainty.interval(0.95)
        assert (high > low).all()
        assert found.uncertainty.variances() == pytest.approx(np.diag(found.covariance), abs=1e-15)
        inside.append((low <= truth) & (truth <= high))
    assert np.mean(inside) > 0.88
