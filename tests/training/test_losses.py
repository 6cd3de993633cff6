"""Losses of one's own: what is minimised, what is told where labels are no classes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import qpu_sdk as qs
from qpu_sdk.export.inference import evaluate_model, open_trained_loss, predict_images
from qpu_sdk.export.weights import load_model
from qpu_sdk.runs.gathered import gather
from qpu_sdk.training.losses import CROSS_ENTROPY, open_loss
from tests.commands import BAD_INPUT, Commands
from tests.training import tiny

RNG = np.random.default_rng(11)
X = RNG.uniform(-1, 1, (80, 16)).astype(np.float32)
SLOPES = RNG.normal(size=(16, 3)).astype(np.float32)
Y = (X @ SLOPES).astype(np.float32)
SHORT: dict[str, Any] = {
    "qnn": [{"modes": 6, "photons": 2}, {"modes": 6, "photons": 3}],
    "training": {"rounds": 1, "generator_epochs": 1, "final_epochs": 3, "warm_start_epochs": 6, "lr": 0.05},
    "spsa": {"steps": 1},
}
#: As a user writes it.
CODE = """
from torch.nn import functional as F

def squares(outputs, labels):
    return F.mse_loss(outputs, labels)

def tags(outputs, labels):
    return F.binary_cross_entropy_with_logits(outputs, labels.float())

def focal(outputs, labels):
    return ((1 - outputs.softmax(1).gather(1, labels[:, None])) ** 2 * F.cross_entropy(outputs, labels)).mean()

def vector(outputs, labels):
    return (outputs - labels) ** 2

def number(outputs, labels):
    return 3.0

def imaginary(outputs, labels):
    return F.mse_loss(outputs, labels) * 1j

def detached(outputs, labels):
    return F.mse_loss(outputs.detach(), labels)

def broken(outputs, labels):
    return outputs @ labels @ labels

def nothing(outputs, labels):
    return outputs.mean() * float("nan")

def one(outputs):
    return outputs.mean()
"""


@pytest.fixture
def losses(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(CODE)
    return str(tmp_path / "mine.py")


def regressor() -> nn.Module:
    return nn.Linear(16, 3)


def loaders(y: Any, x: Any = X) -> tuple[Any, Any]:
    parts = [TensorDataset(torch.as_tensor(x[part]), torch.as_tensor(y[part])) for part in (slice(60), slice(60, 80))]
    return DataLoader(parts[0], batch_size=16, shuffle=True), DataLoader(parts[1], batch_size=16)


def train(path: Path, loss: str, y: Any, target: nn.Module, **changes: Any) -> dict[str, Any]:
    config = tiny.config(**{**SHORT, "training": {**SHORT["training"], "loss": loss}, **changes})
    qs.train(config, path, target=target, data=loaders(y))
    return dict(json.loads((path / "summary.json").read_text()))


def test_a_regression_is_trained_told_and_leaves(tmp_path: Path, losses: str) -> None:
    summary = train(tmp_path / "run", f"{losses}:squares", Y, regressor(), controls=["constant", "small_network"])
    assert (summary["metric"], summary["test_accuracy"], summary["chance"]) == ("loss", None, None)
    fresh = regressor()
    fresh.load_state_dict(load_file(tmp_path / "run" / "model.safetensors"), strict=True)
    with torch.no_grad():
        expected = float(F.mse_loss(fresh(torch.from_numpy(X[60:])), torch.from_numpy(Y[60:])))
        train_loss = float(F.mse_loss(fresh(torch.from_numpy(X[:60])), torch.from_numpy(Y[:60])))
    assert summary["test_loss"] == pytest.approx(expected, rel=1e-5)
    assert summary["train_loss"] == pytest.approx(train_loss, rel=1e-5)
    assert summary["train_loss"] < 0.8 * float(Y[:60].var())
    assert all(value > 0 for value in summary["controls"].values())
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert not any("accuracy" in row for row in rows)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "test loss" in page
    assert "accuracy" not in page


def test_the_report_of_a_loss_says_what_one_seed_cannot(tmp_path: Path, losses: str) -> None:
    for seed in (1, 2):
        own = {"controls": ["constant"], "seed": seed}
        train(tmp_path / "runs" / str(seed), f"{losses}:squares", Y, seeded(), **own)
    [alone] = gather([tmp_path / "runs" / "1"]).groups
    assert alone.verdict.kind == "unknown"
    assert "Train with more" in alone.verdict.text
    [both] = gather([tmp_path / "runs"]).groups
    [difference] = both.differences
    own = [json.loads((tmp_path / "runs" / s / "summary.json").read_text()) for s in "12"]
    gains = [one["controls"]["constant"] - one["test_loss"] for one in own]
    assert difference.mean == pytest.approx(np.mean(gains))  # more is better: of a loss the control's minus the run's
    assert str(difference).startswith("loss of constant minus that of trained circuits: ")
    assert both.accuracy.mean == pytest.approx(np.mean([one["test_loss"] for one in own]))
    assert "test loss" in str(qs.report(tmp_path / "runs"))


def seeded() -> nn.Module:
    """The same network each time: runs of another are another configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return regressor()


