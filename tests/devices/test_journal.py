"""The journal: what was written is on disk, one process writes, and damage is one line."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.devices import journal_known
from qpu_sdk.devices.budget import Cost
from qpu_sdk.devices.job_record import Intent, JobState
from qpu_sdk.devices.journal import SCHEMA_VERSION, Journal
from qpu_sdk.errors import CheckpointError
from qpu_sdk.photonics.counts import Counts

COST = Cost(2, 200, 0.25, 1, 30.0)


def intent(name: str, *, programs: tuple[str, ...] = ("p", "q"), durable: bool = True, replaces: str = "") -> Intent:
    return Intent(name, "lab", f"tag of {name}", durable, programs, 100, "raw", COST, replaces)


def counts(program: str = "p", number: int = 60) -> Counts:
    outcomes = np.array([[1, 1, 0], [0, 2, 0]], dtype=np.uint8)
    return Counts(2, outcomes, np.array([number, 40]), other=7, fingerprint=program, device="lab", tag="t", job_id="7")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as opened:
        yield opened


def states(path: Path) -> dict[str, JobState]:
    """What another reader finds on disk now."""
    with Journal(path, write=False) as reader:
        return {job.name: job.state for job in reader.jobs()}


def refused(path: Path, *, write: bool = True) -> str:
    with pytest.raises(CheckpointError) as caught, Journal(path, write=write) as opened:
        opened.jobs()
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- writing -----------------------------------------------------------------------------------------------


def test_every_change_is_on_disk_when_the_call_returns(path: Path, journal: Journal) -> None:
    journal.intend(intent("a", replaces="older"))
    with Journal(path, write=False) as reader:
        record = reader.job("a")
        assert (record.device, record.tag, record.durable, record.job_id) == ("lab", "tag of a", True, "")
        assert (record.programs, record.shots_each, record.request) == (("p", "q"), 100, "raw")
        assert (record.replaces, record.tries, record.cost, record.state) == ("older", 1, COST, JobState.INTENT)
        journal.move("a", JobState.REFUSED, "full")
        assert (reader.job("a").state, reader.job("a").message) == (JobState.REFUSED, "full")
        journal.retry("a")
        assert (reader.job("a").state, reader.job("a").tries) == (JobState.INTENT, 2)
        journal.accepted("a", "id-1")
        assert (reader.job("id-1").state, reader.job("id-1").message) == (JobState.SUBMITTED, "")
        journal.move("a", JobState.RUNNING)
        assert reader.job("a").state is JobState.RUNNING
        journal.keep("a", "raw answer")
        assert reader.answer("a") == "raw answer"
        journal.settle("a", JobState.CANCELLED, Cost(1, 107, 0.1, 1, 15.0), "cut short", counts={1: counts("q")})
        assert [None if c is None else c.fingerprint for c in reader.of_job("a")] == [None, "q"]
        record = reader.job("a")
        assert (record.state, record.message, record.cost.shots) == (JobState.CANCELLED, "cut short", 107)


def test_counts_come_back_as_they_were(journal: Journal) -> None:
    journal.intend(intent("a"))
    journal.settle("a", JobState.DONE, COST, counts={0: counts()})
    found = journal.counts("lab", "p", shots_each=100)
    assert found is not None
    assert found.to_json() == counts().to_json()
    for device, program, shots in (("x", "p", 100), ("lab", "q", 100), ("lab", "p", 9)):
        assert journal.counts(device, program, shots_each=shots) is None


def test_the_first_counts_of_a_setting_count(journal: Journal) -> None:
    for name, number in (("a", 1), ("b", 2)):
        journal.intend(intent(name))
        journal.settle(name, JobState.DONE, COST, counts={0: counts(number=number)})
    found = journal.counts("lab", "p", shots_each=100)
    assert found is not None
    assert found.numbers[0] == 1


def test_raw_answers_are_kept_whatever_they_hold(journal: Journal) -> None:
    journal.intend(intent("a"))
    assert journal.answer("a") is None
    for text in ("", '{"results": "é\\u0000"}', "x" * 10**6):
        journal.keep("a", text)
        assert journal.answer("a") == text


def test_an_open_job_reserves_a_settled_one_costs_and_a_refused_one_is_free(journal: Journal) -> None:
    assert journal.total() == Cost()
    ends = {
        "open": JobState.SUBMITTED,
        "gone": JobState.REFUSED,
        "unknown": JobState.UNCERTAIN,
        "failed": JobState.FAILED,
    }
    for name, state in ends.items():
        journal.intend(intent(name))
        journal.move(name, state)
    assert journal.total() == COST + COST + COST
    journal.settle("open", JobState.DONE, Cost(2, 190, 0.19, 1, 28.0))
    assert journal.total() == COST + COST + Cost(2, 190, 0.19, 1, 28.0)
    journal.retry("gone")
    assert journal.total().jobs == 4


def test_a_name_is_taken_once(journal: Journal) -> None:
    journal.intend(intent("a"))
    with pytest.raises(CheckpointError, match="cannot be written"):
        journal.intend(intent("a", programs=("z",)))
    assert [job.programs for job in journal.jobs()] == [("p", "q")]


def test_open_jobs_are_those_of_the_device_that_may_bring_counts(journal: Journal) -> None:
    for state in JobState:
        journal.intend(intent(state.name))
        journal.move(state.name, state)
    expected = ["INTENT", "SUBMITTED", "RUNNING", "UNCERTAIN"]
    assert [job.name for job in journal.open_jobs("lab", shots_each=100)] == expected
    assert journal.open_jobs("other", shots_each=100) == journal.open_jobs("lab", shots_each=1) == []


def test_a_job_that_is_not_there_is_told(journal: Journal) -> None:
    with pytest.raises(CheckpointError, match="knows no job 'none'"):
        journal.job("none")


def test_a_closed_journal_is_told(path: Path) -> None:
    with Journal(path) as journal:
        pass
    with pytest.raises(CheckpointError, match="not open"):
        journal.jobs()


def test_threads_may_write_at_the_same_time(path: Path, journal: Journal) -> None:
    def write(worker: int) -> None:
        for i in range(20):
            journal.intend(intent(f"{worker}/{i}"))
            journal.accepted(f"{worker}/{i}", f"id-{worker}-{i}")

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(path) == {f"{w}/{i}": JobState.SUBMITTED for w in range(4) for i in range(20)}


# -- reopening ---------------------------------------------------------------------------------------------


def test_reopening_says_what_is_known_of_each_job(path: Path) -> None:
    with Journal(path) as journal:
        for state in JobState:
            for durable in (True, False):
                journal.intend(intent(f"{state.name} {durable}", durable=durable))
                journal.move(f"{state.name} {durable}", state, "why")
    with Journal(path) as journal:
        found = {job.name: job for job in journal.jobs()}
    for state in JobState:
        expected = JobState.UNCERTAIN if state is JobState.INTENT else state
        assert found[f"{state.name} True"].state is expected
        gone = state in (JobState.INTENT, JobState.SUBMITTED, JobState.RUNNING)
        assert found[f"{state.name} False"].state is (JobState.REFUSED if gone else state)
    assert "ended" in found["INTENT True"].message
    assert found["SUBMITTED True"].message == "why"


def test_a_reader_recovers_nothing(path: Path, journal: Journal) -> None:
    journal.intend(intent("a"))
    assert states(path) == {"a": JobState.INTENT}
    assert states(path) == {"a": JobState.INTENT}


def test_a_reader_cannot_write(path: Path, journal: Journal) -> None:
    journal.intend(intent("a"))
    with Journal(path, write=False) as reader, pytest.raises(CheckpointError, match="cannot be written"):
        reader.move("a", JobState.DONE)
    assert states(path) == {"a": JobState.INTENT}


# -- one process writes ------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from qpu_sdk.devices.journal import Intent, Journal
from qpu_sdk.devices.budget import Cost
from qpu_sdk.errors import CheckpointError
try:
    with Journal(Path(sys.argv[1])) as journal:
        name = f"job {len(journal.jobs())}"
        journal.intend(Intent(name, "lab", "", True, ("p",), 1, "", Cost()))
        print("held", flush=True)
        sys.stdin.read()
except CheckpointError as error:
    print(error, flush=True)
"""


