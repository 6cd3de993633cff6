"""Perceval is the oracle of what is sent; what a provider says about a platform is read without trusting it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perceval.runtime import CommandFactory, PayloadGenerator
from perceval.runtime.legacy.parameter_iterator import ParameterIterator
from perceval.runtime.platform_specs import PlatformSpecs, serialize_specs_backward_compatibility
from perceval.serialization import deserialize, serialize

from qpu_sdk.arrays import ComplexArray
from qpu_sdk.devices.cloud.payload import RECYCLING, PlatformDetails, common_mesh, encode_payload
from qpu_sdk.errors import DeviceUnavailable
from qpu_sdk.photonics.decomposition import embed
from qpu_sdk.photonics.interferometer import Mesh
from qpu_sdk.photonics.meshes import BrickwallMesh, IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program
from tests.helpers import program as program_in

#: What Perceval makes of one program: unitary, input state, filter, max_shots, max_samples.
Understood = list[tuple[ComplexArray, list[int], int, int, int]]


def platform(version: int, *, parameters: Sequence[str] = (), command: str = "sample_count") -> PlatformDetails:
    specs: dict[str, Any] = {"available_commands": [command], "parameters": dict.fromkeys(parameters, "words")}
    return PlatformDetails.of("qpu:x", {"specs": specs | ({"commands": ""} if version == 2 else {})})


def program(mesh: Mesh, seed: int, inputs: tuple[int, ...] = (0, 1)) -> Program:
    return program_in(mesh, inputs, seed, within=(-20.0, 20.0))


ONE_MESH = [program(RectangularMesh(3), s, inputs) for s, inputs in enumerate([(0, 1), (0, 2), (1,), (0, 1, 2)])]
CASES = {
    "one program": ONE_MESH[:1],
    "one mesh": ONE_MESH,
    "isometry": [program(IsometryMesh(5, 2), s) for s in range(3)],
    "unwired phases": [program(BrickwallMesh(4), s, (0, 3)) for s in range(3)],
    "mixed meshes": [program(RectangularMesh(4), 1), program(BrickwallMesh(4), 2), program(IsometryMesh(4, 2), 3)],
    "mixed sizes": [program(IsometryMesh(2, 1), 1, (0,)), program(RectangularMesh(5), 2), program(BrickwallMesh(3), 3)],
    "the same twice": [ONE_MESH[0], ONE_MESH[0]],
}


def body_of(
    programs: Sequence[Program], to: PlatformDetails, *, shots: int = 700, name: str = "a/b-1"
) -> dict[str, Any]:
    body, _ = encode_payload(programs, shots=shots, name=name, platform=to)
    sent: dict[str, Any] = json.loads(json.dumps(body))
    return sent


def read_v1(payload: dict[str, Any]) -> Understood:
    p = deserialize(payload, strict=False)
    return [
        (
            np.asarray(d.experiment.unitary_circuit().compute_unitary()),
            list(d.experiment.input_state),
            d.experiment.min_photons_filter,
            d.max_shots,
            d.max_samples,
        )
        for d in ParameterIterator.from_payload(p)
    ]


def read_v2(payload: dict[str, Any]) -> Understood:
    p = {k: deserialize(v) if isinstance(v, str) and v.startswith("pcvlar") else v for k, v in payload.items()}
    return [
        (
            np.asarray(c.experiment.unitary_circuit().compute_unitary()),
            list(c.experiment.input_state),
            c.experiment.min_photons_filter,
            c.parameters["max_shots"],
            c.parameters["max_samples"],
        )
        for c in PayloadGenerator.get_computation(p)
    ]


# -- what Perceval understands ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("version", [1, 2])
def test_perceval_reads_the_programs_that_were_meant(version: int, case: str) -> None:
    programs = CASES[case]
    payload = body_of(programs, platform(version))["payload"]
    found = read_v1(payload) if version == 1 else read_v2(payload)
    modes = max(p.modes for p in programs)
    assert len(found) == len(programs)
    for p, (unitary, state, least, shots, samples) in zip(programs, found, strict=True):
        np.testing.assert_allclose(unitary, embed(p.mesh.unitary(p.phases), modes), atol=1e-9)
        assert state == [*p.input_state, *[0] * (modes - p.modes)]
        assert (least, shots, samples) == (1, 700, 700)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("command", ["sample_count", "samples"])
def test_command_is_the_one_the_platform_offers(version: int, command: str) -> None:
    payload = body_of(ONE_MESH, platform(version, command=command))["payload"]
    assert (payload["command"], payload["max_shots"], payload["max_samples"]) == (command, 700, 700)
    assert not payload.get("job_context")
    if version == 2:
        assert deserialize(payload["computation"]).command.name == command


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("listed", [(), (RECYCLING,), ("min_detected_photons",), (RECYCLING, "other")])
def test_nothing_is_mitigated(version: int, listed: tuple[str, ...]) -> None:
    payload = body_of(ONE_MESH, platform(version, parameters=listed))["payload"]
    parameters = payload.get("parameters")
    if version == 2:
        assert deserialize(payload["mitigations"]) == []
        parameters = deserialize(parameters) if parameters is not None else None
    else:
        assert "mitigations" not in payload
    assert (parameters or {}) == ({RECYCLING: False} if RECYCLING in listed else {})


@pytest.mark.parametrize("version", [1, 2])
def test_noise_is_that_of_the_machine(version: int) -> None:
    payload = body_of(ONE_MESH, platform(version))["payload"]
    if version == 1:
        assert deserialize(payload["experiment"]).noise is None
    else:
        assert deserialize(payload["computation"]).experiment.noise is None
        assert "noise" not in payload or deserialize(payload["noise"]) is None


@pytest.mark.parametrize("version", [1, 2])
def test_envelope_names_the_job_and_the_platform(version: int) -> None:
    body = body_of(ONE_MESH, platform(version))
    assert (body["job_name"], body["platform_name"], body["job_group_name"]) == ("a/b-1", "qpu:x", None)
    assert body["pcvl_version"].startswith("1.3")
    assert set(body) == {"job_name", "platform_name", "job_group_name", "pcvl_version", "process_id", "payload"}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("version", [1, 2])
def test_equal_programs_make_equal_bodies(version: int, case: str) -> None:
    first, again = (body_of(CASES[case], platform(version)) for _ in range(2))
    del first["process_id"], again["process_id"]
    assert json.dumps(first) == json.dumps(again)


@pytest.mark.parametrize("version", [1, 2])
def test_iterations_are_remembered_as_they_were_sent(version: int) -> None:
    body, sent = encode_payload(ONE_MESH, shots=700, name="n", platform=platform(version))
    assert sent.programs == tuple(ONE_MESH)
    if version == 1:
        in_body = [i["input_state"].removeprefix(":PCVL:BasicState:") for i in body["payload"]["iterator"]]
        phases = [i["circuit_params"] for i in body["payload"]["iterator"]]
    else:
        iterations = deserialize(body["payload"]["computation"]).iterations
        in_body, phases = [str(i["input_state"]) for i in iterations], [i["circuit_params"] for i in iterations]
    assert [i["input_state"] for i in sent.iterations] == in_body
    assert [i["circuit_params"] for i in sent.iterations] == phases


@settings(max_examples=15)
@given(st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=9), st.sampled_from([1, 2]))
def test_phases_arrive_exactly(phases: list[float], version: int) -> None:
    mesh = RectangularMesh(3)
    payload = body_of([Program(mesh, np.array(phases), (0, 2))], platform(version))["payload"]
    if version == 1:
        (iteration,) = payload["iterator"]
    else:
        (iteration,) = deserialize(payload["computation"]).iterations
    assert iteration["circuit_params"] == {f"phi{i}": x for i, x in enumerate(phases)}


def test_an_archive_is_what_perceval_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = []
    for _ in range(2):
        bodies.append(body_of([*ONE_MESH, *ONE_MESH], platform(2)) | {"process_id": None})
        monkeypatch.setattr("qpu_sdk.devices.cloud.payload._Places", list)  # what Perceval uses
    assert json.dumps(bodies[0]) == json.dumps(bodies[1])


@pytest.mark.parametrize("version", [1, 2])
def test_many_settings_take_as_many_times_longer(version: int) -> None:
    def seconds(settings: int) -> float:
        programs = [program(IsometryMesh(6, 2), seed) for seed in range(settings)]
        least = math.inf
        for _ in range(3):
            begun = time.process_time()
            encode_payload(programs, shots=10, name="n", platform=platform(version))
            least = min(least, time.process_time() - begun)
        return least

    few, many = seconds(100), seconds(800)  # 8 times as many; each looked up among all before it would be 64
    assert many < 25 * few


# -- one mesh for all ------------------------------------------------------------------------------------------


def test_programs_on_one_mesh_keep_it() -> None:
    mesh, phases = common_mesh(CASES["isometry"])
    assert mesh == IsometryMesh(5, 2)
    assert all(x is p.phases for x, p in zip(phases, CASES["isometry"], strict=True))


@pytest.mark.parametrize("case", ["mixed meshes", "mixed sizes"])
def test_programs_on_several_meshes_go_on_the_universal_one(case: str) -> None:
    programs = CASES[case]
    mesh, phases = common_mesh(programs)
    assert mesh == RectangularMesh(max(p.modes for p in programs))
    for p, own in zip(programs, phases, strict=True):
        np.testing.assert_allclose(mesh.unitary(own), embed(p.mesh.unitary(p.phases), mesh.modes), atol=1e-10)


# -- platforms -------------------------------------------------------------------------------------------------

LEAST: dict[str, Any] = {"specs": {"available_commands": ["sample_count"]}}


def details(**specs: Any) -> dict[str, Any]:
    return {"specs": LEAST["specs"] | specs}


def test_little_is_enough() -> None:
    p = PlatformDetails.of("p", LEAST)
    assert (p.name, p.status, p.simulated, p.detector, p.command, p.version) == (
        "p", "", True, "pnr", "sample_count", 1,
    )  # fmt: skip
    assert (p.max_modes, p.max_photons, p.max_shots) == (64, 16, None)
    assert (p.parameters, p.performance) == (frozenset(), {})


def test_everything_is_read() -> None:
    specs = PlatformSpecs()
    specs.commands = [CommandFactory.samples, CommandFactory.sample_count]
    specs.parameters = {RECYCLING: "words", "final_mode_number": "words"}
    specs.constraints = {"max_mode_count": 24, "max_photon_count": 12, "max_sample_count": 5000}
    answer = {
        "id": "1",
        "name": "other",
        "type": "QPU",
        "status": "Maintenance",
        "perfs": {"HOM (%)": 92.0},
        "specs": json.loads(json.dumps(serialize_specs_backward_compatibility(specs))),
    }
    assert PlatformDetails.of("p", answer) == PlatformDetails(
        name="p",
        status="maintenance",
        simulated=False,
        max_modes=24,
        max_photons=12,
        max_shots=5000,
        detector="threshold",
        command="sample_count",
        version=2,
        parameters=frozenset({RECYCLING, "final_mode_number"}),
        performance={"HOM (%)": 92.0},
    )


@pytest.mark.parametrize(
    ("commands", "chosen"), [(["samples"], "samples"), (["probs", "samples", "sample_count"], "sample_count")]
)
def test_counts_are_preferred_to_samples(commands: list[str], chosen: str) -> None:
    assert PlatformDetails.of("p", {"specs": {"available_commands": commands}}).command == chosen


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"specs": None},
        {"specs": []},
        {"specs": "text"},
        {"specs": {}},
        {"specs": {"available_commands": None}},
        {"specs": {"available_commands": []}},
        {"specs": {"available_commands": ["probs"]}},
        {"specs": {"available_commands": "samples"}},
        {"specs": {"commands": None}},
        {"specs": {"commands": "pcvlar:zip:AAAA"}},
    ],
)
def test_platform_that_cannot_sample_is_unavailable(answer: dict[str, Any]) -> None:
    with pytest.raises(DeviceUnavailable, match=r"^p offers no sampling command .* Choose another device"):
        PlatformDetails.of("p", answer)


def test_message_lists_the_commands_there_are() -> None:
    with pytest.raises(DeviceUnavailable, match=r"\(its commands: a, probs\)"):
        PlatformDetails.of("p", {"specs": {"available_commands": ["probs", "a"]}})


@pytest.mark.parametrize("value", [None, True, False, 0, -3, "24", 24.5, [], {}])
def test_limits_that_are_none_are_defaults(value: object) -> None:
    limits = {"max_mode_count": value, "max_photon_count": value, "max_sample_count": value}
    p = PlatformDetails.of("p", details(constraints=limits))
    assert (p.max_modes, p.max_photons, p.max_shots) == (64, 16, None)


@pytest.mark.parametrize("value", [None, True, 3, "text", []])
def test_constraints_that_are_none_are_defaults(value: object) -> None:
    assert PlatformDetails.of("p", details(constraints=value)).max_modes == 64


@pytest.mark.parametrize("value", [None, True, 3, "use_photon_recycling", 1.5])
def test_parameters_that_are_none_are_none(value: object) -> None:
    assert PlatformDetails.of("p", details(parameters=value)).parameters == frozenset()


def test_parameters_may_be_a_list() -> None:
    assert RECYCLING in PlatformDetails.of("p", details(parameters=[RECYCLING, {"a": 1}, None])).parameters


@pytest.mark.parametrize("value", [None, 3, [], "text"])
def test_performance_that_is_none_is_empty(value: object) -> None:
    assert PlatformDetails.of("p", LEAST | {"perfs": value}).performance == {}


# -- detectors -------------------------------------------------------------------------------------------------


def architecture(detector: Any, *, compress: bool = True) -> str:
    experiment = pcvl.Experiment(RectangularMesh(3).to_perceval(None))
    experiment.noise = pcvl.NoiseModel(transmittance=0.1)
    experiment.with_input(pcvl.BasicState([1, 0, 1]))
    for mode in range(3 if detector is not None else 0):
        experiment.add(mode, detector)
    text: str = serialize(experiment, compress=compress)
    return text


@pytest.mark.parametrize("kind", ["qpu", "simulator"])
@pytest.mark.parametrize(
    ("detector", "wanted"),
    [
        (pcvl.Detector.threshold(), "threshold"),
        (pcvl.Detector.pnr(), "pnr"),
        (pcvl.Detector.ppnr(4), "ppnr:4"),
        (pcvl.BSLayeredPPNR(2), "pnr"),
    ],
)
def test_architecture_says_what_the_detectors_resolve(detector: Any, wanted: str, kind: str) -> None:
    for compress in (True, False):
        text = architecture(detector, compress=compress)
        assert PlatformDetails.of("p", details(architecture=text) | {"type": kind}).detector == wanted


@pytest.mark.parametrize(("kind", "wanted"), [("qpu", "threshold"), ("simulator", "pnr")])
def test_an_architecture_without_detectors_says_nothing(kind: str, wanted: str) -> None:
    assert PlatformDetails.of("p", details(architecture=architecture(None)) | {"type": kind}).detector == wanted


@pytest.mark.parametrize(("kind", "wanted"), [("qpu", "threshold"), ("simulator", "pnr")])
@pytest.mark.parametrize(
    "text",
    [
        None,
        3,
        "",
        ":PCVL:Experiment:AAAA",
        ":PCVL:Experiment:é",
        ":PCVL:zip:AAAA",
        ":PCVL:BasicState:|1,0>",
        serialize(pcvl.Circuit(2) // pcvl.BS()),
        "pcvlar 0 1 0 list 0",
    ],
)
def test_without_a_readable_architecture_only_a_simulator_resolves(text: object, kind: str, wanted: str) -> None:
    assert PlatformDetails.of("p", details(architecture=text) | {"type": kind}).detector == wanted


@pytest.mark.parametrize(("word", "wanted"), [("threshold", "threshold"), ("Threshold", "threshold"), ("pnr", "pnr")])
def test_older_platforms_name_their_detector(word: str, wanted: str) -> None:
    assert PlatformDetails.of("p", details(detector=word) | {"type": "qpu"}).detector == wanted


# -- anything else ---------------------------------------------------------------------------------------------

TEXTS = st.sampled_from(
    ["samples", "sample_count", ":PCVL:Experiment:", ":PCVL:Experiment:CAM=", "pcvlar:zip:AAAA", ":PCVL:zip:é", "qpu"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ODD = dict.fromkeys(("commands", "constraints", "parameters", "architecture", "detector", "type"), JSON)
SAMPLES = st.fixed_dictionaries({"available_commands": st.just(["samples"])}, optional=ODD)
SPECS = SAMPLES | SAMPLES | st.fixed_dictionaries({}, optional={"available_commands": JSON, **ODD}) | JSON
DETAILS = st.fixed_dictionaries({"specs": SPECS}, optional=dict.fromkeys(("type", "status", "perfs"), JSON))


@settings(max_examples=300)
@given(DETAILS | st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_no_details_do_harm(answer: dict[str, Any]) -> None:
    try:
        found = PlatformDetails.of("p", answer)
    except DeviceUnavailable:
        return
    assert found.max_modes > 0
    assert found.max_photons > 0
    assert found.detector in ("pnr", "threshold")
    assert found.command in ("samples", "sample_count")


def test_words_of_a_platform_are_bounded_and_harmless() -> None:
    odd = "\x1b[2J\n\ud800" + "x" * 10_000
    specs = {"available_commands": ["sample_count"], "architecture": odd}
    perfs = {"HOM (%)": 82.7, odd: odd, "deep": [[odd]]} | {str(i): i for i in range(10_000)}
    found = PlatformDetails.of("p", {"specs": specs, "perfs": perfs})
    assert found.performance["HOM (%)"] == 82.7
    assert len(found.performance) <= 200
    assert all(key.isprintable() and len(key) <= 80 for key in found.performance)
    assert all(str(value).isprintable() and len(str(value)) <= 300 for value in found.performance.values())
    assert len(found.architecture_hash) == 64
    with pytest.raises(DeviceUnavailable) as caught:
        PlatformDetails.of("p", {"specs": {"available_commands": [odd, odd + "y"]}})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
