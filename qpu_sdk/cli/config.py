"""The commands init and config: a configuration to begin with, and one with all its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..words import command
from .completion import one_of, settings
from .models import DataSource
from .printing import Json, tell, tell_json


def _examples() -> list[str]:
    from ..runs.examples import example_names, script_names

    return [*example_names(), *script_names()]


_EXAMPLES = one_of(_examples)


def init_command(
    path: Annotated[
        Path | None, typer.Argument(help="The file to write; none: run.toml, or the script's name.")
    ] = None,
    example: Annotated[
        str,
        typer.Option(
            help="Which configuration: lean, quick, paper, shifted, normed or belenos; or which script: load_model, "
            "own_network, photonic_layer, sample_a_circuit or mitigate_a_circuit.",
            autocompletion=_EXAMPLES,
        ),
    ] = "lean",
) -> None:
    """Write a commented configuration with all its keys, to be changed and trained; a file that is there is kept."""
    from ..runs.examples import example_path, write_example

    made = write_example(path, example)
    script = example_path(example).suffix == ".py"
    tell(f"{made}  run it with: python {made}" if script else f"{made}  train it with: {command('train', made)}")


def config_command(
    config: Annotated[Path | None, typer.Argument(help="A TOML configuration; none: the default.")] = None,
    data: DataSource = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, repeatable: generator.bond_dim=4", autocompletion=settings),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema, for editors.")] = False,
    json_: Json = False,
) -> None:
    """Print a configuration with every key resolved, or the JSON Schema of all configurations."""
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
