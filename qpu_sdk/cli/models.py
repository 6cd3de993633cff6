"""The commands evaluate and predict."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from csv import writer as csv_writer
from pathlib import Path
from typing import Annotated, Any

import typer

from ..words import one_line
from .completion import run_folders
from .printing import BAD_INPUT, PARTLY, Json, complain, fail, show_values, tell, tell_json

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
    model: Annotated[
        Path, typer.Argument(help="model.safetensors, or the folder of a run.", autocompletion=run_folders)
    ],
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
    model: Annotated[
        Path, typer.Argument(help="model.safetensors, or the folder of a run.", autocompletion=run_folders)
    ],
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, .npy and .npz arrays, folders and patterns of them, or -.")
    ],
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no-invert",
            help="Turn dark ink on light paper into light on dark; none: pictures whose page is of the other kind.",
        ),
    ] = None,
    target: Network = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Show the probability of every label, not of the likeliest three.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a table with commas, with all probabilities.")] = False,
    json_: Json = False,
) -> None:
    """Classify images with a trained model; exits with 1 when some of them cannot be read, with 2 when none can."""
    if csv and json_:
        fail("--csv and --json are two forms of one result. Leave one of them out.", BAD_INPUT)
    rows = _predicted(model, images, invert, target)
    good = [row for row in rows if "error" not in row]
    if json_ and good:
        tell_json(rows)
    if csv and good:
        tell(_table(good))
    code = 0 if len(good) == len(rows) else PARTLY if good else BAD_INPUT
    for row in rows:
        if "error" in row:
            complain(row["error"], code)
        elif not json_ and not csv:
            remarks = [text for key, text in _REMARKS.items() if row[key]]
            tell("; ".join([f"{one_line(row['image'])}: {_said(row, every=probabilities)}", *remarks]))
    if code:
        raise typer.Exit(code)


def _predicted(model: Path, images: Sequence[Path], invert: bool | None, target: str | None) -> list[dict[str, Any]]:
    """A row an image; without torch, which takes longer to load than the images, where the network is a known one."""
    from ..export.without_torch import predict_without_torch

    rows = predict_without_torch(model, images, invert=invert) if target is None else None
    if rows is not None:
        return rows
    from ..export.inference import open_network, predict_images
    from ..export.weights import load_model

    loaded = load_model(model)
    network = open_network(loaded, run=model if model.is_dir() else None, factory=target)
    return predict_images(loaded, images, invert=invert, target=network)


def _said(row: Mapping[str, Any], *, every: bool) -> str:
    """What the network says of an image: its values, or the label with its probability and those behind it.

    Labels come as far as they are shown with one decimal.

    :param every: all of them instead, in the order of their numbers, behind the likeliest.
    """
    if "values" in row:
        return " ".join(f"{value:.6g}" for value in row["values"])
    probabilities = row["probabilities"]
    if every:
        return f"{row['label']}  " + " ".join(f"{label}:{p:.6f}" for label, p in enumerate(probabilities))
    order = sorted(range(len(probabilities)), key=lambda label: -probabilities[label])[:_SHOWN]
    told = [f"{label} ({100 * probabilities[label]:.1f} %)" for label in order]
    return ", ".join([told[0], *(text for text in told[1:] if "(0.0 %)" not in text)])


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with commas between their cells, quoted as RFC 4180 has it, below a row of names."""
    text = io.StringIO()
    writer = csv_writer(text, lineterminator="\n")
    if "values" in rows[0]:
        writer.writerow(["image", *(f"value_{k}" for k in range(len(rows[0]["values"])))])
        writer.writerows([one_line(row["image"]), *row["values"]] for row in rows)
    else:
        writer.writerow(["image", "label", "probability", *(f"p_{k}" for k in range(len(rows[0]["probabilities"])))])
        writer.writerows(
            [one_line(row["image"]), row["label"], row["probability"], *row["probabilities"]] for row in rows
        )
    return text.getvalue().rstrip("\n")


#: Labels of an image that are shown at most; --probabilities, --csv and --json have all.
_SHOWN = 3
#: What is to be known of an image beside its label.
_REMARKS = {"inverted": "light and dark turned", "blank": "but nothing is to be seen in it"}
