"""The examples say what is true: the written-out default is the default, and the scripts run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qpu_sdk.emulator.faults import Faults
from qpu_sdk.runs.device_figures import device_figures
from qpu_sdk.runs.feasible import open_parts
from qpu_sdk.runs.opened import NOTHING_GIVEN
from qpu_sdk.runs.plan import plan_run
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.qnn import qnns_of
from qpu_sdk.training.schedule import Schedule

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_lean_is_the_default_written_out() -> None:
    assert load_config(EXAMPLES / "lean.toml") == RunConfig()


def test_lean_names_every_key_that_is_set() -> None:
    text = (EXAMPLES / "lean.toml").read_text()
    for section in ("data", "training", "spsa", "generator", "budget"):
        for key in RunConfig.model_fields[section].annotation.model_fields:  # type: ignore[union-attr]
            assert key in text, f"{section}.{key}"


@pytest.mark.parametrize(("chi", "generator"), [(1, 31), (4, 496), (10, 3100)])
def test_paper_has_the_published_parameters(chi: int, generator: int) -> None:
    config = load_config(EXAMPLES / "paper.toml", overrides=[f"generator.bond_dim={chi}"])
    qnns = qnns_of(config)
    assert [q.mesh.declared for q in qnns] == [108, 84]
    assert [q.input_modes for q in qnns] == [(0, 2, 5, 8), (0, 2, 4, 7)]
    assert 31 * chi**2 == generator
    assert config.generator.kind == "paper"


def test_normed_has_as_few_numbers_as_it_says() -> None:
    config = load_config(EXAMPLES / "normed.toml")
    target, _, generator = open_parts(config, NOTHING_GIVEN)
    phases = sum(q.mesh.declared for q in qnns_of(config))
    assert (target.size, generator.parameter_count, phases) == (14_554, 3_108, 88)


def test_belenos_can_work_on_belenos() -> None:
    config = load_config(EXAMPLES / "belenos.toml")
    plan = plan_run(config, {config.device: device_figures(config, config.device, offline=True)})
    assert not plan.problems
    assert (plan.total.settings, plan.total.jobs, round(plan.total.credits, 6)) == (102, 25, 12.0)  # as it says


def test_faults_are_understood() -> None:
    assert len(Faults.load(EXAMPLES / "faults.toml").rules) == 3


@pytest.mark.parametrize("name", ["lean.toml", "paper.toml", "belenos.toml", "normed.toml", "shifted.toml"])
def test_runs_fit_four_hundred_settings(name: str) -> None:
    assert Schedule.of(load_config(EXAMPLES / name)).settings <= 400


@pytest.mark.parametrize(
    "script",
    [
        "sample_a_circuit.py",
        "mitigate_a_circuit.py",
        "own_network.py",
        "photonic_layer.py",
    ],
)
def test_scripts_run(script: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=EXAMPLES, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
