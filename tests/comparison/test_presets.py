"""Perceval's presets on our devices: against the truth, against Perceval's classes, and against its own computer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from perceval.runtime import SimulatedComputer
from perceval.runtime.computation import Computation
from perceval.runtime.error_mitigation import MitigationFactory, MitigationLevel, PhotonRecycling, photon_recycling

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.known import vendor_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.comparison.presets import (
    PRESETS,
    Preset,
    PresetResult,
    apply_preset,
    imperfections_of,
    measure_preset,
    plan_preset,
    recompiled,
)
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel, exact_probabilities
from qpu_sdk.errors import ConfigError, MitigationError
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.fock import collision_free_outcomes, occupations
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.helpers import program
from tests.oracles.statistics import chi_square_p

#: So many that sampling errors are below 1e-6.
ENDLESS = 10**16
NOT_FLUKES = (1e-5, 1.0 - 1e-5)


SMALL = program(RectangularMesh(4), 2)
LARGE = program(RectangularMesh(6), 3)


def device_noise(modes: int, **changes: Any) -> Noise:
    values: dict[str, Any] = {"indistinguishability": 0.92, "transmittance": np.full(modes, 0.3)}
    return Noise(**(values | changes))


def truth(p: Program) -> FloatArray:
    [exact] = exact_probabilities(p.mesh.columns(p.phases, p.input_modes)[None], collision_free=True)
    return np.asarray(exact / exact.sum())


def distance(p: FloatArray, q: FloatArray) -> float:
    return float(0.5 * np.abs(p - q).sum())


def run(preset: Preset, p: Program, noise: Noise, *, shots: int, least_clicks: int = 1, seed: int = 1) -> PresetResult:
    plan = plan_preset(preset, p, noise, shots=shots, least_clicks=least_clicks)
    return apply_preset(plan, measure_preset(plan, LocalDevice(seed=seed, model=LocalModel(noise=noise))))


@pytest.mark.parametrize(
    ("modes", "photons", "settings"),
    [(4, 2, [1, 1, 3 * 3, 3 * 5, 1]), (6, 3, [1, 1, 7 * 3, 7 * 5, 1]), (9, 4, [1, 1, 9 * 3, 15 * 5, 1])],
)
def test_number_of_settings(modes: int, photons: int, settings: list[int]) -> None:
    p = program(BrickwallMesh(modes), photons)
    plans = [plan_preset(preset, p, device_noise(modes), shots=10_000) for preset in PRESETS]
    assert [len(plan.settings) for plan in plans] == settings
    assert [sum(s.shots for s in plan.settings) for plan in plans] == [10_000] * len(PRESETS)
    assert len({s.program.fingerprint for s in plans[3].settings}) == settings[3]


def test_shots_are_divided_as_perceval_does() -> None:
    noise = device_noise(6, transmittance=np.array([0.2, 0.3, 0.1, 0.3, 0.3, 0.3]))  # 0.8 / 3 at 0, 2 and 5
    plan = plan_preset("medium", Program(LARGE.mesh, LARGE.phases, (0, 2, 5)), noise, shots=3_000_000)
    weights = np.array([(0.6 / 3) ** (-s.program.photons / 2) for s in plan.settings])
    assert [s.program.input_modes for s in plan.settings[:7]] == [(0, 2, 5), (0,), (2,), (5,), (2, 5), (0, 5), (0, 2)]
    assert [s.shots for s in plan.settings] == pytest.approx(3_000_000 * weights / weights.sum(), abs=2.0)


def test_none_is_post_selection() -> None:
    noise = device_noise(6, g2=0.02, efficiency=np.linspace(0.5, 1.0, 6))
    plan = plan_preset("none", LARGE, noise, shots=100_000)
    counts = measure_preset(plan, LocalDevice(seed=1, model=LocalModel(noise=noise)))
    result = apply_preset(plan, counts)
    assert result.probabilities == pytest.approx(post_select(counts[0]).probabilities, abs=1e-14)
    assert (result.preset, result.settings, result.shots, result.skipped) == ("none", 1, 100_000, "")


@pytest.mark.parametrize(("preset", "left"), [("medium", 0.15), ("high", 1e-4)])
def test_distinguishable_photons_are_corrected(preset: Preset, left: float) -> None:
    raw, mitigated = (run(kind, LARGE, device_noise(6), shots=ENDLESS) for kind in ("none", preset))
    assert distance(raw.probabilities, truth(LARGE)) > 0.015
    assert distance(mitigated.probabilities, truth(LARGE)) < left * distance(raw.probabilities, truth(LARGE))


def test_unequal_detectors_are_balanced() -> None:
    noise = device_noise(6, indistinguishability=1.0, efficiency=np.linspace(0.4, 1.0, 6))
    raw, low = (run(kind, LARGE, noise, shots=ENDLESS) for kind in ("none", "low"))
    assert distance(raw.probabilities, truth(LARGE)) > 0.05
    assert distance(low.probabilities, truth(LARGE)) < 1e-6


def test_compilations_draw_other_errors_of_phases() -> None:
    noise = device_noise(6, indistinguishability=0.999, phase_error=0.2)
    raw, medium = (run(kind, LARGE, noise, shots=ENDLESS) for kind in ("none", "medium"))
    assert distance(medium.probabilities, truth(LARGE)) < distance(raw.probabilities, truth(LARGE))
    one = run("none", recompiled(LARGE, 1), noise, shots=ENDLESS)
    assert distance(one.probabilities, raw.probabilities) > 0.01


@pytest.mark.parametrize("least_clicks", [1, 3])
def test_recycling_is_percevals(least_clicks: int) -> None:
    plan = plan_preset("recycling", LARGE, device_noise(6), shots=100_000, least_clicks=least_clicks)
    counts = measure_preset(plan, LocalDevice(seed=1, model=LocalModel(noise=device_noise(6))))
    result = apply_preset(plan, counts)
    found = photon_recycling(counts[0].to_perceval(), 3)
    ours = occupations(collision_free_outcomes(6, 3), 6).tolist()
    assert result.probabilities == pytest.approx([found[pcvl.BasicState(state)] for state in ours], abs=1e-7)
    assert (plan.settings[0].least_clicks, result.skipped) == (1, "")


def test_recycling_that_did_nothing_is_told() -> None:
    assert "3 photons" in run("recycling", SMALL, device_noise(4), shots=10_000).skipped
    plan = plan_preset("recycling", LARGE, device_noise(6), shots=100)
    full = Counts(photons=3, outcomes=np.array([[1, 1, 1, 0, 0, 0]]), numbers=np.array([100]), detector="threshold")
    result = apply_preset(plan, [full])
    assert result.probabilities[0] == 1.0
    assert "ValueError" in result.skipped


# Against Perceval's own computer


def own_mitigations(preset: Preset) -> list[Any]:
    return [PhotonRecycling()] if preset == "recycling" else list(MitigationFactory(MitigationLevel[preset]).build())


def own_run(preset: Preset, p: Program, noise: Noise, backend: str, command: str, **parameters: Any) -> Any:
    """The whole way through Perceval: its computer, its source, its detectors, its mitigations."""
    known = imperfections_of(noise, p)
    computer = SimulatedComputer(backend)
    computer.noise, computer.mitigations = known.noise, own_mitigations(preset)
    experiment = pcvl.Experiment(p.modes)
    circuit, state = p.to_perceval()
    experiment.add(0, circuit)
    for mode, detector in enumerate(known.detectors):
        experiment.add(mode, detector)
    experiment.with_input(state)
    experiment.min_detected_photons_filter(parameters.pop("least_clicks", 1))
    computation = Computation(computer.get_command(command), experiment)
    computation.add_params(**parameters)
    return computer.execute(computation)["results"]


def collision_free(found: Any, p: Program) -> FloatArray:
    states = occupations(collision_free_outcomes(p.modes, p.photons), p.modes).tolist()
    return np.array([float(found[pcvl.BasicState(state)]) for state in states])


NOISY = {"g2": 0.02, "transmittance": np.full(6, 0.4), "efficiency": np.linspace(0.6, 1.0, 6)}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("least_clicks", [1, 3])
def test_exact_probabilities_of_percevals_computer(preset: Preset, least_clicks: int) -> None:
    noise = device_noise(6, **NOISY)
    ours = run(preset, LARGE, noise, shots=ENDLESS, least_clicks=least_clicks).probabilities
    found = own_run(preset, LARGE, noise, "SLOS", "probs", precision=1e-16, least_clicks=least_clicks)
    theirs = collision_free(found, LARGE)
    assert ours == pytest.approx(theirs / theirs.sum(), abs=1e-5)


def test_counts_of_percevals_computer() -> None:
    """Exact probabilities, mitigated, then drawn by Perceval as whole numbers."""
    pcvl.random_seed(1)
    noise = device_noise(6, **NOISY)
    exact = run("medium", LARGE, noise, shots=ENDLESS, least_clicks=3).probabilities
    numbers = collision_free(
        own_run("medium", LARGE, noise, "SLOS", "sample_count", max_samples=30_000, least_clicks=3), LARGE
    )
    assert numbers.sum() > 5_000
    assert NOT_FLUKES[0] < chi_square_p(numbers, exact * numbers.sum()) < NOT_FLUKES[1]


def test_sampled_runs_of_percevals_computer_are_as_good() -> None:
    """Equal shots, sampled on both sides: the mean distances to the common limit agree."""
    pcvl.random_seed(1)
    noise = device_noise(4, transmittance=np.full(4, 0.5))
    limit = run("medium", SMALL, noise, shots=ENDLESS).probabilities
    shots, repeats = 30_000, 8
    ours = [distance(run("medium", SMALL, noise, shots=shots, seed=s).probabilities, limit) for s in range(repeats)]
    theirs = []
    for _ in range(repeats):
        found = own_run("medium", SMALL, noise, "CliffordClifford2017", "probs", max_samples=shots, max_shots=shots)
        p = collision_free(found, SMALL)
        theirs.append(distance(p / p.sum(), limit))
    spread = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(repeats)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4.5 * spread
    assert max(theirs) < 0.05


# What goes in and what is refused


def test_records_and_number_resolving_detectors() -> None:
    figures = {"Transmittance (%)": 30.0, "HOM (%)": 92.0, "g2 (%)": 2.0}
    identity = Identity("a", "a", 4, (0, 1, 2, 3), "pnr")
    record = vendor_record(figures, identity, utc="2026-03-01T12:00:00Z")
    plan = plan_preset("medium", SMALL, record.noise(), shots=100_000, detector=record.detector)
    told = imperfections_of(plan.noise, SMALL, "pnr")
    assert (told.noise.transmittance, told.noise.indistinguishability, told.noise.g2) == (0.3, 0.92, 0.02)
    device = LocalDevice(seed=1, model=LocalModel(noise=record.noise(), detector="pnr"))
    assert distance(apply_preset(plan, measure_preset(plan, device)).probabilities, truth(SMALL)) < 0.05


def test_overlaps_by_pair_become_one() -> None:
    pairs = np.array([[1.0, 0.9, 0.8], [0.9, 1.0, 0.7], [0.8, 0.7, 1.0]])
    p = program(RectangularMesh(3), 3)
    told = imperfections_of(device_noise(3, indistinguishability=pairs), p)
    assert told.noise.indistinguishability == pytest.approx((0.9 + 0.8 + 0.7) / 3)
    alone = imperfections_of(device_noise(3, indistinguishability=pairs), Program(p.mesh, p.phases, (0,)))
    assert alone.noise.indistinguishability == 1.0


def test_small_jobs_and_one_photon() -> None:
    noise = device_noise(4)
    device = LocalDevice(seed=1, model=LocalModel(noise=noise))
    device.spec = replace(device.spec, max_programs=2)
    plan = plan_preset("high", Program(IsometryMesh(4, 1), np.zeros(3), (0,)), noise, shots=10_000)
    assert apply_preset(plan, measure_preset(plan, device, tag="x")).probabilities.tolist() == pytest.approx(
        [0.0, 0.0, 0.0, 1.0]
    )


def test_what_does_not_fit_is_refused() -> None:
    noise = device_noise(4)
    with pytest.raises(ConfigError, match="preset 'best' is unknown"):
        plan_preset("best", SMALL, noise, shots=100)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"within 1\.\.2"):
        plan_preset("low", SMALL, noise, shots=100, least_clicks=3)
    with pytest.raises(MitigationError, match="does not plan high with 3 shots"):
        plan_preset("high", SMALL, noise, shots=3)
    plan = plan_preset("medium", SMALL, noise, shots=1000)
    counts = measure_preset(plan, LocalDevice(seed=1, model=LocalModel(noise=noise)))
    with pytest.raises(MitigationError, match="8 counts for 9 settings"):
        apply_preset(plan, counts[1:])
    with pytest.raises(MitigationError, match="counts 1 are not of setting 1"):
        apply_preset(plan, [counts[0], counts[2], counts[1], *counts[3:]])
    pnr = measure_preset(plan, LocalDevice(seed=1, model=LocalModel(noise=noise, detector="pnr")))
    with pytest.raises(MitigationError, match="of pnr detectors"):
        apply_preset(plan, pnr)


def test_settings_without_events_are_refused() -> None:
    noise = device_noise(6, transmittance=np.full(6, 0.01))
    plan = plan_preset("medium", LARGE, noise, shots=1000, least_clicks=3)
    counts = measure_preset(plan, LocalDevice(seed=1, model=LocalModel(noise=noise)))
    with pytest.raises(MitigationError, match="no event of 3 clicks or more"):
        apply_preset(plan, counts)
    with pytest.raises(MitigationError, match="no collision-free 3-photon event"):
        run("none", LARGE, noise, shots=100)
