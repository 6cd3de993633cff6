"""The commands evaluate, predict and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .printing import BAD_INPUT, Json, fail, one_line_errors, show_values, tell, tell_json

DataSource = Annotated[
    str | None,
    typer.Option(help="mnist-5k, mnist, a folder in torchvision's MNIST layout, FILE.npz, or TRAIN.csv,TEST.csv."),
]


def evaluate_command(
    model: Annotated[Path, typer.Argument(help="model.safetensors, or the folder of a run.")],
    data: DataSource = None,
    json_: Json = False,
) -> None:
    """Test a trained model; without --data, on the test images of its own run."""
    with one_line_errors():
        from ..export.inference import evaluate_model
        from ..export.weights import load_model

        loaded = load_model(model)
        result = evaluate_model(loaded, source=data)
        error = (result.accuracy * (1 - result.accuracy) / result.size) ** 0.5
        values = {
            "test_accuracy": result.accuracy,
            "standard_error": error,
            "loss": result.loss,
            "test_size": result.size,
        }
        show_values(values, json_)


def predict_command(
    model: Annotated[Path, typer.Argument(help="model.safetensors, or the folder of a run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files (PNG, JPEG, ...) or .npy arrays.")],
    invert: Annotated[bool, typer.Option("--invert", help="For dark digits on light paper.")] = False,
    json_: Json = False,
) -> None:
    """Classify images with a trained model."""
    with one_line_errors():
        from ..export.inference import predict_images
        from ..export.weights import load_model

        rows = predict_images(load_model(model), images, invert=invert)
        if json_:
            tell_json(rows)
        for row in [] if json_ else rows:
            tell(f"{row['image']}: {row['label']} ({100 * row['probability']:.1f} %)")


def export_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run, or a model.safetensors.")],
    format_: Annotated[str, typer.Option("--format", help="safetensors.")] = "safetensors",
    out: Annotated[
        Path | None, typer.Option(help="File to write; none: <name of the run>.safetensors in this folder.")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a trained network in a format that needs neither the SDK nor a quantum computer."""
    with one_line_errors():
        from ..export.weights import export_model, load_model

        if format_ != "safetensors":
            fail(f"format {format_!r} is not known. Use safetensors.", BAD_INPUT)
        model = load_model(folder)
        name = folder.resolve().parent.name if folder.is_file() else folder.resolve().name
        path = out if out is not None else Path(f"{name}.safetensors")
        export_model(path, model)
        show_values({"written": str(path), "tensors": len(model.tensors)}, json_)
