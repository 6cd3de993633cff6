"""A run goes on from any folder, whatever its folder and its files are called."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

import qpu_sdk as qs
from qpu_sdk.devices.address import DeviceAddress
from qpu_sdk.errors import ConfigError
from qpu_sdk.files import write_atomic
from qpu_sdk.runs.folder import free_folder
from qpu_sdk.runs.paths import with_absolute_paths
from tests.commands import BAD_INPUT, INTERRUPTED, Commands, interrupt_after, same_model
from tests.digits import SMALLEST, train_arguments, write_small_digits

COMMANDS = Commands()
pytestmark = pytest.mark.usefixtures("no_figures")
RECORD = Path(__file__).parents[2] / "calibration"


@pytest.fixture
def record(tmp_path: Path) -> str:
    """A record in the working folder."""
    device = qs.open_device("local:slos?noise=ascella", seed=1)
    made = qs.calibrate(device, modes=4, inputs=(0, 1), shots=1_000_000, seed=0)
    (tmp_path / "my records, new").mkdir()
    write_atomic(tmp_path / "my records, new" / "a+b & 100%.json", made.to_json())
    return "local:twin?record=my records, new/a+b %26 100%25.json"


def test_a_relative_record_is_found_from_another_folder(
    tmp_path: Path, record: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts do not depend on where the folders are, and the hint can be pasted."""
    monkeypatch.chdir(tmp_path)
    write_small_digits(tmp_path / "d.npz")
    arguments = train_arguments(Path("d.npz"), Path("two words"), base=SMALLEST, device=json.dumps(record))
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        hint = COMMANDS.fail(INTERRUPTED, *arguments).partition("Go on with: qpu-sdk ")[2]
    assert shlex.split(hint) == ["resume", "two words"]
    monkeypatch.chdir("/")
    resumed = COMMANDS.succeed("resume", tmp_path / "two words", "--json")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    moved = record.replace("record=", "record=../")
    again = train_arguments(Path("../d.npz"), Path("run"), base=SMALLEST, device=json.dumps(moved))
    assert COMMANDS.succeed(*again)["events"] == resumed["events"]


@pytest.mark.parametrize(
    "text",
    ["local:slos?noise=belenos%2Cg2%3D0.1", "quandela:qpu:belenos?url=http://127.0.0.1:1&poll_s=5", "local:slos"],
)
def test_strings_without_relative_paths_stay_word_for_word(text: str) -> None:
    assert with_absolute_paths(qs.RunConfig(device=text)).device == text


@pytest.mark.parametrize(
    "name", ["a b", "a,b", "a&b", "a+b", "a%b", "a=b", "a?b", "a#b", "ü", "\udcff", "a'b", 'a"b', "%41"]
)
def test_any_file_has_a_device_string(name: str) -> None:
    address = DeviceAddress("local", "twin", {"record": f"/x/{name}"})
    assert DeviceAddress.parse(str(address)) == address
    str(address).encode()  # a configuration is UTF-8
    replay = DeviceAddress("replay", f"/x/{name}", {})
    assert DeviceAddress.parse(str(replay)) == replay


def test_the_recording_of_a_replay_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_absolute_paths(qs.RunConfig(device="replay:a.jsonl")).device == f"replay:{tmp_path / 'a.jsonl'}"


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_folder_that_is_not_utf8_works_or_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_small_digits(tmp_path / "d.npz")
    odd = tmp_path / os.fsdecode(b"\xff run")
    assert COMMANDS.succeed(*train_arguments(data, odd, base=SMALLEST))
    assert COMMANDS.run("resume", odd).exit_code == 0
    assert COMMANDS.run("jobs", "list", "--run", odd).exit_code == 0
    assert COMMANDS.run("evaluate", odd).exit_code in (0, BAD_INPUT)  # safetensors opens no such path
    assert "already holds a run" in COMMANDS.fail(BAD_INPUT, *train_arguments(data, odd, base=SMALLEST))
    moved = odd / "d.npz"
    moved.write_bytes(data.read_bytes())
    assert "not UTF-8" in COMMANDS.fail(BAD_INPUT, *train_arguments(moved, tmp_path / "new", base=SMALLEST))
    monkeypatch.chdir(odd)
    assert "not UTF-8" in COMMANDS.fail(BAD_INPUT, *train_arguments(Path("d.npz"), tmp_path / "new", base=SMALLEST))
    assert not (tmp_path / "new").exists()


