"""Every run under a folder in a line, and every job of theirs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qpu_sdk.cli.printing import print_table
from qpu_sdk.runs.folder import RunFolder
from tests.commands import BAD_INPUT, Commands
from tests.digits import SMALLEST, train_arguments, write_small_digits

pytestmark = pytest.mark.usefixtures("no_figures")
COMMANDS = Commands()
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, one that stopped in the middle, one whose summary is damaged, and a folder that is none."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qpu_sdk.runs.finish.write_page", lambda *_: None, raising=False)
        succeed(*train_arguments(write_small_digits(root / "x.npz"), root / "deep" / "whole", base=SMALLEST))
    for name in ("stopped", "damaged"):
        shutil.copytree(root / "deep" / "whole", root / name)
    (stopped := RunFolder(root / "stopped")).summary.unlink()
    stopped.metrics.write_text("".join(stopped.metrics.read_text().splitlines(keepends=True)[:2]))
    RunFolder(root / "damaged").summary.write_text("{}")
    (root / "empty").mkdir()
    return root


def test_every_run_is_listed_with_its_result_or_how_far_it_is(root: Path) -> None:
    found = {Path(one["path"]).name: one for one in succeed("runs", "list", root, "--json")}
    assert set(found) == {"whole", "stopped", "damaged"}
    whole, stopped, damaged = found["whole"], found["stopped"], found["damaged"]
    assert whole["done"]
    assert whole["circuit_settings"] == 8
    assert 0.0 <= whole["figure"] <= 1.0
    assert stopped["state"].startswith("unit 2 of ")
    assert stopped["figure"] is None
    assert "cannot be read" in damaged["state"]


def test_the_table_is_a_line_a_run_where_it_is_piped(root: Path) -> None:
    lines = run("runs", "list", root).stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[-1] == "run"


def test_jobs_of_all_runs_name_their_run(root: Path) -> None:
    found = succeed("jobs", "list", "--all", "--run", root, "--json")
    assert {Path(job["run"]).name for job in found} == {"whole", "stopped", "damaged"}
    one = succeed("jobs", "list", "--run", root / "deep" / "whole", "--json")
    assert len(one) == sum(Path(job["run"]).name == "whole" for job in found)
    assert len(run("jobs", "list", "--all", "--run", root).stdout.splitlines()) == 1 + len(found)


def test_folders_without_runs_are_told(root: Path, tmp_path: Path) -> None:
    assert "is no folder" in fail(BAD_INPUT, "runs", "list", root / "gone")
    assert "holds no run" in run("runs", "list", root / "empty").stdout
    assert "has a journal" in fail(BAD_INPUT, "jobs", "list", "--all", "--run", root / "empty")


def test_a_terminal_wraps_what_is_long_and_keeps_what_is_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    print_table([("test", "run"), ("95.5 %", "runs/" + "long" * 20), ("90.0 %", "[bold]")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert sum("95.5 %" in line for line in lines) == 1
    assert "[bold]" in lines[-1]
