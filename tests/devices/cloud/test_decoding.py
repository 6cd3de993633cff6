"""What a server sends is read without trusting it, and every result goes to the program it belongs to."""

from __future__ import annotations

import base64
import builtins
import contextlib
import json
import random
import socket
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perceval.providers.quandela import QuandelaCommunicationLayer
from perceval.providers.quandela.rpc_handler import RPCHandler
from perceval.runtime import CommandFactory
from perceval.runtime.platform_specs import PlatformSpecs, serialize_specs_backward_compatibility
from perceval.serialization import OutputArchive, Serialization, serialize
from perceval.serialization.deserialize import pb

from qpu_sdk.devices.cloud import decoding
from qpu_sdk.devices.cloud.decoding import (
    DATA_KINDS,
    HARDWARE_KINDS,
    Sent,
    UnusableAnswer,
    check_plausible,
    command_names,
    decode_result,
    perceval_object,
    unpacked,
)
from qpu_sdk.devices.cloud.payload import PlatformDetails, encode_payload
from qpu_sdk.photonics.counts import Counts, Detector
from qpu_sdk.photonics.meshes import IsometryMesh, RectangularMesh
from qpu_sdk.photonics.program import Program
from tests.helpers import program as program_in

Table = dict[tuple[int, ...], int]
LABELS = {"device": "d", "tag": "t", "job_id": "j"}
MESH = IsometryMesh(3, 2)
ONE: Table = {(1, 1, 0): 5, (0, 2, 0): 2, (0, 0, 1): 1}


def zipped(text: str, prefix: str = ":PCVL:zip:") -> str:
    return prefix + base64.b64encode(zlib.compress(text.encode())).decode()


def program(seed: int, *, inputs: tuple[int, ...] = (0, 1)) -> Program:
    return program_in(MESH, inputs, seed, within=(-7.0, 7.0))


def platform(version: int = 2) -> PlatformDetails:
    specs: dict[str, Any] = {"available_commands": ["sample_count"]}
    return PlatformDetails.of("p", {"specs": specs | ({"commands": ""} if version == 2 else {})})


def sent(programs: Sequence[Program], version: int = 2) -> Sent:
    return encode_payload(programs, shots=100, name="n", platform=platform(version))[1]


def written(table: Table, *, samples: bool = False, compress: bool = True) -> str:
    states = {pcvl.BasicState(list(s)): n for s, n in table.items()}
    if not samples:
        text: str = serialize(pcvl.BSCount(states), compress=compress)
        return text
    listed = pcvl.BSSamples([s for s, n in states.items() for _ in range(n)])
    text = serialize(listed, compress=compress)
    return text


def entry(table: Table, iteration: object = None, **form: bool) -> dict[str, Any]:
    named = {} if iteration is None else {"iteration": iteration}
    return {"results": written(table, **form), "global_perf": 0.5, "unknown": [1]} | named


def answer(entries: Any, **more: Any) -> dict[str, Any]:
    return {"job_id": "j", "results": json.dumps({"results_list": entries} | more), "shots": 1}


def read(what: dict[str, Any], to: Sent, detector: Detector = "pnr") -> list[Counts | None]:
    return decode_result(what, to, detector=detector, labels=LABELS)


def table_of(counts: Counts | None) -> Table:
    assert counts is not None
    pairs = zip(counts.outcomes.tolist(), counts.numbers.tolist(), strict=True)
    return {tuple(row): number for row, number in pairs}