def test_a_path_that_no_configuration_can_keep_is_named(tmp_path: Path) -> None:
    config = qs.RunConfig(mitigation={"record": "/x/\udcff.json"})
    with pytest.raises(ConfigError, match=r"record = .*not UTF-8"):
        with_absolute_paths(config)


def test_files_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    """Windows begins files of text with one."""
    data = write_small_digits(tmp_path / "d.npz")
    (tmp_path / "run.toml").write_text("seed = 3\n", encoding="utf-8-sig")
    assert qs.load_config(tmp_path / "run.toml").seed == 3
    device = qs.open_device("local:slos?noise=ascella", seed=1)
    made = qs.calibrate(device, modes=4, inputs=(0, 1), shots=1_000_000, seed=0)
    program = qs.Program.random(qs.BrickwallMesh(4), (0, 1), seed=1)
    counts = device.run(program, shots=10_000)
    for name, text in (("r.json", made.to_json()), ("p.json", program.to_json()), ("c.json", counts.to_json() + "\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    options = ["--record", tmp_path / "r.json", "--program", tmp_path / "p.json"]
    assert COMMANDS.succeed("mitigate", tmp_path / "c.json", *options, "--json")["distributions"]
    assert COMMANDS.succeed("devices", f"replay:{tmp_path / 'c.json'}", "--json")["max_modes"] == 4
    assert data.is_file()


def test_a_second_run_of_a_configuration_gets_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_small_digits(tmp_path / "d.npz")
    arguments = train_arguments(Path("d.npz"), Path("x"), base=SMALLEST)
    at = arguments.index("--out")
    arguments = arguments[:at] + arguments[at + 2 :]
    first, second = COMMANDS.run(*arguments), COMMANDS.run(*arguments)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "runs/default holds a finished run; this one is runs/default-2" in second.stderr
    assert same_model(Path("runs/default"), Path("runs/default-2"))
    assert free_folder(Path("runs/default")) == Path("runs/default-3")


MAKE = """#!/bin/sh
echo "$@" >> calls
case "$1" in train) while [ "$1" != --out ]; do shift; done; mkdir -p "$2"; touch "$2/config.toml";; esac
"""


def test_make_run_goes_on_or_begins_another(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "qpu-sdk"
    program.parent.mkdir()
    program.write_text(MAKE)
    program.chmod(0o755)
    makefile = Path(__file__).parents[2] / "Makefile"

    def make() -> str:
        # The make that runs the tests hands its variables down.
        own = {key: value for key, value in os.environ.items() if key not in ("VENV", "RUN") and "MAKE" not in key}
        command = ["make", "-f", str(makefile), "-o", ".venv/.installed", f"BIN={program.parent}", "run"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=own)
        return (tmp_path / "calls").read_text().splitlines()[-1]

    assert make() == "train examples/lean.toml --out runs/lean"
    assert make() == "resume runs/lean --wait"
    (tmp_path / "runs" / "lean" / "summary.json").touch()
    assert make() == "train examples/lean.toml --out runs/lean-2"
    assert make() == "resume runs/lean-2 --wait"
    (tmp_path / "runs" / "lean-2" / "summary.json").touch()
    assert make() == "train examples/lean.toml --out runs/lean-3"


def test_a_full_disk_is_one_line_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_small_digits(tmp_path / "d.npz")

    def full(*values: object, **options: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "run" / "checkpoint"))

    with monkeypatch.context() as patch:
        patch.setattr("qpu_sdk.runs.train.save_checkpoint", full)
        line = COMMANDS.fail(INTERRUPTED, *train_arguments(data, tmp_path / "run", base=SMALLEST))
    assert "No space left" in line
    assert f"qpu-sdk resume {tmp_path / 'run'}" in line
    assert np.isfinite(COMMANDS.succeed("resume", tmp_path / "run", "--json")["test_accuracy"])
