"""The fit: unbiased with honest errors, precise enough, and loud when the device is not what the model has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration import fit as fitting
from qpu_sdk.calibration.fit import FEWEST_COINCIDENCES
from qpu_sdk.calibration.likelihood import Observation, expected, observe
from qpu_sdk.calibration.parameters import Parameters
from qpu_sdk.calibration.plan import calibration_plan
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import CalibrationError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.noise import Noise
from tests.calibration.simulate import (
    Run,
    World,
    blinking,
    drifting,
    dying,
    random_parameters,
    simulate,
    simulate_perceval,
    steady,
    uniform_parameters,
)
from tests.oracles.statistics import chi_square_p

INPUTS = (0, 2, 5)
PLAN = calibration_plan(6, INPUTS, seed=1)
SMALL = calibration_plan(4, (0, 2), seed=1)
TRUTH = uniform_parameters(6, INPUTS, 0.15, dark=1e-6)
#: Below this a test fails; above it counts do not speak against the model.
SMALLEST_P = 1e-3


def families(inputs: int, modes: int) -> dict[str, slice]:
    """Where each kind of parameter stands in a vector, with one overlap of all pairs."""
    return {
        "I": slice(0, 1),
        "g2": slice(1, 2),
        "t": slice(2, 2 + inputs),
        "eta": slice(2 + inputs, 2 + inputs + modes),
    }


# -- estimates and their errors --------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def pulls(devices: int, *, windows: bool) -> FloatArray:
    """(estimate - truth) / standard error of random devices."""
    rng = np.random.default_rng(20260301)
    rows = []
    for seed in range(devices):
        truth = random_parameters(rng, 6, INPUTS)
        found = simulate(PLAN, truth, pulses=2_000_000, seed=seed).fit(windows=windows)
        rows.append((found.parameters.vector() - truth.vector()) / found.standard_errors)
    return np.array(rows)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("family", families(3, 6))
def test_pulls_have_mean_0_and_deviation_1(family: str, windows: bool) -> None:
    """Within four standard errors of as many devices; ``make validate`` does it with more."""
    devices = 30
    z = pulls(devices, windows=windows)[:, families(3, 6)[family]]
    assert abs(z.mean()) < 4.0 / np.sqrt(devices)
    assert abs(z.std() - 1.0) < 4.0 / np.sqrt(2.0 * devices)


@pytest.mark.parametrize("transmission", [0.06, 0.3])
def test_two_million_pulses_a_setting_are_precise_enough(transmission: float) -> None:
    inputs = (0, 2, 5, 8)
    truth = uniform_parameters(9, inputs, transmission)
    found = simulate(calibration_plan(9, inputs, seed=1), truth, pulses=2_000_000, seed=1).fit()
    errors, where = found.standard_errors, families(4, 9)
    assert errors[where["I"]] < 0.005
    assert errors[where["g2"]] < 0.1 * truth.g2
    assert errors[where["t"]].max() < 0.01 * transmission
    assert (np.abs(found.parameters.vector() - truth.vector()) < 4.0 * errors).all()


def test_the_covariance_is_that_of_repeated_fits() -> None:
    """d^T C^-1 d is chi-square, gauge left out."""
    assert stats.kstest(squared_distances(60), stats.chi2(7).cdf).pvalue > SMALLEST_P


def squared_distances(fits: int) -> list[float]:
    """d^T C^-1 d of equal devices, d being what an estimate is off by."""
    truth, kept = uniform_parameters(4, (0, 2), 0.2, dark=1e-5), slice(0, 8)
    statistics = []
    for seed in range(fits):
        found = simulate(SMALL, truth, pulses=300_000, seed=seed).fit()
        scale = found.standard_errors[kept]
        values, vectors = np.linalg.eigh(found.covariance[kept, kept] / scale[:, None] / scale)
        along = vectors.T @ ((found.parameters.vector() - truth.vector())[kept] / scale)
        solid = values > 1e-9
        assert solid.sum() == 7
        statistics.append(float((along[solid] ** 2 / values[solid]).sum()))
    return statistics


def test_scaling_efficiencies_against_transmissions_changes_nothing() -> None:
    truth = random_parameters(np.random.default_rng(1), 6, INPUTS)
    scaled = replace(truth, efficiencies=0.7 * truth.efficiencies, transmissions=truth.transmissions / 0.7)
    one, other = (simulate(PLAN, device, pulses=300_000, seed=1).fit() for device in (truth, scaled))
    np.testing.assert_allclose(other.parameters.vector(), one.parameters.vector(), rtol=1e-6)
    assert one.parameters.efficiencies.mean() == pytest.approx(1.0, abs=1e-12)
    eta = families(3, 6)["eta"]
    assert one.covariance[eta, eta].sum() == pytest.approx(0.0, abs=1e-12)


def test_an_overlap_of_every_pair_is_recovered() -> None:
    truth = replace(TRUTH, overlap=np.array([0.95, 0.9, 0.8]))
    found = simulate(PLAN, truth, pulses=2_000_000, seed=1).fit(pairs=True)
    assert found.parameters.names[:3] == [f"indistinguishability[{j},{k}]" for j, k in ((0, 2), (0, 5), (2, 5))]
    z = (found.parameters.vector() - truth.vector()) / found.standard_errors
    assert np.abs(z[:13]).max() < 4.0
    assert found.standard_errors[:3].max() < 0.01


def test_starting_values_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    run, start, rng = simulate(PLAN, TRUTH, pulses=1_000_000, seed=1), fitting._start, np.random.default_rng(1)
    usual = run.fit()

    def elsewhere(*args: object, **options: object) -> Parameters:
        found: Parameters = start(*args, **options)  # type: ignore[arg-type]
        factors = np.exp(rng.uniform(-0.5, 0.5, len(found.vector())))
        factors[:2] = rng.uniform(0.7, 1.1), rng.uniform(0.0, 6.0)
        return found.of(found.vector() * factors)

    monkeypatch.setattr(fitting, "_start", elsewhere)
    for _ in range(5):
        moved = run.fit().parameters.vector() - usual.parameters.vector()
        assert np.abs(moved / usual.standard_errors).max() < 0.1


def test_dark_counts_are_found_or_compatible_with_none() -> None:
    dark = {d: simulate(PLAN, replace(TRUTH, dark=np.full(6, d)), pulses=2_000_000, seed=1).fit() for d in (0.0, 1e-5)}
    for d, found in dark.items():
        values, errors = found.parameters.dark, found.standard_errors[-6:]
        assert (np.abs(values - d) < 4.0 * errors).all()
        assert (values > 3.0 * errors).all() == (d > 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"overlap": np.ones(1), "g2": 0.0, "dark": np.zeros(6)},
        {"overlap": np.full(1, 0.999)},
        {"overlap": np.full(1, 1e-3), "g2": 0.3},
        {"dark": np.full(6, 0.05)},
        {"transmissions": np.array([0.5, 0.001, 0.2])},
    ],
)
def test_devices_at_the_edge_of_the_range_are_fitted(changes: dict[str, FloatArray | float]) -> None:
    truth = replace(TRUTH, **changes)
    for seed in range(5):
        found = simulate(PLAN, truth, pulses=200_000, seed=seed).fit()
        z = (found.parameters.vector() - truth.vector()) / found.standard_errors
        assert np.abs(z[:11]).max() < 4.5


# -- goodness of fit -------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def right(dark: float, devices: int = 40) -> tuple[CalibrationRecord, ...]:
    """Records of a device that is what the model has."""
    truth = uniform_parameters(4, (0, 2), 0.2, dark=dark)
    return tuple(simulate(SMALL, truth, pulses=200_000, seed=seed).record() for seed in range(devices))


@pytest.mark.parametrize("dark", [0.0, 1e-4])
@pytest.mark.parametrize("test", ["fit", "validation", "drift"])
def test_p_values_are_uniform_when_the_model_is_right(test: str, dark: float) -> None:
    assert stats.kstest([getattr(record, test).p_value for record in right(dark)], "uniform").pvalue > SMALLEST_P


def test_chi_squares_of_predicted_jobs_are_as_large_as_their_degrees_of_freedom() -> None:
    for name in ("random 0", "random 1", "repeat"):
        jobs = [job for record in right(0.0) for job in record.jobs if job.name == name]
        chi2, dof = sum(job.chi2 or 0.0 for job in jobs), sum(job.dof or 0 for job in jobs)
        assert abs(chi2 - dof) < 4.0 * np.sqrt(2.0 * dof)


MISMATCHES: dict[str, tuple[World, int]] = {
    "pairs differ": (steady(replace(TRUTH, overlap=np.array([0.95, 0.9, 0.8]))), 1_000_000),
    "a detector dies in the fit": (dying(TRUTH, 3, 5), 100_000),
    "a detector dies after the fit": (dying(TRUTH, 3, 7), 100_000),
    "sources blink, and not together": (blinking(TRUTH, 0.5, (0,), (2, 5)), 300_000),
    "bursts end early": (blinking(TRUTH, 0.2, (2, 5), (5,)), 1_000_000),
    "all transmissions drift by 10 %": (drifting(TRUTH, 0.9, len(PLAN), moving=INPUTS), 1_000_000),
    "one transmission drifts by 5 %": (drifting(TRUTH, 0.95, len(PLAN), moving=(2,)), 1_000_000),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_device_that_is_not_the_model_is_seen(name: str) -> None:
    world, pulses = MISMATCHES[name]
    for seed in range(3):
        record = simulate(PLAN, world, pulses=pulses, seed=seed).record()
        assert record.validation is not None
        assert record.drift is not None
        assert min(record.validation.p_value or 0.0, record.drift.p_value or 0.0) < SMALLEST_P


def test_a_device_that_is_the_model_is_not_accused() -> None:
    for seed in range(3):
        record = simulate(PLAN, TRUTH, pulses=1_000_000, seed=seed).record()
        for test in (record.fit, record.validation, record.drift):
            assert test is not None
            assert test.p_value is not None
            assert test.p_value > SMALLEST_P


def test_pairs_that_differ_fit_when_every_pair_has_its_own_overlap() -> None:
    world, pulses = MISMATCHES["pairs differ"]
    validation = simulate(PLAN, world, pulses=pulses, seed=1).record(pairs=True).validation
    assert validation is not None
    assert validation.p_value is not None
    assert validation.p_value > SMALLEST_P


@pytest.mark.parametrize("same", [False, True])
def test_second_photons_that_equal_the_first_are_seen(same: bool) -> None:
    noise = Noise(indistinguishability=0.9, g2=0.15, g2_distinguishable=not same, transmittance=0.3)
    record = simulate_perceval(SMALL, noise, pulses=2_000_000, seed=1).record()
    assert record.fit is not None
    assert record.fit.p_value is not None
    assert (record.fit.p_value < SMALLEST_P) == same


def test_sources_that_are_dark_all_together_are_seen_only_by_their_empty_windows() -> None:
    """Without empty windows the numbers are those of the times when the sources are bright."""
    run = simulate(PLAN, blinking(TRUTH, 0.3, INPUTS), pulses=1_000_000, seed=1)
    found = run.fit()
    z = (found.parameters.vector() - TRUTH.vector()) / found.standard_errors
    assert np.abs(z[:11]).max() < 4.0
    known = run.fit(windows=True).parameters
    held = run.observations(windows=True)[-3]
    assert chi_square_p(held.observed(), expected(held, known, most_clicks=run.most_clicks)) < SMALLEST_P


# -- bad input -------------------------------------------------------------------------------------------------


def refused(work: Callable[[], object]) -> str:
    """The error's one line."""
    with pytest.raises(CalibrationError) as caught:
        work()
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


