"""A slip of the keyboard is answered with the nearest thing that there is, wherever a name is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import BAD_INPUT, DEVICE_OR_BUDGET, Commands

fail = Commands().fail


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("training.optimizer=adam", "training.optimiser"),
        ("generator.bond_dims=3", "generator.bond_dim"),
        ("qnn.0.mode=3", "qnn.0.modes"),
        ("trainig.lr=1", "training"),
        ("bond_dim=3", "generator.bond_dim"),
        ("training.bond_dim=3", "generator.bond_dim"),
        ("spsa.optimiser=adam", "training.optimiser"),
        ("mitigation.methd=auto", "mitigation.method"),
    ],
)
def test_keys_of_configurations(override: str, meant: str, tmp_path: Path) -> None:
    assert f"Did you mean {meant}?" in fail(BAD_INPUT, "config", "--set", override)
    key, _, value = override.partition("=")
    if "qnn" not in key:
        *tables, leaf = key.split(".")
        text = f"[{tables[0]}]\n{leaf} = '{value}'\n" if tables else f"{leaf} = '{value}'\n"
        (tmp_path / "run.toml").write_text(text)
        assert f"Did you mean {meant}?" in fail(BAD_INPUT, "plan", tmp_path / "run.toml")
        assert f"Did you mean {meant}?" in fail(BAD_INPUT, "sweep", "--over", override, "--dry-run")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian"], "'train'"),
        (["jobs", "lst"], "'list'"),
        (["runs", "lis"], "'list'"),
        (["train", "--contrl"], "--controls"),
        (["init", "new.toml", "--example", "belenso"], "belenos"),
        (["export", "runs/x", "--format", "onx"], "onnx"),
        (["devices", "local:slos?transmitance=0.5"], "transmittance"),
        (["devices", "local:slos?noise=belenso"], "belenos"),
        (["devices", "local:slos?noise=transmitance:0.1"], "transmittance"),
        (["config", "--set", 'controls=["frozen_rand"]'], "frozen_random"),
    ],
)
def test_other_names(words: list[str], meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = fail(BAD_INPUT, *words)
    assert f"Did you mean {meant}?" in message or f"(Possible options: {meant}" in message
    assert list(tmp_path.iterdir()) == []


def test_kinds_of_devices() -> None:
    assert "Did you mean local? Known kinds" in fail(DEVICE_OR_BUDGET, "devices", "locl:slos")
    assert "Did you mean" not in fail(DEVICE_OR_BUDGET, "devices", "warp:x")
