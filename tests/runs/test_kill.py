"""A run that is killed at ten random moments and resumed each time ends with the same bits."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from qpu_sdk.runs.folder import read_metrics
from tests.commands import Commands
from tests.forked import Command

COMMANDS = Commands()
SETTINGS = {
    "training.warm_start_epochs": 2,
    "training.trials": 2,
    "training.trial_epochs": 1,
    "training.rounds": 6,
    "training.generator_epochs": 2,
    "training.final_epochs": 3,
    "training.shots": 1000,
    "training.final_shots": 2000,
    "training.threads": 1,
    "training.optimiser": "rotated-adam",
    "spsa.steps": 2,
    "spsa.shots": 1000,
    "spsa.images": 100,
}


def write_digits(path: Path) -> Path:
    """300 noisy 28 x 28 images of three classes."""
    rng = np.random.default_rng(5)
    labels = np.arange(300) % 3
    images = rng.integers(0, 120, (300, 28, 28), dtype=np.uint8)
    for label in range(3):
        images[labels == label, 9 * label : 9 * label + 9] += 100
    np.savez(path, x_train=images[:250], y_train=labels[:250], x_test=images[250:], y_test=labels[250:])
    return path


def train(digits: Path, out: Path) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return ["train", "--data", str(digits), "--out", str(out), "--json", *settings]


def rows(out: Path) -> int:
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(arguments: list[str], out: Path, wanted: int, delay_s: float) -> None:
    """Start, wait until ``wanted`` units are done and a moment longer, and kill without warning."""
    command = Command.start(arguments, out.parent / "said")
    while rows(out) < wanted and command.code is None:
        time.sleep(0.001)
    time.sleep(delay_s)
    assert command.kill() or command.code == 0, command.stderr


def test_killed_and_resumed_run_is_identical(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, kills=10)


def killed_and_resumed(tmp_path: Path, *, kills: int) -> None:
    """Kill a run again and again, at random moments, and demand that it ends like one that was left alone."""
    digits, whole, killed = write_digits(tmp_path / "digits.npz"), tmp_path / "whole", tmp_path / "killed"
    expected = COMMANDS.succeed(*train(digits, whole))  # in a process with another seed of hashes
    units = rows(whole)
    rng = np.random.default_rng(11)
    moments = np.sort(rng.integers(1, units, kills))
    kill_at(train(digits, killed), killed, int(moments[0]), float(rng.uniform(0, 0.05)))
    resume = ["resume", str(killed), "--json"]
    for moment in moments[1:]:
        kill_at(resume, killed, int(moment), float(rng.uniform(0, 0.05)))
    last = Command.start(resume, tmp_path / "said")
    assert last.wait() == 0, last.stderr
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    got = json.loads(last.stdout)
    del expected["wall_s"], got["wall_s"]
    assert got == expected
    kinds = [[row["kind"] for row in read_metrics(d / "metrics.jsonl")] for d in (whole, killed)]
    assert kinds[0] == kinds[1]