@lru_cache(maxsize=1)
def good() -> Run:
    return simulate(PLAN, TRUTH, pulses=200_000, seed=1)


def with_counts(place: int, counts: Counts) -> Run:
    every = list(good().counts)
    every[place] = counts
    return replace(good(), counts=tuple(every))


def kept(counts: Counts, keep: FloatArray) -> Counts:
    return replace(counts, outcomes=counts.outcomes[keep], numbers=counts.numbers[keep])


@pytest.mark.parametrize("place", [0, 7, 9])
def test_counts_that_were_filtered_or_mitigated_are_refused(place: int) -> None:
    counts = good().counts[place]
    for cut in (kept(counts, counts.outcomes.sum(axis=1) > 1), replace(kept(counts, counts.numbers < 0), other=100)):
        said = refused(with_counts(place, cut).record)
        for words in (PLAN[place].name, "filtered or mitigated", "raw counts"):
            assert words in said


@pytest.mark.parametrize("place", [0, 4, 7, 9])
def test_a_setting_without_shots_is_refused(place: int) -> None:
    counts = good().counts[place]
    assert "no shots" in refused(with_counts(place, kept(counts, counts.numbers < 0)).record)


def test_counts_of_another_program_are_refused() -> None:
    said = refused(with_counts(0, good().counts[1]).record)
    assert "shift 0 are of another program" in said
    counts = good().counts[0]
    assert "another program" in refused(
        with_counts(0, replace(counts, outcomes=counts.outcomes[:, :5], program=None, fingerprint="")).fit
    )


