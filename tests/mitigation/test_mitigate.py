"""The whole way from counts and a record to a distribution: what comes out, why, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpu_sdk.arrays import ComplexArray, FloatArray
from qpu_sdk.calibration.known import known_record, vendor_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel, exact_probabilities
from qpu_sdk.errors import CalibrationMismatch, ConfigError, MitigationError, QPUError
from qpu_sdk.mitigation.case import Case
from qpu_sdk.mitigation.distribution import Distribution
from qpu_sdk.mitigation.methods import METHODS, Method
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.counts import Counts, Detector
from qpu_sdk.photonics.meshes import BrickwallMesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.helpers import program as program_in
from tests.helpers import tvd

#: What ``method`` may be.
EVERY = ("auto", *METHODS)
DETECTORS: tuple[Detector, Detector] = ("threshold", "pnr")
SIZES = ((2, 1), (3, 1), (4, 2), (2, 2), (3, 3), (5, 3))
Run = tuple[Counts, CalibrationRecord, Program]


def noise_of(modes: int, **values: Any) -> Noise:
    """An ordinary device with what is said changed."""
    return Noise(**({"indistinguishability": 0.92, "g2": 0.02, "transmittance": np.full(modes, 0.3)} | values))


def record_of(
    noise: Noise, inputs: tuple[int, ...], detector: Detector = "threshold", *, device: str = "twin", modes: int = 0
) -> CalibrationRecord:
    """What is known of it but for the phase error, which calibrations do not measure."""
    record = known_record(noise, Identity(device, device, noise.modes or modes, inputs, detector))
    return record.model_copy(update={"phase_error": None})


def program_of(modes: int, photons: int, *, seed: int = 1) -> Program:
    return program_in(RectangularMesh(modes), tuple(range(photons)), seed)


def measure(program: Program, noise: Noise, shots: int, detector: Detector = "threshold", *, seed: int = 1) -> Counts:
    device = LocalDevice(seed=seed, model=LocalModel(noise=noise, detector=detector), name="twin")
    [counts] = device.submit([program], shots=shots).result()
    return counts


@lru_cache
def run(modes: int, photons: int, detector: Detector = "threshold", shots: int = 100_000) -> Run:
    noise, program = noise_of(modes), program_of(modes, photons)
    return measure(program, noise, shots, detector), record_of(noise, program.input_modes, detector), program


def ideal(program: Program) -> FloatArray:
    columns = program.mesh.columns(program.phases, program.input_modes)
    [p] = exact_probabilities(columns[None], collision_free=True)
    return np.asarray(p / p.sum())


def used(found: Distribution) -> list[str]:
    return [report.name for report in found.history if report.used]


def only(counts: Counts, *clicks: int) -> Counts:
    """What is left when a device filters the other numbers of clicks away."""
    keep = np.isin(counts.outcomes.sum(axis=1), clicks)
    return replace(counts, outcomes=counts.outcomes[keep], numbers=counts.numbers[keep])


def check(found: Distribution) -> None:
    """What every distribution must be."""
    p, covariance, size = found.probabilities, found.covariance, len(found.probabilities)
    assert np.isfinite(p).all()
    assert p.min() >= 0.0
    assert p.sum() == pytest.approx(1.0, abs=1e-9)
    assert covariance.shape == (size, size)
    assert np.isfinite(covariance).all()
    scale = max(float(np.trace(covariance)), 1e-20)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-9 * scale)
    np.testing.assert_allclose(covariance.sum(axis=1), 0.0, atol=1e-7 * scale)
    assert np.linalg.eigvalsh(covariance)[0] > -1e-9 * scale
    np.testing.assert_allclose(found.standard_errors**2, np.maximum(np.diag(covariance), 0.0), atol=1e-9 * scale)
    assert found.effective_samples > 0.0
    assert np.isfinite(found.effective_samples)
    if np.trace(covariance) > 1e-20 and 1.0 - (p**2).sum() > 1e-12:
        assert found.effective_samples == pytest.approx((1.0 - (p**2).sum()) / np.trace(covariance))
    assert found.overhead == pytest.approx(found.samples / found.effective_samples)
    low, high = found.interval(0.95)
    assert (low >= 0.0).all()
    assert (high <= 1.0).all()
    assert (low <= high).all()
    narrow = found.interval(0.5)
    assert (narrow[0] >= low - 1e-12).all()
    assert (narrow[1] <= high + 1e-12).all()
    assert found.unprojected is not None
    assert np.isfinite(found.unprojected).all()
    assert found.history
    assert all("\n" not in str(report) and report.why for report in found.history)
    assert found.method in METHODS


def refused(kind: type[QPUError], match: str, *args: Any, **values: Any) -> str:
    """The message, which is one line and ends with the way out."""
    with pytest.raises(kind, match=match) as caught:
        mitigate(*args, **({"seed": 0} | values))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert message.count(". ") >= 1, "no way out"
    return message


# -- what comes out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("modes", "photons"), SIZES)
def test_every_method_gives_a_distribution_or_one_line(modes: int, photons: int, detector: Detector) -> None:
    counts, record, program = run(modes, photons, detector)
    for method in EVERY:
        if method == "recycle" and photons < 3:
            refused(MitigationError, "photon recycling needs 3 or more", counts, record, program=program, method=method)
            continue
        found = mitigate(counts, record, program=program, method=method, seed=0)
        check(found)
        assert method in ("auto", found.method)
        assert len(found.probabilities) == len(ideal(program))
        assert found.record_id == record.id
        assert found.raw is counts
        assert found.samples == counts.collision_free().sum()
        assert found.shots == counts.shots
    check(mitigate(counts, record, seed=0))


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("modes", "photons"), [(2, 1), (3, 1), (4, 2), (5, 3)])
def test_auto_is_within_its_errors(modes: int, photons: int, detector: Detector) -> None:
    """Squared pulls are around 1 where posteriors are far from zero; intervals of 99.99 % hold every outcome."""
    _, record, _ = run(modes, photons, detector)
    noise = noise_of(modes)
    pulls: list[float] = []
    for seed in range(6):
        program = program_of(modes, photons, seed=seed)
        counts = measure(program, noise, 200_000, detector, seed=seed)
        found = mitigate(counts, record, program=program, seed=0)
        truth, error = ideal(program), np.maximum(found.standard_errors, 1e-4)
        far = found.probabilities > 3.0 * error
        pulls += ((found.probabilities - truth) / error)[far].tolist()
        low, high = found.interval(0.9999)
        assert ((low - 1e-4 <= truth) & (truth <= high + 1e-4)).all()
    assert np.mean(np.square(pulls)) < 1.0 + 4.0 * np.sqrt(2.0 / len(pulls))


@pytest.mark.parametrize("shots", [1, 2, 5])
@pytest.mark.parametrize("method", EVERY)
def test_a_few_shots_give_numbers_or_one_line(method: str, shots: int) -> None:
    """Without shots in a class, in resampled counts too, there is a reason and no NaN."""
    _, record, program = run(5, 3)
    counts, rng = run(5, 3)[0], np.random.default_rng(shots)
    clicks = counts.outcomes.sum(axis=1)
    for _ in range(4):
        numbers = np.zeros_like(counts.numbers)
        for k in (1, 2, 3):
            numbers[rng.choice(np.flatnonzero(clicks == k), shots)] += 1
        found = mitigate(replace(counts, numbers=numbers), record, program=program, method=method, seed=0)
        check(found)


def unitary_program(unitary: ComplexArray, inputs: tuple[int, ...]) -> Program:
    mesh = RectangularMesh(len(unitary))
    return Program(mesh, mesh.phases_of(unitary), inputs)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 1, 2]])
@pytest.mark.parametrize("method", ["auto", "unfold-fuse", "unfold", "subtract"])
def test_permutations_give_one_outcome(method: str, order: list[int], detector: Detector) -> None:
    """Dark counts light other modes: raw counts have some per cent elsewhere."""
    noise = noise_of(5, dark_counts=np.full(5, 3e-3))
    program = unitary_program(np.eye(5, dtype=np.complex128)[order], (0, 1, 3))
    truth = ideal(program)
    assert truth.max() == pytest.approx(1.0)
    counts = measure(program, noise, 300_000, detector)
    record = record_of(noise, program.input_modes, detector)
    found = mitigate(counts, record, program=program, method=method, seed=0)
    check(found)
    raw = mitigate(counts, record, method="post-select", seed=0)
    assert tvd(raw, truth) > 0.01
    assert tvd(found, truth) < 0.3 * tvd(raw, truth)
    here = int(truth.argmax())
    low, high = found.interval(0.999)
    if method != "unfold":  # whose intervals do not know of the bias of its regularisation
        assert low[here] - 1e-3 <= 1.0 <= high[here] + 1e-3


def test_the_same_seed_gives_the_same() -> None:
    counts, record, program = run(5, 3)
    for method in EVERY:
        first, again = (mitigate(counts, record, program=program, method=method, seed=7) for _ in range(2))
        np.testing.assert_array_equal(first.probabilities, again.probabilities)
        np.testing.assert_array_equal(first.covariance, again.covariance)
        assert first.history == again.history
        assert first.diagnostics == again.diagnostics


def test_auto_does_not_depend_on_the_seed_but_for_error_bars() -> None:
    counts, record, program = run(5, 3)
    first, other = (mitigate(counts, record, program=program, seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(first.probabilities, other.probabilities)
    np.testing.assert_allclose(first.standard_errors, other.standard_errors, rtol=0.5)


def test_the_order_of_outcomes_does_not_matter() -> None:
    counts, record, program = run(5, 3)
    order = np.random.default_rng(0).permutation(len(counts.numbers))
    shuffled = replace(counts, outcomes=counts.outcomes[order], numbers=counts.numbers[order])
    for method in ("auto", "response", "subtract"):
        first, other = (mitigate(c, record, program=program, method=method, seed=0) for c in (counts, shuffled))
        np.testing.assert_allclose(first.probabilities, other.probabilities, rtol=1e-12)


def test_uneven_devices_with_pairs_and_dark_counts() -> None:
    """Overlaps by pair, efficiencies of 0.6 to 1, dark counts of 1e-4: better than raw in all of four circuits."""
    rng = np.random.default_rng(0)
    pairs = np.eye(6)
    for j, k in ((0, 1), (0, 2), (1, 2)):
        pairs[j, k] = pairs[k, j] = rng.uniform(0.85, 0.97)
    noise = noise_of(
        6,
        indistinguishability=pairs,
        efficiency=np.linspace(0.6, 1.0, 6),
        transmittance=np.linspace(0.2, 0.3, 6),
        dark_counts=np.full(6, 1e-4),
    )
    for seed in range(4):
        program = program_of(6, 3, seed=seed)
        counts, record = measure(program, noise, 10_000_000), record_of(noise, program.input_modes)
        assert len(record.measured()) > 10
        found = mitigate(counts, record, program=program, seed=0)
        check(found)
        assert used(found) == ["record", "unfold", "fuse"]
        raw = mitigate(counts, record, method="post-select", seed=0)
        assert tvd(found, ideal(program)) < 0.6 * tvd(raw, ideal(program))


def test_programs_on_some_modes_of_a_larger_device() -> None:
    noise = noise_of(7, efficiency=np.linspace(0.7, 1.0, 7))
    program = program_of(5, 3)
    counts, record = measure(program, noise, 300_000), record_of(noise, (0, 1, 2, 5))
    for method in EVERY:
        check(mitigate(counts, record, program=program, method=method, seed=0))


# -- figures -----------------------------------------------------------------------------------------------------

#: Transmittance and shots, and the largest share of the raw distance that may be left, on average.
POINTS = [(0.3, 10**6, 0.85), (0.3, 10**7, 0.5), (0.06, 10**6, 0.5), (0.06, 10**7, 0.65)]


@pytest.mark.parametrize(("transmittance", "shots", "most"), POINTS)
def test_figures_at_the_reference_points(transmittance: float, shots: int, most: float) -> None:
    """Nine modes, four photons, I = 0.92, g2 = 0.02, phases off by up to 0.01; six circuits."""
    mesh, inputs = BrickwallMesh(9), (0, 2, 5, 8)
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=transmittance, phase_error=0.01)
    record = record_of(noise, inputs, modes=9)
    device = LocalDevice(seed=1, model=LocalModel(noise=noise), name="twin")
    programs = [
        Program(mesh, np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, mesh.declared), inputs)
        for seed in range(100, 106)
    ]
    before, after, held = [], [], []
    for program, counts in zip(programs, device.submit(programs, shots=shots).result(), strict=True):
        truth, found = ideal(program), mitigate(counts, record, program=program, seed=0)
        before.append(tvd(counts.collision_free() / counts.collision_free().sum(), truth))
        after.append(tvd(found, truth))
        low, high = found.interval(0.95)
        held.append(float(((low <= truth) & (truth <= high)).mean()))
    gain = np.array(before) - np.array(after)
    assert gain.mean() > 3.0 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert np.mean(after) < most * np.mean(before)
    assert np.mean(held) > 0.90


@pytest.mark.parametrize("detector", DETECTORS)
def test_three_photons(detector: Detector) -> None:
    gains, held = of_random_programs(detector, 8)
    assert np.mean(gains) > 3.0 * np.std(gains, ddof=1) / np.sqrt(len(gains))
    assert np.mean(held) > 0.90


def of_random_programs(detector: Detector, programs: int) -> tuple[list[float], list[float]]:
    """By how much mitigation lowers each one's distance, and the part of truths inside its intervals of 95 %."""
    noise = Noise(indistinguishability=0.92, g2=0.02, transmittance=0.3, phase_error=0.01)
    mesh, inputs = BrickwallMesh(6), (0, 2, 4)
    record = record_of(noise, inputs, detector, modes=6)
    gains, held = [], []
    for seed in range(programs):
        program = Program(mesh, np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, mesh.declared), inputs)
        counts = measure(program, noise, 10**6, detector, seed=seed)
        truth, found = ideal(program), mitigate(counts, record, program=program, seed=0)
        check(found)
        gains.append(tvd(counts.collision_free() / counts.collision_free().sum(), truth) - tvd(found, truth))
        low, high = found.interval(0.95)
        held.append(float(((low <= truth) & (truth <= high)).mean()))
    return gains, held


