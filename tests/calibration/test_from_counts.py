"""Records from counts that are there already: known truths, filters, detectors, folds, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from qpu_sdk.calibration.from_counts import calibrate_from
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import CalibrationError, CalibrationMismatch
from qpu_sdk.photonics.counts import Counts, Detector
from qpu_sdk.photonics.meshes import IsometryMesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program

#: Of a real machine, as far as counts of one tell.
ETA = (1.0, 0.93, 0.44, 0.74, 0.94, 0.3)
TRUTH = Noise(indistinguishability=0.9, g2=0.05, transmittance=0.15, efficiency=ETA)
INPUTS = (0, 2, 4)


def programs_of(number: int, *, modes: int = 6, inputs: tuple[int, ...] = INPUTS) -> list[Program]:
    return [Program.random(RectangularMesh(modes), inputs, seed=seed) for seed in range(number)]


def counts_of(
    programs: Sequence[Program], noise: Noise, shots: int = 200_000, detector: Detector = "threshold"
) -> list[Counts]:
    device = LocalDevice(seed=3, model=LocalModel(noise=noise, detector=detector), name="local:truth")
    return device.submit(programs, shots=shots).result()


def without_few_clicks(counts: Counts, least: int) -> Counts:
    kept = counts.outcomes.sum(axis=1) >= least
    return replace(counts, outcomes=counts.outcomes[kept], numbers=counts.numbers[kept], other=0)


def efficiencies(record: CalibrationRecord) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([m.value for m in record.output_efficiencies])
    errors = np.array([m.standard_error or 0.0 for m in record.output_efficiencies])
    return values, errors


def check(record: CalibrationRecord, truth: Noise, *, sigmas: float = 4.5) -> None:
    """Every number within so many of its errors; a model that is linear in small errors adds a little."""
    values, errors = efficiencies(record)
    eta = np.array(truth.efficiency) / np.mean(truth.efficiency)
    assert (np.abs(values - eta) < sigmas * errors + 0.01 * eta).all(), (values, eta, errors)
    for name in ("indistinguishability", "g2"):
        measured, value = getattr(record, name), getattr(truth, name)
        assert measured.standard_error is not None
        assert abs(measured.value - value) < sigmas * measured.standard_error + 0.02 * value, (name, measured)


@lru_cache
def plain() -> CalibrationRecord:
    programs = programs_of(6)
    return calibrate_from(counts_of(programs, TRUTH), programs, device="local:truth")


def test_all_click_classes_tell_every_number() -> None:
    record = plain()
    check(record, TRUTH)
    t = np.array([m.value for m in record.input_transmissions.values()])
    np.testing.assert_allclose(t, 0.15 * np.mean(ETA), rtol=0.05)
    assert record.phase_error is not None
    assert record.phase_error.value < 0.02
    assert record.validation is not None
    assert record.validation.p_value is not None
    assert record.validation.p_value > 1e-4
    assert CalibrationRecord.from_json(record.to_json()) == record


def test_settings_that_were_not_fitted_are_predicted_as_well_as_sampling_allows() -> None:
    found = plain().prediction
    assert found is not None
    assert found.settings == 6
    assert found.distance < 1.3 * found.floor
    assert found.start > 3.0 * found.distance  # where the fit began it knew nothing of the efficiencies


@pytest.mark.parametrize("detector", ["threshold", "pnr"])
def test_a_filter_at_the_source_leaves_efficiencies(detector: Detector) -> None:
    """Only events of both photons: what people have. The transmission is not told, and stays at its prior."""
    programs = programs_of(8, inputs=(0, 3))
    counts = [without_few_clicks(c, 2) for c in counts_of(programs, TRUTH, 40_000, detector)]
    record = calibrate_from(counts, programs, device="local:truth")
    check(record, TRUTH)
    assert "Not told by the counts" in record.notes
    assert "the transmission" in record.notes
    t = record.input_transmissions[0]
    assert t.standard_error is not None
    assert t.standard_error > 0.5 * t.value
    assert record.detector == detector


def test_vendors_figures_are_priors_and_not_truths() -> None:
    """Published figures that are far off: many counts say what is true, and what they do not tell stays."""
    programs = programs_of(6)
    figures = {"Transmittance (%)": 9.0, "HOM (%)": 82.7, "g2 (%)": 18.2}
    record = calibrate_from(counts_of(programs, TRUTH), programs, device="local:truth", vendor=figures)
    check(record, TRUTH)
    assert record.prediction is not None
    assert record.prediction.start > 2.0 * record.prediction.distance


def test_the_size_of_phase_errors_is_told() -> None:
    noise = replace(TRUTH, phase_error=0.15)
    programs = programs_of(12)
    record = calibrate_from(counts_of(programs, noise), programs, device="local:truth")
    assert record.phase_error is not None
    assert record.phase_error.standard_error is not None
    assert abs(record.phase_error.value - 0.15) < 4 * record.phase_error.standard_error
    assert record.phase_error.standard_error < 0.05
    values, errors = efficiencies(record)
    eta = np.array(ETA) / np.mean(ETA)
    assert (np.abs(values - eta) < 4.5 * errors).all()
    assert np.abs(values / eta - 1.0).max() < 0.3


def test_programs_of_several_sizes_are_of_one_device() -> None:
    """As a training run has them: two circuits of their own modes."""
    programs = [
        *(Program.random(IsometryMesh(6, 3), seed=seed) for seed in range(4)),
        *(Program.random(IsometryMesh(5, 3), seed=seed) for seed in range(4)),
    ]
    record = calibrate_from(counts_of(programs, TRUTH), programs, device="local:truth")
    assert (record.modes, record.input_modes) == (6, (0, 1, 2))
    check(record, TRUTH)


@pytest.mark.parametrize("kind", ["threshold", "ppnr:2", "pnr"])
def test_what_detectors_resolve_is_chosen_by_likelihood(kind: Detector) -> None:
    programs = programs_of(3, modes=4, inputs=(0, 2))
    noise = Noise(indistinguishability=0.9, g2=0.02, transmittance=0.3)
    counts = [replace(c, detector="pnr") for c in counts_of(programs, noise, detector=kind)]
    record = calibrate_from(counts, programs, device="local:truth", detector="auto")
    assert record.detector == kind
    assert f"Detectors by the counts: {kind}" in record.notes


def test_the_same_counts_give_the_same_record() -> None:
    programs = programs_of(2, modes=4, inputs=(0, 2))
    counts = counts_of(programs, Noise(transmittance=0.2, g2=0.02), 50_000)
    one, two = (calibrate_from(counts, programs, device="local:truth") for _ in range(2))
    assert one.covariance == two.covariance
    assert one.measured() == two.measured()


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    programs = programs_of(2, modes=4, inputs=(0, 2))
    counts = counts_of(programs, Noise(transmittance=0.2, g2=0.02), 50_000)
    calibrate_from(counts, programs, device="local:truth", progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def refused(message: str, *args: object, error: type[Exception] = CalibrationError, **values: object) -> None:
    with pytest.raises(error, match=message) as found:
        calibrate_from(*args, **({"device": "local:truth"} | values))  # type: ignore[arg-type]
    assert "\n" not in str(found.value)


def test_what_is_refused() -> None:
    programs = programs_of(3)
    counts = counts_of(programs, TRUTH, 100_000)
    refused("1 setting for 6 efficiencies", counts[:1], programs[:1])
    refused("3 counts and 2 programs", counts, programs[:2])
    refused("0 counts and 0 programs", [], [])
    smaller = programs_of(3, modes=5)
    refused("of 3 photons in 6 modes, the program of 3 in 5", counts, smaller)
    refused("are of program", counts, programs[::-1])
    refused("has a str where", ["counts", "more"], programs[:2])
    refused("has a str where", counts[:2], ["x", "y"])
    nothing = replace(counts[0], numbers=np.zeros_like(counts[0].numbers), other=0)
    refused("hold no shot of 1 to 3 clicks", [nothing, *counts[1:]], programs)
    mixed = [replace(counts[0], detector="pnr"), *counts[1:]]
    refused("2 kinds of detectors", mixed, programs, error=CalibrationMismatch)
    elsewhere = [replace(counts[0], device="local:other"), *counts[1:]]
    refused("2 devices", elsewhere, programs, error=CalibrationMismatch)
    refused("detector is 'bolometer'", counts, programs, detector="bolometer")
    refused("validity_h", counts, programs, validity_h=-1.0)


def test_counts_of_other_programs_are_not_fitted_in_silence() -> None:
    programs = programs_of(6)
    strangers = [Program.random(RectangularMesh(6), INPUTS, seed=100 + seed) for seed in range(6)]
    counts = [replace(c, program=None, fingerprint="") for c in counts_of(programs, TRUTH, 100_000)]
    refused("no device of the model gives these counts", counts, strangers)
