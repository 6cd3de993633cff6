"""``qpu-sdk run``: programs in, counts with their programs out, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qpu_sdk.devices import run_programs
from qpu_sdk.devices.counts_files import load_counts
from qpu_sdk.devices.program_files import load_programs
from qpu_sdk.devices.registry import open_device
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.statistics import total_variation
from tests.commands import BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED, Commands

commands = Commands(after=("--json",))


def test_random_programs_are_written_and_run(tmp_path: Path) -> None:
    place, counts = tmp_path / "programs.json", tmp_path / "new" / "counts.json"
    made = ("--random", "rectangular", "--modes", 4, "--photons", 2, "--number", 3, "--seed", 5)
    assert commands.succeed("run", *made, "--save", place)["programs"] == 3
    programs = load_programs(place)
    assert len({program.fingerprint for program in programs}) == 3
    told = commands.succeed("run", place, "--shots", 20_000, "--out", counts)
    found = load_counts(counts)
    assert [c.program for c in found] == programs
    assert [s["shots"] for s in told["settings"]] == [20_000] * 3
    for one in found:
        numbers = one.collision_free()
        assert one.program is not None
        assert total_variation(numbers / numbers.sum(), one.program) < 0.02  # 20,000 events of 6 outcomes
    assert list(counts.parent.iterdir()) == [counts]  # the journal is gone


def test_the_same_seed_gives_the_same_counts(tmp_path: Path) -> None:
    arguments = ("run", "--random", "isometry", "--modes", 4, "--shots", 100, "--seed", 3)
    for name in ("one", "two"):
        commands.succeed(*arguments, "--out", tmp_path / name)
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text()


def test_unitaries_need_their_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "u.npy", np.eye(3))
    assert "inputs" in commands.fail(BAD_INPUT, "run", tmp_path / "u.npy", "--out", tmp_path / "c.json")
    commands.succeed("run", tmp_path / "u.npy", "--inputs", "0,2", "--shots", 10, "--out", tmp_path / "c.json")
    [counts] = load_counts(tmp_path / "c.json")
    assert counts.collision_free().tolist() == [0, 10, 0]


def test_counts_are_never_written_over_and_nothing_is_left_behind(tmp_path: Path) -> None:
    program = Program.random(RectangularMesh(4), (0, 1), seed=1)
    place, out = tmp_path / "p.json", tmp_path / "c.json"
    place.write_text(program.to_json())
    out.write_text("mine")
    assert "never written over" in commands.fail(BAD_INPUT, "run", place, "--out", out)
    assert out.read_text() == "mine"
    small = tmp_path / "small" / "c.json"
    noisy = "local:slos?noise=ascella,phase_error=9"
    assert "phase_error" in commands.fail(BAD_INPUT, "run", place, "--device", noisy, "--out", small)
    assert not small.parent.exists()
    assert "one of the two" in commands.fail(BAD_INPUT, "run", "--out", small)
    assert "one of the two" in commands.fail(BAD_INPUT, "run", place, "--random", "isometry", "--out", small)


def test_two_commands_that_write_one_file_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, write = tmp_path / "c.json", run_programs.write_lines

    def later(path: Path, lines: list[str]) -> None:
        path.write_text("of another command, meanwhile")
        write(path, lines)

    monkeypatch.setattr(run_programs, "write_lines", later)
    assert "never written over" in commands.fail(BAD_INPUT, "run", "--random", "isometry", "--shots", 10, "--out", out)
    assert out.read_text() == "of another command, meanwhile"
    assert list(tmp_path.iterdir()) == [out]


def test_lines_show_events_not_single_clicks(tmp_path: Path) -> None:
    lossy = ("run", "--random", "isometry", "--modes", 4, "--device", "local:slos?transmittance=0.1")
    shown = commands.run(*lossy, "--shots", 20_000, "--out", tmp_path / "c.json").stdout.splitlines()[0]
    states = [[int(n) for n in state.split(",")] for state in re.findall(r"\|([0-9,]+)>", shown)]
    assert [sum(state) for state in states] == [2, 2, 2]
    [counts] = load_counts(tmp_path / "c.json")
    assert f"{counts.events:,} of all photons" in shown
    assert counts.events < 0.5 * counts.shots


def test_a_program_that_is_named_twice_is_measured_once_and_that_is_said(tmp_path: Path) -> None:
    place = tmp_path / "p.json"
    place.write_text(Program.random(RectangularMesh(3), (0, 1), seed=1).to_json())
    told = commands.run("run", place, place, "--shots", 10, "--out", tmp_path / "c.json")
    assert "2 programs were named, 1 of them different" in told.stderr
    assert len(load_counts(tmp_path / "c.json")) == 1


# -- clouds ----------------------------------------------------------------------------------------------------

Cloud = tuple[Any, Callable[[float], None], tuple[object, ...]]


@contextmanager
def cloud(place: Path, options: str = "") -> Iterator[Cloud]:
    """An emulated machine that charges, its clock, and a command of three programs for it."""
    pytest.importorskip("uvicorn")
    from qpu_sdk.emulator.server import EmulatedCloud
    from qpu_sdk.emulator.settings import CloudSettings

    now = [1_000_000.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    commands.succeed("run", "--random", "rectangular", "--modes", 4, "--number", 3, "--save", place / "p.json")
    with EmulatedCloud(CloudSettings(seed=1), clock=lambda: now[0]) as server:
        device = f"quandela:qpu:belenos?url={server.url}&poll_s=0.01&max_poll_s=0.05{options}"
        yield server, wait, ("run", place / "p.json", "--device", device, "--shots", 1000)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "_T_secret-of-the-tests")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("token")
def test_an_interrupted_command_goes_on_and_pays_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "c.json"
    with cloud(tmp_path) as (server, wait, command):
        for _ in range(2):  # also when it is interrupted again
            with monkeypatch.context() as patch:
                patch.setattr("qpu_sdk.devices.journalled.time.sleep", interrupt)
                assert "nothing is paid twice" in commands.fail(INTERRUPTED, *command, "--out", out)
            assert len(server.jobs) == 1
            assert not out.exists()
        wait(1000.0)
        told = commands.succeed(*command, "--out", out)
        assert {one["job_id"] for one in told["settings"]} == {job["job_id"] for job in server.jobs}
        assert len(server.jobs) == 1
    assert [c.program for c in load_counts(out)] == load_programs(tmp_path / "p.json")
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.usefixtures("token")
def test_counts_that_found_no_place_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, write = tmp_path / "new" / "c.json", run_programs.write_lines

    def later(path: Path, lines: list[str]) -> None:
        path.write_text("of another command, meanwhile")
        write(path, lines)

    with cloud(tmp_path) as (server, wait, command):
        with monkeypatch.context() as patch:
            patch.setattr("qpu_sdk.devices.journalled.time.sleep", lambda _: wait(1000.0))
            patch.setattr(run_programs, "write_lines", later)
            assert "Choose another file" in commands.fail(BAD_INPUT, *command, "--out", out)
        commands.succeed(*command, "--out", out.with_name("d.json"))  # from the journal beside it
        assert len(server.jobs) == 1
    assert len(load_counts(out.with_name("d.json"))) == 3


@pytest.mark.usefixtures("token")
def test_a_budget_is_that_of_all_jobs_and_refused_before_the_first(tmp_path: Path) -> None:
    out = tmp_path / "new" / "c.json"
    with cloud(tmp_path, "&settings_per_job=1") as (server, _, command):
        each = open_device(str(command[3]), seed=0).spec.rates.credits_per_shot * 1000
        assert each > 0.0
        # two of its three jobs would be paid
        assert "--credits" in commands.fail(DEVICE_OR_BUDGET, *command, "--out", out, "--credits", 2.5 * each)
        assert server.jobs == []
    assert not out.parent.exists()
