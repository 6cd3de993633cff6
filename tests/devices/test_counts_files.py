"""Files of counts and of programs in every form that people have, read to the same numbers; the rest is one line."""

from __future__ import annotations

import json
import math
import sqlite3
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import perceval as pcvl
import pytest
from perceval.serialization import serialize

import qpu_sdk as qs
from qpu_sdk.devices.cloud.decoding import Sent
from qpu_sdk.devices.cloud.payload import encode_payload
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.journalled import JournalledDevice
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.errors import DataError, QPUError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.program import Program
from tests.devices.cloud.test_payload import platform

M, N, SHOTS = 5, 2, 3000
PROGRAMS = [Program.random(qs.RectangularMesh(M), (0, 2), seed=seed) for seed in range(3)]
DEVICE = LocalDevice(seed=1)
COUNTS = DEVICE.submit(PROGRAMS, shots=SHOTS).result()
FIRST = COUNTS[0]
TABLE = {tuple(map(int, o)): int(n) for o, n in zip(FIRST.outcomes, FIRST.numbers, strict=True) if n}
BSCOUNT = FIRST.to_perceval()
FREQUENCIES = pcvl.BSDistribution({state: number / FIRST.shots for state, number in BSCOUNT.items()})
SAMPLES = pcvl.BSSamples([state for state, number in BSCOUNT.items() for _ in range(number)])


def ket(outcome: tuple[int, ...]) -> str:
    return f"|{','.join(map(str, outcome))}>"


def csv(header: str, line: Callable[[tuple[int, ...], int], str]) -> str:
    return header + "".join(line(o, n) + "\n" for o, n in TABLE.items())


#: One setting as text, and what has to be said beside it.
TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ours": (FIRST.to_json(), {}),
    "ours, over lines": (json.dumps(json.loads(FIRST.to_json()), indent=1), {}),
    "ours, in a list": (f"[{FIRST.to_json()}]", {}),
    "job": (json.dumps({"results": serialize(BSCOUNT)}), {"photons": N}),
    "job, answered as text": (json.dumps({"results": json.dumps({"results": serialize(BSCOUNT)})}), {"photons": N}),
    "iterations": (
        json.dumps(
            {
                "results_list": [
                    {"results": serialize(BSCOUNT), "iteration": {"input_state": ":PCVL:BasicState:|1,0,1,0,0>"}}
                ]
            }
        ),
        {},
    ),
    "kets": (json.dumps({ket(o): n for o, n in TABLE.items()}), {"photons": N}),
    "tuples": (json.dumps({str(o): n for o, n in TABLE.items()}), {"photons": N}),
    "digits": (json.dumps({"".join(map(str, o)): n for o, n in TABLE.items()}, indent=2), {"photons": N}),
    "printed tuples": (str(TABLE), {"photons": N}),
    "wrapped": (json.dumps({"counts": {ket(o): n for o, n in TABLE.items()}, "photons": N, "detector": "pnr"}), {}),
    "wrapped program": (
        json.dumps({"counts": {str(o): n for o, n in TABLE.items()}, "program": json.loads(PROGRAMS[0].to_json())}),
        {},
    ),
    "str BSCount": (str(BSCOUNT), {"photons": N}),
    "repr BSCount": (repr(BSCOUNT), {"photons": N}),
    "BSCount": (serialize(BSCOUNT, compress=False), {"photons": N}),
    "packed": (serialize(BSCOUNT, compress=True), {"photons": N}),
    "quoted": (json.dumps(serialize(BSCOUNT)), {"photons": N}),
    "repr BSSamples": (repr(SAMPLES), {"photons": N}),
    "BSSamples": (serialize(SAMPLES), {"photons": N}),
    "str BSDistribution": (str(FREQUENCIES), {"photons": N, "total": FIRST.shots}),
    "BSDistribution": (serialize(FREQUENCIES), {"photons": N, "total": FIRST.shots}),
    "frequencies wrapped": (
        json.dumps({"counts": {ket(o): n / FIRST.shots for o, n in TABLE.items()}, "shots": FIRST.shots, "photons": N}),
        {},
    ),
    "csv": (csv("", lambda o, n: f"{ket(o)},{n}"), {"photons": N}),
    "csv with header": (csv("outcome,count\n", lambda o, n: f'"{o}",{n}'), {"photons": N}),
    "csv by columns": (csv("# ours\n0,1,2,3,4,n\n", lambda o, n: f"{','.join(map(str, o))},{n}"), {"photons": N}),
    "csv with semicolons": (csv("", lambda o, n: f"{ket(o)};{n}.0"), {"photons": N}),
    "csv of frequencies": (csv("o,p\n", lambda o, n: f"{o},{n / FIRST.shots}"), {"photons": N, "total": FIRST.shots}),
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def seen(counts: Counts) -> tuple[int, dict[tuple[int, ...], int]]:
    return counts.photons, {
        tuple(map(int, o)): int(n) for o, n in zip(counts.outcomes, counts.numbers, strict=True) if n
    }


