"""The commands export and expand: what they print, keep and refuse."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from qpu_sdk.export import onnx as onnx_format
from qpu_sdk.runs import leave
from tests.commands import BAD_INPUT, Commands
from tests.digits import SMALLEST, train_arguments, write_small_digits

pytestmark = pytest.mark.usefixtures("no_figures")

COMMANDS = Commands()
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    succeed(*train_arguments(write_small_digits(folder / "d.npz"), folder / "first", base=SMALLEST))
    return folder / "first"


def test_files_are_named_after_the_run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for format_ in ("safetensors", "pt2", "seed", "card"):
        told = succeed("export", finished, "--format", format_, "--json")
        assert Path(told["written"]).stat().st_size == told["bytes"]
    assert sorted(os.listdir()) == ["first.md", "first.pt2", "first.safetensors", "first.seed.safetensors"]


def test_a_seed_goes_out_and_comes_back(finished: Path, tmp_path: Path) -> None:
    told = run("export", finished, "--format", "seed", "--out", tmp_path / "s")
    assert "weights over seed" in told.stdout
    back = succeed("expand", tmp_path / "s", "--out", tmp_path / "m", "--json")
    assert back["identical"] is True
    assert back["sha256"] == hashlib.sha256((finished / "model.safetensors").read_bytes()).hexdigest()
    before = (tmp_path / "m").read_bytes()
    assert "--force" in fail(BAD_INPUT, "expand", tmp_path / "s", "--out", tmp_path / "m", "--json")
    assert succeed("expand", tmp_path / "s", "--out", tmp_path / "m", "--force", "--json")["bytes"] == len(before)
    assert "is no seed" in fail(BAD_INPUT, "expand", tmp_path / "m", "--out", tmp_path / "n", "--json")


def test_all_tells_what_was_left_out_and_why(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_format, "find_spec", lambda name: None)
    told = run("export", finished, "--format", "all", "--out", tmp_path / "out")
    assert told.exit_code == BAD_INPUT
    [line] = told.stderr.splitlines()
    assert line.startswith("qpu-sdk: onnx: ONNX needs onnx, onnxscript, onnxruntime.")
    assert "demo: left out; a demo page contains onnxruntime-web" in told.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.safetensors", "model.pt2", "seed.safetensors", "README.md"
    }  # fmt: skip


def test_pushing_takes_the_files_and_the_card(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: dict[str, dict[str, bytes]] = {}

    def push(contents: dict[str, bytes], repository: str) -> str:
        pushed[repository] = dict(contents)
        return "https://hub.example/u/n"

    monkeypatch.setattr(leave, "push_files", push)
    told = succeed("export", finished, "--format", "pt2", "--out", tmp_path / "m", "--push", "u/n", "--json")
    assert told["pushed"] == "https://hub.example/u/n"
    assert set(pushed["u/n"]) == {"model.pt2", "README.md"}
    assert pushed["u/n"]["model.pt2"] == (tmp_path / "m").read_bytes()
    succeed("export", finished, "--out", tmp_path / "other", "--json")
    assert list(pushed) == ["u/n"]
