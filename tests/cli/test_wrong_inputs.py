"""Every command with hundreds of wrong inputs: one line, an exit code, nothing overwritten."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from qpu_sdk.calibration.calibrate import calibrate
from qpu_sdk.cli.app import app
from qpu_sdk.devices.registry import open_device
from qpu_sdk.photonics.meshes import BrickwallMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.words import one_line
from tests.commands import Commands
from tests.digits import SMALLEST, train_arguments, write_small_digits

pytestmark = pytest.mark.usefixtures("no_figures")

SEED = 20_260_301
#: Of each command, with one thing wrong and with several; all of the former, some 1,500, pass too.
SINGLE, COMBINED = 10, 3
NAMES = [
    "",
    " ",
    "nowhere",
    "folder",
    "empty",
    "binary",
    "nan.json",
    "deep.json",
    "[/bold]",
    "\udcff",
    "nul\0",
    "é" * 400,
]
NAMES += ["~nobody-of-this-name/x", "folder/below/nothing", "empty/below", "digits.npz"]
NUMBERS = ["", "x", "nan", "-inf", "-1", "1e400", "9" * 40, "0x10", "1.5.5", "[red]", "\0", "\udcff", "é"]
DEVICES = [
    "",
    "local",
    "local:",
    ":slos",
    "slos",
    "local:slos?noise",
    "local:slos?noise=x",
    "local:other",
    "nonsense:x",
]
DEVICES += [
    "local:slos?transmittance=nan",
    "local:slos?transmittance=2",
    "local:slos?g2=[/bold]",
    "local:slos?g2=1e400",
]
DEVICES += ["local:slos?colour=red", "local:slos?g2=0&g2=0", "local:slos?noise=%00", "local:slos?transmittance=%FF"]
DEVICES += [
    "replay:nowhere",
    "replay:folder",
    "replay:empty",
    "replay:binary",
    "replay:%00",
    "replay:\udcff",
    "replay:nan.json",
]
DEVICES += [
    "local:twin",
    "local:twin?record=",
    "local:twin?record=nowhere",
    "local:twin?record=folder",
    "\0:\0",
    "?",
    "\udcff",
]
DEVICES += [
    "local:twin?record=digits.npz",
    "local:twin?record=%00",
    "quandela:sim:ideal?url=ftp://x",
    "quandela:x?url=",
    "é:é",
]
DEVICES += [
    "quandela:sim:ideal?url=http://[::1",
    "scaleway:x",
    "local:slos?outcomes=none",
    "local:slos?detector=\x1b[2J",
]
MODES = ["", ",", "0,0", "0,1,", "a,b", "0,99", "-1,0", "0;1", "9" * 30, "nan", "[red]", "\udcff"]
SETS = [
    "",
    "=",
    "x",
    "=1",
    "seed",
    "seed=",
    "seed=-1",
    "seed=x",
    "seed=1.5",
    "seed=true",
    "nosuch=1",
    "training.nosuch=1",
    "qnn.9.modes=4",
]
SETS += [
    "qnn.x=1",
    "qnn=3",
    "qnn=[]",
    "qnn=[1,2]",
    "qnn.0=4",
    "qnn.0.photons=-1",
    "qnn.0.modes=1e9",
    "qnn.0.photons=99",
]
SETS += [
    "training.shots=0",
    "training.shots=nan",
    "training.lr=nan",
    "training.lr=-1",
    "training.lr=inf",
    "spsa.c=[red]",
]
SETS += ["data.source=nowhere", "data.source=folder", "data.source=[/bold]", "data.source=\udcff", "data.source=nul\0"]
SETS += [
    "data.train_size=99999999",
    "data.validation_size=60",
    "data.scale=0",
    "target.factory=x",
    "target.factory=os:path",
]
SETS += [
    "target.factory=no.module:f",
    "target.factory=:",
    "target.factory=os.path:join",
    "generator.kind=[/x]",
    "a.b.c.d=1",
]
SETS += [
    "mitigation.method=x",
    "mitigation.record=nowhere",
    "mitigation.record=empty",
    "mitigation.max_age_h=-1",
]
SETS += [
    "budget.settings=1",
    "budget.credits=nan",
    "qnn.0.input_modes=[0,0]",
    "qnn.0.mesh=none",
    "training=1",
    "\0=\0",
    "[=]",
]
SETS += [f"device={json.dumps(device)}" for device in DEVICES if device] + ["device=local:slos?transmittance=0.0000001"]
SETS += ["mitigation.method=recycle", "\udcff=\udcff", "training.batch_size=[[[", "spsa.smoothing=" + "x" * 5000]


@dataclass(frozen=True)
class Line:
    """A command line that works, and what of it is to be made wrong.

    :param words: of the command line.
    :param wrong: position of a word, and what may wrongly stand there.
    :param options: more that may be added, with what may wrongly stand behind each.
    """

    words: Sequence[str]
    wrong: Sequence[tuple[int, Sequence[str]]]
    options: Sequence[tuple[str, Sequence[str]]] = ()


TINY = [part for key, value in SMALLEST.items() for part in ("--set", f"{key}={value}")]
DIGITS = ["--set", "data.source=digits.npz"]
DATA = [name for name in NAMES if name != "digits.npz"]
SMALL = [number for number in NUMBERS if not number.startswith("99")]
NO_FOLDERS = ["nowhere", "digits.npz", "run/none", "nul\0", "\udcff", "é" * 400]
LINES = {
    "init": Line(
        ["init", "new.toml"],
        [(1, ["digits.npz", "folder", "nowhere/new.toml", "nul\0", "é" * 400])],
        [("--example", ["", "x", "faults", "../lean", "[/bold]", "\udcff"])],
    ),
    "config": Line(["config", "none.toml"], [(1, NAMES)], [("--set", SETS)]),
    "runs list": Line(["runs", "list", "nowhere"], [(2, NO_FOLDERS)]),
    "jobs list2": Line(["jobs", "list", "--all", "--run", "nowhere"], [(4, [*NO_FOLDERS, "folder"])]),
    "train": Line(
        ["train", "none.toml", *TINY], [(1, NAMES)], [("--set", SETS), ("--seed", NUMBERS), ("--data", NAMES)]
    ),
    "train2": Line(
        ["train", "--set", "data.source=digits.npz", "--out", "new", *TINY],
        [],
        [("--set", SETS), ("--data", NAMES[:-1])],
    ),
    "train3": Line(
        ["train", "--data", "digits.npz", "--out", "new", *TINY], [(4, ["run", "empty", "empty/x", "nul\0"])]
    ),
    "resume": Line(["resume", "run"], [(1, NAMES)], [("--set", SETS)]),
    "plan": Line(
        ["plan", "--set", "data.source=digits.npz", *TINY],
        [],
        [("--data", NAMES[:-1]), ("--set", SETS), ("--seed", SMALL)],
    ),
    "plan2": Line(
        ["plan", "--data", "digits.npz", *TINY], [], [("--records", ["nowhere", "empty", "nul\0", "\udcff"])]
    ),
    "sweep": Line(
        ["sweep", "none.toml", "--out", "new"],
        [(1, NAMES), (3, ["run", "empty", "empty/x", "nul\0"])],
        [
            ("--over", ["", "seed", "seed=", "seed=5..1", "seed=1..999999999", "x.y=1", "[/bold]=1", "nul\0=1"]),
            ("--set", SETS),
            ("--budget", ["", "credits", "credits=", "time=1", "shots=nan", "[/bold]=1"]),
            ("--workers", ["0", "-1", "x", "9999999"]),
        ],
    ),
    "sweep2": Line(
        ["sweep", "--over", "seed=1", "--data", "digits.npz", "--out", "run", *TINY],
        [],
        [("--scheduler", ["", "nowhere", "tcp://", "\udcff"]), ("--budget", ["shots=1"])],
    ),
    "evaluate": Line(["evaluate", "run"], [(1, NAMES)], [("--data", DATA)]),
    "predict": Line(
        ["predict", "run", "image.npy"], [(1, NAMES), (2, [name for name in NAMES if name != "digits.npz"])]
    ),
    "samples": Line(
        ["samples", "run"],
        [(1, NAMES)],
        [("--out", ["digits.npz", "digits.npz/x", "nul\0", "é" * 400]), ("--count", ["0", "-1", "x", "1.5"])],
    ),
    "export": Line(["export", "run", "--out", "new.safetensors"], [(1, NAMES)], [("--format", ["", "x", "[/bold]"])]),
    "export2": Line(
        ["export", "run", "--out", "x"], [(3, ["folder", "empty", "digits.npz", "nul\0", "a/b", "é" * 400])]
    ),
    "export3": Line(
        ["export", "run", "--format", "demo", "--out", "new.html"],
        [],
        [("--target", ["", "x", "os:system", "nowhere.py:f", "\udcff"]), ("--runtime", NAMES)],
    ),
    "expand": Line(["expand", "seed", "--out", "new.safetensors"], [(1, NAMES)]),
    "expand2": Line(
        ["expand", "seed", "--out", "x"], [(3, ["folder", "empty", "digits.npz", "nul\0", "a/b", "é" * 400])]
    ),
    "report": Line(["report", "run", "--out", "new.html"], [(1, NAMES[1:])]),  # an empty name is this folder
    "report2": Line(
        ["report", "run", "--out", "x"], [(3, ["folder", "empty", "digits.npz", "nul\0", "empty/b", "é" * 400])]
    ),
    "report3": Line(["report", "run", "folder"], [(1, NAMES[1:]), (2, NAMES[1:])]),
    "devices": Line(["devices", "local:slos"], [(1, DEVICES)]),
    "jobs list": Line(["jobs", "list", "--run", "run"], [(3, NAMES)]),
    "jobs show": Line(["jobs", "show", "x", "--run", "run"], [(2, NAMES), (4, NAMES)]),
    "jobs attach": Line(["jobs", "attach", "x", "--run", "run"], [(2, NAMES), (4, NAMES)], [("--name", NAMES)]),
    "jobs forget": Line(["jobs", "forget", "x", "--run", "run"], [(2, NAMES), (4, NAMES)]),
    "jobs cancel": Line(["jobs", "cancel", "x", "--run", "run"], [(2, NAMES), (4, NAMES)]),
    "calibrate": Line(
        ["calibrate", "local:slos?noise=ascella", "--modes", "4", "--shots", "1000", "--out", "records"],
        [(1, DEVICES), (3, NUMBERS), (5, NUMBERS), (7, ["empty", "empty/x", "nul\0"])],
        [("--photons", NUMBERS), ("--inputs", MODES), ("--seed", NUMBERS), ("--valid", NUMBERS), ("--show", NAMES)],
    ),
    "run": Line(
        ["run", "counts.jsonl", "--device", "local:slos", "--shots", "100", "--out", "new.json"],
        [(1, NAMES), (3, DEVICES), (5, NUMBERS), (7, ["folder", "counts.jsonl", "nul\0"])],
        [("--inputs", MODES), ("--random", ["x", ""]), ("--seed", NUMBERS), ("--credits", ["-1", "nan", "x"])],
    ),
    "compare": Line(
        ["compare", "local:slos?noise=ascella", "--record", "record.json", "--each", "1", "--programs", "haar"],
        [(1, DEVICES), (3, NAMES), (5, NUMBERS), (7, ["", "x", "[/bold]", "haar,haar,x"])],
        [("--inputs", MODES), ("--seed", NUMBERS), ("--shots", NUMBERS), ("--presets", ["x"]), ("--method", ["x", ""])],
    ),
    "mitigate": Line(
        ["mitigate", "counts.jsonl", "--record", "record.json"],
        [(1, NAMES), (3, NAMES)],
        [("--method", ["", "x", "[/bold]"]), ("--program", NAMES), ("--inputs", MODES), ("--photons", NUMBERS)],
    ),
    "emulate": Line(
        ["emulate", "--port", "0"],
        [(2, [*NUMBERS, "99999999"])],
        [
            ("--platform", ["", "x", "qpu:", "[/bold]", "\udcff"]),
            ("--noise", ["x", "g2=nan", "[/b]"]),
            ("--record", NAMES),
            ("--faults", [name for name in NAMES if name != "empty"]),  # which has no faults
            ("--seed", SMALL),
            ("--credits", SMALL),
            ("--payload", NUMBERS),
            ("--queue", SMALL),
        ],
    ),
    "doctor": Line(["doctor"], []),
}
#: Wrong in front of, within and behind whatever command.
NOISE = [
    ["--nonsense"],
    ["--set"],
    ["--json=maybe"],
    ["[/bold]"] * 9,
    ["--", "\udcff"] * 5,
    ["-"] * 9,
    ["--out"],
    ["-é"],
]


def wrong_lines(name: str) -> Iterator[list[str]]:
    """Every wrong value once, each option, noise, and several of them together."""
    line, rng = LINES[name], random.Random(f"{SEED} {name}")
    words = list(line.words)
    single = [[*words[:at], value, *words[at + 1 :]] for at, values in line.wrong for value in values]
    single += [[*words, option, value] for option, values in line.options for value in values]
    yield from rng.sample(single, min(SINGLE, len(single)))
    yield from ([*words, *noise] for noise in NOISE)
    for _ in range(COMBINED if single else 0):
        several = list(rng.choice(single))
        for option, values in rng.sample(list(line.options), min(2, len(line.options))):
            several += [option, rng.choice(list(values))]
        yield several + (["--json"] if rng.random() < 0.5 and name != "emulate" else [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each file that a command reads, and of each that it should not."""
    place = tmp_path_factory.mktemp("wrong")
    device = open_device("local:slos?noise=ascella", seed=1)
    calibrated = calibrate(device, modes=4, inputs=(0, 1), shots=1_000_000, seed=0)
    (place / "record.json").write_text(calibrated.to_json())
    counts = device.run(Program.random(BrickwallMesh(4), (0, 1), seed=1), shots=10_000)
    (place / "counts.jsonl").write_text(counts.to_json() + "\n")
    np.save(place / "image.npy", np.zeros((4, 4)))
    (place / "folder").mkdir()
    (place / "empty").touch()
    (place / "binary").write_bytes(bytes(range(256)))
    (place / "nan.json").write_text('{"shots": NaN, "x": Infinity}')
    (place / "deep.json").write_text("[" * 100_000)
    data = write_small_digits(place / "digits.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qpu_sdk.runs.finish.run_page", lambda *parts: "")
        Commands().succeed(*train_arguments(data, place / "run", base=SMALLEST))
    Commands().succeed("export", place / "run", "--format", "seed", "--out", place / "seed", "--json")
    return place