def lines(counts: list[Counts]) -> list[str]:
    return [one.to_json() for one in counts]


@pytest.mark.parametrize("form", TEXTS)
def test_every_form_gives_the_same_counts(tmp_path: Path, form: str) -> None:
    text, beside = TEXTS[form]
    [found] = qs.load_counts(write(tmp_path / "counts.txt", text), **beside)
    assert seen(found) == (N, TABLE)
    assert found.detector == "pnr"  # the device counts, and some outcomes show it


@pytest.mark.parametrize("form", TEXTS)
def test_programs_are_taken_from_beside_the_file(tmp_path: Path, form: str) -> None:
    text, beside = TEXTS[form]
    path = write(tmp_path / "counts.txt", text)
    [found] = qs.load_counts(path, programs=PROGRAMS[:1], total=beside.get("total"))
    assert found.program == PROGRAMS[0]
    assert found.photons == N
    wider = Program.random(qs.RectangularMesh(M + 1), (0, 2), seed=1)
    with pytest.raises(DataError, match="5 modes, the program of 6"):
        qs.load_counts(path, programs=[wider], total=beside.get("total"))


def test_many_settings_meet_their_programs(tmp_path: Path) -> None:
    bare = [replace(one, program=None, fingerprint="") for one in COUNTS]
    path = write(tmp_path / "counts.jsonl", "".join(one.to_json() + "\n\n" for one in bare))
    assert lines(qs.load_counts(path)) == lines(bare)
    assert [one.program for one in qs.load_counts(path, programs=PROGRAMS)] == PROGRAMS
    assert {one.program for one in qs.load_counts(path, programs=PROGRAMS[:1])} == {PROGRAMS[0]}
    with pytest.raises(DataError, match="3 settings, and there are 2 programs"):
        qs.load_counts(path, programs=PROGRAMS[:2])
    # Counts that name their program find it, wherever it stands.
    named = [replace(one, program=None) for one in COUNTS]
    path = write(tmp_path / "named.jsonl", "\n".join(one.to_json() for one in named))
    assert [one.program for one in qs.load_counts(path, programs=PROGRAMS[::-1])] == PROGRAMS
    with pytest.raises(DataError, match="Give the program that was run"):
        qs.load_counts(path, programs=[PROGRAMS[0], PROGRAMS[1], Program.random(qs.RectangularMesh(M), (0, 1), seed=9)])


@pytest.mark.parametrize("version", [1, 2])
def test_results_meet_the_payload_that_stands_beside_them(tmp_path: Path, version: int) -> None:
    """Not by their place: the iterations are echoed in another order. A unitary is compared, not the mesh's phases."""
    body, sent = encode_payload(PROGRAMS, shots=SHOTS, name="n", platform=platform(version))
    assert isinstance(sent, Sent)
    entries = [
        {"results": serialize(one.to_perceval()), "iteration": json.loads(json.dumps(dict(it), default=str))}
        for one, it in zip(COUNTS, sent.iterations, strict=True)
    ]
    job = {"payload": json.loads(json.dumps(body))["payload"], "results": json.dumps({"results_list": entries[::-1]})}
    path = write(tmp_path / "job.json", json.dumps(job))
    found = qs.load_counts(path)
    assert [seen(one) for one in found] == [seen(one) for one in COUNTS[::-1]]
    for one, program in zip(found, PROGRAMS[::-1], strict=True):
        assert one.program is not None
        assert one.program.input_modes == program.input_modes
        np.testing.assert_allclose(one.program.probabilities(), program.probabilities(), atol=1e-9)
    for entry in entries:
        del entry["iteration"]
    ordered = qs.load_counts(write(path, json.dumps(job | {"results": {"results_list": entries}})))
    assert ordered[2].program is not None
    np.testing.assert_allclose(ordered[2].program.probabilities(), PROGRAMS[2].probabilities(), atol=1e-9)
    with pytest.raises(DataError, match="2 results without iterations, for 3 iterations"):
        qs.load_counts(write(path, json.dumps(job | {"results": {"results_list": entries[:2]}})))


