"""Training that diverges says so: where, the loss, what to lower; and blames nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands import BAD_INPUT, Commands
from tests.digits import SMALLEST, train_arguments, write_small_digits

COMMANDS = Commands()
FAR: dict[str, Any] = {"training__lr": 1e30, "training__clip": 0}


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (FAR | {"training__warm_start_epochs": 3}, "epoch 1 of the warm start"),
        ({"training__warm_start_epochs": 3, "training__warm_start_lr": 1e300}, "epoch 1 of the warm start"),
        (
            FAR | {"training__warm_start_epochs": 2, "training__trials": 2, "training__trial_epochs": 2},
            "in all 2 trials",
        ),
        (FAR, "in epoch 1:"),
        (FAR | {"training__batch_size": 100}, "in epoch 1:"),  # one step an epoch: the loss is still a number
        ({"generator__init_std": 1e30, "training__generator_epochs": 0}, "in SPSA step 1 of round 1"),
    ],
)
def test_where_training_diverged_is_told_with_what_to_lower(
    tmp_path: Path, changes: dict[str, Any], where: str
) -> None:
    arguments = train_arguments(write_small_digits(tmp_path / "d.npz"), tmp_path / "run", base=SMALLEST, **changes)
    line = COMMANDS.fail(BAD_INPUT, *arguments)
    assert "training diverged" in line
    assert where in line
    assert "loss" in line
    assert "Lower training.lr" in line
    assert "phase" not in line
    assert ("go on from it with" in line) == (where[:6] not in ("in all", "in SPS"))


def test_a_run_that_diverged_goes_on_from_the_last_good_state_with_a_lower_rate(tmp_path: Path) -> None:
    digits, run = write_small_digits(tmp_path / "d.npz"), tmp_path / "run"
    line = COMMANDS.fail(BAD_INPUT, *train_arguments(digits, run, base=SMALLEST, **FAR))
    assert "1 of " in line  # the measurement
    command = line[line.index("go on from it with: ") :].split(": ")[1].split()
    assert command[:3] == ["qpu-sdk", "resume", str(run)]
    assert command[3:] == ["--set", "training.lr=1e+29"]
    COMMANDS.succeed("resume", str(run), "--set", "training.lr=0.01", "--json")
    assert "lr = 0.01" in (run / "config.toml").read_text()
    COMMANDS.succeed("resume", str(run), "--json")  # the checkpoints are of the new rate
