"""What every command prints with: rows, JSON, one line an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from ..errors import BudgetExceeded, DeviceError, JobError, QPUError
from ..report.text import Rows

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED = 2, 3, 4


def parse_modes(text: str) -> tuple[int, ...]:
    """Mode numbers with commas between them; raises :class:`ConfigError` when they are none."""
    from ..errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--inputs {text!r} are not modes. Write for example --inputs 0,2,5,8.") from None


def print_or_json(rows: Rows, data: Mapping[str, Any], json_: bool) -> None:
    """Print rows for people, or the data as one JSON object."""
    if json_:
        typer.echo(json.dumps(data))
    else:
        print_rows(rows)


def console() -> Any:
    """The terminal behind standard error: standard output is for results alone."""
    from rich.console import Console

    return Console(stderr=True)


def print_rows(rows: Rows) -> None:
    """Print names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")


def show_values(values: Mapping[str, Any], json_: bool) -> None:
    """Print named values, or one JSON object of them."""
    if json_:
        typer.echo(json.dumps(dict(values)))
    else:
        print_rows(
            [(name.replace("_", " "), f"{v:.4f}" if isinstance(v, float) else str(v)) for name, v in values.items()]
        )


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the SDK's errors into one line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except QPUError as error:
        device = isinstance(error, DeviceError | JobError | BudgetExceeded)
        fail(one_line(error), DEVICE_OR_BUDGET if device else BAD_INPUT)


def one_line(error: QPUError) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())


def fail(message: str, code: int) -> NoReturn:
    """Print one line on standard error and end the command with an exit code."""
    typer.echo(f"qpu-sdk: {message}", err=True)
    raise typer.Exit(code)
