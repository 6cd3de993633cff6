"""Summaries of runs: read back what was written, refuse the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from qpu_sdk.runs.summary import RunSummary, TrainableParameters
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
    counts = {name: 6690 if name == "plain_network" else 30 for name in changes.get("controls", {})}
    return RunSummary(**(values | {"control_parameters": counts} | changes))


def test_round_trip() -> None:
    summary = example(controls={"constant": 0.5}, control_parameters={"constant": 30})
    assert RunSummary.model_validate_json(summary.model_dump_json()) == summary


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"test_accuracy": 1}', '"text"'])
def test_other_texts_are_refused(content: str) -> None:
    with pytest.raises(ValidationError):
        RunSummary.model_validate_json(content)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        RunSummary.model_validate_json(json.dumps(json.loads(example().model_dump_json()) | {"accuracy": 1.0}))
    with pytest.raises(ValidationError):
        example(accuracy=1.0)


def test_versions_name_what_results_depend_on() -> None:
    found = versions()
    assert {"python", "qpu_sdk", "torch", "numpy", "perceval-quandela"} <= set(found)
    assert all(v and v[0].isdigit() for v in found.values())
