"""Our mitigation inside Perceval's computers, with a stand-in for the pipeline; the computers are Perceval's own."""

from __future__ import annotations

import importlib
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from perceval.providers.quandela import QuandelaCommunicationLayer
from perceval.runtime import ExecutionFactory, RemoteComputer, SimulatedComputer
from perceval.runtime.computation import Computation
from perceval.runtime.error_mitigation import AMitigation, CompilationAveraging, Imperfections
from perceval.serialization import deserialize, serialize

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.known import vendor_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.simulation import exact_probabilities
from qpu_sdk.errors import CalibrationMismatch, ConfigError, MitigationError
from qpu_sdk.mitigation import plug_in
from qpu_sdk.mitigation.distribution import Distribution
from qpu_sdk.mitigation.methods import METHODS
from qpu_sdk.mitigation.plug_in import EXACT_SHOTS, KEY, CalibratedMitigation, apportion
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.counts import Counts, Detector
from qpu_sdk.photonics.fock import collision_free_outcomes, occupations
from qpu_sdk.photonics.program import Program
from tests.oracles.unitaries import haar

UNITARY = haar(4, seed=5)
NOISE = pcvl.NoiseModel(transmittance=0.3)
Call = SimpleNamespace


def record(
    *, modes: int = 4, inputs: tuple[int, ...] = (0, 1, 3), detector: Detector = "threshold"
) -> CalibrationRecord:
    figures = {"Transmittance (%)": 30.0, "HOM (%)": 90.0, "g2 (%)": 2.0}
    return vendor_record(figures, Identity("a", "a", modes, inputs, detector), utc="2026-03-01T12:00:00Z")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Calls of the pipeline; it post-selects."""
    seen: list[Call] = []

    def mitigate(counts: Counts, known: CalibrationRecord, *, program: Program, method: str, seed: int) -> Distribution:
        seen.append(Call(counts=counts, record=known, program=program, method=method, seed=seed))
        return post_select(counts)

    monkeypatch.setattr(plug_in, "mitigate", mitigate)
    return seen


def experiment(*, detectors: bool = True, least: int = 3, more: Any = None) -> Any:
    out = pcvl.Experiment(4)
    out.add(0, pcvl.Unitary(pcvl.Matrix(UNITARY)))
    if more is not None:
        out.add(0, more)
    for mode in range(4 if detectors else 0):
        out.add(mode, pcvl.Detector.threshold())
    out.with_input(pcvl.BasicState([1, 1, 0, 1]))
    out.min_detected_photons_filter(least)
    return out


def computer(*mitigations: AMitigation, backend: str = "SLOS") -> Any:
    out = SimulatedComputer(backend)
    out.noise = NOISE
    out.mitigations = list(mitigations)
    return out


def execute(on: Any, command: str, asked: Any = None, **parameters: int) -> dict[str, Any]:
    computation = Computation(on.get_command(command), asked or experiment())
    computation.add_params(**parameters)
    return dict(on.execute(computation))


def exact() -> FloatArray:
    [p] = exact_probabilities(UNITARY[None, :, [0, 1, 3]], collision_free=True)
    return np.asarray(p / p.sum())


def outcomes(found: Any) -> FloatArray:
    states = occupations(collision_free_outcomes(4, 3), 4).tolist()
    assert set(found) <= {pcvl.BasicState(state) for state in states}
    return np.array([float(found[pcvl.BasicState(state)]) for state in states])


def test_exact_probabilities_go_through(calls: list[Call]) -> None:
    known = record()
    result = execute(computer(CalibratedMitigation(known, method="response", seed=3)), "probs", max_shots=1000)
    [call] = calls
    assert (call.record, call.method, call.seed) == (known, "response", 3)
    assert (call.counts.shots, call.counts.detector, call.counts.photons) == (EXACT_SHOTS, "threshold", 3)
    assert set(call.counts.outcomes.sum(axis=1)) == {1, 2, 3}
    assert call.counts.fingerprint == call.program.fingerprint
    assert call.program.mesh.unitary(call.program.phases) == pytest.approx(UNITARY, abs=1e-12)
    assert outcomes(result["results"]) == pytest.approx(exact(), abs=1e-7)
    assert result[KEY].raw is call.counts
    raw = execute(computer(), "probs")  # three clicks are collision-free here
    assert result["global_perf"] == pytest.approx(raw["global_perf"], rel=1e-6)


def test_rare_events_are_asked_for(calls: list[Call]) -> None:
    """By default Perceval drops at 2 % of transmittance what three detectors see."""
    on = computer(CalibratedMitigation(record(), seed=0))
    on.noise = pcvl.NoiseModel(transmittance=0.02, indistinguishability=0.9, g2=0.02)
    result = execute(on, "probs")
    full = on.probs(experiment(least=1), precision=1e-16)
    share = sum(p for state, p in full["results"].items() if state.n == 3) * full["global_perf"]
    assert result["global_perf"] == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize("backend", ["SLOS", "CliffordClifford2017"])
@pytest.mark.parametrize("command", ["sample_count", "samples"])
def test_samples_go_through(calls: list[Call], backend: str, command: str) -> None:
    pcvl.random_seed(1)
    on = computer(CalibratedMitigation(record(), seed=0), backend=backend)
    result = execute(on, command, max_samples=4000, max_shots=20_000)
    assert calls[0].counts.shots == 20_000
    found = result["results"]
    assert len(found) == 4000 if command == "samples" else found.total() == 4000
    if command == "sample_count":
        expected = apportion(result[KEY].probabilities, 4000)
        assert outcomes(found) == pytest.approx(expected)
    found, truth = result[KEY], exact()  # the sampler takes no seed that all its threads would obey
    assert (np.abs(found.probabilities - truth) < 6.0 * np.sqrt(truth * (1.0 - truth) / found.samples) + 1e-9).all()


def test_sampled_probabilities_have_a_number_of_shots(calls: list[Call]) -> None:
    pcvl.random_seed(1)
    on = computer(CalibratedMitigation(record(), seed=0), backend="CliffordClifford2017")
    execute(on, "probs", max_shots=30_000)
    execute(on, "probs", max_samples=20_000)
    assert [call.counts.shots for call in calls] == [30_000, 20_000]
    [extended] = on.mitigations[0].extend_computation(
        Computation(on.get_command("probs"), experiment()), Imperfections(NOISE, experiment().detectors)
    )
    assert extended.parameters == {"max_samples": plug_in.ASSUMED_SHOTS, "precision": plug_in.PRECISION}


def test_the_users_computation_is_left_alone() -> None:
    on = computer(CalibratedMitigation(record(), seed=0))
    asked = Computation(on.get_command("samples"), experiment())
    asked.add_params(max_samples=10)
    [[extended]] = on.extend_computation(asked)
    assert (asked.command.name, asked.experiment.min_photons_filter) == ("samples", 3)
    assert (extended.command.name, extended.experiment.min_photons_filter) == ("sample_count", 1)
    assert on.get_command("samples").name == "samples"


def test_heralds_and_post_selection_come_afterwards(calls: list[Call]) -> None:
    asked = pcvl.Experiment(4)
    asked.add(0, pcvl.Unitary(pcvl.Matrix(UNITARY)))
    for mode in range(4):
        asked.add(mode, pcvl.Detector.threshold())
    asked.add_herald(3, 1)
    asked.set_postselection(pcvl.PostSelect("[0,1]>0"))
    asked.with_input(pcvl.BasicState([1, 1, 0]))
    asked.min_detected_photons_filter(2)
    result = execute(computer(CalibratedMitigation(record(), seed=0)), "probs", asked)
    assert calls[0].program.input_modes == (0, 1, 3)
    p = exact()[[1, 2, 3]]  # 013, 023, 123
    expected = {pcvl.BasicState(s): v for s, v in zip([[1, 1, 0], [1, 0, 1], [0, 1, 1]], p / p.sum(), strict=True)}
    assert dict(result["results"].items()) == pytest.approx(expected, abs=1e-6)
    assert len(result[KEY].probabilities) == 4


def test_compilations_are_averaged_outside(calls: list[Call]) -> None:
    on = computer(CompilationAveraging(3, 0), CalibratedMitigation(record(), seed=0))
    result = execute(on, "probs", max_shots=300)
    assert [call.counts.shots for call in calls] == [EXACT_SHOTS] * 3
    assert outcomes(result["results"]) == pytest.approx(exact(), abs=1e-6)
    assert isinstance(result[KEY], Distribution)


def test_asynchronous_runs_and_iterations_keep_the_distribution(calls: list[Call]) -> None:
    on = computer(CalibratedMitigation(record(), seed=0))
    asked = experiment(more=pcvl.PS(pcvl.P("phi")))
    factory = ExecutionFactory(on, asked, max_shots_per_call=10**6)
    for phi in (0.1, 0.2):
        factory.add_iteration(circuit_params={"phi": phi})
    execution = factory.probs.execute_async()
    deadline = time.monotonic() + 120
    while not execution.is_complete:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    entries = execution.get_results()["results_list"]
    assert [type(entry[KEY]) for entry in entries] == [Distribution, Distribution]
    assert calls[0].program.fingerprint != calls[1].program.fingerprint


def test_mitigations_can_be_saved() -> None:
    on_disk = serialize([CalibratedMitigation(record(), method=method, seed=3) for method in ("unfold", "auto")])
    for found, method in zip(deserialize(on_disk), ("unfold", "auto"), strict=True):
        assert (type(found), found.record, found.method, found.seed) == (CalibratedMitigation, record(), method, 3)


# Methods, tags and what is refused


def test_every_method_runs_inside_perceval() -> None:
    for method in METHODS:
        mitigation = CalibratedMitigation(record(), method=method, seed=1)
        assert execute(computer(mitigation), "probs", max_shots=10**6)[KEY].method == method
    with pytest.raises(ConfigError, match="method 'unfolded' is unknown; unfold is the nearest"):
        CalibratedMitigation(record(), method="unfolded", seed=1)


def test_loading_the_module_again_is_no_error() -> None:
    before = sorted(AMitigation.KNOWN_MITIGATIONS)
    try:
        again = importlib.reload(plug_in)
        assert again.CalibratedMitigation is not CalibratedMitigation
    finally:
        sys.modules[plug_in.__name__] = plug_in
    assert sorted(AMitigation.KNOWN_MITIGATIONS) == before
    assert not CalibratedMitigation(record(), seed=0).is_known_from(before)


def test_a_record_of_another_device_is_refused() -> None:
    for known, message in (
        (record(inputs=(0, 1)), "sources at"),
        (record(modes=3, inputs=(0, 1, 2)), "of 3 modes"),
        (record(detector="pnr"), "the computer has threshold detectors"),
    ):
        with pytest.raises(CalibrationMismatch, match=message):
            execute(computer(CalibratedMitigation(known, seed=0)), "probs", max_shots=1000)
    with pytest.raises(CalibrationMismatch, match="the computer has pnr detectors"):
        execute(computer(CalibratedMitigation(record(), seed=0)), "probs", experiment(detectors=False), max_shots=10)
    mixed = experiment(detectors=False)
    mixed.add(0, pcvl.Detector.ppnr(4))
    with pytest.raises(CalibrationMismatch, match="some detectors are ppnr:4"):
        execute(computer(CalibratedMitigation(record(), seed=0)), "probs", mixed, max_shots=10)


def test_what_is_no_program_is_refused() -> None:
    bunched = experiment()
    bunched.with_input(pcvl.BasicState([2, 0, 0, 1]))
    lossy = experiment(more=pcvl.LC(0.1))
    symbolic = experiment(more=pcvl.PS(pcvl.P("phi")))
    for asked, message in ((bunched, "2 photons enter"), (lossy, "lose photons"), (symbolic, "no value")):
        with pytest.raises(MitigationError, match=message):
            execute(computer(CalibratedMitigation(record(), seed=0)), "probs", asked, max_shots=10)


def test_no_event_is_refused(calls: list[Call]) -> None:
    mitigation = CalibratedMitigation(record(), seed=0)
    on = computer(mitigation)
    computation = Computation(on.get_command("probs"), experiment())
    with pytest.raises(MitigationError, match="no event with a click"):
        on.post_process(
            computation,
            [{"results": pcvl.BSDistribution(), "global_perf": 0.0}],
            Imperfections(NOISE, experiment().detectors),
        )


# On a remote computer


def test_on_a_remote_computer_it_runs_on_this_side(calls: list[Call]) -> None:
    pytest.importorskip("uvicorn")
    from qpu_sdk.emulator.server import EmulatedCloud
    from qpu_sdk.emulator.settings import CloudSettings
    from qpu_sdk.photonics.noise import Noise

    settings = CloudSettings(seed=7, noise=Noise(transmittance=0.3), time_scale=1e5, platforms=("qpu:belenos",))
    with EmulatedCloud(settings) as cloud:
        on = RemoteComputer(QuandelaCommunicationLayer("qpu:belenos", token="any", url=cloud.url))
        modes = on.specs.architecture.circuit_size
        on.mitigations = [CalibratedMitigation(record(modes=modes), seed=0)]
        factory = ExecutionFactory(on, experiment(detectors=False), max_shots_per_call=200_000)
        execution = deserialize(serialize(factory.sample_count.execute_async(200_000)))
        deadline = time.monotonic() + 120
        while not execution.is_complete:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        result = execution.get_results()
        [job] = cloud.jobs
    [call] = calls
    assert call.counts.shots > 100_000
    assert set(call.counts.outcomes.sum(axis=1)) == {1, 2, 3}
    assert result["results"].total() == 200_000
    assert result[KEY].probabilities == pytest.approx(exact(), abs=0.03)
    assert job["status"] == "completed"
