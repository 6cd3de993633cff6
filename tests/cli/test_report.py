"""The command report: what it prints, writes, refuses, and the codes it leaves with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import BAD_INPUT, Commands
from tests.runs.test_page import write_run
from tests.runs.test_report import sweep

pytestmark = pytest.mark.usefixtures("no_figures")

COMMANDS = Commands(after=("--json",))
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


def test_it_says_what_the_page_says(tmp_path: Path) -> None:
    result = run("report", sweep(tmp_path / "s"))
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "generator.bond_dim 2  91.0 % test accuracy" in result.stdout
    assert "trained circuits minus frozen random: +1.0 points" in result.stdout
    assert f"{tmp_path / 's' / 'report.html'}  the page" in result.stdout
    assert (tmp_path / "s" / "report.html").is_file()


def test_json_has_every_number(tmp_path: Path) -> None:
    found = succeed("report", sweep(tmp_path / "s"), "--out", tmp_path / "page.html")
    assert found["page"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()
    assert [one["test_accuracy"]["mean"] for one in found["configurations"]] == pytest.approx([0.91, 0.81])
    assert [one["seed"] for one in found["configurations"][0]["runs"]] == [0, 1, 2]
    assert found["configurations"][0]["minus_controls"]["frozen_random"]["seeds"] == 3
    assert found["configurations"][0]["verdict"]["kind"] == "none"
    assert found["not_reported"] == []


def test_of_several_folders_the_page_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(tmp_path / "s")
    monkeypatch.chdir(tmp_path)
    assert succeed("report", "s/a", "s/b")["page"] == "report.html"
    assert (tmp_path / "report.html").is_file()
    assert succeed("report", "s/a")["page"] == "s/a/report.html"


def test_what_is_damaged_is_one_line_each_and_the_rest_is_reported(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s")
    (folder / "a/1/summary.json").write_text("{")
    result = run("report", folder, tmp_path / "gone", "--out", tmp_path / "page.html")
    assert result.exit_code == BAD_INPUT
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2
    assert all(line.startswith("qpu-sdk: ") for line in lines)
    assert "a/1: summary.json is damaged" in result.stderr
    assert "gone: there is no such folder" in result.stderr
    assert (tmp_path / "page.html").is_file()
    result = run("report", folder, "--out", tmp_path / "page.html", "--json")
    [line] = result.stderr.strip().splitlines()
    assert json.loads(line)["code"] == BAD_INPUT
    assert len(json.loads(result.stdout)["configurations"]) == 2


def test_a_run_that_goes_on_is_named_and_no_error(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s")
    (folder / "a/1/summary.json").unlink()
    result = run("report", folder)
    assert result.exit_code == 0
    [line] = result.stderr.strip().splitlines()
    assert "a/1: not finished" in line


def test_nothing_to_report_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "run").summary.unlink()
    assert "not finished" in fail(BAD_INPUT, "report", tmp_path / "run")
    assert "no such folder" in fail(BAD_INPUT, "report", tmp_path / "gone")
    assert "no such folder" in fail(BAD_INPUT, "report", tmp_path / "gone", "--json")
    (tmp_path / "empty").mkdir()
    assert "holds no run" in fail(BAD_INPUT, "report", tmp_path / "empty")
    assert not list(tmp_path.rglob("report.html"))