def archive_of(thing: object, *, compress: bool = False) -> str:
    out = OutputArchive()
    Serialization.serialize(thing, out)
    text: str = out.to_text(compress=compress)
    return text


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: socket.socket, address: object) -> None:
        pytest.fail(f"connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **fields: pytest.fail(f"looks up {args}"))


# -- unpacked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "plain", ":PCVL:BSCount:{}", ":PCVL:zip", "x:PCVL:zip:AA"])
def test_plain_text_is_left_alone(text: str) -> None:
    assert unpacked(text) == text


def test_both_compressed_forms_are_unpacked() -> None:
    assert unpacked(zipped(":PCVL:BSCount:{|1,0>=3}é")) == ":PCVL:BSCount:{|1,0>=3}é"
    whole = archive_of([CommandFactory.samples])
    assert unpacked(archive_of([CommandFactory.samples], compress=True)) == whole


def test_bombs_are_given_up_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_TEXT", 1000)
    assert unpacked(zipped("a" * 999)) == "a" * 999
    for size in (1001, 10**6):
        with pytest.raises(UnusableAnswer, match="1000 bytes"):
            unpacked(zipped("a" * size))
    nested = zipped(zipped("a" * 10**6))
    with pytest.raises(UnusableAnswer):
        perceval_object(nested, DATA_KINDS)


@pytest.mark.parametrize(
    "text",
    [
        ":PCVL:zip:",
        ":PCVL:zip:!",
        ":PCVL:zip:A",
        ":PCVL:zip:AAAA",
        ":PCVL:zip:é",
        "pcvlar:zip:\ud800",
        zipped("some text")[:-4],
        zipped("some text")[:-8],
        ":PCVL:zip:" + base64.b64encode(zlib.compress(b"\xff\xfe")).decode(),
    ],
)
def test_damaged_texts_are_unusable(text: str) -> None:
    with pytest.raises(UnusableAnswer, match="compressed text"):
        unpacked(text)


@settings(max_examples=40)
@given(st.text(max_size=20), st.data())
def test_cut_or_altered_texts_never_pass_for_something_else(text: str, data: st.DataObject) -> None:
    """The check sum at the end of a zlib stream is always verified."""
    raw = bytearray(zlib.compress(text.encode()))
    place = data.draw(st.integers(2, len(raw) - 1))
    if data.draw(st.booleans()):
        raw = raw[:place]
    else:
        raw[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(UnusableAnswer):
        assert unpacked(":PCVL:zip:" + base64.b64encode(raw).decode()) == text


# -- objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
def test_listed_kinds_are_read(compress: bool) -> None:
    counts = pcvl.BSCount({pcvl.BasicState([1, 0]): 3})
    assert perceval_object(serialize(counts, compress=compress), DATA_KINDS) == counts


OTHERS: list[Any] = [
    pcvl.BSDistribution({pcvl.BasicState([1, 0]): 1.0}),
    pcvl.StateVector("|1,0>"),
    pcvl.NoiseModel(brightness=0.1),
    pcvl.PostSelect("[0]==1"),
    pcvl.BasicState([1, 0]),
    pcvl.Circuit(2) // pcvl.BS(),
    pcvl.Experiment(2),
    pcvl.Detector.threshold(),
]


@pytest.mark.parametrize("thing", OTHERS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("compress", [True, False])
def test_other_kinds_are_refused(thing: Any, compress: bool) -> None:
    with pytest.raises(UnusableAnswer, match="BSCount or BSSamples was expected"):
        perceval_object(serialize(thing, compress=compress), DATA_KINDS)


@pytest.mark.parametrize(
    "text", [None, 3, [], {}, True, "", "text", ":PCVL:", ":PCVL:BSCount", ":PCVL::x", "BSCount", "pcvlar 0 1 0"]
)
def test_what_is_no_object_is_refused(text: object) -> None:
    with pytest.raises(UnusableAnswer, match="expected"):
        perceval_object(text, DATA_KINDS)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "{}}",
        "{|1,0>=-5}",
        "{|1,0>=x}",
        "{|1,0>=99999999999999999999}",
        "{|1,0>=1.5}",
        "{|300,0>=1}",
        "{>=3}",
        "{|1,0>=3",
        "{|{_:0},0>=3}",
    ],
)
def test_broken_counts_are_unusable(body: str) -> None:
    with pytest.raises(UnusableAnswer, match="cannot be read"):
        perceval_object(f":PCVL:BSCount:{body}", DATA_KINDS)


def handler_archive(kind: str) -> str:
    """Perceval builds a handler from such a text; that of Scaleway sends the user's token while it is built."""
    if kind == "scaleway":
        return (
            "pcvlar 0 1 0 ScalewayRPCHandler 0 5 _project_id 1 _url 2 _session_id 3 _platform_name 4 _provider_name 5 "
            "str 1 p str 18 http://127.0.0.1:9 None  str 1 n str 1 q"
        )
    handler = RPCHandler("sim:x", "http://127.0.0.1:9", "token")
    if kind == "handler":
        return archive_of(handler)
    layer = QuandelaCommunicationLayer.__new__(QuandelaCommunicationLayer)
    layer._rpc_handler = handler
    return archive_of(layer)


def experiment_with(**texts: str) -> str:
    whole = pb.Experiment(n_mode=2, min_photons_filter=0)
    for field, text in texts.items():
        setattr(whole, field, text)
    return ":PCVL:Experiment:" + base64.b64encode(whole.SerializeToString()).decode()


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize("kind", ["handler", "layer", "scaleway"])
def test_archives_that_build_handlers_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEWAY_CLOUD_TOKEN", "secret")
    monkeypatch.setattr(Serialization, "deserialize", lambda *args: pytest.fail("builds something"))
    text = handler_archive(kind)
    for form in (text, zipped(text.removeprefix("pcvlar"), "pcvlar:zip:"), zipped(text)):
        for kinds in (DATA_KINDS, HARDWARE_KINDS):
            with pytest.raises(UnusableAnswer, match="expected"):
                perceval_object(form, kinds)
    assert command_names({"commands": text}) == frozenset()


@pytest.mark.usefixtures("no_connections")
@pytest.mark.parametrize("field", ["noise_model", "input_state", "post_select"])
@pytest.mark.parametrize("kind", ["handler", "scaleway"])
def test_archives_inside_an_experiment_build_nothing(kind: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEWAY_CLOUD_TOKEN", "secret")
    monkeypatch.setattr(Serialization, "deserialize", lambda *args: pytest.fail("builds something"))
    text = experiment_with(**{field: handler_archive(kind)})
    nested = experiment_with(**{field: text})
    for form in (text, zipped(text), nested):
        with contextlib.suppress(UnusableAnswer):
            perceval_object(form, HARDWARE_KINDS)


# -- commands --------------------------------------------------------------------------------------------------


def specs_of(*names: str) -> dict[str, Any]:
    specs = PlatformSpecs()
    specs.commands = [getattr(CommandFactory, name) for name in names]
    found: dict[str, Any] = json.loads(json.dumps(serialize_specs_backward_compatibility(specs)))
    return found


@pytest.mark.parametrize(
    "names", [(), ("probs",), ("samples",), ("sample_count", "samples"), ("probs", "sample_count", "samples")]
)
def test_commands_are_read_from_lists_and_archives(names: tuple[str, ...]) -> None:
    specs = specs_of(*names)
    assert command_names({"available_commands": list(names)}) == set(names)
    assert command_names(specs) == set(names)
    assert command_names({"commands": unpacked(specs["commands"])}) == set(names)
    assert command_names(specs | {"available_commands": ["other"]}) == {"other", *names}


@pytest.mark.parametrize("value", [None, 3, True, "samples", {}, {"samples": 1}, "pcvlar:zip:AAAA", ":PCVL:zip:é"])
def test_odd_commands_are_none(value: Any) -> None:
    assert command_names({"commands": value}) == frozenset()
    assert command_names({"available_commands": value}) == frozenset()


# -- answers that are none -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"results": None},
        {"results": ""},
        {"results": "null"},
        {"results": "[]"},
        {"results": "3"},
        {"results": 3},
        {"results": '{"results_list": ['},
        {"results": "[" * 100_000},
        {"results": "{}"},
        {"results": '{"results_list": {}}'},
        {"results": '{"results_list": null}'},
        {"results": '{"results_list": [3]}'},
        {"results": '{"results_list": [{}]}'},
        {"results": '{"results": null}'},
        {"results": '{"results": ":PCVL:BSDistribution:{|1,0,0>=1.0}"}'},
    ],
)
def test_what_holds_no_results_is_unusable(what: dict[str, Any]) -> None:
    with pytest.raises(UnusableAnswer):
        read(what, sent([program(1)]))


