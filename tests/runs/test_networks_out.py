"""What leaves is the whole network: plain safetensors and a fresh module have the accuracy that the summary states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import qpu_sdk as qs
from qpu_sdk.export.weights import METADATA_KEY
from tests.training import tiny

DATA = tiny.dataset(train=60, test=40)


class Everything(nn.Module):
    """Fixed features, a mask, a counter, batch norm, dropout, a frozen layer and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("features", torch.randn(16, 8) / 4)
        self.register_buffer("mask", torch.rand(16) > 0.3)
        self.register_buffer("order", torch.randperm(8))
        self.register_buffer("halves", torch.rand(8).half())
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.2)
        self.frozen = nn.Linear(8, 6).requires_grad_(False)
        self.twice = nn.Linear(6, 6)
        self.again = self.twice
        self.last = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1) * self.get_buffer("mask")
        rows = (rows @ self.get_buffer("features"))[:, self.get_buffer("order")] * self.get_buffer("halves").float()
        rows = torch.relu(self.frozen(self.drop(self.norm(rows))))
        logits: Tensor = self.last(self.again(torch.relu(self.twice(rows))))
        return logits


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def tied() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    module[3].weight = module[1].weight
    return module


def double() -> nn.Module:
    return convolution().double()


def half() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)).half()


def trained(path: Path, build: Callable[[], nn.Module], seed: int = 3, **changes: Any) -> qs.RunConfig:
    short = {"rounds": 1, "generator_epochs": 1, "final_epochs": 2, "warm_start_epochs": 2, "shots": 300}
    short |= changes.pop("training", {})
    config = tiny.config(
        seed=seed,
        qnn=[{"modes": 6, "photons": 2}, {"modes": 7, "photons": 3}],
        training=short,
        spsa={"steps": 1},
        **changes,
    )
    qs.train(config, path, target=seeded(build), data=DATA)
    return config


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build()


def accuracy_of(path: Path, fresh: nn.Module) -> float:
    """With torch and safetensors alone."""
    fresh.load_state_dict(load_file(path / "model.safetensors"), strict=True)
    fresh.eval()
    images, labels = DATA.test.tensors()
    kinds = {p.dtype for p in fresh.parameters()}
    with torch.no_grad():
        right = fresh(images.to(kinds.pop())).argmax(1) == labels
    return int(right.sum()) / len(labels)


@pytest.mark.parametrize(
    ("build", "changes"),
    [
        (Everything, {}),
        (convolution, {"target": {"include": ["4.*"]}}),
        (convolution, {"target": {"exclude": ["0.*", "1.*"], "rest": "freeze"}}),
        (tied, {}),
        (double, {"target": {"exclude": ["*.bias"]}}),
        (half, {}),
    ],
    ids=["everything", "trained rest", "frozen rest", "tied", "double", "half"],
)
def test_a_fresh_network_has_the_stated_accuracy(
    tmp_path: Path, build: Callable[[], nn.Module], changes: dict[str, Any]
) -> None:
    trained(tmp_path / "run", build, **changes)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    fresh = build()  # other random numbers: nothing of them may be left
    assert accuracy_of(tmp_path / "run", fresh) == summary["test_accuracy"]
    model, images = qs.load_model(tmp_path / "run"), torch.rand(5, 1, 4, 4).to(next(fresh.parameters()).dtype)
    again = model.module(build())
    assert torch.equal(again(images), fresh(images))
    assert {name: t.dtype for name, t in model.tensors.items()} == {n: t.dtype for n, t in fresh.state_dict().items()}


def test_tied_tensors_have_both_names_and_the_file_says_so(tmp_path: Path) -> None:
    trained(tmp_path / "run", tied)
    tensors = load_file(tmp_path / "run" / "model.safetensors")
    assert torch.equal(tensors["1.weight"], tensors["3.weight"])
    with safe_open(tmp_path / "run" / "model.safetensors", framework="pt") as file:
        metadata = json.loads(file.metadata()[METADATA_KEY])
    assert json.loads(metadata["tied"]) == {"3.weight": "1.weight"}


@pytest.mark.parametrize("rest", ["train", "freeze"])
def test_what_is_not_generated_is_counted_and_trained_or_not(tmp_path: Path, rest: str) -> None:
    trained(tmp_path / "run", convolution, target={"include": ["4.*"], "rest": rest}, controls=["constant", "hashed"])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    own, first = 36 + 4 + 8, load_file(tmp_path / "run" / "target.safetensors")
    counted, last = summary["trainable_parameters"], load_file(tmp_path / "run" / "model.safetensors")
    assert summary["target_parameters"] == 34
    assert counted["total"] == counted["phases"] + counted["generator"] + counted["ordinary"]
    assert (counted["ordinary"], summary["frozen_parameters"]) == ((own, 0) if rest == "train" else (0, own))
    moved = [name for name in ("0.weight", "0.bias", "1.weight", "1.bias") if not torch.equal(first[name], last[name])]
    assert moved == (["0.weight", "0.bias", "1.weight", "1.bias"] if rest == "train" else [])
    assert summary["control_parameters"]["constant"] == counted["generator"] + counted["ordinary"]
    assert summary["control_parameters"]["hashed"] <= counted["total"]


def test_a_stopped_run_with_dropout_and_ordinary_weights_ends_with_the_same_bits(tmp_path: Path) -> None:
    choice = {
        "target": {"exclude": ["last.*"]},
        "training": {"optimiser": "rotated-adam", "trials": 2, "trial_epochs": 1},
    }

    def stop(row: Any) -> None:
        if row["done"] == 4:
            raise KeyboardInterrupt

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config = trained(whole, Everything, **choice)
    with pytest.raises(KeyboardInterrupt):
        qs.train(config, cut, target=seeded(Everything), data=DATA, on_progress=stop)
    torch.manual_seed(99)  # what a process drew before does not count
    qs.resume(cut, target=seeded(Everything), data=DATA)
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_what_was_exported_is_refused_by_a_network_of_other_shapes(tmp_path: Path) -> None:
    trained(tmp_path / "run", half)
    other = nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 2)).half()
    with pytest.raises(qs.QPUError, match=r"1\.weight was \(8, 16\) float16 and is \(9, 16\) float16") as caught:
        qs.load_model(tmp_path / "run").module(other)
    assert "\n" not in str(caught.value)


def test_gradients_of_ordinary_weights_are_exact() -> None:
    """One step of Adam at a rate of its own, against torch's on the plain network."""
    config = tiny.config(
        target={"exclude": ["4.*"]},
        qnn=[{"modes": 6, "photons": 2}, {"modes": 7, "photons": 3}],
        training={"rest_lr": 0.01, "clip": 0.0, "batch_size": 60, "warmup": 0.0},
    )
    run = tiny.training(config, data=DATA, module=convolution())
    p, (images, labels) = torch.rand(525), DATA.train.tensors()
    state = run.fitter.init(seed=1)
    weights = run.fitter.weights(state, p)
    plain = convolution()
    plain.load_state_dict(run.target.state(weights))
    adam = torch.optim.Adam(plain[4].parameters(), lr=0.01 * run.fitter.rate(0) / config.training.lr)
    F.cross_entropy(plain.train()(images), labels).backward()
    adam.step()
    run.fitter.step_(state, p, images, labels)
    found = run.target.state(run.fitter.weights(state, p))
    for name in ("4.weight", "4.bias"):
        assert torch.allclose(found[name], plain.state_dict()[name], atol=1e-6)
        assert not np.allclose(found[name], run.target.state(weights)[name], atol=1e-3)
