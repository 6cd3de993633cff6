"""Trackers are told of a run from start to end, and can do it no harm."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import qpu_sdk as qs
from qpu_sdk.runs.trackers import Tracker
from tests.runs.test_networks_out import DATA
from tests.training import tiny

SHORT = {"rounds": 1, "generator_epochs": 1, "final_epochs": 2, "warm_start_epochs": 1}


class Noting(Tracker):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Any] | None]] = []

    def start(self, config: Mapping[str, Any]) -> None:
        self.told.append(("start", config))

    def log(self, row: Mapping[str, Any]) -> None:
        self.told.append(("log", row))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        self.told.append(("finish", summary))


class Failing(Noting):
    """Breaks at one of the calls."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def start(self, config: Mapping[str, Any]) -> None:
        super().start(config)
        self._break("start")

    def log(self, row: Mapping[str, Any]) -> None:
        super().log(row)
        self._break("log")

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        super().finish(summary)
        self._break("finish")

    def _break(self, here: str) -> None:
        if here == self.at:
            raise ConnectionError("no\nserver")


def run(path: Path, **options: Any) -> qs.RunConfig:
    config = tiny.config(training=SHORT, spsa={"steps": 1}, controls=["constant"])
    qs.train(config, path, target=tiny.seeded_linear(), data=DATA, **options)
    return config


def test_a_tracker_is_told_of_start_rows_controls_and_end(tmp_path: Path) -> None:
    tracker = Noting()
    config = run(tmp_path / "run", trackers=[tracker])
    kinds, told = zip(*tracker.told, strict=True)
    assert kinds == ("start", *["log"] * (len(kinds) - 2), "finish")
    assert told[0]["training"]["lr"] == config.training.lr
    rows = [row for row in told[1:-1] if "control" not in row]
    assert [row["unit"] for row in rows] == list(range(1, rows[0]["total"] + 1))
    assert {row["control"] for row in told[1:-1] if "control" in row} == {"constant"}
    assert 0 <= told[-1]["test_accuracy"] <= 1


@pytest.mark.parametrize("at", ["start", "log", "finish"])
def test_a_tracker_that_raises_does_not_lose_the_run(tmp_path: Path, at: str, caplog: pytest.LogCaptureFixture) -> None:
    broken, other = Failing(at), Noting()
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "run", trackers=[broken, other])
    assert (tmp_path / "run" / "summary.json").is_file()
    [said] = [record.getMessage() for record in caplog.records if "tracker" in record.getMessage()]
    assert said.startswith("tracker Failing raised ConnectionError (no server)")
    assert [kind for kind, _ in broken.told].count(at) == 1
    assert broken.told[-1][0] == at
    assert other.told[-1][0] == "finish"


def test_a_callback_that_raises_stops_a_run_that_can_go_on(tmp_path: Path) -> None:
    tracker = Noting()

    def stop(row: Mapping[str, Any]) -> None:
        if row["done"] == 2:
            raise RuntimeError("pruned")

    with pytest.raises(RuntimeError, match="pruned"):
        run(tmp_path / "run", on_progress=stop, trackers=[tracker])
    assert tracker.told[-1] == ("finish", None)
    again = Noting()
    qs.resume(tmp_path / "run", target=tiny.seeded_linear(), data=DATA, trackers=[again])
    assert [kind for kind, _ in again.told][:1] == ["start"]
    first = again.told[1][1]
    assert first is not None
    assert first["unit"] == 3


@pytest.mark.parametrize("wrong", [[3], [Noting], "text", [{"start": 1}]])
def test_what_is_no_tracker_is_one_line(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(qs.QPUError, match="no tracker with start, log, finish") as caught:
        run(tmp_path / "run", trackers=wrong)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_tensorboard_shows_every_figure(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path / "run", tensorboard=tmp_path / "board")
    seen = EventAccumulator(str(tmp_path / "board")).Reload()
    tags = seen.Tags()
    assert {"fit/loss", "fit/lr", "warm-start/accuracy", "control constant/loss", "result/test_accuracy"} <= set(
        tags["scalars"]
    )
    assert tags["tensors"] == ["configuration/text_summary"]
    steps = [event.step for event in seen.Scalars("fit/loss")]
    rows = [row for row in map(dict, read(tmp_path / "run")) if row["kind"] == "fit"]
    assert steps == [row["unit"] for row in rows]
    assert [event.value for event in seen.Scalars("fit/loss")] == pytest.approx([row["loss"] for row in rows])


def read(path: Path) -> list[dict[str, Any]]:
    from qpu_sdk.runs.folder import read_metrics

    return read_metrics(path / "metrics.jsonl")


def test_a_missing_tensorboard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(qs.QPUError, match="pip install tensorboard") as caught:
        run(tmp_path / "run", tensorboard=tmp_path / "board")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
