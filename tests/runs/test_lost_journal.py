"""A journal that knows less than was done is never taken for a new run, and two folders never pay for one run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qpu_sdk.devices.journal import Journal
from tests.commands import interrupt_after
from tests.digits import SMALLEST, train_arguments

pytest.importorskip("uvicorn")

from qpu_sdk.emulator.server import EmulatedCloud
from tests.runs.test_jobs import BAD_INPUT, INTERRUPTED, JOBS, TOKEN, device, fail, run, succeed

pytestmark = pytest.mark.usefixtures("no_figures", "token")


def arguments(digits: Path, folder: Path, server: EmulatedCloud, **changes: object) -> list[str]:
    few = {"training__shots": 2000, "training__final_shots": 3000, "spsa__shots": 1000, "training__final_epochs": 1}
    return train_arguments(digits, folder, base=SMALLEST, device=device(server), **(few | changes))


@pytest.fixture
def stopped(digits: Path, tmp_path: Path, server: EmulatedCloud) -> Path:
    """A run that was interrupted after its second job; beside it lies its journal as it was after the first."""
    folder, older = tmp_path / "run", tmp_path / "older.sqlite"
    for units, command in ((1, arguments(digits, folder, server)), (3, ["resume", "--wait", "--json", str(folder)])):
        with pytest.MonkeyPatch.context() as patch:
            interrupt_after(units, patch)
            fail(INTERRUPTED, *command)
        if not older.exists():
            shutil.copy(folder / "journal.sqlite", older)
    assert len(server.jobs) == JOBS - 1
    return folder


def other_run(journal: Path) -> None:
    with Journal(journal.parent / "other.sqlite"):
        pass
    shutil.move(journal.parent / "other.sqlite", journal)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": lambda journal: journal.unlink(),
    "empty": lambda journal: journal.write_bytes(b""),
    "one byte": lambda journal: journal.write_bytes(b"S"),
    "of another run": other_run,
    "older": lambda journal: shutil.copy(journal.parent.parent / "older.sqlite", journal),
    "cut off": lambda journal: journal.write_bytes(journal.read_bytes()[:-4096]),
    "a folder": lambda journal: (journal.unlink(), journal.mkdir()),
}
#: What may be gone as well: all that was noted elsewhere but for one place.
NOTES = {"nothing else": (), "the note beside it": ("journal.sqlite.known",), "the checkpoints": ("checkpoint",)}
NOTES["the note and the checkpoints"] = ("journal.sqlite.known", "checkpoint")


@pytest.mark.parametrize("notes", NOTES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_less_than_was_done_is_refused_and_nothing_is_sent(
    stopped: Path, server: EmulatedCloud, damage: str, notes: str
) -> None:
    journal, whole = stopped / "journal.sqlite", (stopped / "journal.sqlite").read_bytes()
    aside = stopped.parent / "aside"
    aside.mkdir()
    for name in NOTES[notes]:
        shutil.move(stopped / name, aside / name)
    DAMAGE[damage](journal)
    for _ in range(2):  # not the second time either
        assert "journal.sqlite" in fail(BAD_INPUT, "resume", stopped, "--wait", "--json")
    assert len(server.jobs) == JOBS - 1
    if journal.is_dir():
        journal.rmdir()
    journal.write_bytes(whole)
    for name in NOTES[notes]:
        shutil.rmtree(stopped / name) if (stopped / name).is_dir() else (stopped / name).unlink(missing_ok=True)
        shutil.move(aside / name, stopped / name)
    assert succeed("resume", stopped, "--wait", "--json")["jobs"] == len(server.jobs) == JOBS


def test_a_budget_does_not_begin_anew(digits: Path, tmp_path: Path, server: EmulatedCloud) -> None:
    folder = tmp_path / "run"
    command = arguments(digits, folder, server, budget__settings=8)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(1, patch)
        fail(INTERRUPTED, *command)
    (folder / "journal.sqlite").unlink()
    assert "paid" in fail(BAD_INPUT, "resume", folder, "--wait", "--json")
    assert not (folder / "journal.sqlite").exists()


def test_a_copy_of_a_stopped_run_is_whole(stopped: Path, server: EmulatedCloud, tmp_path: Path) -> None:
    """Only the files that a person knows of, and the first folder is gone."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.toml", "journal.sqlite", "metrics.jsonl", "checkpoint"):
        shutil.move(stopped / name, copy / name)
    shutil.rmtree(stopped)
    assert succeed("resume", copy, "--wait", "--json")["jobs"] == len(server.jobs) == JOBS


@pytest.mark.parametrize("first", ["copy", "run"])
def test_a_copy_does_not_pay_beside_the_first(stopped: Path, server: EmulatedCloud, tmp_path: Path, first: str) -> None:
    """Whichever goes on first, what is sent to a provider is sent from the folder that the run began in."""
    copy = Path(shutil.copytree(stopped, tmp_path / "copy"))
    if first == "run":
        succeed("resume", stopped, "--wait", "--json")
    sent = len(server.jobs)
    message = fail(BAD_INPUT, "resume", copy, "--wait", "--json")
    assert f"{copy} is a copy of {stopped}" in message
    assert len(server.jobs) == sent
    assert ("It has gone on since" in message) == (first == "run")
    if first == "run":
        return
    shutil.rmtree(stopped)  # the way out that the message names
    assert succeed("resume", copy, "--wait", "--json")["jobs"] == JOBS


def test_a_moved_run_goes_on_and_is_at_home_there(stopped: Path, server: EmulatedCloud, tmp_path: Path) -> None:
    moved = Path(shutil.move(stopped, tmp_path / "moved"))
    link = tmp_path / "link"
    link.symlink_to(moved)
    assert succeed("resume", link, "--wait", "--json")["jobs"] == len(server.jobs) == JOBS


def test_a_folder_whose_name_is_no_text_is_like_any_other(digits: Path, tmp_path: Path, server: EmulatedCloud) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 %41"))
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(3, patch)
        fail(INTERRUPTED, *arguments(digits, odd, server))
    copy = Path(shutil.copytree(odd, tmp_path / "copy"))
    assert "is a copy of" in fail(BAD_INPUT, "resume", copy, "--wait", "--json")
    assert len(server.jobs) == JOBS - 1
    assert succeed("resume", odd, "--wait", "--json")["jobs"] == len(server.jobs) == JOBS


@pytest.mark.parametrize("gone", ["deleted", "moved", "replaced"])
def test_a_folder_that_goes_in_mid_run_stops_it(
    digits: Path, tmp_path: Path, server: EmulatedCloud, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    from qpu_sdk.cli.progress import Progress

    folder, away = tmp_path / "run", tmp_path / "away"

    def advanced(self: object, row: object, *, done: int, total: int) -> None:
        if done == 1:
            shutil.rmtree(folder) if gone == "deleted" else shutil.move(folder, away)
        if done == 1 and gone == "replaced":
            shutil.copytree(away, folder)

    monkeypatch.setattr(Progress, "advanced", advanced)
    assert "nothing more is submitted" in fail(BAD_INPUT, *arguments(digits, folder, server))
    assert len(server.jobs) == 1
    assert folder.exists() == (gone == "replaced")
    monkeypatch.undo()
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", TOKEN)
    if gone == "moved":
        assert succeed("resume", away, "--wait", "--json")["jobs"] == len(server.jobs) == JOBS


def test_jobs_are_listed_while_a_copy_is_refused(stopped: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(stopped, tmp_path / "copy")
    assert len(succeed("jobs", "list", "--run", copy, "--json")) == JOBS - 1
    assert run("jobs", "list", "--run", copy).exit_code == 0
