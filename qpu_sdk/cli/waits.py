"""What the SDK tells while a command runs, on standard error: above all what it waits for, and until when."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from ..words import WAITING, one_line
from .printing import BAD_INPUT, fail, message_of, tell

_SDK = logging.getLogger("qpu_sdk")


@contextmanager
def told(*, verbose: bool = False, log_file: Path | None = None) -> Iterator[None]:
    """Print waits and warnings that the SDK logs as lines, unless a progress bar that is on the screen shows them.

    :param verbose: print all that it logs.
    :param log_file: append all that it logs, with times in UTC, whoever shows it besides.
    """
    lines, level = _Lines(logging.INFO if verbose else WAITING), _SDK.level
    kept = [_kept(log_file)] if log_file is not None else []
    for handler in (*kept, lines):  # the last one yields to a progress bar
        _SDK.addHandler(handler)
    _SDK.setLevel(logging.INFO if verbose or kept else WAITING)  # unset, it has the root's WARNING: no wait is told
    try:
        yield
    finally:
        for handler in (*kept, lines):
            _SDK.removeHandler(handler)
            handler.close()
        _SDK.setLevel(level)


def _kept(path: Path) -> logging.Handler:
    """A file of lines; what is there stays."""
    try:
        handler = logging.FileHandler(path.expanduser(), encoding="utf-8")
    except OSError as error:
        fail(f"--log-file: {message_of(error)}", BAD_INPUT)
    handler.setFormatter(_Stamped("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    return handler


@final
class _Stamped(logging.Formatter):
    """A record in one line, its time in UTC."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record has."""
        return one_line(super().format(record), 4000)


@final
class _Lines(logging.Handler):
    """A line for each record, in characters that do nothing to a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, unless a handler came later: it belongs to a progress bar."""
        if _SDK.handlers[-1] is self:
            tell(one_line(record.getMessage(), 1000), err=True)