def snapshot(place: Path) -> dict[str, bytes]:
    """Every file but those that sqlite keeps beside a database while it is open."""
    files = [p for p in sorted(place.rglob("*")) if p.is_file() and not p.name.endswith(("-wal", "-shm"))]
    return {str(p.relative_to(place)): p.read_bytes() for p in files}


@pytest.mark.parametrize("name", LINES)
def test_what_is_wrong_is_one_line_and_overwrites_nothing(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PCVL_CLOUD_TOKEN", raising=False)
    monkeypatch.setattr("qpu_sdk.emulator.server.serve", lambda *values, **options: os._exit(9))
    before, runner, found = snapshot(folder), CliRunner(), []
    for words in wrong_lines(name):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = runner.invoke(app, words)
        found += [f"{one_line(words[-8:], 300)}: {what}" for what in faults(result, words)]
        after = snapshot(folder)
        changed = [path for path in before if after.get(path) != before[path]]
        found += [f"{one_line(words, 300)}: changed {path}" for path in changed]
    assert found == [], "\n".join(["", *found])


def faults(result: Result, words: Sequence[str]) -> Iterator[str]:
    """What is wrong with the answer to a wrong command line."""
    lines = result.stderr.strip().splitlines()
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        yield f"raised {result.exception!r}"
    elif result.exit_code not in ((1, 2) if words[0] == "predict" else (2, 3, 4)):
        yield f"exit code {result.exit_code}: {result.output[:300]}"
    elif (
        not lines
        or not all(line.isprintable() for line in lines)
        or (len(lines) > 1 and words[0] not in ("predict", "report"))
    ):
        yield f"printed {lines}"  # these say it of each image or folder
    elif "--json" in words and {json.loads(line)["code"] for line in lines} != {result.exit_code}:
        yield f"said {lines}"


def test_there_are_many_and_every_command_is_among_them() -> None:
    assert sum(1 for name in LINES for _ in wrong_lines(name)) >= 200
    listed = {group.name for group in app.registered_groups}
    named = {str(command.name) for command in app.registered_commands} | {
        f"{group.name} {command.name}"
        for group in app.registered_groups
        if group.typer_instance is not None
        for command in group.typer_instance.registered_commands
    }
    assert listed == {"jobs", "runs"}
    assert named == {name.rstrip("23") for name in LINES}
