"""Errors that outcomes share, against simulations with a known phase error and against brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.counted import PHASE_DRAWS, Axes, Counted, phase_draws, seen_of
from qpu_sdk.calibration.known import known_record, vendor_record
from qpu_sdk.calibration.parts import Identity, Measured
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.mitigation import agreement as module
from qpu_sdk.mitigation.agreement import Agreement, agree, gate
from qpu_sdk.mitigation.forward import Forward, forward
from qpu_sdk.photonics.counts import Detector
from qpu_sdk.photonics.meshes import BrickwallMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.helpers import ideal
from tests.helpers import program as program_in

MODES, INPUTS = 9, (0, 2, 5, 8)
PHASE_ERROR = 0.01


def program_of(seed: int, *, modes: int = MODES, inputs: tuple[int, ...] = INPUTS) -> Program:
    return program_in(BrickwallMesh(modes), inputs, seed)


def record_of(noise: Noise, program: Program, detector: Detector = "threshold") -> CalibrationRecord:
    """Without a phase error, as calibrations write them."""
    record = known_record(noise, Identity("twin", "twin", program.modes, program.input_modes, detector))
    return record.model_copy(update={"phase_error": None})


def model_of(program: Program, record: CalibrationRecord) -> Forward:
    columns = program.mesh.columns(program.phases, program.input_modes)
    return forward(columns, record.noise().at(program.input_modes, modes=program.modes), record.detector)


def as_seen(numbers: FloatArray, program: Program, record: CalibrationRecord, *, seed: int = 0) -> Counted:
    """Numbers of every click pattern as they are, whole or not."""
    errors = phase_draws(program, seed=seed)
    used = np.ones(len(numbers), dtype=np.bool_)
    return Counted(program, record.noise(), Axes(program.modes, program.input_modes), numbers, used, errors)


def of(numbers: FloatArray, program: Program, record: CalibrationRecord, *, seed: int = 0) -> Agreement:
    return agree(as_seen(numbers, program, record, seed=seed), record, seed=seed)


def rows_of(found: Agreement, program: Program, record: CalibrationRecord) -> FloatArray:
    model = model_of(program, record)
    return found.rows(model, ideal(model))


@lru_cache
def phase_errors(phase_error: float, detector: Detector = "threshold", programs: int = 10) -> tuple[float, ...]:
    """As measured by a million shots of each of some programs."""
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3, phase_error=phase_error)
    device = LocalDevice(seed=3, model=LocalModel(noise=noise, detector=detector), name="twin")
    found = []
    for seed in range(programs):
        program = program_of(seed)
        record = record_of(noise, program, detector)
        [counts] = device.submit([program], shots=1_000_000).result()
        common = agree(seen_of(counts, program, record.noise(), seed=0), record, seed=0)
        assert common.measured
        found.append(common.phase_error)
    return tuple(found)


def test_the_phase_error_is_measured() -> None:
    """One program has one draw of 96 phases, few of which matter, and tells it to about a quarter."""
    assert np.mean(phase_errors(PHASE_ERROR)) == pytest.approx(PHASE_ERROR, rel=0.15)
    assert np.std(phase_errors(PHASE_ERROR)) < 0.5 * PHASE_ERROR


def test_the_phase_error_is_measured_by_detectors_that_count() -> None:
    assert np.mean(phase_errors(PHASE_ERROR, "pnr", 6)) == pytest.approx(PHASE_ERROR, rel=0.3)


def test_without_an_error_none_is_measured() -> None:
    """Shot noise leaves a tenth of what an error of 0.01 would."""
    found = phase_errors(0.0)
    assert np.mean(np.square(found)) < 0.1 * PHASE_ERROR**2
    assert min(found) == 0.0


def test_the_records_own_phase_error_goes_first() -> None:
    program = program_of(1)
    record = record_of(Noise(transmittance=0.3), program)
    known = record.model_copy(update={"phase_error": Measured(value=0.03, standard_error=0.001, unit="rad")})
    numbers = 1e6 * model_of(program, record).model
    common = of(numbers, program, known)
    assert (common.phase_error, common.measured) == (0.015, False)  # these counts show none, which says something too
    twice = known.model_copy(update={"phase_error": Measured(value=0.06, standard_error=0.001, unit="rad")})
    once, more = (rows_of(of(numbers, program, r), program, record) for r in (known, twice))
    np.testing.assert_allclose(more, 2.0 * once, atol=1e-12)


def test_counts_that_show_more_than_the_record_says_are_believed() -> None:
    """An error of the size of the record's is the record's; one that is three times as large is not."""
    program = program_of(3)
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3, phase_error=0.09)
    record = record_of(noise, program)
    known = record.model_copy(update={"phase_error": Measured(value=0.03, standard_error=0.001, unit="rad")})
    counts = LocalDevice(seed=4, model=LocalModel(noise=noise), name="twin").run(program, shots=1_000_000)
    found = agree(seen_of(counts, program, record.noise(), seed=0), known, seed=0)
    assert found.measured
    assert 0.045 < found.phase_error < 0.18


def test_exact_counts_of_a_known_device_have_no_common_error() -> None:
    program = program_of(2)
    record = record_of(Noise(indistinguishability=0.9, g2=0.02, transmittance=0.3), program)
    common = of(1e6 * model_of(program, record).model, program, record)
    assert common.phase_error == 0.0
    np.testing.assert_allclose(rows_of(common, program, record), 0.0, atol=1e-12)


def number(data: dict[str, Any], name: str) -> Any:
    """The entry of a record that a parameter's name stands for."""
    kind, _, mode = name.rstrip("]").partition("[")
    return data[kind][int(mode)] if mode else data[kind]


