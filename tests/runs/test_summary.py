"""Summaries of runs: read back what was written, refuse the rest in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from qpu_sdk.errors import CheckpointError
from qpu_sdk.runs.summary import RunSummary, TrainableParameters, read_summary
from qpu_sdk.versions import versions


def example(**changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "test_accuracy": 0.875,
        "test_standard_error": 0.01,
        "train_accuracy": 0.9,
        "test_size": 1000,
        "train_size": 4000,
        "data": "mnist-5k",
        "data_sha256": "00",
        "trainable_parameters": TrainableParameters(phases=10, generator=20, total=30, identifiable=25),
        "target_parameters": 6690,
        "circuit_settings": 12,
        "jobs": 6,
        "shots": 12_000,
        "events": [500, 400],
        "epochs": 9,
        "exact_gradient_epochs": 0,
        "wall_s": 1.5,
        "seed": 0,
        "devices": ["local:slos"],
        "versions": {"python": "3"},
    }
    return RunSummary(**(values | changes))


def test_round_trip_by_file_and_by_folder(tmp_path: Path) -> None:
    summary = example(controls={"constant": 0.5}, control_parameters={"constant": 30})
    path = tmp_path / "summary.json"
    path.write_text(summary.model_dump_json())
    assert read_summary(path) == read_summary(tmp_path) == summary


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"test_accuracy": 1}', '"text"'])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(CheckpointError, match="not the summary of a finished run") as caught:
        read_summary(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="qpu-sdk resume"):
        read_summary(tmp_path)


def test_unknown_fields_are_refused(tmp_path: Path) -> None:
    data = json.loads(example().model_dump_json()) | {"accuracy": 1.0}
    (tmp_path / "summary.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError):
        read_summary(tmp_path)
    with pytest.raises(ValidationError):
        example(accuracy=1.0)


def test_versions_name_what_results_depend_on() -> None:
    found = versions()
    assert {"python", "qpu_sdk", "torch", "numpy", "perceval-quandela"} <= set(found)
    assert all(v and v[0].isdigit() for v in found.values())
