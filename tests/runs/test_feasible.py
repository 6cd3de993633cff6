"""What a plan knows, a run knows before it begins: the same is refused, and nothing is left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qpu_sdk as qs
from qpu_sdk.errors import DeviceError
from tests.commands import BAD_INPUT, DEVICE_OR_BUDGET, Commands
from tests.digits import SMALLEST, TINY, train_arguments, write_digits, write_small_digits
from tests.training.tiny import Linear

COMMANDS = Commands()
LOSSY = "local:slos?transmittance=0.001"
#: Changes to a small run that work nowhere, whether --force helps, and words of the message.
CANNOT: list[tuple[dict[str, Any], bool, str]] = [
    ({"device": LOSSY}, True, "events expected"),
    ({"mitigation__method": "unfold"}, True, "unfolding needs them"),
    ({"mitigation__method": "recycle"}, True, "photon recycling needs 3 or more"),
    ({"budget__jobs": 1}, True, "budget.jobs"),
    ({"budget__seconds": 1, "budget__seconds_per_setting": 10}, True, "budget.seconds"),
    ({"budget__credits": 0.001, "budget__credits_per_shot": 1}, True, "budget.credits"),
    ({"qnn__0__modes": 24, "qnn__0__photons": 17}, False, "16 photons or fewer"),
    ({"target__factory": "qpu_sdk.training.targets:paper_cnn"}, False, "joint outcomes"),
    ({"target__factory": "tests.runs.test_feasible:Unkept"}, False, "register_buffer"),
    ({"target__factory": "nowhere:f"}, False, "nowhere"),
    ({"data__train_size": 61}, False, "61 training images"),
    ({"mitigation__record": "nowhere.json"}, False, "nowhere.json"),
]


class Unkept(nn.Module):
    """Draws what no ``state_dict`` has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drawn = nn.Linear(16, 2), torch.randn(16)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1) * self.drawn)
        return logits


def plan_arguments(arguments: list[str]) -> list[str]:
    """The same for ``plan``, which has no folder."""
    out = arguments.index("--out")
    return ["plan", *arguments[1:out], *arguments[out + 2 :]]


@pytest.mark.parametrize(("changes", "forced", "words"), CANNOT, ids=lambda value: str(value)[:40])
def test_what_plan_refuses_train_refuses_before_it_begins(
    tmp_path: Path, changes: dict[str, Any], forced: bool, words: str
) -> None:
    arguments = train_arguments(write_small_digits(tmp_path / "d.npz"), tmp_path / "run", base=SMALLEST, **changes)
    planned = COMMANDS.run(*[word for word in plan_arguments(arguments) if word != "--json"])
    assert planned.exit_code in (BAD_INPUT, DEVICE_OR_BUDGET)
    assert words in planned.stderr
    refused = COMMANDS.run(*arguments)
    assert refused.exit_code in (BAD_INPUT, DEVICE_OR_BUDGET)
    assert words in refused.stderr
    assert not (tmp_path / "run").exists()
    assert ("--force" in refused.stderr) == forced


@pytest.mark.usefixtures("no_figures")
def test_an_expectation_can_be_overruled(tmp_path: Path) -> None:
    """Nine events are expected, and a run that begins with them ends well."""
    few = {"training__shots": 12, "training__final_shots": 12, "spsa__shots": 12}
    arguments = train_arguments(write_small_digits(tmp_path / "d.npz"), tmp_path / "run", base=SMALLEST, **few)
    assert "at least 10 are needed" in COMMANDS.fail(DEVICE_OR_BUDGET, *arguments)
    assert COMMANDS.succeed(*arguments, "--force")["circuit_settings"] == 8


def test_python_is_told_in_words_of_python(tmp_path: Path) -> None:
    config = qs.RunConfig(
        device="local:slos?transmittance=0.00001",
        data={"source": str(write_small_digits(tmp_path / "d.npz"))},
        target={"factory": "tests.training.tiny:linear"},
        qnn=[{"modes": 4, "photons": 2}] * 2,
    )
    assert qs.plan(config).problems
    with pytest.raises(DeviceError, match="force=True"):
        qs.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_plan_sees_torch_as_a_run_does(tmp_path: Path, mode: Any) -> None:
    """Whatever the caller set for networks of his own."""
    config = qs.RunConfig(
        data={"source": str(write_small_digits(tmp_path / "d.npz"))},
        target={"factory": "tests.training.tiny:linear"},
        qnn=[{"modes": 4, "photons": 2}] * 2,
    )
    expected, kind = qs.plan(config), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with mode():
            assert qs.plan(config) == expected
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(kind)


class Chatty(Linear):
    """Prints whatever it does."""

    def forward(self, images: Tensor) -> Tensor:
        sys.stdout.write(f"shape {tuple(images.shape)}\n")
        return super().forward(images)


def test_what_a_network_prints_is_not_among_the_json(tmp_path: Path) -> None:
    chatty = {"target__factory": "tests.runs.test_feasible:Chatty"}
    arguments = train_arguments(write_small_digits(tmp_path / "d.npz"), tmp_path / "run", base=SMALLEST, **chatty)
    printed = COMMANDS.run(*plan_arguments(arguments))
    assert json.loads(printed.stdout)["problems"] == []
    assert "shape (1, 1, 4, 4)" in printed.stderr


def test_a_plan_takes_the_images_and_the_seed_of_a_run(tmp_path: Path) -> None:
    arguments = train_arguments(write_digits(tmp_path / "d.npz", side=32), tmp_path / "run", base=TINY)
    assert "(1, 32, 32)" in COMMANDS.fail(BAD_INPUT, *plan_arguments(arguments))
    good = plan_arguments(train_arguments(write_small_digits(tmp_path / "e.npz"), tmp_path / "run", base=SMALLEST))
    assert COMMANDS.succeed(*good, "--seed", "3")["problems"] == []
