"""A configuration to begin with, one with all its keys, and their schema."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from qpu_sdk.runs.examples import example_names, example_path, script_names
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import load_config
from tests.commands import BAD_INPUT, Commands

COMMANDS = Commands()
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


def test_what_init_writes_is_the_default_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert "qpu-sdk train" in run("init", path).stdout
    assert load_config(path) == RunConfig()
    assert path.read_text().count("#") > 20


def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 5\n")
    assert "exists already" in fail(BAD_INPUT, "init", path)
    assert path.read_text() == "seed = 5\n"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


def test_init_knows_its_examples(tmp_path: Path) -> None:
    assert "lean, belenos" in fail(BAD_INPUT, "init", tmp_path / "a.toml", "--example", "faults")
    run("init", tmp_path / "b.toml", "--example", "belenos")
    assert (tmp_path / "b.toml").read_text() == example_path("belenos").read_text()


@pytest.mark.parametrize("name", script_names())
def test_init_writes_scripts_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", "--example", name).stdout == f"{name}.py  run it with: python {name}.py\n"
    text = (tmp_path / f"{name}.py").read_text()
    assert text == example_path(name).read_text()
    compile(text, name, "exec")
    assert f"scripts: {', '.join(script_names())}" in fail(BAD_INPUT, "init", "--example", "no_such")


@pytest.mark.parametrize("name", example_names())
def test_every_example_is_a_configuration(name: str) -> None:
    assert load_config(example_path(name)).qnn


def test_config_prints_what_a_run_would_write() -> None:
    text = run("config", "--set", "generator.bond_dim=5").stdout
    assert RunConfig.model_validate(tomllib.loads(text)) == load_config(overrides=["generator.bond_dim=5"])
    assert succeed("config", "--json")["generator"]["bond_dim"] == 8


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = json.loads(run("config", "--schema").stdout)
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    assert schema["additionalProperties"] is False
