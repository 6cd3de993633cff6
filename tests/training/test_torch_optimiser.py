"""Optimisers of torch and of users: torch's own steps, the same bits after a stop, and one line for what cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

import qpu_sdk as qs
from qpu_sdk.errors import ConfigError
from qpu_sdk.training.optimiser import Adam, FirstApart, Optimiser
from qpu_sdk.training.torch_optimiser import TorchOptimiser
from tests.training import tiny
from tests.training.test_optimiser import flat, gradients, parameters, walk


class Counting(torch.optim.Optimizer):
    """As many are written: a plain number beside its tensors, and a flag."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__(given, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for q in group["params"]:
                own = self.state[q]
                own["step"] = own.get("step", 0) + 1
                own["early"] = own["step"] < 30
                own["decay"] = own.get("decay", 1.0) * 0.99
                mean = own.setdefault("mean", torch.zeros_like(q))
                mean.lerp_(q.grad, 0.1)
                q.sub_(mean, alpha=group["lr"] * own["decay"] / own["step"] ** 0.5)


class Listing(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for q in self.param_groups[0]["params"]:
            self.state[q]["history"] = [1.0]


MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "NAdam": torch.optim.NAdam,
    "Adagrad": torch.optim.Adagrad,
    "SGD": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "AdamW": partial(torch.optim.AdamW, amsgrad=True),
    "ASGD": torch.optim.ASGD,
    "counting": Counting,
}
each = pytest.mark.parametrize("name", MAKERS)


@each
def test_steps_are_torchs_to_the_bit(name: str) -> None:
    own, theirs = parameters(), [nn.Parameter(q) for q in parameters()]
    optimiser = TorchOptimiser(MAKERS[name], name)
    state, reference = optimiser.init(own), MAKERS[name](theirs)
    for step in range(40):
        lr = 0.01 / (1 + step)
        optimiser.step_(state, own, gradients(step), lr)
        for group in reference.param_groups:
            group["lr"] = lr
        for q, g in zip(theirs, gradients(step), strict=True):
            q.grad = g
        reference.step()
    assert torch.equal(flat(own), flat(theirs).detach())
    assert int(state["count"]) == 40
    assert all(q.grad is None for q in own)


@each
@pytest.mark.parametrize("stop", [0, 1, 29, 31])
def test_one_that_was_stopped_goes_on_with_the_same_bits(name: str, stop: int) -> None:
    own, optimiser = parameters(), TorchOptimiser(MAKERS[name], name)
    state = optimiser.init(own)
    walk(optimiser, state, own, range(stop))
    kept, other = load(save(state)), [q.clone() for q in own]  # as through a checkpoint
    walk(optimiser, state, own, range(stop, 60))
    walk(TorchOptimiser(MAKERS[name], name), kept, other, range(stop, 60))
    assert torch.equal(flat(own), flat(other))


def test_beside_another_each_keeps_what_is_its_own() -> None:
    both: Optimiser = FirstApart(Adam(), TorchOptimiser(torch.optim.NAdam, "NAdam"), 2.0)
    own, state = parameters(), both.init(parameters())
    walk(both, state, own, range(7))
    kept, other = load(save(state)), [q.clone() for q in own]
    walk(both, state, own, range(7, 20))
    walk(both, kept, other, range(7, 20))
    assert torch.equal(flat(own), flat(other))
    assert int(state["count"]) == int(state["first.count"]) == 20


def raising(given: Any) -> Any:
    raise ZeroDivisionError("no")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (torch.optim.LBFGS, "without a closure"),
        (torch.optim.SparseAdam, "dense gradients"),
        (Listing, "remembers a list as 'history'"),
        (raising, "ZeroDivisionError: no"),
        (lambda given: given, "gave a list"),
        (lambda given: torch.optim.SGD(given[:1]), "other parameters"),
    ],
    ids=["closure", "sparse", "list", "raises", "none", "others"],
)
def test_what_cannot_be_is_one_line_before_a_run(make: Callable[..., Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        TorchOptimiser(make, "mine").init(parameters())
    assert "\n" not in str(caught.value)


OWN = "import torch\n\n\ndef rule(given):\n    return torch.optim.NAdam(given, betas=(0.8, 0.99))\n"


def test_a_run_with_an_optimiser_of_the_users_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    config = tiny.config(training={"optimiser": f"{tmp_path / 'mine.py'}:rule", "warm_start_epochs": 2})
    target, data = tiny.linear(), tiny.dataset()
    qs.train(config, tmp_path / "whole", target=target, data=data)

    def stop(row: Any) -> None:
        if row["done"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qs.train(config, tmp_path / "cut", target=target, data=data, on_progress=stop)
    qs.resume(tmp_path / "cut", target=target, data=data)
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert models[0] == models[1]
    written = qs.load_config(tmp_path / "whole" / "config.toml").training
    assert (written.optimiser, written.optimiser_folder) == ("mine.py:rule", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "words"),
    [("adamw", "none of adam, rotated-adam and module:function"), ("torch.optim:Nadam", "no such function")],
)
def test_an_unknown_name_is_one_line(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        qs.train(tiny.config(training={"optimiser": name}), tmp_path / "r", target=tiny.linear(), data=tiny.dataset())
    assert not (tmp_path / "r").exists()
