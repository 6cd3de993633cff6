"""Model cards: front matter that hubs read, figures of the summary, and nobody's paths."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import Any

import pytest
import torch

from qpu_sdk.export.weights import Model
from qpu_sdk.runs.card import card_text
from qpu_sdk.runs.summary import MitigationSummary, TrainableParameters
from tests.runs.test_summary import example

TWIN = "local:twin?record=/home/somebody/records/chip.json"
needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed"
)


def model(source: str = "mnist-5k") -> Model:
    metadata = {"data": json.dumps({"source": source}), "data_seed": "0", "config_sha256": "abc"}
    return Model({"w": torch.zeros(3, 4), "b": torch.zeros(3)}, metadata)


def front(text: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_a_card_has_the_figures_of_the_run() -> None:
    controls = {"constant": 0.5, "plain_network": 0.97}
    text = card_text("first", model(), example(controls=controls, record_ids=["rec-1"], credits=2.5, machine_s=90.0))
    # Wilson's interval of 875 of 1,000, by hand: centre 0.8736, half-width 0.0206
    assert "87.5 % (95 % interval by 1,000 images: 85.3 % to 89.4 %)" in text
    for words in ("| p constant | 50.0 % | 30 |", "12 in 6 jobs", "| 12,000 |", "500, 400", "rec-1", "2.5 credits"):
        assert words in text
    assert "10 phases of photonic circuits and 20 parameters" in text
    assert "15 numbers" in text


def test_without_controls_the_card_says_what_is_not_known() -> None:
    assert "nobody knows what the circuits are worth" in card_text("first", model(), example())


def test_the_front_matter_is_what_hubs_read() -> None:
    found = front(card_text("first", model(), example()))
    assert found["datasets"] == ["mnist"]
    [entry] = found["model-index"]
    [result] = entry["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.875, "name": "test accuracy"}]
    assert result["dataset"] == {"type": "mnist", "name": "mnist-5k", "split": "test"}


@needs_hub
def test_the_hubs_own_reader_finds_the_accuracy() -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(card_text("first", model(), example()), ignore_metadata_errors=False)
    [found] = card.data.eval_results or []
    assert (found.metric_type, found.metric_value) == ("accuracy", 0.875)


def test_names_of_files_and_devices_come_without_their_places() -> None:
    mitigation = MitigationSummary(
        methods={TWIN: ["unfold"]}, record_ids={TWIN: "rec"}, p_shift=[0.1], effective_samples=[9.0]
    )
    summary = example(data="/home/somebody/d.npz", devices=[TWIN], mitigation=mitigation)
    text = card_text("first", model("/home/somebody/d.npz"), summary)
    assert "somebody" not in text
    assert "| data | d.npz: 4,000 training and 1,000 test images |" in text
    assert "| mitigation | unfold |" in text


@pytest.mark.parametrize("name", ['a"b: [c', "a|b<script>", "two\nlines", "a\x1b[2J", "é" * 300])
def test_any_name_gives_a_card(name: str) -> None:
    text = card_text(name, model(), example())
    assert isinstance(front(text)["model-index"][0]["name"], str)
    assert "<script>" not in text.split("---\n", 2)[2]
    assert re.fullmatch(r"[^\x00-\x08\x0b-\x1f\x7f]*", text)


def test_a_model_file_alone_has_a_shorter_card() -> None:
    text = card_text("first", model(), None)
    assert "model-index" not in front(text)
    assert "## Use, and what it does not show" in text
    assert "accuracy |" not in text


def test_a_run_with_a_loss_of_its_own_has_losses_and_no_accuracy() -> None:
    parameters = TrainableParameters(phases=10, generator=20, ordinary=7, total=37)
    nan = float("nan")
    accuracies = {"test_accuracy": nan, "test_standard_error": nan, "train_accuracy": nan}
    losses = {
        "metric": "loss",
        "loss": "mine.py:huber",
        "test_loss": 0.125,
        "train_loss": 0.1,
        "controls": {"constant": 0.5},
    }
    text = card_text("first", model(), example(trainable_parameters=parameters, **accuracies, **losses))
    for words in ("mine.py:huber", "0.125 (1,000 images)", "| p constant | 0.5 | 30 |", "7 further weights"):
        assert words in text
    assert "nan" not in text
    assert "accuracy |" not in text
