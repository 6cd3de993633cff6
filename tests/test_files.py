"""Files: reading one ends, and writing one is whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk import files
from qpu_sdk.calibration.store import load_record
from qpu_sdk.devices.counts_files import load_counts
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import QPUError
from qpu_sdk.training.config import DataConfig
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.data import load_dataset
from tests.commands import Commands

COMMANDS = Commands()


@pytest.fixture
def in_time() -> Iterator[None]:
    """What waits for ever fails instead of hanging."""

    def late(*_: object) -> None:
        raise AssertionError("it waits for ever")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(600)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(folder: Path, name: str) -> Path:
    os.mkfifo(folder / name)
    return folder / name


def endless(folder: Path, name: str) -> Path:
    (folder / name).symlink_to("/dev/zero")
    return folder / name


def loop(folder: Path, name: str) -> Path:
    (folder / name).symlink_to(folder / name)
    return folder / name


def directory(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def huge(folder: Path, name: str) -> Path:
    """A hole of a terabyte."""
    with (folder / name).open("wb") as file:
        file.truncate(2**40)
    return folder / name


ODD = [pipe, endless, loop, directory, huge]
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "counts": ("counts.jsonl", load_counts),
    "replay": ("counts.jsonl", lambda path: open_device(f"replay:{path}", seed=1)),
    "twin": ("record.json", lambda path: open_device(f"local:twin?record={path}", seed=1)),
    "record": ("record.json", load_record),
    "configuration": ("c.toml", load_config),
    "npz": ("data.npz", lambda path: load_dataset(DataConfig(source=str(path)), seed=1)),
    "csv": ("data.csv", lambda path: load_dataset(DataConfig(source=f"{path},{path}"), seed=1)),
}


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_one_line(tmp_path: Path, reader: str, odd: Callable[[Path, str], Path]) -> None:
    name, read = READERS[reader]
    path = odd(tmp_path, name)
    with pytest.raises(QPUError) as caught:
        read(path)
    path.rmdir() if odd is directory else path.unlink()  # nobody else shall stumble over it
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


COMMAND_LINES: dict[str, list[str]] = {
    "mitigate counts": ["mitigate", "ODD", "--record", "ODD"],
    "show a record": ["calibrate", "--show", "ODD"],
    "compare records": ["calibrate", "--compare", "ODD", "ODD"],
    "train": ["train", "ODD"],
    "plan": ["plan", "ODD"],
    "faults": ["emulate", "--faults", "ODD"],
    "a model": ["evaluate", "ODD"],
    "a run": ["resume", "ODD"],
}


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("odd", [pipe, endless])
@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_do_not_wait_for_what_is_no_file(tmp_path: Path, line: str, odd: Callable[[Path, str], Path]) -> None:
    path = str(odd(tmp_path, "odd"))
    assert "odd" in COMMANDS.fail(2, *(path if word == "ODD" else word for word in COMMAND_LINES[line]))


def test_a_name_is_on_the_disk_when_its_content_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rename the folder is what has changed."""
    synced: list[bool] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(file).st_mode))
        if synced[-1]:
            assert (tmp_path / "x").read_text() == "content"
        fsync(file)

    monkeypatch.setattr(files.os, "fsync", noted)
    files.write_atomic(tmp_path / "x", "content")
    assert synced == [False, True]


def test_a_file_system_that_cannot_bring_folders_to_the_disk_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(files.os, "fsync", refuse)
    files.write_atomic(tmp_path / "x", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_the_disk_refuses_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (tmp_path / "x").write_text("before")

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, step, refuse)
        with pytest.raises(OSError, match="No space"):
            files.write_atomic(tmp_path / "x", "after")
    assert (tmp_path / "x").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
