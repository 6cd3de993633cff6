"""The commands evaluate and predict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..words import one_line
from .printing import BAD_INPUT, Json, complain, show_values, tell, tell_json

DataSource = Annotated[
    str | None,
    typer.Option(
        help="mnist-5k, mnist, a folder in torchvision's MNIST layout or of pictures by class, FILE.npz, or "
        "TRAIN.csv,TEST.csv."
    ),
]
Network = Annotated[
    str | None,
    typer.Option("--target", help="Your network, module:function or FILE.py:function; none: what the run names."),
]


def evaluate_command(
    model: Annotated[Path, typer.Argument(help="model.safetensors, or the folder of a run.")],
    data: DataSource = None,
    target: Network = None,
    loss: Annotated[
        str | None, typer.Option(help="Your loss, module:function or FILE.py:function; none: what the run names.")
    ] = None,
    json_: Json = False,
) -> None:
    """Test a trained model; without --data, on the test images of its own run."""
    from ..export.inference import evaluate_model, open_network, open_trained_loss
    from ..export.weights import load_model

    loaded, run = load_model(model), model if model.is_dir() else None
    network = open_network(loaded, run=run, factory=target)
    own_loss = open_trained_loss(loaded, run=run, name=loss)
    result = evaluate_model(loaded, source=data, target=network, loss=own_loss, run=run)
    own = {} if result.accuracy is None else {"test_accuracy": result.accuracy, "standard_error": result.standard_error}
    show_values({**own, "loss": result.loss, "test_size": result.size}, json_)


def predict_command(
    model: Annotated[Path, typer.Argument(help="model.safetensors, or the folder of a run.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures, .npy and .npz arrays, folders of them, or -.")],
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no-invert",
            help="Turn dark ink on light paper into light on dark; none: pictures whose page is of the other kind.",
        ),
    ] = None,
    target: Network = None,
    json_: Json = False,
) -> None:
    """Classify images with a trained model."""
    from ..export.inference import open_network, predict_images
    from ..export.weights import load_model

    loaded = load_model(model)
    network = open_network(loaded, run=model if model.is_dir() else None, factory=target)
    rows = predict_images(loaded, images, invert=invert, target=network)
    bad = [row for row in rows if "error" in row]
    if json_ and len(bad) < len(rows):
        tell_json(rows)
    for row in rows:
        if "error" in row:
            complain(row["error"], BAD_INPUT)
        elif not json_:
            remarks = [text for key, text in _REMARKS.items() if row[key]]
            tell("; ".join([f"{one_line(row['image'])}: {_said(row)}", *remarks]))
    if bad:
        raise typer.Exit(BAD_INPUT)


def _said(row: Mapping[str, Any]) -> str:
    """What the network says of an image: its values, or the label with its probability and those behind it.

    Labels come as far as they are shown with one decimal.
    """
    if "values" in row:
        return " ".join(f"{value:.6g}" for value in row["values"])
    probabilities = row["probabilities"]
    order = sorted(range(len(probabilities)), key=lambda label: -probabilities[label])[:_SHOWN]
    told = [f"{label} ({100 * probabilities[label]:.1f} %)" for label in order]
    return ", ".join([told[0], *(text for text in told[1:] if "(0.0 %)" not in text)])


#: Labels of an image that are shown at most; --json has all.
_SHOWN = 3
#: What is to be known of an image beside its label.
_REMARKS = {"inverted": "light and dark turned", "blank": "but nothing is to be seen in it"}