def test_more_shots_are_more_certain_and_nearer() -> None:
    noise, program = noise_of(5), program_of(5, 3)
    record, errors, distances = record_of(noise, program.input_modes), [], []
    for shots in (10**5, 10**7, 10**9):
        found = mitigate(measure(program, noise, shots), record, program=program, seed=0)
        check(found)
        errors.append(float(np.median(found.standard_errors)))
        distances.append(tvd(found, ideal(program)))
    assert errors[0] > 5.0 * errors[1] > 10.0 * errors[2]
    assert distances[0] > 2.0 * distances[1] > 4.0 * distances[2]
    assert distances[2] < 1e-3


# -- what was chosen, and why --------------------------------------------------------------------------------------


def why_not(found: Distribution, name: str) -> str:
    [report] = [report for report in found.history if report.name == name and not report.used]
    return report.why


def test_auto_with_the_circuit_unfolds_and_fuses() -> None:
    counts, record, program = run(5, 3)
    found = mitigate(counts, record, program=program, seed=0)
    assert found.method == "unfold-fuse"
    assert used(found) == ["record", "unfold", "fuse"]
    believed, unfolded, fused = found.history
    assert "predicts these counts" in believed.why
    assert "shots of fewer than 3 clicks" in unfolded.why
    assert "trusted at" in fused.why
    assert "measured by these counts" in fused.why
    assert found.diagnostics.phase_error is not None
    assert found.diagnostics.chi2 is not None
    known = record.model_copy(update={"phase_error": record.g2.model_copy(update={"unit": "rad", "value": 0.01})})
    [_, _, fused] = mitigate(counts, known, program=program, seed=0).history
    assert "rad of the record" in fused.why


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("left", [(3,), (2, 3), (1, 3)])
def test_filtered_counts_are_subtracted_and_not_unfolded(left: tuple[int, ...], detector: Detector) -> None:
    """A class that was filtered away would be taken for one that never happens."""
    counts, record, program = run(5, 3, detector)
    filtered = only(counts, *left)
    found = mitigate(filtered, record, program=program, seed=0)
    check(found)
    if left == (1, 3) and detector == "pnr":
        # Pairs in one mode went with the pairs in two: single modes with photons are fewer than any device shows.
        assert found.method in ("subtract", "response")
        return
    assert found.method == "subtract"
    assert used(found) == ["record", "subtract"]
    assert "so they were filtered" in why_not(found, "unfold-fuse")
    for method in ("unfold", "unfold-fuse"):
        message = refused(MitigationError, "so they were filtered", filtered, record, program=program, method=method)
        assert "filter of 1 click" in message
    if left != (1, 3) and left != (2, 3):
        refused(MitigationError, "events of 2 clicks", filtered, record, method="recycle")
    check(mitigate(filtered, record, seed=0))