@pytest.mark.parametrize(
    "mapping",
    [
        ["builtins", "eval"],
        ["os", "system"],
        ["antigravity", "x"],
        ["perceval.utils", "samples_to_probs"],
        ["perceval.utils", "__builtins__"],
        ["perceval.utils"],
        ["perceval.utils", "samples_to_sample_count", "x"],
        [],
        "builtins.eval",
        {"perceval.utils": "samples_to_sample_count"},
        3,
        True,
        [["perceval.utils"], {}],
        [None, None],
    ],
)
def test_converters_named_by_the_server_are_refused_and_not_imported(
    mapping: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = sent([program(1)])
    what = answer([entry(ONE, to.iterations[0])], job_context={"result_mapping": mapping})
    before, real = set(sys.modules), builtins.__import__

    def imported(name: str, *args: Any, **fields: Any) -> Any:
        assert name not in ("builtins", "os", "antigravity")
        return real(name, *args, **fields)

    monkeypatch.setattr(builtins, "__import__", imported)
    with pytest.raises(UnusableAnswer, match="converter"):
        read(what, to)
    monkeypatch.undo()
    assert "antigravity" not in set(sys.modules) - before


@pytest.mark.parametrize("context", [None, {}, [], "x", 3, {"result_mapping": None}])
def test_other_contexts_are_ignored(context: object) -> None:
    to = sent([program(1)])
    assert table_of(read(answer([entry(ONE, to.iterations[0])], job_context=context), to)[0]) == ONE


def test_known_converter_is_applied_here() -> None:
    to = sent([program(1)])
    context = {"result_mapping": ["perceval.utils", "samples_to_sample_count"]}
    what = answer([entry(ONE, to.iterations[0], samples=True)], job_context=context)
    assert table_of(read(what, to)[0]) == ONE


# -- which result is whose -------------------------------------------------------------------------------------

FOUR = [program(1), program(2), program(1, inputs=(0, 2)), program(3)]


def tables(number: int) -> list[Table]:
    return [{(1, 1, 0): 10 + i, (0, 0, 1): i + 1} for i in range(number)]


@pytest.mark.parametrize("version", [1, 2])
def test_results_are_told_apart_by_their_iterations(version: int) -> None:
    to = sent(FOUR, version)
    entries = [entry(t, i) for t, i in zip(tables(4), to.iterations, strict=True)]
    for seed in range(5):
        random.Random(seed).shuffle(entries)
        found = read(answer(entries), to)
        assert [table_of(c) for c in found] == tables(4)
        assert [c.fingerprint for c in found if c] == [p.fingerprint for p in FOUR]
        assert {(c.device, c.tag, c.job_id) for c in found if c} == {("d", "t", "j")}


def test_missing_results_are_none() -> None:
    to = sent(FOUR)
    entries = [entry(tables(4)[i], to.iterations[i]) for i in (3, 1)]
    found = read(answer(entries), to)
    assert (found[0], found[2]) == (None, None)
    assert (table_of(found[1]), table_of(found[3])) == (tables(4)[1], tables(4)[3])
    assert read(answer([]), to) == [None] * 4


def test_equal_programs_are_served_in_order() -> None:
    to = sent([FOUR[0], FOUR[1], FOUR[0]])
    entries = [entry(t, to.iterations[i]) for t, i in zip(tables(3), (1, 0, 2), strict=True)]
    assert [table_of(c) for c in read(answer(entries), to)] == [tables(3)[1], tables(3)[0], tables(3)[2]]


@pytest.mark.parametrize("extra", ["twice", "foreign", "other input", "fewer phases", "empty"])
def test_results_that_belong_to_nobody_are_refused(extra: str) -> None:
    to = sent(FOUR[:2])
    first = to.iterations[0]
    stranger: dict[str, Any] = {
        "twice": first,
        "foreign": sent([program(9)]).iterations[0],
        "other input": dict(first) | {"input_state": "|0,1,1>"},
        "fewer phases": dict(first) | {"circuit_params": dict(list(first["circuit_params"].items())[1:])},
        "empty": {},
    }[extra]
    entries = [entry(ONE, i) for i in (*to.iterations, stranger)]
    with pytest.raises(UnusableAnswer, match="belongs to no iteration"):
        read(answer(entries), to)


def test_results_without_names_are_taken_in_order_when_there_is_one_for_each() -> None:
    to = sent(FOUR)
    entries = [entry(t) for t in tables(4)]
    assert [table_of(c) for c in read(answer(entries), to)] == tables(4)
    for odd in (entries[:3], [*entries, entries[0]]):
        with pytest.raises(UnusableAnswer, match="without their iterations"):
            read(answer(odd), to)


def test_results_of_which_only_some_are_named_are_refused() -> None:
    """Their order cannot be trusted: one of the names may say otherwise."""
    to = sent(FOUR[:2])
    with pytest.raises(UnusableAnswer):
        read(answer([entry(ONE, to.iterations[1]), entry(ONE)]), to)


@pytest.mark.parametrize("prefix", ["", ":PCVL:BasicState:", ":PCVL:FockState:"])
def test_input_states_may_be_spelled_with_their_kind(prefix: str) -> None:
    to = sent(FOUR)
    named = [dict(i) | {"input_state": prefix + i["input_state"], "min_detected_photons": 1} for i in to.iterations]
    entries = [entry(t, i) for t, i in zip(tables(4), named, strict=True)]
    assert [table_of(c) for c in read(answer(entries[::-1]), to)] == tables(4)


@settings(max_examples=50)
@given(st.lists(st.floats(-7, 7), min_size=MESH.declared, max_size=MESH.declared), st.integers(0, 2**32 - 1))
def test_phases_may_differ_by_rounding_errors(phases: list[float], seed: int) -> None:
    at_an_edge = [round(x, 9) + 5e-10 for x in phases]
    to = sent([Program(MESH, np.array(at_an_edge), (0, 1)), program(5)])
    rng = np.random.default_rng(seed)
    named = [
        dict(i) | {"circuit_params": {k: x + rng.uniform(-1e-12, 1e-12) for k, x in i["circuit_params"].items()}}
        for i in to.iterations
    ]
    entries = [entry(t, i) for t, i in zip(tables(2), named, strict=True)]
    assert [table_of(c) for c in read(answer(entries[::-1]), to)] == tables(2)


@pytest.mark.parametrize("value", ["x", None, [], {}, 10**400], ids=type)
def test_phases_that_are_no_numbers_are_refused(value: object) -> None:
    to = sent([program(1)])
    phases = dict.fromkeys(to.iterations[0]["circuit_params"], value)
    with pytest.raises(UnusableAnswer):
        read(answer([entry(ONE, dict(to.iterations[0]) | {"circuit_params": phases})]), to)


def test_single_result_needs_no_list() -> None:
    to = sent([program(1)])
    what = {"results": json.dumps(entry(ONE))}
    assert table_of(read(what, to)[0]) == ONE
    with pytest.raises(UnusableAnswer, match="no results"):
        read(what, sent(FOUR))


# -- counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
def test_samples_are_counted(compress: bool) -> None:
    to = sent([program(1)])
    both = [read(answer([entry(ONE, to.iterations[0], samples=s, compress=compress)]), to)[0] for s in (True, False)]
    assert table_of(both[0]) == table_of(both[1]) == ONE


def test_windows_without_a_click_are_dropped() -> None:
    to = sent([program(1)])
    found = read(answer([entry({(0, 0, 0): 1000, **ONE}, to.iterations[0])]), to)[0]
    assert table_of(found) == ONE
    assert found is not None
    assert found.shots == sum(ONE.values())


def test_no_counts_at_all_are_counts() -> None:
    to = sent([program(1)])
    found = read(answer([entry({}, to.iterations[0])]), to)[0]
    assert found is not None
    assert (found.shots, found.modes) == (0, 3)


def test_clicks_in_modes_a_program_does_not_use_go_to_other() -> None:
    large = Program(RectangularMesh(5), np.zeros(25), (0, 4))
    to = sent([large, program(1)])
    wide: Table = {(1, 1, 0, 0, 0): 3, (0, 0, 0, 1, 0): 4, (1, 0, 0, 0, 1): 5, (0, 2, 0, 0, 0): 6}
    found = read(answer([entry(wide, i) for i in to.iterations]), to)
    assert table_of(found[0]) == wide
    assert table_of(found[1]) == {(1, 1, 0): 3, (0, 2, 0): 6}
    assert found[1] is not None
    assert (found[1].other, found[1].shots) == (9, 18)


@pytest.mark.parametrize("table", [{(1, 1): 3}, {(1,): 1, (1, 1, 0): 2}])
def test_outcomes_with_too_few_modes_are_refused(table: Table) -> None:
    to = sent([program(1)])
    with pytest.raises(UnusableAnswer):
        read(answer([entry(table, to.iterations[0])]), to)


def test_clicks_that_the_detector_cannot_report_are_refused() -> None:
    to = sent([program(1)])
    with pytest.raises(UnusableAnswer, match="threshold"):
        read(answer([entry(ONE, to.iterations[0])]), to, detector="threshold")


@st.composite
def results(draw: st.DrawFn) -> tuple[list[Program], list[Table]]:
    mesh = IsometryMesh(draw(st.integers(2, 5)), draw(st.integers(1, 2)))
    number = draw(st.integers(1, 4))
    seeds = draw(st.lists(st.integers(0, 10**6), min_size=number, max_size=number, unique=True))
    outcome = st.tuples(*[st.integers(0, 3)] * mesh.modes).filter(any)
    table = st.dictionaries(outcome, st.integers(1, 10**9), max_size=6)
    inputs = tuple(range(mesh.photons))
    phases = [np.random.default_rng(seed).uniform(-9, 9, mesh.declared) for seed in seeds]
    return [Program(mesh, x, inputs) for x in phases], draw(st.lists(table, min_size=number, max_size=number))


@settings(max_examples=60)
@given(results(), st.sampled_from([1, 2]), st.booleans(), st.randoms(use_true_random=False))
def test_what_perceval_writes_comes_back_exactly(
    case: tuple[list[Program], list[Table]], version: int, compress: bool, order: random.Random
) -> None:
    """The iterations are those of Perceval's own reading of the payload, and so are the results' texts."""
    programs, wanted = case
    to = sent(programs, version)
    echoed = [serialize({**i, "input_state": pcvl.BasicState(i["input_state"])}, compress=False) for i in to.iterations]
    entries = [entry(t, i, compress=compress) for t, i in zip(wanted, echoed, strict=True)]
    order.shuffle(entries)
    assert [table_of(c) for c in read(answer(entries), to)] == wanted


def test_counts_and_samples_agree_however_large() -> None:
    rng = np.random.default_rng(1)
    table = dict(Counter(tuple(row) for row in rng.integers(0, 2, (3000, 3)).tolist() if any(row)))
    to = sent([program(1)])
    assert table_of(read(answer([entry(table, to.iterations[0], samples=True)]), to)[0]) == table


RECORDED = (
    '{"results":":PCVL:zip:eJyzCnAO87FyCnbOL80rsaquMdQx1DEAQTtbQ+saEAssYmdrBOEZgUSgchC1hmA5iC4jqD4ID6zPEqLSAKLSGCIH1Wdq'
    'CrMCzDWBctHNgeg0g2kFG2uGMAjIM7aoBQCDZS15","global_perf":0.6519334250124457,"iteration":{"circuit_params":{"theta0":0.'
    '3,"theta1":0.35,"theta2":0.4,"theta3":0.45,"phi0":0.0,"phi1":0.1,"phi2":0.2,"phi3":0.30000000000000004},"input_state"'
    ':":PCVL:BasicState:|1,0,1,0,1>","min_detected_photons":2,"max_samples":200,"max_shots":5000}}'
)


def test_recorded_answer_decodes_to_the_counts_that_were_seen() -> None:
    """Recorded from Perceval 1.3.1."""
    mesh = RectangularMesh(5)
    one = Program(mesh, np.zeros(mesh.declared), (0, 2, 4))
    phases = {"theta0": 0.3, "theta1": 0.35, "theta2": 0.4, "theta3": 0.45, "phi0": 0, "phi1": 0.1, "phi2": 0.2}
    to = Sent((one,), ({"circuit_params": phases | {"phi3": 0.3}, "input_state": "|1,0,1,0,1>"},))
    found = read({"results": f'{{"results_list": [{RECORDED}]}}'}, to)[0]
    assert table_of(found) == {
        (1, 0, 1, 0, 0): 38,
        (1, 0, 1, 1, 0): 6,
        (1, 0, 0, 0, 1): 36,
        (0, 0, 0, 2, 0): 1,
        (0, 0, 1, 0, 1): 45,
        (1, 0, 1, 0, 1): 55,
        (0, 1, 0, 0, 1): 3,
        (1, 0, 0, 1, 0): 9,
        (1, 0, 0, 2, 0): 1,
        (0, 1, 1, 0, 1): 2,
        (0, 0, 2, 0, 1): 1,
        (0, 0, 1, 1, 0): 2,
        (1, 1, 0, 0, 0): 1,
    }
    assert found is not None
    assert (found.shots, found.other) == (200, 0)


# -- no more than was asked for --------------------------------------------------------------------------------


def asked(programs: Sequence[Program], shots: int) -> Sent:
    return encode_payload(programs, shots=shots, name="n", platform=platform())[1]


def test_the_largest_honest_results_fit_into_their_limits() -> None:
    """As many different outcomes as shots, samples one by one, several settings, packed or not."""
    rng = np.random.default_rng(3)
    wide = Program(RectangularMesh(12), np.zeros(144), (0, 4, 7, 11))
    rows = np.unique(rng.multinomial(4, [1 / 12] * 12, size=600), axis=0)
    table: Table = {tuple(row): 1 for row in rows.tolist()}
    to = asked([wide, wide], len(table))
    for samples in (True, False):
        for compress in (True, False):
            what = answer([entry(table, i, samples=samples, compress=compress) for i in to.iterations])
            assert [table_of(c) for c in read(what, to)] == [table, table]
            assert len(json.dumps(what)) < to.most_bytes


@pytest.mark.parametrize("shots", [1, 100, 10_000])
@pytest.mark.parametrize("kind", ["BSCount", "BSSamples"])
def test_bombs_of_results_are_given_up_by_what_was_asked(shots: int, kind: str) -> None:
    """A good text of 200 MB in 200 kB, or a smaller one: nothing of it is built."""
    to = asked([program(1)], shots)
    long = "|1,1,0>=1" + ";|1,1,0>=1" * 2_000_000 if kind == "BSCount" else "|1,1,0>/0" + ";0" * 10_000_000
    body = f":PCVL:{kind}:{{{long}}}" if kind == "BSCount" else f":PCVL:{kind}:{long}"
    for text in (zipped(body), body):
        with pytest.raises(UnusableAnswer, match=r"exceeds|characters"):
            read(answer([{"results": text, "iteration": to.iterations[0]}]), to)
    assert to.most_bytes < 20 * 2**20


@pytest.mark.parametrize("width", [2, 4, 24])
def test_clicks_in_modes_that_are_not_there_are_refused(width: int) -> None:
    to = asked([program(1)], 100)
    state = tuple([1] * min(width, 2) + [0] * (width - 2))
    with pytest.raises(UnusableAnswer, match=r"3 modes|modes or places|cannot be read"):
        read(answer([entry({state: 3}, to.iterations[0])]), to)


@pytest.mark.parametrize(
    "body",
    [
        ":PCVL:BSCount:{|1,1,0>=50;|1,1,0>=1}",
        ":PCVL:BSCount:{|1,1,0>=50;|01,1,0>=1}",
        ":PCVL:BSCount:{|1,1,0>=1_0}",
        ":PCVL:BSCount:{|1,1,0>=\u0661\u0662}",
        ":PCVL:BSCount:{|\u0661,1,0>=1}",
        ":PCVL:BSCount:{|1,1,0>=+5}",
        ":PCVL:BSCount:{|1,1,0>= 5}",
        ":PCVL:BSCount:{|1,1,0>=5.0}",
        ":PCVL:BSSamples:|1,1,0>;|0,0,1>/-1;0",
        ":PCVL:BSSamples:|1,1,0>;|0,0,1>/0;2",
        ":PCVL:BSSamples:|1,1,0>;|0,0,1>/0;1_0",
        ":PCVL:BSSamples:|1,1,0>;|0,0,1>/0;\u0661",
    ],
)
def test_numbers_and_outcomes_that_perceval_would_not_write_are_refused(body: str) -> None:
    to = asked([program(1)], 100)
    for text in (body, zipped(body)):
        with pytest.raises(UnusableAnswer):
            read(answer([{"results": text, "iteration": to.iterations[0]}]), to)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({(1, 1, 0): 10_001}, "10001 shots where 100 were asked"),
        ({(1, 1, 0): 2**52}, "shots where 100 were asked"),
        ({(1, 2, 2): 100}, "100 of 100 shots have more clicks than the 2 photons"),
        ({(1, 2, 2): 51, (1, 0, 0): 49}, "51 of 100 shots have more clicks"),
    ],
)
def test_what_no_machine_brings_is_told_apart_from_no_event(table: Table, why: str) -> None:
    to = asked([program(1)], 100)
    with pytest.raises(UnusableAnswer, match=why):
        check_plausible(read(answer([entry(table, to.iterations[0])]), to), to)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {(0, 0, 0): 100},
        {(1, 0, 0): 100},
        {(1, 1, 0): 1000},
        {(1, 1, 1): 50, (2, 0, 0): 50},
        {(1, 1, 0): 60, (2, 2, 2): 40},
    ],
)
def test_noise_and_long_measurements_are_taken(table: Table) -> None:
    """Dark counts and second photons are in the counts as they came; more shots are told by the job."""
    to = asked([program(1), program(2)], 100)
    found = read(answer([entry(table, to.iterations[0])]), to)
    check_plausible(found, to)
    assert table_of(found[0]) == {state: number for state, number in table.items() if any(state)}
