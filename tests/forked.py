"""Processes forked from a warmed one: each is ready in milliseconds, and is killed like any other.

An interpreter that imports torch and Perceval takes seconds; the parent of these has done so once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import final

_CONTEXT = multiprocessing.get_context("forkserver")
#: What a run imports; a name that is not there makes it slower, not wrong.
_CONTEXT.set_forkserver_preload(
    [
        "perceval",
        "torch",
        "sqlite3",
        "matplotlib.backends.backend_svg",
        "qpu_sdk.cli.app",
        "qpu_sdk.runs.train",
        "qpu_sdk.runs.jobs",
    ]
)


#: Only keeps a process that hangs from keeping the tests.
GUARD_S = 600.0
#: So many more sends than it was given ends a process at once, however slow the machine's clock of its end is.
MOST_MORE = 2


@final
@dataclass(frozen=True)
class Death:
    """Without warning: after so many sends over HTTP (a request with a body is two), and a moment later."""

    sends: int
    delay_s: float


def command_line() -> None:
    """``qpu-sdk`` with the arguments of the process."""
    from qpu_sdk.cli.app import main

    main()


@final
@dataclass(frozen=True)
class Command:
    """A process at work; what it says goes to files in ``folder``."""

    process: BaseProcess
    folder: Path

    @classmethod
    def start(
        cls,
        arguments: Sequence[object],
        folder: Path,
        *,
        function: Callable[[], object] = command_line,
        death: Death | None = None,
    ) -> Command:
        """Begin, with the environment of now.

        :param arguments: that ``function`` finds in ``sys.argv`` behind the name.
        """
        folder.mkdir(parents=True, exist_ok=True)
        given = (function, [*map(str, arguments)], folder, dict(os.environ), death)
        process = _CONTEXT.Process(target=_main, args=given, daemon=True)
        process.start()
        return cls(process, folder)

    @property
    def code(self) -> int | None:
        """That it left with, None while it works; negative when a signal ended it."""
        return self.process.exitcode

    def kill(self) -> bool:
        """End it without warning; whether that is what ended it."""
        self.process.kill()
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """The code that it leaves with."""
        self.process.join(GUARD_S)
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode

    @property
    def stdout(self) -> str:
        """All that it printed."""
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """All that it complained about."""
        return (self.folder / "stderr").read_text()


def _main(
    function: Callable[[], object], arguments: list[str], folder: Path, environment: dict[str, str], death: Death | None
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for name, number in (("stdout", 1), ("stderr", 2)):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    if death is not None:
        _doom(death)
    sys.argv = ["qpu-sdk", *arguments]
    function()


def _doom(death: Death) -> None:
    sends = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, _: object) -> None:
        nonlocal sends
        if event == "http.client.send":
            sends += 1
            if sends == death.sends:
                end = threading.Timer(death.delay_s, die)
                end.daemon = True
                end.start()
            elif sends > death.sends + MOST_MORE:
                die()

    sys.addaudithook(hear)