def bare(counts: Counts) -> Counts:
    """Counts that do not say of what program they are, as many files have them."""
    return replace(counts, program=None, fingerprint="")


def test_counts_bring_their_program() -> None:
    counts, record, program = run(5, 3)
    assert counts.program == program
    np.testing.assert_array_equal(
        mitigate(counts, record, seed=0).probabilities,
        mitigate(bare(counts), record, program=program, seed=0).probabilities,
    )
    assert mitigate(Counts.from_json(counts.to_json()), record, seed=0).method == "unfold-fuse"


def test_auto_without_the_circuit() -> None:
    counts, record, _ = run(5, 3)
    counts = bare(counts)
    many = mitigate(counts, record, seed=0)
    assert many.method == "response"
    assert used(many) == ["response", "post-select"]
    assert "with so many events" in why_not(many, "unfold")
    few = mitigate(bare(measure(program_of(5, 3), noise_of(5), 20_000)), record, seed=0)
    assert few.samples < 500
    assert used(few) == ["unfold", "fuse"]
    assert "loss alone" in few.history[-1].why
    assert "without the circuit about" in few.history[-1].why
    assert why_not(few, "unfold-fuse") == "the circuit was not given"
    noise, program = noise_of(12), program_of(12, 3)
    sparse = mitigate(bare(measure(program, noise, 20_000)), record_of(noise, program.input_modes), seed=0)
    assert used(sparse) == ["fuse"]


