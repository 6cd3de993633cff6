"""Files that another version of the SDK wrote: one line that says so, and not a byte of them is changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from qpu_sdk import calibrate
from qpu_sdk.devices.registry import open_device
from qpu_sdk.photonics.meshes import BrickwallMesh
from qpu_sdk.photonics.program import Program
from tests.commands import BAD_INPUT, Commands
from tests.digits import SMALLEST, train_arguments, write_small_digits

pytestmark = pytest.mark.usefixtures("no_figures")

COMMANDS = Commands()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each file that has a version."""
    place = tmp_path_factory.mktemp("versions")
    device = open_device("local:slos?noise=ascella", seed=1)
    program = Program.random(BrickwallMesh(4), (0, 1), seed=1)
    (place / "record.json").write_text(calibrate(device, modes=4, inputs=(0, 1), shots=1_000_000, seed=0).to_json())
    (place / "counts.json").write_text(device.run(program, shots=10_000).to_json())
    (place / "program.json").write_text(program.to_json())
    data = write_small_digits(place / "d.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qpu_sdk.runs.finish.run_page", lambda *parts: "")
        COMMANDS.succeed(*train_arguments(data, place / "run", base=SMALLEST))
        settings = [word for word in train_arguments(data, place, base=SMALLEST) if word != "train"]
        COMMANDS.succeed(
            "sweep", "--over", "seed=1", "--workers", "1", *settings[:2], "--out", place / "sweep", *settings[4:]
        )
    return place


def newer(path: Path) -> None:
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
    else:
        data = json.loads(path.read_text())
        path.write_text(json.dumps(data | {"schema_version": 99}))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run/journal.sqlite", ["jobs", "list", "--run", "run"]),
        ("run/journal.sqlite", ["resume", "run"]),
        ("run/summary.json", ["report", "run", "--out", "page.html"]),
        ("record.json", ["calibrate", "--show", "record.json"]),
        ("record.json", ["mitigate", "counts.json", "--record", "record.json"]),
        ("counts.json", ["mitigate", "counts.json", "--record", "record.json"]),
        ("program.json", ["run", "program.json", "--out", "new.json"]),
        ("sweep/sweep.json", ["sweep", "--over", "seed=1", "--out", "sweep"]),
    ],
)
def test_a_newer_file_is_told_and_kept(
    name: str, words: list[str], original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(shutil.copytree(original, tmp_path / "place"))
    monkeypatch.chdir(place)
    newer(place / name)
    before = (place / name).read_bytes()
    done = COMMANDS.run(*words)
    lines = [line for line in done.stderr.splitlines() if "99" in line]
    assert done.exit_code == BAD_INPUT, done.output
    assert len(lines) == len(done.stderr.splitlines()) == 1, done.output
    assert "schema version 99" in lines[0] or "schema_version is 99" in lines[0]
    assert "damaged" not in lines[0]
    assert (place / name).read_bytes() == before
    assert not (place / "new.json").exists()


def test_a_list_of_runs_says_it_of_one_and_lists_the_others(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original / "run", tmp_path / "runs" / "old")
    shutil.copytree(original / "run", tmp_path / "runs" / "new")
    newer(tmp_path / "runs" / "new" / "summary.json")
    states = {Path(run["path"]).name: run["state"] for run in COMMANDS.succeed("runs", "list", tmp_path, "--json")}
    assert states["old"] == "done"
    assert "schema version 99" in states["new"]


def test_init_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text("mine")
    assert "run.toml exists already, and is kept" in COMMANDS.fail(BAD_INPUT, "init")
    assert (tmp_path / "run.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]