def test_fewer_windows_than_shots_are_refused() -> None:
    counts = good().counts[0]
    assert "10 windows" in refused(lambda: observe(PLAN[0], counts, most_clicks=3, windows=10))


def test_a_mode_that_never_fires_is_named() -> None:
    said = refused(simulate(PLAN, dying(TRUTH, 3, 0), pulses=100_000, seed=1).record)
    assert "mode 3 never fires" in said


def test_too_few_shots_are_refused_with_how_many_it_takes() -> None:
    said = refused(simulate(PLAN, TRUTH, pulses=300, seed=1).record)
    needed = re.search(r"needs (\d+)\. Use at least ([\d,]+) shots a setting", said)
    assert needed is not None
    assert int(needed[1]) == FEWEST_COINCIDENCES
    shots = int(needed[2].replace(",", ""))
    enough = simulate(PLAN, TRUTH, pulses=round(1.3 * shots / 0.39), seed=2)  # 39 % of the windows are shots
    assert enough.fit().parameters.g2 >= 0.0


def alike(transmission: float) -> Parameters:
    """A perfect source: its photons never leave a balanced beam splitter apart."""
    return replace(uniform_parameters(4, (0, 2), transmission), overlap=np.array([1.0]), g2=0.0)


@pytest.mark.parametrize("transmission", [0.06, 0.5])
def test_a_perfect_source_needs_no_coincidences(transmission: float) -> None:
    """That there are none, however many shots, tells how much alike its photons are."""
    found = simulate(SMALL, alike(transmission), pulses=400_000, seed=3).fit()
    assert abs(found.parameters.overlap[0] - 1.0) < 4 * found.standard_errors[0] < 0.05
    assert abs(found.parameters.g2) < 4 * found.standard_errors[1] < 0.05


def test_too_few_shots_of_a_perfect_source_are_refused_with_how_many_it_takes() -> None:
    said = refused(simulate(SMALL, alike(0.5), pulses=300, seed=1).fit)
    needed = re.search(r"Use at least ([\d,]+) shots a setting", said)
    assert needed is not None
    shots = int(needed[1].replace(",", ""))
    enough = simulate(SMALL, alike(0.5), pulses=round(1.3 * shots / 0.75), seed=2)  # of the windows, 75 % are shots
    assert enough.fit().parameters.overlap[0] > 0.9


def test_detectors_that_count_are_taken_as_clicks() -> None:
    noise = Noise(indistinguishability=0.9, g2=0.02, transmittance=0.3)
    device = LocalDevice(seed=1, model=LocalModel(noise=noise, detector="pnr"))
    for setting, counts in zip(SMALL, device.submit([s.program for s in SMALL], shots=20_000).result(), strict=True):
        clicks = replace(counts, outcomes=np.minimum(counts.outcomes, 1), detector="threshold")
        one, other = (observe(setting, c, most_clicks=2) for c in (counts, clicks))
        assert isinstance(one, Observation)
        assert one.observed().tolist() == other.observed().tolist()
        assert one.shots == counts.shots
