"""What every command reads and prints with: paths, modes, rows, JSON, one line an error."""

from __future__ import annotations

import functools
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ..errors import BudgetExceeded, CheckpointError, DeviceError, JobError, QPUError
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


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """The command, ended by SIGTERM and SIGHUP as by Ctrl-C: a queue system or a closed terminal loses nothing."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        def interrupt(number: int, frame: object) -> NoReturn:
            raise KeyboardInterrupt

        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other may set them
            for name in ("SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # nohup ignores it, and means it
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, interrupt)
        try:
            with one_line_errors():
                command(**values)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

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
        resumable = isinstance(error, CheckpointError) and error.resumable
        fail(message_of(error), DEVICE_OR_BUDGET if device else INTERRUPTED if resumable else BAD_INPUT)


def message_of(error: QPUError) -> str:
    """The message of an error, in one line of printable characters."""
    return one_line(error, LONGEST)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on standard error and end the command with an exit code."""
    typer.echo(f"qpu-sdk: {message}", err=True)
    raise typer.Exit(code)