@pytest.mark.parametrize("kind", [np.float32, np.uint8, bool])
def test_several_labels_an_image(tmp_path: Path, losses: str, kind: Any) -> None:
    tags = (Y > 0).astype(kind)
    summary = train(tmp_path / "run", f"{losses}:tags", tags, regressor())
    assert summary["metric"] == "loss"
    assert 0 < summary["test_loss"] < 0.69  # ln 2 is what chance has


def test_a_loss_of_classes_has_an_accuracy(tmp_path: Path, losses: str) -> None:
    summary = train(tmp_path / "run", f"{losses}:focal", Y.argmax(1).astype(np.uint8), regressor())
    assert summary["metric"] == "accuracy"
    fresh = regressor()
    fresh.load_state_dict(load_file(tmp_path / "run" / "model.safetensors"))
    right = fresh(torch.from_numpy(X[60:])).argmax(1).numpy() == Y[60:].argmax(1)
    assert summary["test_accuracy"] == right.mean()
    assert "loss" in json.loads((tmp_path / "run" / "summary.json").read_text())


def test_one_number_an_image(tmp_path: Path, losses: str) -> None:
    target = nn.Sequential(nn.Linear(16, 1), nn.Flatten(0))
    summary = train(tmp_path / "run", f"{losses}:squares", Y[:, 0], target, controls=["small_network"])
    assert summary["test_loss"] < float(Y[:, 0].var())
    assert summary["controls"]["small_network"] > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vector", r"returned a tensor of shape \(2, 3\)"),
        ("number", "returned a float"),
        ("imaginary", r"returned a tensor of shape \(\) and type complex64. Return one real number"),
        ("detached", "has no gradient"),
        ("broken", r"raised RuntimeError.*mine.py, line \d+, in broken"),
        ("nothing", "is nan before any training"),
        ("one", "raised TypeError"),
        ("missing", "has no such function"),
    ],
)
def test_a_loss_that_is_none_is_one_line(tmp_path: Path, losses: str, name: str, words: str) -> None:
    with pytest.raises(qs.QPUError, match=words) as caught:
        train(tmp_path / "run", f"{losses}:{name}", Y, regressor())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_values_need_a_loss(tmp_path: Path) -> None:
    data = qs.Dataset.of(*loaders(Y), classes=False)
    with pytest.raises(qs.QPUError, match=r"are no classes.*training\] loss") as caught:
        qs.train(tiny.config(**SHORT), tmp_path / "run", target=regressor(), data=data)
    assert "\n" not in str(caught.value)