def test_looking_and_finding_nothing_to_do_changes_nothing(path: Path) -> None:
    with Journal(path) as journal:
        journal.intend(intent("a"))
        journal.accepted("a", "7")
    before = [file.read_bytes() for file in sorted(path.parent.iterdir())]
    for write in (True, False):
        with Journal(path, write=write) as journal:
            journal.jobs()
    assert [file.read_bytes() for file in sorted(path.parent.iterdir())] == before


def other_process(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_process_is_refused_until_the_first_is_killed(path: Path) -> None:
    with other_process(path) as holder:
        assert said(holder) == "held"
        message = refused(path)
        assert "another process works on" in message
        assert "Wait for it or stop it" in message
        assert states(path) == {"job 0": JobState.INTENT}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with Journal(path) as journal:
        assert {job.name: job.state for job in journal.jobs()} == {"job 0": JobState.UNCERTAIN}


def test_a_refused_writer_does_not_break_the_hold(path: Path, journal: Journal) -> None:
    """Closing any descriptor of a file drops the POSIX locks that this process has on it."""
    assert "another process works on" in refused(path)
    with other_process(path) as second:
        assert "another process works on" in said(second)
    assert states(path) == {}


def test_closing_lets_go(path: Path) -> None:
    for n in range(3):
        with Journal(path) as journal:
            journal.intend(intent(str(n)))
    with Journal(path, write=False) as first, Journal(path, write=False) as second:
        assert len(first.jobs()) == len(second.jobs()) == 3


# -- files -------------------------------------------------------------------------------------------------


def test_only_the_owner_can_read_any_of_the_files(path: Path, journal: Journal) -> None:
    journal.intend(intent("a"))
    files = sorted(path.parent.iterdir())
    assert len(files) > 1
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    with Journal(path) as journal:
        journal.intend(intent("a"))
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    for write in (True, False):
        message = refused(path, write=write)
        assert f"schema version {SCHEMA_VERSION + 1}" in message
        assert "Update qpu_sdk" in message
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT state FROM jobs").fetchall() == [("intent",)]
    database.close()


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("damage", ["noise", "half", "header", "directory", "text"])
def test_a_damaged_file_is_one_line(path: Path, write: bool, damage: str) -> None:
    with Journal(path) as journal:
        for n in range(50):
            journal.intend(intent(str(n)))
    content = path.read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
    else:
        noise = np.random.default_rng(1).bytes(len(content))
        path.write_bytes(
            {
                "noise": noise,
                "half": content[: len(content) // 2],
                "header": content[:100] + noise[100:],
                "text": b"not a journal",
            }[damage]
        )
    message = refused(path, write=write)
    assert "journal.sqlite" in message
    assert "Restore" in message


def test_a_missing_or_empty_file_is_told_to_a_reader_and_begun_by_a_writer(path: Path) -> None:
    assert "journal.sqlite" in refused(path, write=False)
    assert not path.exists()
    path.touch(0o600)
    assert "holds no jobs yet" in refused(path, write=False)
    with Journal(path) as journal:
        journal.intend(intent("a"))
    assert states(path) == {"a": JobState.INTENT}


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    assert "none" in refused(tmp_path / "none" / "journal.sqlite")


def test_a_full_disk_stops_before_the_next_job_and_keeps_the_others(path: Path, journal: Journal) -> None:
    journal.intend(intent("kept"))
    database = journal._database
    assert database is not None
    [pages] = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    names = [f"job {n} {'x' * 500}" for n in range(100)]

    def fill() -> None:
        for name in names:
            journal.intend(intent(name))

    with pytest.raises(CheckpointError, match=r"full.*Make room on the disk.*qpu-sdk resume"):
        fill()
    found = list(states(path))
    assert 1 <= len(found) <= len(names)
    assert found == ["kept", *names][: len(found)]
    database.execute("PRAGMA max_page_count = 100000")
    journal.accepted("kept", "id")  # and it goes on when there is room again
    assert states(path)["kept"] is JobState.SUBMITTED


def test_a_copy_at_any_moment_is_whole(path: Path, tmp_path: Path) -> None:
    """Nobody thinks of the files beside a journal, and a process that is killed leaves them."""
    with Journal(path) as journal:
        for n in range(6):
            journal.intend(intent(str(n)))
            copy = tmp_path / f"copy {n}" / path.name
            copy.parent.mkdir()
            shutil.copy(path, copy)
            with Journal(copy) as copied:
                assert [job.name for job in copied.jobs()] == [str(m) for m in range(n + 1)]


def test_a_journal_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal(None) as journal:
        journal.intend(intent("a"))
        assert len(journal.jobs()) == 1
    assert os.listdir(tmp_path) == []


# -- what it held ------------------------------------------------------------------------------------------


def test_what_it_holds_never_becomes_less(journal: Journal) -> None:
    """Whatever happens to jobs, refused ones included."""
    seen = [journal.known()]
    journal.intend(intent("a"))
    seen.append(journal.known())
    journal.move("a", JobState.REFUSED)
    seen.append(journal.known())
    journal.retry("a")
    journal.settle("a", JobState.DONE, Cost())
    journal.drop("a", "of no use")
    seen.append(journal.known())
    assert [known.jobs for known in seen] == [0, 1, 1, 1]
    assert all(b.changes > a.changes for a, b in pairwise(seen))
    assert len({known.journal for known in seen}) == 1


@pytest.mark.parametrize("lost", ["deleted", "emptied", "older", "another"])
def test_a_journal_that_is_less_than_was_noted_is_refused(path: Path, tmp_path: Path, lost: str) -> None:
    with Journal(tmp_path / "other.sqlite") as other:
        for n in range(9):
            other.intend(intent(str(n)))
    with Journal(path) as journal:
        journal.intend(intent("a"))
        older = path.read_bytes()
        journal.accepted("a", "id")
    whole = path.read_bytes()
    path.unlink()
    if lost != "deleted":
        content = {"emptied": b"", "older": older, "another": (tmp_path / "other.sqlite").read_bytes()}
        path.write_bytes(content[lost])
    assert "Restore" in refused(path)
    path.write_bytes(whole)
    with Journal(path) as journal:
        assert journal.job("id").name == "a"


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"journal": "x"}', '{"journal": 1, "changes": "many"}'])
def test_a_damaged_note_says_what_to_do_and_that_works(path: Path, content: str) -> None:
    with Journal(path) as journal:
        journal.intend(intent("a"))
    note = path.with_name(f"{path.name}.known")
    note.write_text(content)
    assert f"delete it if {path.name} is whole" in refused(path)
    note.unlink()
    assert states(path) == {"a": JobState.INTENT}
    with Journal(path) as journal:
        assert [job.name for job in journal.jobs()] == ["a"]
    assert note.is_file()


def test_a_note_that_a_full_disk_left_blank_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert "No space left" in refused(path)
    with Journal(path) as journal:
        journal.intend(intent("a"))
    path.unlink()
    assert "noted" in refused(path)  # it guards again


def kill_in_mid_change(path: Path, to: Path) -> Path:
    """The files as a process leaves them that is killed while it writes: changed, and what it was before beside it."""
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA cache_size=1")
        database.execute("BEGIN IMMEDIATE")
        for i in range(500):
            database.execute("INSERT INTO answers VALUES (?, ?)", (f"job {i}", b"x" * 500))
        to.mkdir()
        for file in path.parent.glob("*.sqlite*"):
            shutil.copy(file, to / file.name)
    database.close()
    assert (to / f"{path.name}-journal").stat().st_size
    return to / path.name


def test_what_a_killed_process_had_begun_is_taken_back_by_who_looks_first(path: Path, tmp_path: Path) -> None:
    with Journal(path) as journal:
        journal.intend(intent("a"))
    killed = kill_in_mid_change(path, tmp_path / "killed")
    with Journal(killed, write=False) as journal:
        assert [job.name for job in journal.jobs()] == ["a"]
        assert journal.answer("job 1") is None
    with Journal(killed, create=False) as journal:
        journal.accepted("a", "1")


def test_a_copy_is_told_though_the_first_was_killed_in_mid_change(path: Path, tmp_path: Path) -> None:
    with Journal(path) as journal:
        journal.intend(intent("a"))
        journal.accepted("a", "1")
    copy = Path(shutil.copytree(path.parent, tmp_path / "copy")) / path.name
    killed = kill_in_mid_change(path, tmp_path / "killed")
    for file in killed.parent.iterdir():
        shutil.copy(file, path.parent / file.name)
    with Journal(copy) as journal, pytest.raises(CheckpointError, match="is a copy of"):
        journal.intend(intent("b"))


def test_a_crash_between_a_change_and_its_note_is_no_loss(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal, monkeypatch.context() as patch:
        patch.setattr(journal_known, "note_beside", lambda *_: None)
        journal.intend(intent("a"))
    with Journal(path) as journal:
        assert [job.name for job in journal.jobs()] == ["a"]


def test_one_that_must_be_there_is_not_made(path: Path) -> None:
    for damage in (lambda: None, lambda: path.touch(), lambda: path.write_bytes(b"S")):
        damage()
        with pytest.raises(CheckpointError, match="Restore"), Journal(path, create=False):
            pass
        assert not path.exists() or path.stat().st_size < 2


@pytest.mark.parametrize("gone", ["deleted", "replaced"])
def test_nothing_is_intended_where_nobody_would_find_it(path: Path, journal: Journal, gone: str) -> None:
    journal.intend(intent("a"))
    content = path.read_bytes()
    os.rename(path, path.with_name("away"))
    if gone == "replaced":
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="nothing more is submitted"):
        journal.intend(intent("b"))
    with pytest.raises(CheckpointError, match="nothing more is submitted"):
        journal.retry("a")


@pytest.mark.parametrize("where", ["name", "job_id", "message", "tag"])
def test_half_a_character_is_one_line(journal: Journal, where: str) -> None:
    half = "job-\udc80"
    acts = {
        "name": lambda: journal.intend(intent(half)),
        "tag": lambda: journal.intend(replace(intent("b"), tag=half)),
        "job_id": lambda: journal.accepted("a", half),
    }
    journal.intend(intent("a"))
    if where == "message":  # others' words are kept as far as they are any
        journal.move("a", JobState.FAILED, half)
        assert journal.job("a").message == "job-\\udc80"
        return
    with pytest.raises(CheckpointError, match=r"cannot hold 'job-\\udc80'"):
        acts[where]()
    assert [(job.name, job.job_id) for job in journal.jobs()] == [("a", "")]


def test_the_journal_of_the_first_release_is_read_and_goes_on(path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "run_0_1_0" / "journal.sqlite"
    shutil.copy(golden, path)
    assert len(states(path)) == 2
    with Journal(path, create=False) as journal:
        journal.intend(intent("new"))
        assert [job.state for job in journal.jobs()][:2] == [JobState.DONE, JobState.DONE]
        assert journal.known().jobs == 3
