"""What Tab offers in a shell, asked for as the shell asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qpu_sdk.cli.app import app
from qpu_sdk.cli.completion import keys_of
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import ConfigError
from qpu_sdk.runs.leave import ALL, FORMATS
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import load_config


def offered(*words: str) -> list[str]:
    """What fish is offered for the last of these words."""
    typed = " ".join(["qpu-sdk", *words])
    asked = {"_QPU_SDK_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": typed}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1]}
    found = CliRunner().invoke(app, [], prog_name="qpu-sdk", env=asked)
    assert found.exit_code == 0, found.output
    return [line.partition("\t")[0] for line in found.stdout.splitlines() if line]


def refusal(override: str) -> str:
    try:
        load_config(overrides=[override])
    except ConfigError as error:
        return str(error)
    return ""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("runs/first", "runs/second", "sweeps/noise/seed=1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.toml").touch()
    (tmp_path / "runs" / "no-run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", [["devices"], ["calibrate"], ["compare"], ["run", "--device"]], ids=" ".join)
def test_devices_are_offered_and_can_be_opened(words: list[str]) -> None:
    found = offered(*words, "local:slos")
    assert "local:slos?noise=belenos" in found
    for name in found:
        assert open_device(name, seed=0).spec.name == name
    assert offered(*words, "quandela:qpu:b") == ["quandela:qpu:belenos"]


@pytest.mark.parametrize(
    "words",
    [["resume"], ["evaluate"], ["predict"], ["export"], ["report"], ["jobs", "list", "--run"]],
    ids=" ".join,
)
def test_runs_are_offered(words: list[str], here: Path) -> None:
    assert offered(*words, "runs/f") == ["runs/first", "runs/first/"]
    assert "sweeps/noise/seed=1" in offered(*words, "s")
    assert "elsewhere/" in offered(*words, "e")


def test_keys_of_configurations_are_offered() -> None:
    for words in (["train", "--set"], ["sweep", "--over"], ["config", "--set"], ["plan", "--set"]):
        assert offered(*words, "generator.b") == ["generator.bond_dim="]
        assert "qnn.1.modes=" in offered(*words, "qnn.1.m")
        assert "device=local:slos" in offered(*words, "device=local:sl")
    assert offered("train", "--set", "seed=") == []


def test_every_key_that_is_offered_can_be_set() -> None:
    keys = list(keys_of(RunConfig()))
    assert {"seed", "training.lr", "qnn.0.photons", "budget.credits"} <= set(keys)
    for key in keys:
        assert "unknown key" not in refusal(f"{key}=none")
    assert "unknown key" in refusal("generator.nothing=none")


def test_names_are_offered() -> None:
    assert offered("export", "x", "--format", "o") == ["onnx"]
    assert set(offered("export", "x", "--format", "")) == {*FORMATS, ALL}
    assert offered("init", "--example", "le") == ["lean"]
    assert "belenos" in offered("emulate", "--noise", "bel")
    assert "qpu:belenos" in offered("emulate", "--platform", "qpu:")


def test_what_is_offered_loads_neither_torch_nor_perceval() -> None:
    """A shell waits for it."""
    code = (
        "import sys; from qpu_sdk.cli import completion as c; "
        "c.settings('g'), c.devices('l'), c.run_folders('r'), c.platforms(''), c.noises(''); "
        "print([name for name in ('torch', 'perceval', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