def uncertain(record: CalibrationRecord, name: str, deviation: float) -> CalibrationRecord:
    """The same with one number known to ``deviation`` only."""
    data = record.model_dump()
    number(data, name)["standard_error"] = deviation
    return CalibrationRecord.model_validate(data | {"parameters": (name,), "covariance": ((deviation**2,),)})


def moved(record: CalibrationRecord, name: str, change: float) -> CalibrationRecord:
    data = record.model_dump()
    number(data, name)["value"] += change
    return CalibrationRecord.model_validate(data)


PARAMETERS = [
    ("indistinguishability", 0.01),
    ("g2", 0.004),
    ("input_transmissions[2]", 0.01),
    ("output_efficiencies[1]", 0.02),
    ("output_efficiencies[5]", 0.02),
    ("dark_counts[3]", 2e-4),
]


@pytest.mark.parametrize(("name", "deviation"), PARAMETERS)
def test_calibration_errors_are_those_of_estimates_with_another_record(
    name: str, deviation: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact counts of the record's device are corrected with a record that is off by a standard deviation."""
    monkeypatch.setattr(module, "CALIBRATION_DRAWS", 2_000)
    program = program_of(5, modes=6, inputs=(0, 2, 5))
    efficiencies = np.array([0.9, 0.7, 0.8, 0.95, 0.85, 1.0])
    noise = Noise(indistinguishability=0.9, g2=0.03, transmittance=0.3, efficiency=efficiencies, dark_counts=1e-3)
    record = record_of(noise, program)
    truth = model_of(program, record)
    numbers = 1e6 * truth.model
    common = of(numbers, program, uncertain(record, name, deviation), seed=1)
    rows = np.sqrt((common.rows(truth, ideal(truth)) ** 2).sum(axis=0))
    off = []
    for sign in (1.0, -1.0):
        other = model_of(program, moved(record, name, sign * deviation))
        full, free = other.space.full, other.space.free
        scale = numbers.sum() / other.model.sum()
        x = numbers[full] / scale - (other.model[full] - other.gain * other.ideal[free])
        off.append(x / other.gain / (x / other.gain).sum() - ideal(truth))
    change = 0.5 * np.abs(off[0] - off[1])
    assert change.max() > 1e-4
    np.testing.assert_allclose(rows, change, rtol=0.12, atol=0.05 * change.max())


def test_rows_change_no_sum() -> None:
    program = program_of(6)
    record = uncertain(record_of(Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3), program), "g2", 0.003)
    rng = np.random.default_rng(0)
    numbers = rng.poisson(1e6 * model_of(program_of(7), record).model).astype(float)  # of another program: much error
    rows = rows_of(of(numbers, program, record), program, record)
    assert rows.shape == (module.CALIBRATION_DRAWS + PHASE_DRAWS, 126)
    assert np.abs(rows).max() > 1e-4
    np.testing.assert_allclose(rows.sum(axis=1), 0.0, atol=1e-12)


def test_draws_are_those_of_the_seed() -> None:
    program = program_of(8)
    record = uncertain(record_of(Noise(transmittance=0.3, g2=0.02), program), "g2", 0.003)
    numbers = 1e6 * model_of(program, record).model
    first, again, other = (rows_of(of(numbers, program, record, seed=seed), program, record) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_uncertain_calibration_is_no_phase_error() -> None:
    """Counts of a device a standard deviation away from its record: what the record allows is taken off."""
    program = program_of(9)
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3)
    record = record_of(noise, program)
    numbers = 1e9 * model_of(program, moved(record, "indistinguishability", 0.01)).model
    sure = of(numbers, program, record).phase_error
    assert sure > 0.002
    assert of(numbers, program, uncertain(record, "indistinguishability", 0.01)).phase_error < 0.6 * sure


