"""The command samples: pictures to try predict with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import run_folders
from .printing import Json, tell, tell_json


def samples_command(
    model: Annotated[
        Path, typer.Argument(help="model.safetensors, or the folder of a run.", autocompletion=run_folders)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("samples"),
    count: Annotated[int, typer.Option(min=1, help="Pictures at most, of each class in turn.")] = 10,
    json_: Json = False,
) -> None:
    """Write test images of a run as pictures that are named by their label, to try predict with."""
    from ..export.pictures import write_pictures
    from ..export.weights import load_model

    paths = [str(path) for path in write_pictures(load_model(model), out, count=count)]
    if json_:
        tell_json({"written": paths})
    else:
        tell("\n".join(paths))
