"""Full, foreign and damaged disks are one line, and a run goes on when they are mended; so does one that is stopped."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk.devices import journal_file
from qpu_sdk.runs import checkpoint, finish, folder, train
from tests.commands import BAD_INPUT, INTERRUPTED, Commands, interrupt_after, same_model
from tests.digits import SMALLEST, train_arguments
from tests.forked import Command, command_line

COMMANDS = Commands()
pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The run that was never stopped, and its summary."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, COMMANDS.succeed(*arguments(digits, out))


def arguments(digits: Path, out: Path, **changes: object) -> list[str]:
    return train_arguments(digits, out, base=SMALLEST, **changes)


@pytest.fixture
def stopped(digits: Path, tmp_path: Path) -> Path:
    """A run that was interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(2, patch)
        COMMANDS.fail(INTERRUPTED, *arguments(digits, tmp_path / "run"))
    return tmp_path / "run"


# -- full ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("module", [train, folder, checkpoint, finish])
def test_a_disk_that_takes_nothing_more_is_one_line_and_the_run_goes_on(
    digits: Path,
    tmp_path: Path,
    whole: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    number: int,
) -> None:
    out = tmp_path / "run"
    write = module.write_atomic

    def full(path: Path, content: bytes | str) -> None:
        if not str(path).endswith("config.toml"):
            raise OSError(number, os.strerror(number), str(path))
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomic", full)
        if module is train:  # which writes the configuration, and what comes after the controls
            patch.setattr(train, "finish", lambda *_: full(out / "x", ""))
        message = COMMANDS.fail(INTERRUPTED, *arguments(digits, out))
    assert os.strerror(number) in message
    assert f"qpu-sdk resume {out}" in message
    ends_alike(out, whole)


def ends_alike(out: Path, whole: tuple[Path, dict[str, Any]]) -> None:
    """The same result and weights; rows of units that were done twice tell what was spent by then."""
    resumed = COMMANDS.succeed("resume", out, "--json")
    assert resumed | {"wall_s": 0} == whole[1] | {"wall_s": 0}
    assert same_model(out, whole[0])


def limited() -> None:
    """A command on a disk that takes files of so many bytes, the first argument."""
    import sys

    most = int(sys.argv.pop(1))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        command_line()
    finally:  # its one line goes to a file too, which is no disk of the command's
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize("most", [100, 700, 3_000, 9_000, 30_000])
def test_files_may_end_anywhere(digits: Path, tmp_path: Path, whole: tuple[Path, dict[str, Any]], most: int) -> None:
    out = tmp_path / "run"
    command = Command.start([most, *arguments(digits, out)], tmp_path / "said", function=limited)
    code = command.wait()
    assert "Traceback" not in command.stderr
    assert code in (0, BAD_INPUT, INTERRUPTED), command.stderr
    if code:
        assert len(command.stderr.strip().splitlines()) == 1
    if (out / "config.toml").exists():
        ends_alike(out, whole)
    else:  # it had not begun
        COMMANDS.succeed(*arguments(digits, out))


# -- read-only -------------------------------------------------------------------------------------------------


def access(path: object, mode: int) -> bool:
    return not mode & os.W_OK


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that cannot be written, for a user who might be root."""

    def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT and ".sqlite" in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return open_file(path, flags, *rest, **more)

    open_file = os.open
    monkeypatch.setattr(journal_file.os, "access", access)
    monkeypatch.setattr(journal_file.os, "open", opened)


def test_a_read_only_run_is_looked_at_and_not_gone_on_with(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_only(monkeypatch)
    before = sorted(stopped.iterdir())
    assert len(COMMANDS.succeed("jobs", "list", "--run", stopped, "--json")) == 1
    message = COMMANDS.fail(BAD_INPUT, "resume", stopped, "--json")
    assert f"{stopped} is read-only" in message
    assert sorted(stopped.iterdir()) == before


def test_a_journal_that_cannot_get_files_beside_it_is_read(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first release left it, in the mode that wants a file of shared memory."""
    with sqlite3.connect(stopped / "journal.sqlite") as database:
        database.execute("PRAGMA journal_mode=WAL")
    database.close()
    monkeypatch.setattr(journal_file.os, "access", access)
    before = sorted(stopped.iterdir())
    assert len(COMMANDS.succeed("jobs", "list", "--run", stopped, "--json")) == 1
    assert sorted(stopped.iterdir()) == before


