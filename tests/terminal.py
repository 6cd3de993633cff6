"""A terminal that reads a page: its commands in one shell, their output compared with what the page shows.

A ``console`` block has commands behind ``$`` and their output below. ``...`` stands for anything, alone on a line for
any lines; behind ``<!-- figures differ -->`` numbers stand for any numbers: they differ from machine to machine.
Where nothing is shown, nothing is compared. A command that ends with another code than 0 is followed by ``$ echo $?``.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import matplotlib

ROOT = Path(__file__).parents[1]
#: Printed behind each command, with its exit code.
_MARK = "--the-command-ended-with-"
#: What shells say of processes that were killed differs from one to the other.
_KILLED = re.compile(r"^.*line \d+: +\d+ Killed .*\n", re.MULTILINE)
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")
#: Seconds after which a page is given up.
GUARD_S = 1500.0
#: In pages, the port of the emulator.
_PORT = "8080"


class Terminal:
    """A shell in a folder, with ``qpu-sdk`` and ``python`` of this environment; leaving it ends all that it began."""

    def __init__(self, folder: Path) -> None:
        commands = folder / ".bin"
        commands.mkdir()
        for name, arguments in (("qpu-sdk", "-m qpu_sdk"), ("python", "")):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
            (commands / name).chmod(0o755)
        paths = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
        paths["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # else it tells of a cache of fonts that it makes
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PCVL_CLOUD", "QPU_SDK"))}
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=kept | paths | {"TERM": "dumb", "COLUMNS": "200"},
            encoding="utf-8",
            start_new_session=True,
        )
        self._port = _free_port()
        self._guard = threading.Timer(GUARD_S, self._end)  # a page may wait for what never comes
        self._guard.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.cancel()
        self._end()
        self._shell.communicate()

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)

    def here(self, text: str) -> str:
        """The text with the port that is free here."""
        return re.sub(rf"\b{_PORT}\b", self._port, text)

    def run(self, command: str) -> tuple[str, int]:
        """Output and exit code, ``$?`` of the next command."""
        talk, listen = self._shell.stdin, self._shell.stdout
        assert talk is not None
        assert listen is not None
        talk.write(f"{self.here(command)}\n__code=$?; echo {_MARK}$__code; (exit $__code)\n")
        talk.flush()
        output, code = _until_mark(listen)
        return _KILLED.sub("", output), code


def _until_mark(listen: IO[str]) -> tuple[str, int]:
    lines = []
    for line in listen:
        before, found, code = line.partition(_MARK)
        if found:
            return "".join([*lines, before]), int(code)
        lines.append(line)
    raise AssertionError(f"the shell ended: {''.join(lines)}")


def _free_port() -> str:
    """Of four digits, as the one in pages, so that columns are as wide."""
    begin = 2000 + os.getpid() % 7000  # another for each worker
    for port in range(begin, 10_000):
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return str(port)
    raise AssertionError(f"no port from {begin} to 9999 is free")


def dialogue(text: str) -> Iterator[tuple[str, str]]:
    """Commands of a console block, each with the output that is shown."""
    command, output = "", ""
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            if command:
                yield command.rstrip("\n"), output
            command, output = line[2:], ""
        elif command.endswith("\\\n"):
            command += line
        else:
            output += line
    yield command.rstrip("\n"), output


def as_shown(shown: str, output: str, *, loose: bool) -> bool:
    """Whether output is what a page shows.

    >>> as_shown("a\\n...\\nin 3 s\\n", "a\\nb\\nc\\nin 12.5 s\\n", loose=True)
    True
    >>> as_shown("accuracy 12 %\\n", "accuracy 13 %\\n", loose=False)
    False
    """
    pattern = ""
    for line in _plain(shown, loose).splitlines():
        anything = line.strip() == "..."
        pattern += "(?:.*\n)*?" if anything else ".*".join(map(re.escape, line.split("..."))) + "\n"
    return re.fullmatch(pattern, _plain(output, loose)) is not None


def _plain(text: str, loose: bool) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    if loose:  # and so may the widths of columns
        lines = [" ".join(_NUMBER.sub("#", line).split()) for line in lines]
    return "".join(f"{line}\n" for line in lines)