def test_one_photon_is_not_called_filtered() -> None:
    counts, record, program = run(3, 1)
    for found in (mitigate(counts, record, program=program, seed=0), mitigate(counts, record, seed=0)):
        assert "one photon" in why_not(found, "unfold")


def test_a_record_that_says_nothing_can_be_seen_leaves_relative_frequencies() -> None:
    """Blind modes, no interference, a source without photons: auto says so and does what it can."""
    counts, _, program = run(5, 3)
    blind = noise_of(5, efficiency=np.array([0.0, 1.0, 1.0, 1.0, 1.0]))
    apart = noise_of(5, indistinguishability=0.0)
    dark = noise_of(5, transmittance=np.array([0.3, 0.0, 0.3, 0.3, 0.3]))
    noisy = noise_of(5, dark_counts=np.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    for noise in (blind, apart, dark, noisy):
        record = record_of(noise, program.input_modes)
        for method in ("unfold", "unfold-fuse", "subtract"):
            refused(
                MitigationError, "never shows 3 interfering photons", counts, record, program=program, method=method
            )
        found = mitigate(counts, record, program=program, seed=0)
        check(found)
        assert found.method in ("response", "post-select")
        assert used(found)[-1] == "post-select"
        assert "never shows" in why_not(found, "unfold-fuse")


def test_counting_detectors_with_overlaps_by_pair_are_not_modelled() -> None:
    counts, record, program = run(5, 3, "pnr")
    every = np.full((5, 5), 0.9)
    np.fill_diagonal(every, 1.0)
    pairs = record_of(noise_of(5, indistinguishability=every), program.input_modes, "pnr")
    found = mitigate(counts, pairs, program=program, seed=0)
    assert used(found)[-2:] == ["response", "post-select"]
    assert "overlaps that differ by pair" in why_not(found, "unfold-fuse")
    refused(QPUError, "overlaps that differ by pair", counts, pairs, program=program, method="unfold")
    assert record.detector == "pnr"


# -- what is refused -------------------------------------------------------------------------------------------------


def test_records_of_other_settings_are_refused() -> None:
    counts, record, program = run(5, 3)
    noise = noise_of(5)
    other = record_of(noise, program.input_modes, device="another")
    assert "another" in refused(CalibrationMismatch, "the counts are of twin", counts, other, program=program)
    counting = record_of(noise, program.input_modes, "pnr")
    refused(CalibrationMismatch, "threshold detectors, the record is of pnr", counts, counting, program=program)
    small = record_of(noise_of(4), (0, 1, 2))
    refused(CalibrationMismatch, "the counts have 5 modes, the record 4", counts, small, program=program)
    elsewhere = record_of(noise, (0, 1, 4))
    refused(CalibrationMismatch, "a photon enters mode 2; record .* knows", counts, elsewhere, program=program)
    fewer = record_of(noise, (0, 1))
    refused(CalibrationMismatch, "3 photons, the record of 2 inputs", bare(counts), fewer)
    mitigate(replace(counts, device=""), record, program=program, seed=0)  # counts that do not say whose they are


def test_other_programs_are_refused() -> None:
    counts, record, program = run(5, 3)
    other = program_of(5, 3, seed=2)
    message = refused(MitigationError, "the counts are of program", counts, record, program=other)
    assert program.fingerprint[:12] in message
    assert other.fingerprint[:12] in message
    refused(MitigationError, "2 photons in 5 modes, the counts 3 in 5", counts, record, program=program_of(5, 2))
    refused(MitigationError, "3 photons in 4 modes, the counts 3 in 5", counts, record, program=program_of(4, 3))


@pytest.mark.parametrize("method", ["subtract", "unfold-fuse"])
def test_methods_that_model_the_circuit_need_it(method: str) -> None:
    counts, record, _ = run(5, 3)
    refused(MitigationError, "models the circuit, which was not given", bare(counts), record, method=method)


@pytest.mark.parametrize("method", EVERY)
def test_counts_without_an_event_are_refused(method: str) -> None:
    counts, record, program = run(5, 3)
    refused(
        MitigationError, "no collision-free 3-photon event", only(counts, 1, 2), record, program=program, method=method
    )
    nothing = replace(counts, numbers=np.zeros_like(counts.numbers))
    refused(MitigationError, "in 0 shots", nothing, record, program=program, method=method)
    counting, of_pnr, program = run(5, 3, "pnr")
    bunched = replace(counting, numbers=counting.numbers * (counting.outcomes.max(axis=1) > 1))
    refused(MitigationError, "events of 3 photons are bunched", bunched, of_pnr, program=program, method=method)


@pytest.mark.parametrize(
    ("method", "nearest"),
    [
        ("unfold, fuse", "unfold-fuse"),
        ("post-selection", "post-select"),
        ("recycling", "recycle"),
        (["unfold"], "unfold"),
        (("unfold", "fuse"), "unfold-fuse"),
        ("magic", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_unknown_methods_are_refused(method: Any, nearest: str) -> None:
    counts, record, program = run(5, 3)
    message = refused(ConfigError, "is unknown", counts, record, program=program, method=method)
    assert repr(method) in message
    assert f"; {nearest} is the nearest. " in message if nearest else "nearest" not in message
    assert message.endswith("Use auto, post-select, response, subtract, unfold, unfold-fuse, fuse or recycle.")


def test_a_method_of_ones_own_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, record, program = run(5, 3)
    size = len(post_select(counts).probabilities)

    def flat(case: Case) -> Distribution:
        return replace(case.baseline, probabilities=np.full(size, 1 / size), uncertainty=None, unprojected=None)

    monkeypatch.setitem(METHODS, "flat", Method(flat, "all outcomes alike"))
    found = mitigate(counts, record, program=program, method="flat", seed=0)
    assert (found.method, found.record_id) == ("flat", record.id)
    assert found.probabilities == pytest.approx(1 / size)
    refused(ConfigError, "method 'flatt' is unknown; flat is the nearest", counts, record, method="flatt")


def test_the_documentation_has_the_table_of_methods() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "mitigation.md").read_text(encoding="utf-8")
    lines = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    assert {line[1].strip(" `"): line[2].strip() for line in lines} == {n: m.what for n, m in METHODS.items()}


def test_a_device_that_loses_nothing_is_not_said_to_filter() -> None:
    program = Program(BrickwallMesh(4), np.arange(18.0), (0, 2))
    device = LocalDevice(seed=1, model=LocalModel(detector="pnr"), name="lossless")
    [counts] = device.submit([program], shots=5000).result()
    record = known_record(Noise(), Identity("lossless", "slos", 4, (0, 2), "pnr"))
    why = why_not(mitigate(counts, record, program=program, seed=0), "unfold-fuse")
    assert "hardly any are expected" in why
    assert "filtered" not in why


def test_published_figures_are_told_anew_by_the_counts() -> None:
    figures = {"Transmittance (%)": 30.0, "HOM (%)": 90.0, "g2 (%)": 2.0}
    record = vendor_record(figures, Identity("vendor", "x", 4, (0, 2), "threshold"), utc="2026-03-01T12:00:00Z")
    program = Program(BrickwallMesh(4), np.arange(18.0), (0, 2))
    device = LocalDevice(seed=1, model=LocalModel(noise=record.noise()), name="vendor")
    [counts] = device.submit([program], shots=5000).result()
    believed, *_ = mitigate(counts, record, program=program, seed=0).history
    assert "no more than a prior" in believed.why


@pytest.mark.parametrize("method", ["auto", "response", "subtract", "unfold", "fuse", "recycle"])
def test_the_order_of_the_outcomes_changes_nothing(method: str) -> None:
    noise = Noise(indistinguishability=0.9, g2=0.02, transmittance=0.4)
    program = Program(BrickwallMesh(5), np.arange(30.0), (0, 2, 4))
    [counts] = LocalDevice(seed=1, model=LocalModel(noise=noise), name="x").submit([program], shots=20_000).result()
    record = known_record(noise, Identity("x", "x", 5, (0, 2, 4), "threshold"))
    order = np.random.default_rng(2).permutation(len(counts.numbers))
    other = replace(counts, outcomes=counts.outcomes[order], numbers=counts.numbers[order])
    one, two = (mitigate(c, record, program=program, method=method, seed=0) for c in (counts, other))
    assert one.probabilities.tolist() == two.probabilities.tolist()
    assert np.array_equal(one.interval(), two.interval())


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("given", [None, [], "x"], ids=repr)
def test_what_is_no_counts_record_or_program_is_one_line(place: int, given: Any) -> None:
    noise = Noise(transmittance=0.5)
    program = Program.random(RectangularMesh(4), (0, 1), seed=1)
    device = LocalDevice(seed=1, model=LocalModel(noise=noise))
    record = known_record(noise, Identity("local:slos", "slos", 4, (0, 1), "threshold"))
    asked: list[Any] = [device.run(program, shots=100), record, program]
    if place == 2 and given is None:
        return
    asked[place] = given
    with pytest.raises(MitigationError, match="Give") as caught:
        mitigate(asked[0], asked[1], program=asked[2], seed=0)
    assert "\n" not in str(caught.value)