# -- damaged ---------------------------------------------------------------------------------------------------

ROWS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "no text": lambda rows: [rows[0], b"\xff\xfe\x00", *rows[1:]],
    "no JSON": lambda rows: [b"hello", *rows],
    "no unit": lambda rows: [*rows, b"{}"],
    "no number": lambda rows: [b'{"unit": "one"}', *rows],
    "a number": lambda rows: [b"1", *rows],
    "null": lambda rows: [*rows, b"null"],
    "half a row": lambda rows: [rows[0][:20], *rows],
    "an empty line": lambda rows: [b"", *rows],
}


@pytest.mark.parametrize("damage", ROWS)
def test_a_broken_row_is_told_and_the_way_out_works(
    stopped: Path, whole: tuple[Path, dict[str, Any]], damage: str
) -> None:
    path = stopped / "metrics.jsonl"
    rows = path.read_bytes().splitlines()
    broken = ROWS[damage](rows)
    path.write_bytes(b"".join(row + b"\n" for row in broken))
    message = COMMANDS.fail(BAD_INPUT, "resume", stopped, "--json")
    found = re.search(r"metrics\.jsonl, line (\d+), .*delete the line", message)
    assert found is not None, message
    del broken[int(found[1]) - 1]
    path.write_bytes(b"".join(row + b"\n" for row in broken))
    COMMANDS.go_on(stopped, *whole)


@pytest.mark.parametrize("tail", [b"{", b'{"unit": 3, "kin', b"\x00\x00\x00", b"\xff"])
def test_a_row_that_a_killed_process_did_not_finish_is_dropped(
    stopped: Path, whole: tuple[Path, dict[str, Any]], tail: bytes
) -> None:
    with (stopped / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    COMMANDS.go_on(stopped, *whole)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET state = 'hovering'",
        "UPDATE settings SET counts = '{}'",
        "UPDATE settings SET counts = 'hello'",
        "DROP TABLE settings",
        "DELETE FROM journal",
    ],
)
def test_rows_of_a_journal_that_nobody_wrote_are_one_line(stopped: Path, change: str) -> None:
    with sqlite3.connect(stopped / "journal.sqlite") as database:
        database.execute(change)
    database.close()
    for path in (stopped / "checkpoint").iterdir():  # so that the counts are asked for
        path.unlink()
    COMMANDS.fail(BAD_INPUT, "resume", stopped, "--json")


# -- stopped ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_run_that_is_told_to_end_saves_and_goes_on(digits: Path, tmp_path: Path, number: signal.Signals) -> None:
    long = {"training__rounds": 30, "training__generator_epochs": 20}
    out, expected = tmp_path / "run", tmp_path / "whole"
    command = Command.start(arguments(digits, out, **long), tmp_path / "said")
    rows = out / "metrics.jsonl"
    while not rows.exists() or rows.read_bytes().count(b"\n") < 5:
        assert command.code is None, command.stderr
        time.sleep(0.001)
    os.kill(command.process.pid or 0, number)
    assert command.wait() == INTERRUPTED, command.stderr
    assert f"qpu-sdk resume {out}" in command.stderr
    done = max(int(path.stem) for path in (out / "checkpoint").glob("*.json"))
    assert done == len(rows.read_text().splitlines())  # not only what the last round ended with
    COMMANDS.go_on(out, expected, COMMANDS.succeed(*arguments(digits, expected, **long)))


def test_what_the_terminal_was_told_to_ignore_stays_ignored(digits: Path, tmp_path: Path) -> None:
    """``nohup qpu-sdk train``"""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        COMMANDS.succeed(*arguments(digits, tmp_path / "run"))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_package_itself_sets_no_signals(digits: Path, tmp_path: Path, whole: tuple[Path, dict[str, Any]]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    copy = shutil.copytree(whole[0], tmp_path / "run")
    seen: list[Any] = []
    train.resume(copy, on_progress=lambda row: seen.append(row))
    COMMANDS.succeed("resume", copy, "--json")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)] == before
    assert json.loads((copy / "summary.json").read_text())["jobs"] == whole[1]["jobs"]
