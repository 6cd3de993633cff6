"""``qpu-sdk mitigate``: counts of ours and of Perceval, what comes out, and every way to get it wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perceval.serialization import serialize

from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.mitigation.methods import METHODS
from qpu_sdk.mitigation.mitigate import mitigate
from qpu_sdk.mitigation.selection import post_select
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.commands import Commands
from tests.runs.test_page import read

BAD_INPUT = 2
DEVICE = "local:test"
COMMANDS = Commands(before=("mitigate",), after=("--json",))
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


@dataclass(frozen=True)
class Case:
    """Two programs on a noisy device, their counts, and files of all of it."""

    folder: Path
    record: CalibrationRecord
    programs: tuple[Program, ...]
    counts: tuple[Counts, ...]

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def options(self, **more: object) -> list[object]:
        """The record, and ``--key value`` of the rest."""
        record = self.write("record.json", self.record.to_json())
        return ["--record", record, *(part for key, value in more.items() for part in (f"--{key}", value))]

    @property
    def first(self) -> Path:
        return self.write("counts.json", self.counts[0].to_json() + "\n")

    @property
    def program(self) -> Path:
        return self.write("program.json", self.programs[0].to_json())


@pytest.fixture(scope="module")
def measured() -> tuple[CalibrationRecord, tuple[Program, ...], tuple[Counts, ...]]:
    noise = Noise(transmittance=0.3, indistinguishability=0.9, g2=0.05)
    mesh = IsometryMesh(5, 3)
    rng = np.random.default_rng(3)
    programs = tuple(Program(mesh, rng.uniform(0, 2 * np.pi, mesh.declared), (0, 1, 2)) for _ in range(2))
    device = LocalDevice(seed=2, model=LocalModel(noise=noise), name=DEVICE)
    counts = device.submit(programs, shots=60_000, tag="t").result()
    record = known_record(noise, Identity(DEVICE, "", 5, (0, 1, 2), "threshold"))
    return record, programs, tuple(counts)


@pytest.fixture
def case(measured: tuple[Any, ...], tmp_path: Path) -> Case:
    return Case(tmp_path, *measured)


# -- what comes out --------------------------------------------------------------------------------------------


def test_the_distribution_is_that_of_the_pipeline(case: Case) -> None:
    found = mitigate(case.counts[0], case.record, program=case.programs[0], seed=4)
    data = succeed(case.first, *case.options(program=case.program, seed=4))
    [entry] = data["distributions"]
    assert (data["schema_version"], data["seed"]) == (1, 4)
    assert entry["probabilities"] == found.probabilities.tolist()
    assert entry["standard_errors"] == found.standard_errors.tolist()
    assert entry["interval"]["lower"] == found.interval(0.95)[0].tolist()
    assert entry["record_id"] == case.record.id
    assert [s["name"] for s in entry["history"] if s["used"]] == ["record", "unfold", "fuse"]
    raw = post_select(case.counts[0]).probabilities
    assert entry["shift"] == pytest.approx(0.5 * np.abs(found.probabilities - raw).sum())
    assert entry["outcomes"][0] == [0, 1, 2]
    assert len(entry["unprojected"]) == len(entry["outcomes"]) == 10


@pytest.mark.parametrize("method", METHODS)
def test_the_method_is_the_one_that_was_named(case: Case, method: str) -> None:
    [entry] = succeed(case.first, *case.options(program=case.program, method=method))["distributions"]
    assert entry["method"] == method
    used = [report["name"] for report in entry["history"] if report["used"]]
    assert "-".join(used).removeprefix("record-").startswith(method)
    assert sum(entry["probabilities"]) == pytest.approx(1.0)


def test_text_has_method_numbers_and_the_most_probable_outcomes(case: Case) -> None:
    result = run(case.first, *case.options(program=case.program))
    assert result.exit_code == 0, result.output
    names = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert {
        "unfold",
        "fuse",
        "method",
        "record",
        "shots",
        "samples",
        "effective samples",
        "overhead",
        "shift",
        "fit",
    } <= set(names)
    [entry] = succeed(case.first, *case.options(program=case.program))["distributions"]
    best = ",".join(map(str, entry["outcomes"][int(np.argmax(entry["probabilities"]))]))
    shown = [name for name in names if name.startswith("p(")]
    assert shown[0] == f"p({best})"
    assert len(shown) == 10
    without = run(case.write("bare.json", bare(case.counts[0]).to_json()), *case.options()).stdout
    assert "not used: the circuit was not given" in without


def test_help_names_every_method() -> None:
    shown = "".join(Commands().run("mitigate", "--help").stdout.split())
    assert f"auto,or{','.join(METHODS)}." in re.sub(r"[^a-z,.-]", "", shown)


def test_every_line_of_counts_is_mitigated(case: Case) -> None:
    both = case.write("both.jsonl", "".join(c.to_json() + "\n" for c in case.counts))
    entries = succeed(both, *case.options())["distributions"]
    assert [e["program"] for e in entries] == [p.fingerprint for p in case.programs]
    text = run(both, *case.options()).stdout
    assert "counts 2 of 2" in text


def test_json_over_several_lines_is_read(case: Case) -> None:
    pretty = case.write("pretty.json", json.dumps(json.loads(case.counts[0].to_json()), indent=1))
    assert succeed(pretty, *case.options())["distributions"] == succeed(case.first, *case.options())["distributions"]


@pytest.mark.parametrize("compress", [True, False])
def test_counts_of_perceval_are_read(case: Case, compress: bool) -> None:
    text = serialize(case.counts[0].to_perceval(), compress=["BSCount"] if compress else False)
    assert text.startswith(":PCVL:zip:" if compress else ":PCVL:BSCount:")
    path = case.write("perceval.txt", text)
    expected = succeed(case.first, *case.options(program=case.program))["distributions"][0]["probabilities"]
    for options in (case.options(program=case.program), case.options(program=case.program, inputs="0,1,2", photons=3)):
        assert succeed(path, *options)["distributions"][0]["probabilities"] == expected
    without = [
        succeed(path, *case.options(**more))["distributions"][0] for more in ({"photons": 3}, {"inputs": "2,1,0"})
    ]
    assert without[0]["probabilities"] == without[1]["probabilities"]


def test_many_settings_meet_a_file_of_their_programs(case: Case) -> None:
    bare = [replace(one, program=None, fingerprint="") for one in case.counts]
    path = case.write("bare.jsonl", "\n".join(one.to_json() for one in bare))
    programs = case.write("programs.json", f"[{','.join(program.to_json() for program in case.programs)}]")
    own = case.write("own.jsonl", "\n".join(one.to_json() for one in case.counts))
    found, expected = (
        [one["probabilities"] for one in succeed(file, *case.options(**more))["distributions"]]
        for file, more in ((path, {"program": programs}), (own, {}))
    )
    assert len(found) == len(case.counts) > 1
    assert found == expected
    short = case.write("short.json", case.programs[0].to_json() + "\n" + case.programs[1].to_json())
    assert "1 settings" in fail(BAD_INPUT, case.write("one.json", bare[0].to_json()), *case.options(program=short))


def test_frequencies_need_a_total(case: Case) -> None:
    counts = case.counts[0]
    table = {
        str(tuple(o)): n / counts.shots for o, n in zip(counts.outcomes.tolist(), counts.numbers.tolist(), strict=True)
    }
    path = case.write("frequencies.json", json.dumps(table))
    assert "--total" in fail(BAD_INPUT, path, *case.options(program=case.program))
    found = succeed(path, *case.options(program=case.program, total=counts.shots))["distributions"][0]
    assert found["probabilities"] == succeed(case.first, *case.options())["distributions"][0]["probabilities"]


def test_files_are_written(case: Case) -> None:
    out, page = case.folder / "d.json", case.folder / "p.html"
    data = succeed(case.first, *case.options(program=case.program, out=out, page=page))
    assert json.loads(out.read_text()) == data
    reader = read(page.read_text(encoding="utf-8"))
    assert {"svg", "table", "h1"} <= reader.tags


def test_equal_seeds_give_equal_files(case: Case) -> None:
    one, other = (succeed(case.first, *case.options(method="unfold", seed=s)) for s in (1, 1))
    assert one == other
    assert one["distributions"] != succeed(case.first, *case.options(method="unfold", seed=2))["distributions"]


# -- bad input -------------------------------------------------------------------------------------------------


BROKEN_COUNTS: dict[str, Callable[[Counts], str]] = {
    "which is nothing known": lambda c: "not json",
    "the file is empty": lambda c: "\n",
    "is no counts": lambda c: "[]",
    "KeyError": lambda c: '{"schema_version": 1}',
    "a count is negative": lambda c: json.dumps(
        json.loads(c.to_json()) | {"numbers": [-1] * int((c.numbers > 0).sum())}
    ),
    "looks like JSON: no JSON (RecursionError": lambda c: "[" * 100_000,
    "not counts of Perceval": lambda c: ":PCVL:BSCount:{|1,0>=x}",
    "add up to 0.5: neither counts nor frequencies": lambda c: ":PCVL:BSDistribution:{|1,0>=0.5}",
    "do not say how many photons": lambda c: serialize(c.to_perceval()),
}


@pytest.mark.parametrize("words", BROKEN_COUNTS)
def test_files_that_are_no_counts_are_one_line(case: Case, words: str) -> None:
    path = case.write("broken.json", BROKEN_COUNTS[words](case.counts[0]))
    line = fail(BAD_INPUT, path, *case.options())
    assert words in line
    assert "broken.json" in line


def test_files_that_are_not_there_are_one_line(case: Case) -> None:
    assert "none.json" in fail(BAD_INPUT, case.folder / "none.json", *case.options())
    assert "no record" in fail(BAD_INPUT, case.first)
    assert "none.json" in fail(BAD_INPUT, case.first, "--record", case.folder / "none.json")
    assert "calibration record" in fail(BAD_INPUT, case.first, "--record", case.first)
    assert "none.json" in fail(BAD_INPUT, case.first, *case.options(program=case.folder / "none.json"))
    assert "no run" in fail(BAD_INPUT, case.folder, *case.options())
    binary = case.folder / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in fail(BAD_INPUT, binary, *case.options())


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"schema_version": 1}', '{"schema_version": 2}', "[" * 100_000])
def test_files_that_are_no_program_are_one_line(case: Case, text: str) -> None:
    assert "bad.json" in fail(BAD_INPUT, case.first, *case.options(program=case.write("bad.json", text)))


def test_a_program_of_other_counts_is_refused(case: Case) -> None:
    other = case.write("other.json", case.programs[1].to_json())
    assert "Give the program that was run" in fail(BAD_INPUT, case.first, *case.options(program=other))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "local:another"}, "the record is of local:another"),
        ({"detector": "pnr"}, "pnr detectors"),
        ({"modes": 4, "output_efficiencies": 4, "dark_counts": 4}, "5 modes, the record 4"),
        ({"input_modes": (0, 1), "input_transmissions": (0, 1)}, "mode 2"),
    ],
)
def test_a_record_of_something_else_is_refused(case: Case, changes: dict[str, Any], words: str) -> None:
    values = case.record.model_dump()
    for key, value in changes.items():
        if isinstance(value, int) and key != "modes":
            value = values[key][:value]
        if key == "input_transmissions":
            value = {mode: values[key][mode] for mode in value}
        values[key] = value
    other = replace(case, record=CalibrationRecord.model_validate(values))
    line = fail(BAD_INPUT, case.first, *other.options(program=case.program))
    assert words in line
    assert "counts.json" in line


def test_counts_that_do_not_name_their_device_are_accepted(case: Case) -> None:
    path = case.write("anonymous.json", replace(case.counts[0], device="", program=None, fingerprint="").to_json())
    assert succeed(path, *case.options(program=case.program))["distributions"][0]["record_id"] == case.record.id


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "method 'magic' is unknown. Use auto, post-select, response"),
        ({"method": "unfold,fuse"}, "method 'unfold,fuse' is unknown; unfold-fuse is the nearest"),
        ({"method": ""}, "method '' is unknown"),
        ({"photons": 2}, "they are of 3 photons, 2 are asked for"),
        ({"inputs": "0,x"}, "--inputs '0,x' are not modes"),
        ({"inputs": "0,0,1"}, "Name each mode once"),
        ({"inputs": "0,1,4"}, "mode 4"),
        ({"inputs": "0,1,2", "photons": 2}, "Name each mode once"),
        ({"out": "none/d.json"}, "cannot write none/d.json"),
        ({"page": "none/p.html"}, "cannot write none/p.html"),
    ],
)
def test_options_that_do_not_fit_are_one_line(case: Case, options: dict[str, object], words: str) -> None:
    assert words in fail(BAD_INPUT, case.first, *case.options(**options))


def bare(counts: Counts) -> Counts:
    """Counts that do not say of what program they are."""
    return replace(counts, program=None, fingerprint="")


def test_methods_that_need_the_circuit_say_so(case: Case) -> None:
    path = case.write("bare.json", bare(case.counts[0]).to_json())
    assert "the circuit, which was not given" in fail(BAD_INPUT, path, *case.options(method="subtract"))


def test_inputs_beside_a_program_must_be_its_own(case: Case) -> None:
    wide = replace(case, record=wider(case.record))
    line = fail(BAD_INPUT, case.first, *wide.options(program=case.program, inputs="0,1,3"))
    assert "Leave inputs (--inputs) out" in line


def wider(record: CalibrationRecord) -> CalibrationRecord:
    values = record.model_dump()
    known = values["input_transmissions"]
    return CalibrationRecord.model_validate(
        values | {"input_modes": (0, 1, 2, 3), "input_transmissions": known | {3: known[0]}}
    )


def filtered(counts: Counts) -> Counts:
    """Only shots of all photons, as a server leaves them that filters."""
    keep = counts.outcomes.sum(axis=1) == counts.photons
    return replace(counts, outcomes=counts.outcomes[keep], numbers=counts.numbers[keep])


def test_filtered_counts_are_refused_where_a_method_needs_the_others(case: Case) -> None:
    path = case.write("filtered.json", filtered(case.counts[0]).to_json())
    for method in ("unfold", "recycle"):
        assert "filter" in fail(BAD_INPUT, path, *case.options(program=case.program, method=method))
    [entry] = succeed(path, *case.options(program=case.program))["distributions"]
    assert [s["name"] for s in entry["history"] if s["used"]] == ["record", "subtract"]
    assert any("filtered" in s["why"] for s in entry["history"] if not s["used"])


def test_no_event_is_one_line(case: Case) -> None:
    counts = case.counts[0]
    keep = counts.outcomes.sum(axis=1) < 3
    few = replace(counts, outcomes=counts.outcomes[keep], numbers=counts.numbers[keep])
    path = case.write("few.json", few.to_json())
    for method in ("auto", "post-select", "unfold"):
        assert "no collision-free 3-photon event" in fail(BAD_INPUT, path, *case.options(method=method))
    none = case.write("none.json", replace(few, outcomes=few.outcomes[:0], numbers=few.numbers[:0]).to_json())
    assert "in 0 shots" in fail(BAD_INPUT, none, *case.options())


@pytest.mark.parametrize("photons", [0, -1, 6, 300])
def test_photons_that_cannot_be_are_one_line(case: Case, photons: int) -> None:
    text = json.dumps(json.loads(case.counts[0].to_json()) | {"photons": photons})
    fail(BAD_INPUT, case.write("odd.json", text), *case.options())
