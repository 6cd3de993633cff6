"""What every command reads and prints with: paths, modes, rows, JSON, one line an error."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ..errors import BudgetExceeded, DeviceError, JobError, QPUError
from ..report.text import Rows, two_columns
from ..words import one_line

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED = 2, 3, 4
#: Characters of a message; what names more than a screen of things is read by nobody.
LONGEST = 2000


def parse_modes(text: str) -> tuple[int, ...]:
    """Mode numbers with commas between them; raises :class:`ConfigError` when they are none."""
    from ..errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--inputs {text!r} are not modes. Write for example --inputs 0,2,5,8.") from None


def with_home(command: Callable[..., None]) -> Callable[..., None]:
    """The command with ``~`` in its paths replaced: shells leave it in ``--out=~/runs``."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        with one_line_errors():
            values = {name: _at_home(value) for name, value in values.items()}
        command(**values)

    return wrapped


def _at_home(value: Any) -> Any:
    if isinstance(value, Path):
        from ..files import user_path

        return user_path(value, "a path")
    return type(value)(map(_at_home, value)) if isinstance(value, list | tuple) else value


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
    if rows:
        typer.echo(two_columns(rows))


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
        fail(message_of(error), DEVICE_OR_BUDGET if device else BAD_INPUT)


def message_of(error: QPUError) -> str:
    """The message of an error, in one line of printable characters."""
    return one_line(error, LONGEST)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on standard error and end the command with an exit code."""
    typer.echo(f"qpu-sdk: {message}", err=True)
    raise typer.Exit(code)
