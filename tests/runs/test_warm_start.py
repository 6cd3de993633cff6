"""Runs that share a warm start end with the same bits as those that have their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from qpu_sdk.errors import CheckpointError, ConfigError
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.train import train, warm_up
from qpu_sdk.runs.warm_start import warm_config
from qpu_sdk.training.config import RunConfig
from tests.training.tiny import config

WARM = {"warm_start_epochs": 4, "trials": 2, "trial_epochs": 2, "threads": 1}
FACTORY = "tests.training.tiny:linear"


def tiny(digits: Path, **changes: object) -> RunConfig:
    """A run of small digits with a warm start of two trials."""
    training = {**WARM, **changes.pop("training", {})}  # type: ignore[dict-item]
    own = {"data": {"source": str(digits)}, "target": {"factory": FACTORY}, "training": training}
    return config(**(own | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"device": "local:slos?noise=ascella", "training": {"shots": 30_000, "final_shots": 40_000}},
        {"spsa": {"steps": 0}, "controls": True},
    ],
    ids=["as it is", "another device", "without SPSA"],
)
def test_a_shared_warm_start_changes_no_bit(tmp_path: Path, digits: Path, changes: dict[str, object]) -> None:
    settings = tiny(digits, **changes)
    alone = train(settings, tmp_path / "alone", force=True)
    warm_up(tiny(digits), tmp_path / "warm")
    shared = train(settings, tmp_path / "shared", warm=tmp_path / "warm", force=True)
    first, second = (RunFolder(run.path) for run in (alone, shared))
    assert first.model.read_bytes() == second.model.read_bytes()
    assert shared.summary.controls == alone.summary.controls
    rows = [[line.partition(', "wall_s"')[0] for line in f.metrics.read_text().splitlines()] for f in (first, second)]
    assert rows[0] == rows[1]


def test_a_warm_start_that_was_stopped_goes_on(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, stopped = tiny(digits), tmp_path / "stopped"

    class Stop:
        def advanced(self, row: object, *, done: int, total: int) -> None:
            if done == 5:
                raise KeyboardInterrupt

        def phase(self, what: str) -> None:
            pass

        def stage(self, name: str, *, number: int, of: int) -> None:
            raise AssertionError

    with pytest.raises(KeyboardInterrupt):
        warm_up(settings, stopped, observer=Stop())
    with pytest.raises(CheckpointError, match=r"has 5 of the 6 epochs of a warm start. Finish it first."):
        train(settings, tmp_path / "early", warm=stopped)
    warm_up(settings, stopped)
    warm_up(settings, stopped)  # there is nothing left to do
    whole = train(settings, tmp_path / "whole").path
    shared = train(settings, tmp_path / "shared", warm=stopped).path
    assert RunFolder(whole).model.read_bytes() == RunFolder(shared).model.read_bytes()


def test_what_a_warm_start_depends_on(digits: Path) -> None:
    settings = tiny(digits)
    same = [
        tiny(digits, device="local:slos?transmittance=0.1"),
        tiny(digits, spsa={"steps": 7, "shots": 77}),
        tiny(digits, training={"final_shots": 7}),
        tiny(digits, mitigation={"method": "recycle"}, budget={"settings": 10_000}, controls=True),
    ]
    other = [
        tiny(digits, seed=5),
        tiny(digits, generator={"bond_dim": 3}),
        tiny(digits, training={"final_epochs": 4}),  # the rates of all epochs are of one schedule
        tiny(digits, data={"source": str(digits), "train_size": 20}),
    ]
    own = warm_config(settings).fingerprint
    assert {warm_config(one).fingerprint for one in same} == {own}
    assert own not in {warm_config(one).fingerprint for one in other}


def test_another_run_does_not_take_it(tmp_path: Path, digits: Path) -> None:
    warm_up(tiny(digits), tmp_path / "warm")
    with pytest.raises(CheckpointError, match="belongs to another configuration"):
        train(tiny(digits, seed=9), tmp_path / "out", warm=tmp_path / "warm")
    assert not (tmp_path / "out" / "config.toml").exists()
    with pytest.raises(ConfigError, match=r"no warm start: training.warm_start_epochs is 0"):
        warm_up(tiny(digits, training={"warm_start_epochs": 0, "trials": 1}), tmp_path / "none")