# -- arrays ---------------------------------------------------------------------------------------------------------


def test_arrays_are_in_lexicographic_order(tmp_path: Path) -> None:
    rows = np.array([one.collision_free() for one in COUNTS])
    np.save(tmp_path / "counts.npy", rows)
    np.savez_compressed(tmp_path / "counts.npz", counts=np.asfortranarray(rows), photons=N)
    for found in (
        qs.load_counts(tmp_path / "counts.npy", photons=N),
        qs.load_counts(tmp_path / "counts.npy", programs=PROGRAMS),
        qs.load_counts(tmp_path / "counts.npz"),
    ):
        assert [one.collision_free().tolist() for one in found] == rows.tolist()
        assert {one.detector for one in found} == {"threshold"}
    np.savez(tmp_path / "table.npz", outcomes=FIRST.outcomes, numbers=FIRST.numbers)
    [table] = qs.load_counts(tmp_path / "table.npz", photons=N)
    assert seen(table) == seen(FIRST)


@pytest.mark.parametrize(
    ("array", "beside", "words"),
    [
        (np.arange(11), {"photons": 2}, "no number of modes has so many"),
        (np.arange(10), {"photons": None}, "how many photons"),
        (np.arange(10), {"programs": [Program.random(qs.RectangularMesh(4), (0, 1), seed=1)]}, "4 modes have 6"),
        (np.full(10, 0.1), {"photons": 2}, "frequencies without a total"),
        (np.full(10, np.nan), {"photons": 2}, "not finite"),
        (np.full(10, -1), {"photons": 2}, "0 or more"),
        (np.zeros((2, 2, 2)), {"photons": 2}, "shape"),
        (np.array([True] * 10), {"photons": 2}, "bool"),
        (np.array(["a"]), {"photons": 2}, "<U1"),
        (np.array([{}], dtype=object), {"photons": 2}, "only pickle reads"),
    ],
)
def test_arrays_that_are_none_are_one_line(tmp_path: Path, array: Any, beside: dict[str, Any], words: str) -> None:
    np.save(tmp_path / "counts.npy", array, allow_pickle=True)
    refused(lambda: qs.load_counts(tmp_path / "counts.npy", **beside), words)


def test_nothing_larger_than_it_says_is_made_of_a_file(tmp_path: Path) -> None:
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999,), }"
    content = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + b"0" * 80
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("counts.npy", content)
    (tmp_path / "c.npy").write_bytes(b"\x80\x04]\x94(K\x01K\x02e.")  # a pickle
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04")
    np.save(tmp_path / "e.npy", np.arange(10))
    (tmp_path / "e.npy").write_bytes((tmp_path / "e.npy").read_bytes()[:-3])
    for name in ("a.npy", "b.npz", "c.npy", "d.npz", "e.npy"):
        refused(lambda name=name: qs.load_counts(tmp_path / name, photons=2), name)  # type: ignore[misc]


# -- runs -----------------------------------------------------------------------------------------------------------


def measured(path: Path, shots: int = SHOTS) -> Path:
    with Journal(path) as journal:
        JournalledDevice(LocalDevice(seed=1), journal).submit(PROGRAMS, shots=shots).result()
    return path


def test_a_run_is_read_while_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        device = JournalledDevice(LocalDevice(seed=1), journal)
        refused(lambda: qs.load_counts(tmp_path), "holds no counts yet")
        first = device.submit(PROGRAMS, shots=SHOTS).result()
        content = path.read_bytes()
        assert lines(qs.load_counts(tmp_path)) == lines(qs.load_counts(path)) == lines(first)
        assert path.read_bytes() == content
        assert [one.program for one in qs.load_counts(tmp_path)] == PROGRAMS == qs.load_programs(tmp_path)
        device.submit(PROGRAMS[:1], shots=10).result()  # it is not locked out
    assert len(qs.load_counts(tmp_path)) == 4


def test_a_run_of_an_older_version_says_that_it_holds_no_programs(tmp_path: Path) -> None:
    path = measured(tmp_path / "journal.sqlite")
    with sqlite3.connect(path) as base:
        for rowid, text in base.execute("SELECT rowid, counts FROM settings").fetchall():
            old = json.loads(text)
            old |= {"schema_version": 1, "program": old.pop("fingerprint")}
            base.execute("UPDATE settings SET counts = ? WHERE rowid = ?", (json.dumps(old), rowid))
    base.close()
    assert [one.program for one in qs.load_counts(tmp_path)] == [None] * 3
    assert [one.program for one in qs.load_counts(tmp_path, programs=PROGRAMS[::-1])] == PROGRAMS
    refused(lambda: qs.load_programs(tmp_path), "older versions")
    refused(lambda: qs.load_counts(tmp_path / "journal.sqlite" / "x"), "x")
    (tmp_path / "no").mkdir()
    refused(lambda: qs.load_counts(tmp_path / "no"), "no run")


