"""The commands init and config: a configuration to begin with, and one with all its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..words import command
from .models import DataSource
from .printing import Json, tell, tell_json


def init_command(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("run.toml"),
    example: Annotated[
        str, typer.Option(help="Which configuration: lean, quick, paper, shifted, normed or belenos.")
    ] = "lean",
) -> None:
    """Write a commented configuration with all its keys, to be changed and trained; a file that is there is kept.

    For example: qpu-sdk init mine.toml; qpu-sdk train mine.toml
    """
    from ..runs.examples import write_example

    write_example(path, example)
    tell(f"{path}  train it with: {command('train', path)}")


def config_command(
    config: Annotated[Path | None, typer.Argument(help="A TOML configuration; none: the default.")] = None,
    data: DataSource = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, repeatable: generator.bond_dim=4")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema, for editors.")] = False,
    json_: Json = False,
) -> None:
    """Print a configuration with every key resolved, or the JSON Schema of all configurations.

    For example: qpu-sdk config examples/lean.toml --set spsa.steps=0; qpu-sdk config --schema > qpu-sdk.schema.json
    """
    from ..training.config import RunConfig
    from ..training.config_file import load_config
    from .train import overridden

    if schema:
        tell_json(RunConfig.model_json_schema())
        return
    resolved = load_config(config, overrides=overridden(data, set_, controls=False))
    if json_:
        tell_json(resolved.model_dump(mode="json"))
    else:
        tell(resolved.to_toml().rstrip("\n"))
