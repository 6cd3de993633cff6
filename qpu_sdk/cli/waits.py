"""What the SDK tells while a command runs, on standard error: above all what it waits for, and until when."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from ..words import WAITING, one_line
from .printing import tell

_SDK = logging.getLogger("qpu_sdk")


@contextmanager
def told() -> Iterator[None]:
    """Print waits and warnings that the SDK logs as lines, unless a progress bar that is on the screen shows them."""
    handler, level = _Lines(), _SDK.level
    _SDK.addHandler(handler)
    _SDK.setLevel(WAITING)  # unset, it has the root's WARNING, and no wait is told
    try:
        yield
    finally:
        _SDK.removeHandler(handler)
        _SDK.setLevel(level)


@final
class _Lines(logging.Handler):
    """A line for each record, in characters that do nothing to a terminal."""

    def __init__(self) -> None:
        super().__init__(WAITING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, unless a handler came later: it belongs to a progress bar."""
        if _SDK.handlers[-1] is self:
            tell(one_line(record.getMessage(), 1000), err=True)
