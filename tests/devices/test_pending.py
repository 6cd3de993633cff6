"""A pending journal: there while the work is not done, gone afterwards, and the device closed when nothing goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qpu_sdk.devices.budget import Cost
from qpu_sdk.devices.hints import uncertain
from qpu_sdk.devices.job_record import Intent
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.pending import pending_journal
from qpu_sdk.errors import CheckpointError, DataError, SubmissionUncertain


class Door:
    """How often a device was closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed, self.device = 0, LocalDevice(seed=1)
        monkeypatch.setattr(LocalDevice, "close", lambda _: self.shut())

    def shut(self) -> None:
        self.closed += 1


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


def interrupted(
    door: Door, folder: Path, asked: object, error: type[BaseException], *, durable: bool, jobs: int = 1
) -> None:
    """Work that ends while its jobs are open."""
    with pending_journal(door.device, folder, "work", asked) as journal:
        for name in ("job", "other")[:jobs]:
            journal.intend(Intent(name, "d", "", durable, ("p",), 1, "raw", Cost(1, 1, 0.0, 1, 0.0)))
        raise error


def test_finished_work_leaves_nothing_but_what_was_there(tmp_path: Path, door: Door) -> None:
    folder = tmp_path / "new" / "folder"
    with pending_journal(door.device, folder, "work", 1):
        (folder / "result.json").write_text("{}")
        assert len(list(folder.glob(".work-*.sqlite"))) == 1
    assert [path.name for path in folder.iterdir()] == ["result.json"]
    assert door.closed == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_work_finds_its_journal_again_and_other_work_does_not(
    tmp_path: Path, door: Door, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        interrupted(door, tmp_path, (1, "a"), error, durable=False)
    [kept] = tmp_path.glob(".work-*.sqlite")
    with pending_journal(door.device, tmp_path, "work", (1, "b")) as journal:
        assert not journal.jobs()
    assert kept.exists()
    with pending_journal(door.device, tmp_path, "work", (1, "a")) as journal:
        assert [job.name for job in journal.jobs()] == ["job"]
    assert not kept.exists()


@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize("durable", [True, False])
def test_failed_work_leaves_only_what_may_have_been_paid(tmp_path: Path, door: Door, jobs: int, durable: bool) -> None:
    folder = tmp_path / "new" / "folder"
    with pytest.raises(DataError):
        interrupted(door, folder, 1, DataError, durable=durable, jobs=jobs)
    assert bool(list(tmp_path.rglob("*.sqlite"))) == (tmp_path / "new").exists() == bool(jobs and durable)


def test_work_that_another_process_does_is_left_alone(tmp_path: Path, door: Door) -> None:
    with pending_journal(door.device, tmp_path, "work", 1) as journal:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(CheckpointError, match="another process"), pending_journal(door.device, tmp_path, "work", 1):
            pass
        assert sorted(tmp_path.iterdir()) == before
        assert not journal.jobs()


@pytest.mark.parametrize(("durable", "closed"), [(True, 0), (False, 1)])
def test_a_device_is_closed_unless_a_job_goes_on_without_us(
    tmp_path: Path, door: Door, durable: bool, closed: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(door, tmp_path, 1, KeyboardInterrupt, durable=durable)
    assert door.closed == closed


def test_what_is_uncertain_says_where_its_journal_is(tmp_path: Path, door: Door) -> None:
    with pytest.raises(SubmissionUncertain) as caught, pending_journal(door.device, tmp_path, "work", 1) as journal:
        raise SubmissionUncertain(uncertain("job", "why", journal.path), job_id="7")
    assert str(caught.value).count(f"--run {journal.path}") == 2
    assert str(caught.value).endswith("Then give the same command again.")
    assert caught.value.job_id == "7"


@pytest.mark.parametrize("spoil", [lambda p: p.write_text(""), lambda p: (p.parent / "x").symlink_to(p.parent / "x")])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, door: Door, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "x")
    with (
        pytest.raises(DataError, match=r"cannot make .*Choose another place\.$"),
        pending_journal(door.device, tmp_path / "x" / "y", "work", 1),
    ):
        pass
