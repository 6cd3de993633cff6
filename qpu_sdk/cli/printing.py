"""What every command reads and prints with: paths, modes, rows, JSON, one line an error.

Nothing else in this folder writes to a terminal: what a server, a file or a user called something is text here, never
markup, and what a terminal would obey is written out.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer

from ..errors import BudgetExceeded, CheckpointError, DeviceError, JobError, QPUError
from ..rendering.text import Rows, two_columns
from ..words import one_line, printable
from .surroundings import writable_places

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
PARTLY, BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED = 1, 2, 3, 4
#: Characters of a message; what names more than a screen of things is read by nobody.
LONGEST = 2000
#: Characters of a cell that no narrow terminal cuts.
_SHORT = 10
#: Of an id, as clouds give them to jobs: it is copied in one go.
_ID = 36
#: More than any device takes in one setting, or has modes; options beyond are slips of the keyboard.
SHOTS_AT_MOST, MODES_AT_MOST = 10**12, 256
#: Whether the command that runs was asked for JSON.
ERRORS_AS_JSON: ContextVar[bool] = ContextVar("errors_as_json", default=False)
#: Where its JSON goes, when it is not where everybody prints.
_RESULTS: ContextVar[TextIO | None] = ContextVar("results", default=None)


def parse_modes(text: str) -> tuple[int, ...]:
    """Mode numbers with commas between them; raises :class:`ConfigError` when they are none."""
    from ..errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--inputs {text!r} are not modes. Write for example --inputs 0,2,5,8.") from None


def as_command(command: Callable[..., None]) -> Callable[..., None]:
    """The command as a shell calls it: one line an error, and ``~`` in paths, which is left in ``--out=~/x``.

    With --json standard output has the JSON and nothing else, whatever the user's own network prints.
    """

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        json_ = bool(values.get("json_"))
        told, results = ERRORS_AS_JSON.set(json_), _RESULTS.set(sys.stdout if json_ else None)
        try:
            with redirect_stdout(sys.stderr) if json_ else nullcontext(), one_line_errors(), writable_places():
                command(**{name: _at_home(value) for name, value in values.items()})
        finally:
            ERRORS_AS_JSON.reset(told)
            _RESULTS.reset(results)

    return wrapped


def _at_home(value: Any) -> Any:
    if isinstance(value, Path):
        from ..files import user_path

        return user_path(value, "a path")
    return type(value)(map(_at_home, value)) if isinstance(value, list | tuple) else value


def tell(text: object, *, err: bool = False) -> None:
    """Print lines of text as they are, what is not printable written out."""
    typer.echo("\n".join(printable(line) for line in str(text).split("\n")), err=err)


def tell_json(data: Any) -> None:
    """Print one JSON object, or a list of them, in one line."""
    typer.echo(json.dumps(data), file=_RESULTS.get())


def print_or_json(rows: Rows, data: Mapping[str, Any], json_: bool) -> None:
    """Print rows for people, or the data as one JSON object."""
    if json_:
        tell_json(data)
    else:
        print_rows(rows)


def print_verdict(verdict: str, rows: Rows, data: Mapping[str, Any], json_: bool) -> None:
    """Print what comes of it all in one line, then rows; or the data, which has its own verdict, as one JSON object."""
    if verdict and not json_:
        tell(f"{verdict}\n")
    print_or_json(rows, data, json_)


def console() -> Any:
    """The terminal behind standard error, on which text is text; standard output is for results alone."""
    from rich.console import Console

    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def plain(text: object) -> Any:
    """The text as rich's own kind of text, in which nothing is markup: columns and spinners parse what is a string."""
    from rich.text import Text

    return Text(printable(text))


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner with a line of text, which the function that is given changes."""
    terminal = console()
    with terminal.status(plain(what), spinner="line" if terminal.options.ascii_only else "dots") as status:
        yield lambda text: status.update(plain(text))


def print_rows(rows: Rows) -> None:
    """Print names and values in two columns; in a terminal they wrap to its width, but for commands."""
    if rows:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        tell(two_columns([(printable(n), printable(v)) for n, v in rows], width=width, whole="qpu-sdk "))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells in columns, of which the first row names them.

    In a terminal cells wrap to its width, and where that is too narrow for the columns each row is lines of names and
    values; elsewhere a row is a line, for other programs.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_wrapped(cells)
        return
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    tell("\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells))


def _print_wrapped(cells: Sequence[Sequence[str]]) -> None:
    width = shutil.get_terminal_size().columns
    columns = list(zip(*cells, strict=True))
    least = [_least_width(column) for column in columns]
    if sum(least) + 2 * (len(columns) - 1) > width:
        rows = (list(zip(cells[0], row, strict=True)) for row in cells[1:])
        tell("\n\n".join(two_columns(row, width=width, whole="qpu-sdk ") for row in rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="")
    for column, needed in zip(columns, least, strict=True):  # what is short stays whole; what is long takes the rest
        table.add_column(plain(column[0]), overflow="fold", no_wrap=max(map(len, column)) <= needed)
    for row in cells[1:]:
        table.add_row(*map(plain, row))
    Console(markup=False, emoji=False, highlight=False).print(table)


def _least_width(column: Sequence[str]) -> int:
    """Characters below which cells are not cut: an id stays whole."""
    longest = max(map(len, column))
    is_id = column[0] == "id" and longest <= _ID
    return longest if is_id else min(longest, _SHORT)


def show_values(values: Mapping[str, Any], json_: bool) -> None:
    """Print named values, or one JSON object of them."""
    if json_:
        tell_json(dict(values))
    else:
        print_rows([(name.replace("_", " "), _figure(value)) for name, value in values.items()])


def _figure(value: object) -> str:
    """Four digits behind the point, or the size of what has none there."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if 0 < abs(value) < 1e-4 else f"{value:.4f}"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the SDK's errors, and those of the machine, into one line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except QPUError as error:
        device = isinstance(error, DeviceError | JobError | BudgetExceeded)
        resumable = isinstance(error, CheckpointError) and error.resumable
        fail(message_of(error), DEVICE_OR_BUDGET if device else INTERRUPTED if resumable else BAD_INPUT)
    except BrokenPipeError:
        raise  # whoever reads has seen enough, as head does: no error
    except (OSError, MemoryError) as error:
        fail(message_of(error), BAD_INPUT)


def message_of(error: BaseException) -> str:
    """The message of an error, in one line of printable characters."""
    if isinstance(error, MemoryError):
        return f"not enough memory ({one_line(error)}). Ask for something smaller."
    if isinstance(error, OSError) and error.strerror:
        where = f"{_shown(error.filename)}: " if error.filename is not None else ""
        return one_line(f"{where}{error.strerror}. Check the path, the rights and the disk.", LONGEST)
    return one_line(error, LONGEST)


def _shown(path: object) -> str:
    """A path, or whatever was given for one, as text."""
    return os.fsdecode(path) if isinstance(path, bytes) else str(path)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on standard error, with --json one JSON object, and end the command with an exit code."""
    complain(message, code)
    raise typer.Exit(code)


def complain(message: str, code: int) -> None:
    """:func:`fail` that goes on: others of the things that were asked for may be fine."""
    text = one_line(message, LONGEST)
    with suppress(OSError):  # on a full disk the exit code alone tells
        typer.echo(json.dumps({"error": text, "code": code}) if ERRORS_AS_JSON.get() else f"qpu-sdk: {text}", err=True)
