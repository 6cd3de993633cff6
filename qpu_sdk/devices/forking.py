"""Devices in a process that was forked: locks and threads of the parent do not work there, so each gets new ones.

Only the thread that forks goes on in the child. A worker thread is gone, and a lock that another thread held is held
for ever, which is how a device that was used once would wait without end.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What holds threads or locks."""

    def after_fork(self) -> None:
        """Take new ones, in the child; nothing else runs there yet."""


_LIVING: WeakSet[Forkable] = WeakSet()


def survives_fork(one: Forkable) -> None:
    """Have its ``after_fork`` called in every process that is forked while it is in use."""
    one.after_fork()
    _LIVING.add(one)


def _renew() -> None:
    for one in tuple(_LIVING):
        one.after_fork()


if hasattr(os, "register_at_fork"):  # where a process can be forked
    os.register_at_fork(after_in_child=_renew)
