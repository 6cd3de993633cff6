"""Controls of a run: by name, each trained once, left out where they cannot exist."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qpu_sdk.runs.run import Run
from qpu_sdk.runs.tables import summary_rows
from qpu_sdk.runs.train import resume, train
from qpu_sdk.training.control_names import CONTROLS, STANDARD_CONTROLS
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("no_figures")
DATA = tiny.dataset()


class Stages:
    """What was trained beside the run."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def advanced(self, row: Mapping[str, Any], *, done: int, total: int) -> None:
        pass

    def phase(self, what: str) -> None:
        pass

    def stage(self, name: str, *, number: int, of: int) -> None:
        self.names.append(name)


def trained(out: Path, controls: Any, *, seed: int = 3, net: nn.Module | None = None, **changes: Any) -> Run:
    config = tiny.config(controls=controls, seed=seed, **changes)
    return train(config, out, target=net if net is not None else tiny.seeded_linear(), data=DATA)


def resumed(run: Run) -> tuple[Run, list[str]]:
    stages = Stages()
    return resume(run.path, target=tiny.seeded_linear(), data=DATA, observer=stages), stages.names


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with every control."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda self, out, **options: out.write("<svg></svg>"))
        return trained(tmp_path_factory.mktemp("everything") / "run", list(CONTROLS))


def test_every_control_has_its_accuracy_and_its_count(everything: Run) -> None:
    summary = everything.summary
    assert tuple(summary.controls) == tuple(summary.control_parameters) == CONTROLS
    budget = summary.trainable_parameters.total
    assert all(0 < n <= budget for n in summary.control_parameters.values())
    for name in ("frozen_random", "constant", "untrained_circuits", "fresh_random"):
        assert summary.control_parameters[name] == summary.trainable_parameters.generator
    assert summary.second_controls == {}
    assert summary.controls_again.keys() == {"fresh_random"}
    rows = dict(summary_rows(summary))
    assert all(f"({summary.control_parameters[name]:,})" in " ".join(rows) for name in CONTROLS)
    assert (
        "asked again" in rows[f"void control: p random at every call ({summary.control_parameters['fresh_random']:,})"]
    )


def test_a_finished_run_trains_no_control_again(everything: Run) -> None:
    again, names = resumed(everything)
    assert names == []
    assert again.summary == everything.summary


def test_only_what_is_missing_is_trained(everything: Run) -> None:
    path = everything.path / "controls.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({name: entry for name, entry in kept.items() if name not in ("hashed", "constant")}))
    again, names = resumed(everything)
    assert names == ["constant", "hashed"]
    assert again.summary.controls == everything.summary.controls
    assert json.loads(path.read_text()) == kept


def test_a_run_of_the_first_four_goes_on_with_the_fifth(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", True)
    path = run.path / "controls.json"
    old = {name: entry for name, entry in json.loads(path.read_text()).items() if name != "small_network"}
    path.write_text(json.dumps(old))
    again, names = resumed(run)
    assert names == ["small_network"]
    assert set(again.summary.controls) == set(STANDARD_CONTROLS)


def test_controls_stand_in_the_order_of_the_list(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", ["low_rank", "constant", "low_rank"])
    assert list(run.summary.controls) == ["low_rank", "constant"]
    assert 'controls = ["low_rank", "constant"]' in (run.path / "config.toml").read_text()


def test_what_cannot_exist_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 2, 2), nn.Flatten())
    with caplog.at_level(logging.WARNING):
        run = trained(tmp_path / "run", ["weight_sharing", "constant"], net=net)
    assert list(run.summary.controls) == ["constant"]
    assert "control weight_sharing is left out: the network has no linear layer" in caplog.text


def test_the_network_of_another_control_has_its_own_statistics(tmp_path: Path) -> None:
    """A small network is evaluated as itself, whatever the run's network is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    run = trained(tmp_path / "run", ["small_network", "hashed"], net=net)
    assert set(run.summary.controls) == {"small_network", "hashed"}
    assert run.summary.control_parameters["small_network"] <= run.summary.trainable_parameters.total


def test_void_weights_are_others_at_every_call() -> None:
    from qpu_sdk.training.controls import open_control, train_control

    run = tiny.training(tiny.config(seed=3))
    control = open_control("fresh_random", run)
    *_, (state, _) = train_control(control, run)
    one, two = (control.fitter.weights(state, control.p) for _ in range(2))
    assert not torch.equal(one, two)
    assert control.fitter.generator.parameter_count == run.fitter.generator.parameter_count