# -- bad input ------------------------------------------------------------------------------------------------------


def refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(QPUError) as caught:
        call()
    assert isinstance(caught.value, DataError)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


BAD: dict[str, tuple[str, str]] = {
    "empty": ("\n \n", "the file is empty"),
    "prose": ("hello", "nothing known"),
    "a number": ("3", "nothing known"),
    "frequencies": (str(FREQUENCIES), "looks like a printed table: these are frequencies without a total"),
    "half": ('{"10": 0.25, "01": 0.25}', "add up to 0.5"),
    "no outcomes": ('{"a": 1, "b": 2}', "with the keys 'a, b'"),
    "an outcome and a word": ('{"10": 1, "b": 2}', "'b' is no outcome"),
    "a truth value": ('{"10": true}', "is True"),
    "a word for a number": ('{"10": "3"}', "is '3'"),
    "negative": ('{"10": -3, "01": 3}', "Use 0 or more"),
    "NaN": ('{"10": NaN}', "not finite"),
    "infinite": ('{"10": 1e999}', "not finite"),
    "too many": ('{"10": 99999999999999999999}', "above"),
    "of several sizes": ('{"10": 1, "011": 2}', "[2, 3] modes"),
    "no click": ('{"00": 1}', "no outcome has a click"),
    "twice": ('{"10": 1, "10": 2}', "twice"),
    "twice, otherwise": ('{"10": 1, "|1,0>": 2}', "twice"),
    "annotated": ('{"|{_:0},0>": 1}', "no outcomes"),
    "cut samples": ("[ |1,0>, |1,1>, ... (size=30) ]", "cut these samples"),
    "cut table": ("BSCount{|1,0>: 3, |0,", "cut off"),
    "broken table": ("BSCount{|1,0>: 3, |0,}", "was expected"),
    "broken JSON": ('{"|1,0>": 3, "x', "looks like JSON"),
    "broken line": (FIRST.to_json() + '\n{"schema', "line 2"),
    "CSV": ("outcome,count\n|1,0>,3\nword,3\n", "looks like CSV: line 3"),
    "CSV, word for a number": ("|1,0>,3\n|0,1>,x\n", "line 2"),
    "CSV, decimal comma": ("10;3\n01;0,5\n", "line 2"),
    "no results": ('{"results": null}', "result 1: results are None"),
    "results of another kind": (json.dumps({"results": ":PCVL:BasicState:|1,0>"}), "not counts of Perceval"),
    "results with a broken payload": (
        json.dumps({"results": ":PCVL:BSCount:{|1,0>=3}", "payload": {"experiment": ":PCVL:zip:x"}}),
        "its payload cannot be read",
    ),
    "mixed detectors": (
        f'{FIRST.to_json()}\n{{"counts": {{"10000": 3}}, "photons": 1, "detector": "threshold"}}',
        "mixes counts of pnr and threshold",
    ),
    "a list, out of order": ('{"counts": [1, 2, 3, 4], "photons": 2}', "no number of modes has so many"),
    "a ragged list": ('{"counts": [[1, 2], [3]], "photons": 1}', "Use a number"),
    "a list of frequencies": ('{"counts": [0.5, 0.5], "photons": 1}', "without a total"),
    "deep": ("[" * 100_000, "RecursionError"),
    "a collection of nothing": ("[]", "is no counts"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_read_says_what_it_looked_like(tmp_path: Path, case: str) -> None:
    text, words = BAD[case]
    path = write(tmp_path / "counts.txt", text)
    refused(lambda: qs.load_counts(path, photons=1), words)
    refused(lambda: qs.load_counts(path, photons=1), "counts.txt")
    refused(lambda: qs.load_programs(path), "counts.txt")


def test_photons_are_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "counts.txt", str(BSCOUNT))
    refused(lambda: qs.load_counts(path), "how many photons were sent")
    [found] = qs.load_counts(path, photons=3, detector="ppnr:4")
    assert (found.photons, found.detector, found.events) == (3, "ppnr:4", 0)


def test_long_files_take_linear_time(tmp_path: Path) -> None:
    begun = time.process_time()
    for text in ("|1,0>: 3, " * 100_000, "{" + "|1,0>: " * 100_000 + "}", "{" * 300_000, "|" + "1," * 300_000):
        refused(lambda text=text: qs.load_counts(write(tmp_path / "long", text), photons=1), "long")  # type: ignore[misc]
    assert time.process_time() - begun < 20


# -- programs -------------------------------------------------------------------------------------------------------


def unitary_of(program: Program) -> np.ndarray[Any, Any]:
    return np.asarray(program.mesh.unitary(program.phases))


def test_programs_are_read(tmp_path: Path) -> None:
    texts = [program.to_json() for program in PROGRAMS]
    for text in ("\n".join(texts), f"[{','.join(texts)}]", json.dumps([json.loads(t) for t in texts], indent=1)):
        assert qs.load_programs(write(tmp_path / "programs.json", text)) == PROGRAMS
    assert qs.load_programs(write(tmp_path / "one.json", texts[0]), inputs=(2, 0)) == PROGRAMS[:1]
    refused(lambda: qs.load_programs(tmp_path / "one.json", inputs=(0, 1)), "its photons enter [0, 2], not [0, 1]")
    path = write(tmp_path / "counts.jsonl", "\n".join(one.to_json() for one in COUNTS))
    assert qs.load_programs(path) == PROGRAMS


@pytest.mark.parametrize("compress", [True, False])
def test_circuits_of_perceval_are_read(tmp_path: Path, compress: bool) -> None:
    texts = [serialize(program.to_perceval()[0], compress=compress) for program in PROGRAMS]
    experiment = pcvl.Experiment(PROGRAMS[0].to_perceval()[0])
    experiment.with_input(pcvl.BasicState([1, 0, 1, 0, 0]))
    for name, text, inputs, programs in (
        ("one", texts[0], (0, 2), PROGRAMS[:1]),
        ("lines", "\n".join(json.dumps(text) for text in texts), (0, 2), PROGRAMS),
        ("list", json.dumps(texts), [1, 0, 1, 0, 0], PROGRAMS),
        ("experiment", serialize(experiment, compress=compress), None, PROGRAMS[:1]),
    ):
        found = qs.load_programs(write(tmp_path / name, text), inputs=inputs)
        for one, program in zip(found, programs, strict=True):
            assert one.input_modes == program.input_modes
            np.testing.assert_allclose(unitary_of(one), unitary_of(program), atol=1e-9)
    refused(lambda: qs.load_programs(tmp_path / "one"), "no input state")


def test_unitaries_are_read(tmp_path: Path) -> None:
    unitaries = np.array([unitary_of(program) for program in PROGRAMS])
    np.save(tmp_path / "u.npy", unitaries)
    np.save(tmp_path / "one.npy", unitaries[0])
    np.savez(tmp_path / "u.npz", unitaries=unitaries, inputs=[0, 2])
    for found in (qs.load_programs(tmp_path / "u.npy", inputs=(0, 2)), qs.load_programs(tmp_path / "u.npz")):
        assert [one.input_modes for one in found] == [(0, 2)] * 3
        np.testing.assert_allclose([unitary_of(one) for one in found], unitaries, atol=1e-9)
    assert len(qs.load_programs(tmp_path / "one.npy", inputs=(0, 2))) == 1
    refused(lambda: qs.load_programs(tmp_path / "u.npy"), "where photons enter")
    refused(lambda: qs.load_programs(tmp_path / "u.npy", inputs=(0, 7)), "0..4")
    np.save(tmp_path / "bad.npy", unitaries * 1.1)
    refused(lambda: qs.load_programs(tmp_path / "bad.npy", inputs=(0, 2)), "unitary 1 of 3")
    np.save(tmp_path / "nan.npy", unitaries * math.nan)
    refused(lambda: qs.load_programs(tmp_path / "nan.npy", inputs=(0, 2)), "not finite")
    np.save(tmp_path / "flat.npy", unitaries[0, 0])
    refused(lambda: qs.load_programs(tmp_path / "flat.npy", inputs=(0, 2)), "Give unitaries")


@pytest.mark.parametrize("programs", [PROGRAMS[0], ["x"], "x", 3, [None]])
def test_programs_that_are_none_are_refused_in_one_line(tmp_path: Path, programs: Any) -> None:
    place = tmp_path / "counts.json"
    place.write_text(FIRST.to_json())
    with pytest.raises(DataError, match="Give a list of Program") as caught:
        qs.load_counts(place, programs=programs)
    assert "\n" not in str(caught.value)