def test_a_stopped_regression_ends_with_the_same_bits(tmp_path: Path, losses: str) -> None:
    whole, cut, loss = tmp_path / "whole", tmp_path / "cut", f"{losses}:squares"
    train(whole, loss, Y, seeded())
    config = tiny.config(**{**SHORT, "training": {**SHORT["training"], "loss": loss}})

    def stop(row: Any) -> None:
        if row["done"] == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qs.train(config, cut, target=seeded(), data=loaders(Y), on_progress=stop)
    qs.resume(cut, target=seeded(), data=loaders(Y))
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_from_the_command_line(tmp_path: Path, losses: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"x_train": X[:60], "y_train": Y[:60], "x_test": X[60:], "y_test": Y[60:]}
    np.savez(tmp_path / "table.npz", **parts)
    (tmp_path / "nets.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(16, 3)\n")
    config = tiny.config(**{**SHORT, "training": {**SHORT["training"], "loss": "mine.py:squares"}})
    text = config.model_copy(
        update={
            "data": config.data.model_copy(update={"source": str(tmp_path / "table.npz"), "as_is": True}),
            "target": config.target.model_copy(update={"factory": "nets.py:net"}),
        }
    ).to_toml()
    (tmp_path / "c.toml").write_text(text)
    run, commands = tmp_path / "run", Commands()
    summary = commands.succeed("train", tmp_path / "c.toml", "--out", run, "--json")
    monkeypatch.chdir("/")
    found = commands.succeed("evaluate", run, "--json")
    assert found["loss"] == pytest.approx(summary["test_loss"])
    assert "test_accuracy" not in found
    alone = run / "model.safetensors"
    target = f"{tmp_path}/nets.py:net"
    assert "--loss FILE.py:function" in commands.fail(BAD_INPUT, "evaluate", alone, "--target", target)
    said = commands.succeed("evaluate", alone, "--target", target, "--loss", f"{losses}:squares", "--json")
    assert said["loss"] == found["loss"]
    np.save(tmp_path / "rows.npy", X[:3])
    [first, *_] = commands.succeed("predict", run, tmp_path / "rows.npy", "--json")
    expected = load_model(run).module(regressor())(torch.from_numpy(X[:1]))
    assert first["values"] == pytest.approx(expected[0].tolist(), rel=1e-5)
    assert "label" not in first
    told = commands.run("predict", run, tmp_path / "rows.npy").stdout.splitlines()
    assert len(told) == 3
    assert "%" not in told[0]


def test_cross_entropy_is_the_loss_of_who_names_none() -> None:
    assert open_loss(tiny.config().training) is CROSS_ENTROPY
    assert open_trained_loss(load_nothing()) is CROSS_ENTROPY


def load_nothing() -> Any:
    from qpu_sdk.export.weights import Model

    return Model({}, {})


def test_pictures_are_refused_by_a_network_of_other_numbers(tmp_path: Path) -> None:
    from PIL import Image

    from qpu_sdk.export.weights import Model, Use
    from qpu_sdk.training.targets import Target

    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    model = Model(module.state_dict(), {"used": json.dumps(Use((1, 4, 4), as_is=True, values=True).to_metadata())})
    Image.new("L", (4, 4)).save(tmp_path / "i.png")
    np.save(tmp_path / "a.npy", np.full((1, 4, 4), -3.0))
    rows = predict_images(model, [tmp_path / "i.png", tmp_path / "a.npy"], target=Target(module))
    assert "takes numbers as they are, of any range" in rows[0]["error"]
    with torch.no_grad():
        expected: Tensor = module(torch.full((1, 1, 4, 4), -3.0))
    assert rows[1]["values"] == pytest.approx(expected[0].tolist())


def test_evaluation_elsewhere_takes_numbers_as_in_training(tmp_path: Path, losses: str) -> None:
    train(tmp_path / "run", f"{losses}:squares", Y, regressor())
    np.savez(tmp_path / "t.npz", x_train=X[:60], y_train=Y[:60], x_test=X[60:], y_test=Y[60:])
    model, loss = load_model(tmp_path / "run"), open_trained_loss(load_model(tmp_path / "run"), run=tmp_path / "run")
    found = evaluate_model(model, source=str(tmp_path / "t.npz"), loss=loss)
    assert found.accuracy is None
    assert found.loss == pytest.approx(json.loads((tmp_path / "run" / "summary.json").read_text())["test_loss"])
