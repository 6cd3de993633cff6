"""Texts that would run code, fill the memory or never end are refused before Perceval sees them; its own are read."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
import requests
import responses
from hypothesis import given, settings
from hypothesis import strategies as st
from perceval.components import FFCircuitProvider, FFConfigurator
from perceval.runtime import CommandFactory, Computation, ComputationIterator, PayloadGenerator
from perceval.serialization import OutputArchive, Serialization, deserialize, serialize
from perceval.serialization.deserialize import pb

import qpu_sdk
from qpu_sdk.devices.cloud.decoding import HARDWARE_KINDS, UnusableAnswer, perceval_object
from qpu_sdk.devices.cloud.payload import PlatformDetails, encode_payload
from qpu_sdk.devices.counts_files import load_counts
from qpu_sdk.devices.perceval_archives import ARCHIVE
from qpu_sdk.devices.perceval_checks import Limits, UnreadableText, check_formula, check_iteration
from qpu_sdk.devices.perceval_texts import hardware, read, read_tree, unpack, written
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import DataError, DeviceError
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.photonics.turns import LOCK
from tests.oracles.unitaries import haar

EXPERIMENT = frozenset({"Experiment"})
COUNTS = frozenset({"BSCount", "BSSamples"})
COMPUTATION = frozenset(
    {ARCHIVE, "ComputationIterator", "Computation", "Command", "Experiment", "FockState", "NoiseModel", "PostSelect"}
)
Spoil = Callable[[str], Any]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[str]:
    """An expression that leaves a file behind when it is evaluated; none may be there at the end."""
    mark = tmp_path / "ran"
    yield f"__import__('os').system('touch {mark}')"
    assert not mark.exists()


def text_of(message: Any, kind: str = "Experiment", *, packed: bool = False) -> str:
    text = f":PCVL:{kind}:" + base64.b64encode(message.SerializeToString()).decode()
    return zipped(text) if packed else text


def zipped(text: str, prefix: str = ":PCVL:zip:") -> str:
    return prefix + base64.b64encode(zlib.compress(text.encode())).decode()


def archive_of(thing: object) -> str:
    out = OutputArchive()
    Serialization.serialize(thing, out)
    text: str = out.to_text()
    return text


def experiment_of(**component: Any) -> Any:
    return pb.Experiment(n_mode=2, components=[pb.Component(n_mode=2, **component)])


def in_circuit(parameter: Any, levels: int = 1) -> Any:
    inner = pb.Component(n_mode=1, phase_shifter=pb.PhaseShifter(phi=parameter))
    for _ in range(levels):
        inner = pb.Component(n_mode=2, circuit=pb.Circuit(n_mode=2, components=[inner]))
    return pb.Experiment(n_mode=2, components=[inner])


def evil(expression: str) -> Any:
    return pb.Parameter(expression=expression)


def named(expression: str) -> Any:
    return pb.Parameter(expression="a", name=expression, expr_parameters=[pb.Parameter(symbol="a")])


def provider(component: Any) -> Any:
    experiment = pb.Experiment(n_mode=2, components=[component])
    chosen = {"|1>": pb.CircuitOrExperiment(experiment=experiment)}
    default = pb.Circuit(n_mode=2)
    return experiment_of(ff_circuit_provider=pb.FFCircuitProvider(offset=0, circuit=default, config_circ=chosen))


PLACES: dict[str, Spoil] = {
    "phase": lambda e: experiment_of(phase_shifter=pb.PhaseShifter(phi=evil(e))),
    "error": lambda e: experiment_of(phase_shifter=pb.PhaseShifter(phi=pb.Parameter(real_value=1), max_error=evil(e))),
    **{
        field: lambda e, field=field: experiment_of(beam_splitter=pb.BeamSplitter(**{field: evil(e)}))  # type: ignore[misc]
        for field in ("theta", "phi_tl", "phi_bl", "phi_tr", "phi_br")
    },
    "name": lambda e: experiment_of(phase_shifter=pb.PhaseShifter(phi=named(e))),
    "symbol": lambda e: experiment_of(phase_shifter=pb.PhaseShifter(phi=pb.Parameter(symbol=e))),
    "inner symbol": lambda e: in_circuit(
        pb.Parameter(expression="a", name="a", expr_parameters=[pb.Parameter(symbol=e)])
    ),
    "inner expression": lambda e: in_circuit(pb.Parameter(expression="a", name="a", expr_parameters=[evil(e)])),
    "plate": lambda e: experiment_of(wave_plate=pb.WavePlate(delta=evil(e))),
    "quarter": lambda e: experiment_of(quarter_wave_plate=pb.WavePlate(xsi=evil(e))),
    "rotator": lambda e: experiment_of(polarization_rotator=pb.PolarizationRotator(delta=evil(e))),
    "delay": lambda e: experiment_of(time_delay=pb.TimeDelay(dt=evil(e))),
    "loss": lambda e: experiment_of(loss_channel=pb.LossChannel(loss=evil(e))),
    "matrix": lambda e: experiment_of(
        unitary=pb.Unitary(mat=pb.Matrix(rows=1, cols=1, symbolic=pb.MatrixSymbolic(data=[evil(e)])))
    ),
    "circuit in circuit": lambda e: in_circuit(evil(e), levels=4),
    "configurator": lambda e: experiment_of(
        ff_configurator=pb.FFConfigurator(
            controlled_circuit=pb.Circuit(n_mode=2, components=in_circuit(evil(e)).components)
        )
    ),
    "provider": lambda e: provider(in_circuit(evil(e)).components[0]),
    "state": lambda e: pb.Experiment(n_mode=1, input_state=f":PCVL:BasicState:|{{P:{e}}}>"),
    "selection": lambda e: pb.Experiment(n_mode=1, post_select=f":PCVL:PostSelect:{e}"),
    "noise": lambda e: pb.Experiment(n_mode=1, noise_model=":PCVL:NoiseModel:" + json.dumps({"g2": e})),
    "noise as experiment": lambda e: pb.Experiment(n_mode=1, noise_model=text_of(in_circuit(evil(e)))),
    "state as archive": lambda e: pb.Experiment(n_mode=1, input_state=experiment_archive(in_circuit(evil(e)))),
}


def experiment_archive(message: Any) -> str:
    """A version 2 payload around this experiment."""
    good = pcvl.Experiment(2)
    computation = Computation(CommandFactory.sample_count, good)
    computation.add_params(max_samples=10, max_shots=10)
    text = archive_of(ComputationIterator(computation))
    own = base64.b64encode(pb_of(good).SerializeToString()).decode()
    body = base64.b64encode(message.SerializeToString()).decode()
    assert own in text
    return text.replace(f"Experiment {len(own)} {own}", f"Experiment {len(body)} {body}")


def pb_of(experiment: Any) -> Any:
    message = pb.Experiment()
    message.ParseFromString(base64.b64decode(serialize(experiment, compress=False).split(":", 3)[3]))
    return message


# -- code -----------------------------------------------------------------------------------------------------------


def test_perceval_itself_runs_what_is_refused_here(tmp_path: Path) -> None:
    """Otherwise the other tests show nothing."""
    mark = tmp_path / "ran"
    text = text_of(PLACES["phase"](f"__import__('os').system('touch {mark}')"))
    deserialize(text)
    assert mark.exists()


@pytest.mark.parametrize("place", PLACES)
def test_no_expression_runs_anything(place: str, canary: str) -> None:
    message = PLACES[place](canary)
    for text in (text_of(message), text_of(message, packed=True)):
        with pytest.raises(UnreadableText) as caught:
            read(text, EXPERIMENT)
        assert "\n" not in str(caught.value)
        with pytest.raises(UnreadableText):
            read_tree({"experiment": text, "iterator": [{"max_shots": 1}]}, EXPERIMENT)
    packed = experiment_archive(message)
    for form in (packed, zipped(packed.removeprefix(ARCHIVE), f"{ARCHIVE}:zip:")):
        with pytest.raises(UnreadableText):
            read(form, COMPUTATION)
        with pytest.raises(UnreadableText):
            read_tree({"computation": form}, COMPUTATION)


@pytest.mark.parametrize("place", PLACES)
def test_an_architecture_runs_nothing(place: str, canary: str) -> None:
    message = PLACES[place](canary)
    message.detectors[0].CopyFrom(pb.IDetector(detector=pb.Detector(n_wires=1)))
    found = perceval_object(text_of(message), HARDWARE_KINDS)
    assert found.m == message.n_mode
    assert [d is not None for d in found.detectors] == [True] + [False] * (found.m - 1)


def test_circuits_are_read_like_experiments(canary: str) -> None:
    good = pcvl.Circuit(2) // pcvl.BS() // pcvl.PS(pcvl.P("a"))
    assert serialize(read(serialize(good), frozenset({"ACircuit"}))) == serialize(good)
    bad = pb.Circuit(n_mode=2, components=PLACES["phase"](canary).components)
    with pytest.raises(UnreadableText, match="expression"):
        read(text_of(bad, "ACircuit"), frozenset({"ACircuit"}))


def test_the_name_of_a_value_is_dropped_when_it_is_a_formula(canary: str) -> None:
    found = read(text_of(in_circuit(pb.Parameter(real_value=0.5, name=canary))), EXPERIMENT)
    assert not found.get_circuit_parameters()
    np.testing.assert_allclose(np.diag(found.unitary_circuit().compute_unitary()), [np.exp(0.5j), 1])


@pytest.mark.parametrize(
    "expression",
    [
        "a.real",
        "a()",
        "sin(a)",
        "[a]",
        "a if a else a",
        "a and a",
        "lambda: a",
        "(a := 2)",
        "b",
        "__class__",
        "'a'",
        "1j",
        "True",
        "1e300",
        "9**9**9",
        "(((9**9)**9)**9)**9",
        "9**99",
        "a**a",
        "a!",
        "a % 2",
        "a // 2",
        "a << 99",
        "a;a",
        "a\na",
        "a #",
        "\uff41",
        "",
        " ",
        "(" * 100 + "a" + ")" * 100,
        "(" * 90 + "a",
        "-" * 150 + "a",
        "+a" * 90,
        "a" * 201,
        "\ud800",
    ],
)
def test_only_plain_arithmetic_is_an_expression(expression: str) -> None:
    with pytest.raises(UnreadableText, match="no plain arithmetic"):
        check_formula(expression, {"a"})


@pytest.mark.parametrize("formula", ["2*a", "a + b/3 - 0.5", "-(a)", "a**2 + b", "pi*a - pi/2", "a**-1"])
def test_plain_arithmetic_means_what_perceval_makes_of_it(formula: str) -> None:
    a, b = pcvl.P("a"), pcvl.P("b")
    used = {p for p in (a, b) if p.name in formula}
    if "pi" in formula:
        parameter = pb.Parameter(expression="pi/4")
        assert read(text_of(in_circuit(parameter)), EXPERIMENT).m == 2
        return
    circuit = pcvl.Circuit(2) // pcvl.PS(pcvl.Expression(formula, used))
    again = read(serialize(pcvl.Experiment(circuit)), EXPERIMENT)
    parameters = again.get_circuit_parameters()
    assert set(parameters) == {p.name for p in used}
    for name, p in parameters.items():
        p.set_value({"a": 0.7, "b": 1.1}[name])
    expected = eval(formula, {}, {"a": 0.7, "b": 1.1})
    np.testing.assert_allclose(again.unitary_circuit().compute_unitary()[0, 0], np.exp(1j * expected))


@pytest.mark.parametrize("name", ["a:999999999", "a b", "a,b", "a(1:3)", "1a", "", "a-b", "a" * 65, "a.b", "\x1b[2J"])
def test_names_are_words(name: str) -> None:
    with pytest.raises(UnreadableText) as caught:
        read(text_of(in_circuit(pb.Parameter(symbol=name))), EXPERIMENT)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "iteration",
    [
        {"circuit_params": {"phi": "__import__('os').system('true')"}},
        {"circuit_params": {"phi": [1]}},
        {"circuit_params": {"phi": True}},
        {"circuit_params": {"phi": float("nan")}},
        {"circuit_params": {"phi": float("inf")}},
        {"circuit_params": {"phi": 10**400}},
        {"circuit_params": {3: 1.0}},
        {"circuit_params": "phi"},
        {"circuit_params": [1]},
        {"postselect": "[0]==1"},
        {"input_state": "|1,0>"},
        {"input_state": [1, 0]},
        {"noise": {"g2": "1"}},
        {"min_detected_photons": "1"},
        {3: 1},
        [],
        "x",
        None,
    ],
)
def test_an_iteration_holds_numbers(iteration: object) -> None:
    with pytest.raises(UnreadableText) as caught:
        check_iteration(iteration)
    assert "\n" not in str(caught.value)


# -- places ---------------------------------------------------------------------------------------------------------


def placed(**fields: Any) -> Any:
    return pb.Experiment(n_mode=2, **fields)


def component(**fields: Any) -> Any:
    return placed(components=[pb.Component(**fields)])


def configurator(offset: int, size: int = 1) -> Any:
    inner = pb.FFConfigurator(offset=offset, controlled_circuit=pb.Circuit(n_mode=size))
    return pb.Experiment(n_mode=4, components=[pb.Component(starting_mode=1, n_mode=1, ff_configurator=inner)])


@pytest.mark.parametrize(
    "message",
    [
        placed(post_select=":PCVL:PostSelect:[2]==1"),
        placed(post_select=":PCVL:PostSelect:[0,99999999]>=0"),
        placed(post_select=":PCVL:PostSelect:[0, 1 2]>=0"),
        placed(post_select=":PCVL:PostSelect:[0]>=99999999999999999999"),
        placed(input_state=":PCVL:StateVector:(1,0)*|1,0>+(1,0)*|1,0,0>"),
        placed(input_ports={2: pb.APort(port=pb.Port(name="a"))}),
        placed(output_ports={-1: pb.APort(port=pb.Port(name="a"))}),
        placed(output_ports={0: pb.APort(herald=pb.Herald(value=-1))}),
        placed(detectors={2: pb.IDetector(detector=pb.Detector(name="a"))}),
        component(starting_mode=-1, n_mode=1, barrier=pb.Barrier()),
        component(starting_mode=2, n_mode=1, barrier=pb.Barrier()),
        component(n_mode=3, barrier=pb.Barrier()),
        component(n_mode=1, circuit=pb.Circuit(n_mode=3)),
        component(n_mode=2, permutation=pb.Permutation(permutations=[0, 2])),
        component(n_mode=2, circuit=pb.Circuit(n_mode=2, components=[pb.Component(starting_mode=1, n_mode=2)])),
        configurator(2),
        configurator(0, size=3),
        configurator(-2),
    ],
)
def test_every_mode_is_one_of_its_circuit(message: Any) -> None:
    with pytest.raises(UnreadableText, match=r"modes|digits|value") as caught:
        read(text_of(message), EXPERIMENT)
    assert "\n" not in str(caught.value)


def test_a_selection_alone_is_bounded_by_the_limits() -> None:
    kinds = frozenset({"PostSelect"})
    assert str(read(":PCVL:PostSelect:[255]>0", kinds)) == "[255] > 0"
    for text in (":PCVL:PostSelect:[256]>0", f"{ARCHIVE} 0 1 0 PostSelect 7 [256]>0"):
        with pytest.raises(UnreadableText, match="256"):
            read(text, kinds | {ARCHIVE})
    check_iteration({"postselect": pcvl.PostSelect("[0,1]==1")}, modes=2)
    with pytest.raises(UnreadableText, match="mode 2 of 2"):
        check_iteration({"postselect": pcvl.PostSelect("[0,2]==1")}, modes=2)


# -- kinds and damage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        None,
        3,
        b":PCVL:BSCount:{}",
        "",
        "{}",
        ":PCVL:",
        ":PCVL::x",
        ":PCVL:zip",
        ":PCVL:Nothing:x",
        ":PCVL:\x1b[2J\u202e:x",
        ":PCVL:BSDistribution:{|1>=1.0}",
        ":PCVL:BSCount :{}",
        "pcvlar 0 1 0 list 0",
        "pcvlar 0 1 0 ScalewayRPCHandler 0 0",
        zipped(zipped(":PCVL:BSCount:{}")),
        zipped("pcvlar 0 1 0 list 0"),
    ],
)
def test_other_kinds_are_refused(text: object) -> None:
    with pytest.raises(UnreadableText, match="expected") as caught:
        read(text, COUNTS)
    assert str(caught.value).isprintable()
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    "text",
    [
        ":PCVL:Experiment:!!!!",
        ":PCVL:Experiment:QQ",
        ":PCVL:Experiment:é",
        ":PCVL:Experiment:////",
        ":PCVL:Experiment:Q Q = =",
        text_of(in_circuit(pb.Parameter(real_value=1)))[:-8],
        ":PCVL:Experiment:" + base64.b64encode(b"\x4a" * 50).decode(),
        text_of(pb.Experiment(n_mode=2, components=[pb.Component()])),
        text_of(pb.Experiment(n_mode=2, detectors={7: pb.IDetector(detector=pb.Detector(n_wires=1))})),
        text_of(pb.Experiment(n_mode=2, detectors={0: pb.IDetector()})),
        text_of(experiment_of(permutation=pb.Permutation(permutations=[5, 5]))),
        text_of(experiment_of(unitary=pb.Unitary(mat=pb.Matrix(rows=2, cols=2, numeric=pb.MatrixDouble())))),
    ],
)
def test_damaged_experiments_are_refused(text: str) -> None:
    with pytest.raises(UnreadableText, match=r"Experiment cannot be read|is on modes|a permutation of 2 modes"):
        read(text, EXPERIMENT)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_altered_experiments_are_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(pb_of(rich_experiment()).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for body in (bytes(raw), bytes(raw[:cut])):
        with contextlib.suppress(UnreadableText):
            read(":PCVL:Experiment:" + base64.b64encode(body).decode(), EXPERIMENT)


def test_half_characters_are_refused() -> None:
    for text in (":PCVL:BSCount:{|1>=\ud800}", "\udfff", ":PCVL:zip:\ud800", f"{ARCHIVE} 0 1 0 str 1 \ud800"):
        with pytest.raises(UnreadableText):
            read(text, COUNTS | {ARCHIVE})
    for tree in ({"a": "\ud800"}, {"\ud800": 1}, ["x\udc00"], {"a": [{"b": ":PCVL:BSCount:\ud800"}]}):
        with pytest.raises(UnreadableText):
            read_tree(tree, COUNTS)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("BSCount", "{|1,0>=1;|1,0>=2}"),
        ("BSCount", "{|1,0>=1_0}"),
        ("BSCount", "{|1,0>=\u0663}"),
        ("BSCount", "{|1,0>=1;}"),
        ("BSCount", "{|" + ",".join("0" * 257) + ">=1}"),
        ("BSSamples", "|1,0>;|0,1>/0;-1"),
        ("BSSamples", "|1,0>/1"),
        ("BSSamples", "|1,0>/0/0"),
    ],
)
def test_counts_say_one_thing(kind: str, body: str) -> None:
    with pytest.raises(UnreadableText, match=f"{kind} cannot be read"):
        read(f":PCVL:{kind}:{body}", COUNTS)


# -- sizes ----------------------------------------------------------------------------------------------------------


def test_bombs_are_given_up() -> None:
    bomb = zipped("a" * 10**7)
    with pytest.raises(UnreadableText, match="exceeds 1000000 bytes"):
        unpack(bomb, Limits(unpacked=10**6))
    with pytest.raises(UnreadableText, match="exceeds 1000000 bytes"):
        read(bomb, COUNTS, Limits(unpacked=10**6))
    many = [zipped(":PCVL:BSCount:{}" + " " * 400_000)] * 3
    with pytest.raises(UnreadableText, match="cannot be read"):
        read_tree(many, COUNTS, Limits(unpacked=10**6))
    good = [
        zipped(
            ":PCVL:BSCount:{" + ";".join(f"|{i},{j},{k}>=1" for i in range(9) for j in range(9) for k in range(9)) + "}"
        )
    ]
    assert len(read_tree(good * 3, COUNTS, Limits(unpacked=10**6))) == 3
    with pytest.raises(UnreadableText, match="more than 20000 unpacked"):
        read_tree(good * 3, COUNTS, Limits(unpacked=20_000))


def deep_selection(levels: int) -> str:
    return "(" * levels + "[0]==1" + ")" * levels


LARGE: dict[str, tuple[Any, str]] = {
    "modes": (pb.Experiment(n_mode=2**31 - 1), "2147483647 modes"),
    "circuit": (experiment_of(circuit=pb.Circuit(n_mode=10**9)), "modes"),
    "place": (pb.Experiment(n_mode=2, components=[pb.Component(starting_mode=-(10**9))]), "a component is on modes"),
    "barrier": (pb.Experiment(n_mode=2, components=[pb.Component(n_mode=10**9, barrier=pb.Barrier())]), "modes"),
    "matrix": (experiment_of(unitary=pb.Unitary(mat=pb.Matrix(rows=10**9, cols=1))), "modes"),
    "layers": (pb.Experiment(n_mode=1, detectors={0: pb.IDetector(ppnr=pb.BSLayeredPPNR(bs_layers=60))}), "bs_layers"),
    "wires": (pb.Experiment(n_mode=1, detectors={0: pb.IDetector(detector=pb.Detector(n_wires=10**9))}), "n_wires"),
    "delay": (experiment_of(time_delay=pb.TimeDelay(dt=pb.Parameter(real_value=1e6))), "delay"),
    "nan": (in_circuit(pb.Parameter(real_value=float("nan"))), "finite"),
    "huge": (in_circuit(pb.Parameter(real_value=1e300)), "finite"),
    "name": (pb.Experiment(n_mode=1, name="n" * 1001), "characters"),
    "state": (pb.Experiment(n_mode=1, input_state=":PCVL:BasicState:|" + "0," * 300 + "0>"), "cannot be read"),
    "levels": (in_circuit(pb.Parameter(real_value=1), levels=20), "levels"),
    "too deep for protobuf": (in_circuit(pb.Parameter(real_value=1), levels=45), "levels"),
    "selection": (pb.Experiment(n_mode=1, post_select=":PCVL:PostSelect:" + deep_selection(14)), "levels"),
    "crash": (pb.Experiment(n_mode=1, post_select=":PCVL:PostSelect:" + deep_selection(20_000)), "cannot be read"),
    "negations": (pb.Experiment(n_mode=1, post_select=":PCVL:PostSelect:" + "!" * 3000 + "[0]==1"), "negated"),
}


@pytest.mark.parametrize("case", LARGE)
def test_what_is_too_large_is_refused_at_once(case: str) -> None:
    message, words = LARGE[case]
    begin = time.process_time()
    with pytest.raises(UnreadableText, match=words) as caught:
        read(text_of(message), EXPERIMENT)
    assert time.process_time() - begin < 5
    assert "\n" not in str(caught.value)


def test_limits_are_the_callers() -> None:
    text = serialize(rich_experiment())
    read(text, EXPERIMENT)
    for limits, words in (
        (Limits(text=10), "characters"),
        (Limits(unpacked=100), "100 bytes"),
        (Limits(depth=1), "levels"),
        (Limits(modes=3), "modes"),
        (Limits(components=2), "2 components"),
        (Limits(objects=20), "20 objects"),
    ):
        with pytest.raises(UnreadableText, match=words):
            read(text, EXPERIMENT, limits)
    with pytest.raises(UnreadableText, match="2 outcomes"):
        read(":PCVL:BSCount:{|1>=1;|2>=1;|3>=1}", COUNTS, Limits(outcomes=2))
    with pytest.raises(UnreadableText, match="2 samples"):
        read(":PCVL:BSSamples:|1>/0;0;0", COUNTS, Limits(samples=2))


def test_deep_and_wide_json_is_refused() -> None:
    deep: Any = 0
    for _ in range(500):
        deep = [deep]
    with pytest.raises(UnreadableText, match="levels"):
        read_tree(deep, COUNTS)
    with pytest.raises(UnreadableText, match="100 objects"):
        read_tree([0] * 101, COUNTS, Limits(objects=100))
    with pytest.raises(UnreadableText, match="key"):
        read_tree({":PCVL:BSCount:{}": 1}, COUNTS)
    with pytest.raises(UnreadableText, match="'Matrix' where"):
        read_tree({"a": [{"b": ":PCVL:Matrix:"}]}, COUNTS)
    plain = {"a": [1, None, 2.5, "x", {"b": True}], "header": ARCHIVE, "roots": [0], "data": [["list", [0]]]}
    assert read_tree(plain, COUNTS) == plain


# -- archives -------------------------------------------------------------------------------------------------------


def laughs(levels: int) -> str:
    """Tuples of the next tuple, twice: Perceval builds 2^levels of them."""
    return f"{ARCHIVE} 0 1 0 " + " ".join(f"tuple 2 {i + 1} {i + 1}" for i in range(levels)) + " int 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(25), "objects"),
        (laughs(500), "levels"),
        (f"{ARCHIVE} 0 1 0 tuple 1 0", "holds it"),
        (f"{ARCHIVE} 0 1 0 list 2 0 0", "holds it"),
        (f"{ARCHIVE} 0 1 7 list 0", "not there"),
        (f"{ARCHIVE} 0 1 0 list 1 -1", "not there"),
        (f"{ARCHIVE} 0 1 0", "not there"),
        (f"{ARCHIVE} 0 2 0 0 list 0", "expected"),
        (f"{ARCHIVE} 1 1 0 list 0", "expected"),
        (f"{ARCHIVE} 0 1 0 list 999999999 1", "cut off"),
        (f"{ARCHIVE} 0 1 0 list -5", "cut off"),
        (f"{ARCHIVE} 0 1 0 str -5 x", "cut off"),
        (f"{ARCHIVE} 0 1 0 str 50 x", "cut off"),
        (f"{ARCHIVE} 0 1 0 int 1_0", "whole number"),
        (f"{ARCHIVE} 0 1 0 int {'9' * 5000}", "whole number"),
        (f"{ARCHIVE} 0 1 0 float nan", "finite"),
        (f"{ARCHIVE} 0 1 0 float 1e999", "finite"),
        (f"{ARCHIVE} 0 1 0 bool X", "T or F"),
        (f"{ARCHIVE} 0 1 0 type 18 QuandelaRPCHandler", "type"),
        (f"{ARCHIVE} 0 1 0 bytes 4 AAAA", "kind"),
        (f"{ARCHIVE} 0 1 0 set 0", "kind"),
        (f"{ARCHIVE} 0 1 0 dict 1 1 2 list 0 int 1", "cannot be read"),
        (f"{ARCHIVE} 0 1 0 Command 0 1 __class__ 1 int 1", "attribute"),
        (f"{ARCHIVE} 0 1 0 NoiseModel 0 1 g3 1 float 0.5", "attribute"),
        (f"{ARCHIVE} 0 1 0 NoiseModel 0 1 g2 1 str 1 x", "each of its attributes"),
        (f"{ARCHIVE} 0 1 0 NoiseModel 0 0", "each of its attributes"),
        (f"{ARCHIVE} 0 1 0 NoiseModel 0 7" + " g2 1" * 7 + " int 0", "each of its attributes"),
        (f"{ARCHIVE} 0 1 0 Experiment 4 !!!!", "cannot be read"),
        (f"{ARCHIVE} 0 1 0 FockState 9 |{{P:x()}}>", "cannot be read"),
        (f"{ARCHIVE} 0 1 0 PostSelect 3 x()", "cannot be read"),
        (f"{ARCHIVE} 0 1 0 RemoteComputer 0 0", "kind"),
        (f"{ARCHIVE}:zip:AAAA", "damaged"),
        (f"{ARCHIVE} ", "expected"),
        (f"{ARCHIVE} 0 1 0 \x1b[2J", "kind"),
    ],
)
def test_archives_are_taken_apart_first(text: str, words: str) -> None:
    with pytest.raises(UnreadableText, match=words) as caught:
        read(text, COMPUTATION)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("place", ["experiment", "iteration"])
def test_archives_say_what_perceval_wrote(place: str) -> None:
    iterator = ComputationIterator(Computation(CommandFactory.sample_count, rich_experiment()))
    iterator.add_params(max_samples=10, max_shots=20)
    if place == "iteration":
        iterator.add_iteration(circuit_params={"phi": 0.25}, input_state=pcvl.BasicState([0, 1, 1]), max_shots=3)
        iterator.add_iteration(postselect=pcvl.PostSelect("[0]==1 & ![1]>1"), min_detected_photons=1)
        iterator.job_name = "pcvlar names 3 : é 😀"
    for text in (archive_of(iterator), zipped(archive_of(iterator).removeprefix(ARCHIVE), f"{ARCHIVE}:zip:")):
        found = read(text, COMPUTATION)
        assert archive_of(found) == archive_of(iterator)
        assert found.iterations == iterator.iterations
    for thing in ([], {}, {"a": [1, -2.5, None, True, "", " "], "b": (1, (2, {}))}, pcvl.NoiseModel(g2=0.1), None, 3):
        assert read(archive_of(thing), COMPUTATION) == thing


# -- what Perceval writes is read -----------------------------------------------------------------------------------


def rich_experiment() -> Any:
    out = pcvl.Experiment(4, noise=pcvl.NoiseModel(brightness=0.5, g2=0.1, g2_distinguishable=False), name="rich")
    out.add(0, pcvl.Unitary(pcvl.Matrix(haar(4, seed=1))))
    out.add(0, pcvl.Circuit(2, name="inner") // pcvl.BS.H(0.3, phi_tl=0.2) // pcvl.PS(pcvl.P("phi"), 0.01))
    out.add(1, pcvl.PERM([1, 0])).add(2, pcvl.BS.Ry(pcvl.P("θ_1"))).add(0, pcvl.Barrier(4))
    out.add(3, pcvl.LC(0.1))
    for mode, detector in enumerate([pcvl.Detector.threshold(), pcvl.Detector.ppnr(5, 2), pcvl.BSLayeredPPNR(2)]):
        out.add(mode, detector)
    out.add_herald(3, 1)
    out.min_detected_photons_filter(1)
    out.with_input(pcvl.BasicState([1, 0, 1]))
    out.set_postselection(pcvl.PostSelect("[0,1]>=1 & ([2]<2 | ![0]==1)"))
    return out


def forwarded() -> Any:
    out = pcvl.Experiment(4)
    out.add(0, pcvl.BS())
    out.add(0, pcvl.Detector.pnr()).add(1, pcvl.Detector.pnr())
    chosen = FFConfigurator(2, 0, pcvl.PS(pcvl.P("phi")), {"phi": 0.5}).add_configuration([1, 0], {"phi": 1.5})
    provided = FFCircuitProvider(1, 0, pcvl.Circuit(1)).add_configuration([1], pcvl.PS(0.5))
    out.add(0, chosen)
    out.add(2, pcvl.Detector.pnr()).add(2, provided)
    return out


@pytest.mark.parametrize("build", [rich_experiment, forwarded, lambda: pcvl.Experiment(2), lambda: pcvl.Experiment()])
@pytest.mark.parametrize("compress", [True, False])
def test_experiments_are_what_they_were(build: Callable[[], Any], compress: bool) -> None:
    text = serialize(build(), compress=compress)
    assert pb_of(read(text, EXPERIMENT)) == pb_of(deserialize(text))
    assert hardware(text).circuit_size == deserialize(text).circuit_size


STATES = ["|1,0>", "|>", "|0,12>", "|{P:H},0>", "|{_:0}{_:1},{_:2}>", "|{0},{1}>", "|2{0}{1},0>"]
THINGS: list[Any] = [
    pcvl.BSCount(),
    pcvl.BSCount({pcvl.BasicState([1, 0]): 3, pcvl.BasicState([0, 2]): 2**40}),
    pcvl.BSSamples(),
    pcvl.BSSamples([pcvl.BasicState([1, 0]), pcvl.BasicState([0, 1]), pcvl.BasicState([1, 0])]),
    pcvl.NoiseModel(brightness=0.2, phase_error=1e-5),
    pcvl.NoiseModel(),
    pcvl.PostSelect(),
    pcvl.PostSelect("[0,1]==2 & !([2]>1 ^ [3]<=2)"),
    pcvl.StateVector("|1,0>") * 0.6 + pcvl.StateVector("|0,1>") * 0.8j,
    pcvl.SVDistribution({pcvl.StateVector("|1,0>"): 0.25, pcvl.StateVector("|0,1>"): 0.75}),
    pcvl.SVDistribution(),
    *(pcvl.BasicState(text) for text in STATES),
]


@pytest.mark.parametrize("thing", THINGS, ids=repr)
def test_words_are_what_they_were(thing: Any) -> None:
    kinds = COUNTS | {"BasicState", "StateVector", "SVDistribution", "NoiseModel", "PostSelect"}
    for compress in (True, False):
        text = serialize(thing, compress=compress)
        found = read(text, kinds)
        assert type(found) is type(deserialize(text))
        assert str(found) == str(deserialize(text))


# -- where they come in ---------------------------------------------------------------------------------------------


def counts_file(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_files_of_counts_are_data(tmp_path: Path, canary: str) -> None:
    for text in (text_of(PLACES["phase"](canary)), f":PCVL:BSCount:{{|{{P:{canary}}}>=3}}"):
        with pytest.raises(DataError, match="not counts of Perceval"):
            load_counts(counts_file(tmp_path / "counts.txt", text), photons=1, detector="threshold")


@pytest.mark.parametrize("place", ["phase", "theta", "provider", "noise as experiment", "state as archive"])
def test_scaleways_architecture_runs_nothing(place: str, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEWAY_CLOUD_TOKEN", "secret")
    message = PLACES[place](canary)
    for specs in (
        {"architecture": text_of(message), "specific_circuit": text_of(message)},
        {"architecture": text_of(message, packed=True), "commands": experiment_archive(message)},
        {"constraints": {"max_mode_count": experiment_archive(message)}, text_of(message): text_of(message)},
    ):
        details = {
            "id": "p",
            "name": "x",
            "type": "qpu",
            "status": "available",
            "metadata": json.dumps({"available_commands": ["sample_count"], **specs}),
        }
        with responses.RequestsMock() as web:
            web.add("GET", "https://scaleway.test/qaas/v1alpha1/platforms", json={"platforms": [details]})
            device = open_device("scaleway:x?project=p&url=https://scaleway.test", seed=1)
            assert device.spec.detector == "threshold"


def test_a_server_is_unusable_and_no_more(canary: str) -> None:
    for text in (f":PCVL:BSCount:{{|{{P:{canary}}}>=3}}", ":PCVL:_T_secret_token:x", text_of(PLACES["phase"](canary))):
        with pytest.raises(UnusableAnswer) as caught:
            perceval_object(text, COUNTS)
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value, DeviceError)


# -- the emulated cloud ---------------------------------------------------------------------------------------------


TOKEN = {"Authorization": "Bearer any"}


def job(platform: str = "sim:ideal", **changed: Any) -> dict[str, Any]:
    out = pcvl.Experiment(2).add(0, pcvl.BS()).add(0, pcvl.PS(pcvl.P("phi"))).add(0, pcvl.BS())
    out.with_input(pcvl.BasicState([1, 1]))
    out.min_detected_photons_filter(1)
    limits = {"max_shots": 100, "max_samples": 100, "iterator": [{"circuit_params": {"phi": 0.3}}]}
    body = serialize(PayloadGenerator.generate_payload("sample_count", out, platform_name=platform, **limits))
    return {**body, "job_name": "n", "payload": {**body["payload"], **changed}}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Any]:
    pytest.importorskip("uvicorn")
    from qpu_sdk.emulator.server import EmulatedCloud
    from qpu_sdk.emulator.settings import CloudSettings

    with EmulatedCloud(CloudSettings(seed=1, time_scale=1e5, max_waiting=10_000)) as running:
        yield running


def post(cloud: Any, body: Any) -> requests.Response:
    return requests.post(f"{cloud.url}/api/job", json=body, headers=TOKEN, timeout=60)


def ended(cloud: Any, job_id: str) -> Any:
    deadline = time.monotonic() + 120
    while True:
        status = requests.get(f"{cloud.url}/api/job/status/{job_id}", headers=TOKEN, timeout=60).json()
        if status["status"] in ("completed", "error", "canceled"):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.005)


@pytest.mark.parametrize("place", ["phase", "symbol", "name", "matrix", "circuit in circuit", "noise as experiment"])
@pytest.mark.parametrize("version", [1, 2])
def test_one_request_to_the_emulator_runs_nothing(cloud: Any, place: str, version: int, canary: str) -> None:
    message = PLACES[place](canary)
    if version == 1:
        body = job(experiment=text_of(message))
    else:
        body = job(computation=experiment_archive(message))
        del body["payload"]["experiment"], body["payload"]["iterator"]
    known = len(cloud.jobs)
    answer = post(cloud, body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Invalid payload: ")
    assert answer.json()["detail"] == {}
    assert len(cloud.jobs) == known
    good = post(cloud, job()).json()["job_id"]
    assert ended(cloud, good)["status"] == "completed"


def test_other_hostile_requests_are_refused(cloud: Any, canary: str) -> None:
    def iterations(**values: Any) -> dict[str, Any]:
        return job(iterator=[values])

    for body in (
        iterations(circuit_params={"phi": canary}),
        iterations(circuit_params={canary: 0.5, "phi": canary}),
        iterations(postselect=f"{'(' * 30}[0]==1{')' * 30}"),
        iterations(postselect=f":PCVL:PostSelect:{'(' * 30_000}[0]==1{')' * 30_000}"),
        iterations(input_state=text_of(PLACES["phase"](canary))),
        iterations(noise=text_of(PLACES["phase"](canary))),
        job(parameters={"a": text_of(PLACES["phase"](canary))}),
        job(job_context={"result_mapping": [archive_of([1])]}),
        job(experiment=zipped("a" * 2**27)),
        job(**{text_of(PLACES["phase"](canary)): 1}),
        job(experiment=":PCVL:Experiment:!"),
        job(noise="\ud800"),
    ):
        answer = post(cloud, body)
        assert (answer.status_code, answer.json()["error"][:16]) == (400, "Invalid payload:")
    deep = requests.post(f"{cloud.url}/api/job", data="[" * 100_000, headers=TOKEN, timeout=60)
    assert deep.status_code == 400
    good = post(cloud, job()).json()["job_id"]
    assert ended(cloud, good)["status"] == "completed"


def test_a_selection_cannot_end_the_emulator(cloud: Any) -> None:
    bad = pb.Experiment(n_mode=2, input_state=":PCVL:BasicState:|1,1>", post_select=":PCVL:PostSelect:[99999999]>=0")
    text = text_of(bad)
    for request in (
        job(experiment=text),
        job(experiment=zipped(text)),
        job(iterator=[{"postselect": ":PCVL:PostSelect:[99999999]>=0"}]),
        job(iterator=[{"postselect": ":PCVL:PostSelect:[2]>=0"}]),
        job(command="samples", max_shots=10**10, max_samples=10**10),
    ):
        answer = post(cloud, request)
        assert answer.status_code == 400, answer.text
        assert "Invalid payload" in answer.json()["error"]
    told = ended(cloud, post(cloud, job()).json()["job_id"])
    assert told["status"] == "completed"


def test_perceval_formulas_still_run_on_the_emulator(cloud: Any) -> None:
    a = pcvl.P("a")
    out = pcvl.Experiment(2).add(0, pcvl.BS()).add(0, pcvl.PS(2 * a)).add(0, pcvl.BS())
    out.with_input(pcvl.BasicState([1, 0]))
    out.min_detected_photons_filter(1)
    body = job(experiment=serialize(out), iterator=[{"circuit_params": {"a": np.pi / 2}}])
    found = ended(cloud, post(cloud, body).json()["job_id"])
    assert found["status"] == "completed", found


# -- threads --------------------------------------------------------------------------------------------------------


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns so often that Perceval's own reader loses fields in one of 200 texts."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless")
def test_reading_and_writing_by_many_threads_lose_nothing() -> None:
    text, counts = serialize(rich_experiment()), serialize(THINGS[1])
    expected = pb_of(read(text, EXPERIMENT))

    def once(number: int) -> bool:
        again = read(written(read(text, EXPERIMENT)), EXPERIMENT)
        with LOCK:
            return pb_of(again) == expected and read(counts, COUNTS) == THINGS[1]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(once, range(int(os.environ.get("QPU_SDK_READS", "300")))))


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("version", [1, 2])
def test_payloads_of_many_threads_are_whole(version: int) -> None:
    specs = {"available_commands": ["sample_count"]} | ({"commands": ""} if version == 2 else {})
    platform = PlatformDetails.of("p", {"specs": specs})
    mesh = IsometryMesh(4, 2)
    program = Program(mesh, np.linspace(0, 1, mesh.declared), (0, 1))

    def once(number: int) -> str:
        payload = encode_payload([program], shots=10, name="n", platform=platform)[0]["payload"]
        return str(unpack(payload["experiment"]) if version == 1 else payload["computation"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(once, range(200)))) == 1


def test_many_clients_at_once_lose_no_job(cloud: Any) -> None:
    body = job()

    def once(number: int) -> str:
        answer = post(cloud, body)
        assert answer.status_code == 200, answer.text
        return str(ended(cloud, answer.json()["job_id"])["status"])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(once, range(64))) == {"completed"}


def test_nothing_else_calls_percevals_deserializer() -> None:
    package = Path(qpu_sdk.__file__).parent
    calls = re.compile(
        r"import .*\bdeserialize|\bdeserialize(_\w+)?\(|circuit_from_file|InputArchive|\bdeserialize_file"
    )
    found = {str(p.relative_to(package)) for p in package.rglob("*.py") if calls.search(p.read_text(encoding="utf-8"))}
    assert found == {str(Path("devices", "perceval_texts.py"))}


def test_whoever_sets_an_input_or_simulates_takes_turns() -> None:
    package = Path(qpu_sdk.__file__).parent
    calls = re.compile(r"^(?!\s*>>>).*(\.with_input\(|\bcomputer\.probs\()", re.MULTILINE)
    texts = {str(p.relative_to(package)): p.read_text(encoding="utf-8") for p in package.rglob("*.py")}
    found = {name for name, text in texts.items() if calls.search(text)}
    assert str(Path("emulator", "apart.py")) in found
    assert [name for name in sorted(found) if "with LOCK:" not in texts[name]] == []
