"""A model card: Markdown with the front matter of model hubs, made of what a run left, without any request."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from ..devices.address import DeviceAddress
from ..export.provenance import data_name
from ..export.weights import Model
from ..rendering.text import duration, percent
from ..words import command, one_line
from .metric import Metric
from .paired import control_title, image_interval, seed_verdict
from .summary import RunSummary

#: Names of data sets on the hub, by the sources that they are.
_HUB_DATA = {"mnist-5k": "mnist", "mnist": "mnist"}
_TAGS = ("image-classification", "photonic-quantum-computing", "quantum-machine-learning", "weight-generation")
_SHOWS_NOT = (
    "That circuits did it: only the controls say how good the same generator is without them.",
    "An advantage over classical networks: a small network of as many numbers is the one to compare with.",
    "How it does on other images than those of its training: it has seen no others.",
)


def card_text(name: str, model: Model, summary: RunSummary | None) -> str:
    """The card.

    :param name: of the model.
    :param summary: of its run; None for a model file alone, of which less is known.
    """
    parts = [
        _front(name, model, summary),
        f"# {_cell(name)}",
        _what(model, summary),
        *([_results(summary), _controls(summary), _making(model, summary)] if summary is not None else []),
        _use(model),
        _files(),
    ]
    return "\n\n".join(parts) + "\n"


def _front(name: str, model: Model, summary: RunSummary | None) -> str:
    """YAML of which every value is written as JSON, which is YAML too."""
    data, source = data_name(model), _HUB_DATA.get(data_name(model))
    lines = ["library_name: qpu_sdk", f"tags: {json.dumps(list(_TAGS))}", "pipeline_tag: image-classification"]
    lines += [f"datasets: {json.dumps([source])}"] if source else []
    accuracy = None if summary is None else summary.test_accuracy
    if accuracy is not None and math.isfinite(accuracy):
        known = {"type": source or "images", "name": data or "images", "split": "test"}
        metrics = [{"type": "accuracy", "value": round(accuracy, 6), "name": "test accuracy"}]
        result = {"task": {"type": "image-classification"}, "dataset": known, "metrics": metrics}
        lines.append(f"model-index: {json.dumps([{'name': one_line(name, 100), 'results': [result]}])}")
    return "\n".join(["---", *lines, "---"])


def _what(model: Model, summary: RunSummary | None) -> str:
    numbers = sum(tensor.numel() for tensor in model.tensors.values())
    text = f"A classical network of {numbers:,} numbers, trained with qpu_sdk. "
    if summary is not None:
        q = summary.trainable_parameters
        text += (
            f"{summary.target_parameters:,} weights of it were generated: {q.phases:,} phases of photonic circuits and "
            f"{q.generator:,} parameters of a matrix product state are what was trained ({q.total:,} numbers). "
            f"{f'{q.ordinary:,} further weights were trained as they are. ' if q.ordinary else ''}"
        )
    return text + "It runs without a quantum computer and without the SDK."


def _results(summary: RunSummary) -> str:
    if summary.metric == "loss":
        return f"## Results\n\n{_table(list(_losses(summary)))}"
    rows = [
        *_accuracy("test accuracy, one seed", summary.test_accuracy, summary.test_size),
        *_accuracy("on the second test images", summary.second_test_accuracy, summary.second_test_size),
        *_accuracy("on the training images", summary.train_accuracy, summary.train_size),
    ]
    rows += [] if summary.chance is None else [("always the commonest class", percent(summary.chance))]
    return f"## Results\n\n{_table(rows)}"


def _accuracy(name: str, accuracy: float | None, size: int | None) -> Iterator[tuple[str, str]]:
    """A row of an accuracy that there is, with its interval."""
    if accuracy is not None and size is not None and math.isfinite(accuracy):
        low, high = image_interval(accuracy, size)
        yield name, f"{percent(accuracy)} (95 % interval by {size:,} images: {percent(low)} to {percent(high)})"


def _losses(summary: RunSummary) -> Iterator[tuple[str, str]]:
    """Of labels that are no classes."""
    yield "the loss", summary.loss or "cross-entropy"
    found = {"test, one seed": (summary.test_loss, summary.test_size)}
    if summary.second_test_loss is not None and summary.second_test_size is not None:
        found["second test"] = (summary.second_test_loss, summary.second_test_size)
    found["training"] = (summary.train_loss, summary.train_size)
    for name, (loss, size) in found.items():
        yield name, f"{loss:.4g} ({size:,} images)"


def _controls(summary: RunSummary) -> str:
    if not summary.controls:
        return "## Controls\n\nNone was trained, so nobody knows what the circuits are worth here."
    counts = summary.control_parameters
    rows = [
        (control_title(name), Metric.of([summary]).told(value), f"{counts[name]:,}" if name in counts else "")
        for name, value in summary.controls.items()
    ]
    head = ("control", f"test {summary.metric}", "numbers trained")
    return f"## Controls\n\n{seed_verdict([summary]).text}\n\n{_table(rows, head)}"


def _making(model: Model, summary: RunSummary) -> str:
    devices = [DeviceAddress.parse(name).without_places for name in summary.devices]
    rows = [
        ("data", f"{data_name(model)}: {summary.train_size:,} training and {summary.test_size:,} test images"),
        ("devices", ", ".join(devices)),
        ("circuit settings", f"{summary.circuit_settings:,} in {summary.jobs:,} jobs"),
        ("shots", f"{summary.shots:,}"),
        ("events behind the weights", ", ".join(f"{n:,}" for n in summary.events)),
        *_cost(summary),
        ("calibration records", ", ".join(summary.record_ids) or "none"),
        ("mitigation", _mitigation(summary)),
        ("epochs", f"{summary.epochs:,}, {summary.exact_gradient_epochs:,} of them with exact gradients"),
        ("seed", str(summary.seed)),
        ("configuration (SHA-256)", model.metadata.get("config_sha256", "")),
        ("versions", ", ".join(f"{package} {version}" for package, version in summary.versions.items())),
    ]
    return f"## How it was made\n\n{_table(rows)}"


def _cost(summary: RunSummary) -> Iterator[tuple[str, str]]:
    if summary.machine_s or summary.credits:
        yield "machine time", f"{duration(summary.machine_s)}, {summary.credits:.6g} credits"


def _mitigation(summary: RunSummary) -> str:
    if summary.mitigation is None:
        return "post-selection"
    methods = [one for own in summary.mitigation.methods.values() for one in own]
    return ", ".join(dict.fromkeys(methods)) or "post-selection"


def _use(model: Model) -> str:
    use = model.use
    ink = "" if use.page is None else f", {'dark ink on a light' if use.page else 'light ink on a dark'} page"
    lines = [
        "## Use, and what it does not show",
        f"Input: float32 `(n, {', '.join(map(str, use.shape))})` in [0, 1]{ink}. Output: logits, one row an image.",
        "It is meant for research on generated weights, on images like those it was trained on, and not for decisions "
        "about people. What its accuracy does not show:",
        "\n".join(f"- {line}" for line in _SHOWS_NOT),
    ]
    return "\n\n".join(lines)


def _files() -> str:
    rows = [
        ("`model.onnx`", '`onnxruntime.InferenceSession("model.onnx").run(["logits"], {"images": x})`'),
        ("`model.pt2`", '`torch.export.load("model.pt2").module()(x)`'),
        ("`model.safetensors`", '`network.load_state_dict(safetensors.torch.load_file("model.safetensors"))`'),
        ("`seed.safetensors`", f"`{command('expand', 'seed.safetensors', '--out', 'model.safetensors')}`"),
    ]
    return f"## Files\n\nThose of these that are beside this card:\n\n{_table(rows, ('file', 'how to load it'))}"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str] = ("", "")) -> str:
    lines = [head, ["---"] * len(head), *[[_cell(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Others' words in a cell: one line, no bars, no tags."""
    return one_line(text, 400).replace("|", "\\|").replace("<", "&lt;")
