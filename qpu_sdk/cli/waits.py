"""What the SDK tells while a command runs, on standard error: above all what it waits for, and until when."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import typer

from ..words import one_line

_SDK = logging.getLogger("qpu_sdk")


@contextmanager
def told() -> Iterator[None]:
    """Print what the SDK logs as lines, unless a progress bar that is on the screen shows it."""
    handler, level = _Lines(), _SDK.level
    _SDK.addHandler(handler)
    _SDK.setLevel(logging.INFO)  # unset, it has the root's WARNING, and no wait is told
    try:
        yield
    finally:
        _SDK.removeHandler(handler)
        _SDK.setLevel(level)


@final
class _Lines(logging.Handler):
    """A line for each record, in characters that do nothing to a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, unless a handler came later: it belongs to a progress bar."""
        if _SDK.handlers[-1] is self:
            typer.echo(one_line(record.getMessage(), 1000), err=True)