def test_one_photon_has_no_class_to_measure_with() -> None:
    program = program_of(10, modes=4, inputs=(1,))
    record = record_of(Noise(transmittance=0.3, g2=0.02), program)
    common = of(1e5 * model_of(program, record).model, program, record)
    assert common.phase_error == 0.0
    assert np.isfinite(rows_of(common, program, record)).all()


BASE = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3)
UNEVEN = (1.0, 0.9, 0.45, 0.75, 0.95, 0.3, 0.7, 0.65, 0.9)
WRONG = {
    "g2": (BASE, replace(BASE, g2=0.182)),
    "indistinguishability": (BASE, replace(BASE, indistinguishability=0.7)),
    "transmittance": (BASE, replace(BASE, transmittance=0.2)),
    "efficiency": (replace(BASE, efficiency=UNEVEN), BASE),
}


@pytest.mark.parametrize("name", WRONG)
def test_counts_that_contradict_a_record_replace_it(name: str) -> None:
    """A record without errors that is wrong in one number: the counts of one program tell the right one."""
    truth, believed = WRONG[name]
    program = program_of(11)
    counts = LocalDevice(seed=5, model=LocalModel(noise=truth), name="twin").run(program, shots=1_000_000)
    record = record_of(believed, program)
    found = agree(seen_of(counts, program, record.noise(), seed=0), record, seed=0)
    assert "contradict" in found.report.why
    eta = np.asarray(truth.efficiency) * np.ones(MODES)
    now = np.asarray(found.noise.efficiency) * np.ones(MODES)
    assert found.noise.g2 == pytest.approx(truth.g2, rel=0.4)
    assert found.noise.indistinguishability == pytest.approx(truth.indistinguishability, abs=0.04)
    assert found.noise.click_probability == pytest.approx(truth.click_probability, rel=0.05)
    np.testing.assert_allclose(now / now.mean(), eta / eta.mean(), rtol=0.1)


def test_a_record_that_describes_the_device_stays() -> None:
    for seed in range(5):
        program = program_of(20 + seed)
        noise = replace(BASE, phase_error=0.01)
        counts = LocalDevice(seed=seed, model=LocalModel(noise=noise), name="twin").run(program, shots=1_000_000)
        record = record_of(noise, program)
        found = agree(seen_of(counts, program, record.noise(), seed=0), record, seed=0)
        assert found.noise == record.noise()
        assert "predicts these counts" in found.report.why
        assert gate(found, model_of(program, record)).share > 0.9


def test_p_values_of_matched_events_are_uniform() -> None:
    """The N-click class was not fitted: its test must not be too good either."""
    device = LocalDevice(seed=6, model=LocalModel(noise=BASE), name="twin")
    values = []
    for seed in range(40):
        program = program_of(30 + seed, modes=6, inputs=(0, 2, 5))
        counts = device.run(program, shots=100_000)
        record = record_of(BASE, program)
        p = agree(seen_of(counts, program, record.noise(), seed=0), record, seed=0).p_value
        assert p is not None
        values.append(p)
    assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_nothing_is_subtracted_where_the_circuit_is_another() -> None:
    program = program_of(12)
    noise = replace(BASE, phase_error=0.3)
    counts = LocalDevice(seed=7, model=LocalModel(noise=noise), name="twin").run(program, shots=1_000_000)
    record = record_of(BASE, program)
    found = agree(seen_of(counts, program, record.noise(), seed=0), record, seed=0)
    closed = gate(found, model_of(program, record))
    assert closed.share < 0.2
    assert np.abs(closed.bias).sum() > 0.0  # what is left in is said
    assert closed.bias.sum() == pytest.approx(0.0, abs=1e-12)
    assert closed.kept < 1.0


def test_what_a_vendor_publishes_is_no_more_than_a_prior() -> None:
    program = program_of(13)
    identity = Identity("twin", "twin", MODES, INPUTS, "threshold")
    record = vendor_record(
        {"Transmittance (%)": 30.0, "HOM (%)": 82.7, "g2 (%)": 18.2}, identity, utc="2026-07-31T00:00:00Z"
    )
    counts = LocalDevice(seed=8, model=LocalModel(noise=BASE), name="twin").run(program, shots=1_000_000)
    found = agree(seen_of(counts, program, record.noise(), seed=0), record, seed=0)
    assert "prior" in found.report.why
    assert found.noise.g2 == pytest.approx(0.02, rel=0.6)
    assert found.noise.indistinguishability == pytest.approx(0.92, abs=0.03)
