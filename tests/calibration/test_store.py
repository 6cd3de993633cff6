"""The store: files appear whole, are never written over, and damage and age are told."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk.calibration.record import CalibrationRecord, json_schema
from qpu_sdk.calibration.store import CalibrationStore, folder_name, load_record
from qpu_sdk.errors import CalibrationError, CalibrationMismatch, CalibrationNotFound, CalibrationStale
from tests.calibration.test_record import GOLDEN, NOW, example

DEVICE = "quandela:qpu:belenos"
FOLDER = "quandela-qpu-belenos"


def at(minute: int, **changes: Any) -> CalibrationRecord:
    return example(utc_start="2026-03-01T11:00:00Z", utc_end=f"2026-03-01T12:{minute:02d}:00Z", **changes)


@pytest.fixture
def store(tmp_path: Path) -> CalibrationStore:
    return CalibrationStore(tmp_path / "calibration")


@pytest.fixture(params=["", "EPERM", "ENOTSUP", "EMLINK", "EXDEV", "ENOSYS", "EACCES"])
def second_names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What file systems answer that give a file no second name, as those of USB sticks and some network drives."""
    if request.param:
        number = getattr(errno, request.param)

        def link(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("second_names")
def test_what_was_saved_is_found(store: CalibrationStore) -> None:
    path = store.save(at(5))
    assert path == store.folder / FOLDER / "20260301T120500Z.json"
    assert load_record(path) == store.latest(DEVICE, now=NOW) == at(5)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_latest_is_the_latest_whatever_was_saved_last(store: CalibrationStore) -> None:
    for minute in (5, 20, 10):
        store.save(at(minute))
    assert store.latest(DEVICE, now=NOW) == at(20)
    assert store.all(DEVICE).records == (at(5), at(10), at(20))
    assert store.all(DEVICE).damaged == ()


@pytest.mark.usefixtures("second_names")
def test_nothing_is_written_over(store: CalibrationStore) -> None:
    paths = [store.save(at(5, seed=seed)) for seed in range(12)]
    assert [p.name for p in paths[:3]] == [f"20260301T120500Z{s}.json" for s in ("", "-2", "-3")]
    assert [load_record(p).seed for p in paths] == list(range(12))
    assert [r.seed for r in store.all(DEVICE).records] == list(range(12))
    assert store.latest(DEVICE, now=NOW).seed == 11


@pytest.mark.usefixtures("second_names")
def test_threads_that_save_at_once_lose_nothing(store: CalibrationStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda seed: store.save(at(5, seed=seed)), range(24)))
    assert len(set(paths)) == 24
    assert {r.seed for r in store.all(DEVICE).records} == set(range(24))


KILLED = """
import os, sys
from pathlib import Path
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.calibration.store import CalibrationStore
setattr(os, sys.argv[3], lambda *args: os._exit(9))
record = CalibrationRecord.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
CalibrationStore(sys.argv[2]).save(record)
"""


@pytest.mark.parametrize("step", ["fsync", "replace", "link"])
def test_a_killed_save_leaves_no_record(store: CalibrationStore, step: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(GOLDEN), str(store.folder), step], check=False)
    assert done.returncode == 9
    assert list((store.folder / FOLDER).glob("[!.]*")) == []
    with pytest.raises(CalibrationNotFound):
        store.latest(DEVICE, now=NOW)
    assert store.all(DEVICE).damaged == ()
    path = store.save(example())
    assert path.name == "20260301T120000Z.json"
    assert store.latest(DEVICE, now=NOW) == example()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CalibrationError, match="Choose another folder") as caught:
        CalibrationStore(tmp_path / "file").save(example())
    assert "\n" not in str(caught.value)


def test_nothing_there_names_the_command(store: CalibrationStore) -> None:
    with pytest.raises(CalibrationNotFound, match="qpu-sdk calibrate quandela:qpu:belenos") as caught:
        store.latest(DEVICE, now=NOW)
    assert "\n" not in str(caught.value)
    assert store.all(DEVICE).records == ()
    with pytest.raises(CalibrationNotFound, match="no file"):
        load_record(store.folder / "a.json")


def test_age_at_the_boundary(store: CalibrationStore) -> None:
    store.save(example(validity_h=24.0))
    ended = example().ended
    tick = timedelta(microseconds=1)
    for hours, given in ((2.0, 2.0), (24.0, None)):
        limit = timedelta(hours=hours)
        assert store.latest(DEVICE, max_age_h=given, now=ended + limit) == example()
        with pytest.raises(CalibrationStale, match=f"{hours:g} h are allowed") as caught:
            store.latest(DEVICE, max_age_h=given, now=ended + limit + tick)
        assert "\n" not in str(caught.value)
    assert store.latest(DEVICE, max_age_h=48.0, now=ended + timedelta(hours=48)) == example()


def test_no_horizon_is_no_limit(store: CalibrationStore) -> None:
    store.save(example(validity_h=None))
    assert store.latest(DEVICE, now=NOW + timedelta(days=3650)).validity_h is None
    assert store.latest(DEVICE).validity_h is None  # the clock


def test_a_record_from_the_future_is_refused(store: CalibrationStore) -> None:
    store.save(example())
    assert store.latest(DEVICE, now=example().ended - timedelta(seconds=30)) == example()
    with pytest.raises(CalibrationError, match="Set the clock"):
        store.latest(DEVICE, now=datetime(2026, 3, 1, 11, tzinfo=UTC))


def test_modes_and_detectors_must_fit(store: CalibrationStore) -> None:
    store.save(at(5))
    assert store.latest(DEVICE, modes=2, detector="threshold", now=NOW) == at(5)
    for wanted in ({"modes": 4}, {"detector": "pnr"}, {"modes": 4, "detector": "pnr"}):
        with pytest.raises(CalibrationMismatch) as caught:
            store.latest(DEVICE, now=NOW, **wanted)
        assert "\n" not in str(caught.value)
    store.save(at(10, detector="pnr"))
    assert store.latest(DEVICE, now=NOW) == at(10, detector="pnr")
    assert store.latest(DEVICE, detector="threshold", now=NOW) == at(5)


def test_damage_is_reported(store: CalibrationStore) -> None:
    old, new = store.save(at(5)), store.save(at(10))
    old.write_text(old.read_text()[:100])
    found = store.all(DEVICE)
    assert found.records == (at(10),)
    assert len(found.damaged) == 1
    assert str(old) in found.damaged[0]
    assert "\n" not in found.damaged[0]
    assert store.latest(DEVICE, now=NOW) == at(10)  # the damaged one is older
    new.write_bytes(b"\xff\xfe")
    with pytest.raises(CalibrationError, match="may be the newest") as caught:
        store.latest(DEVICE, now=NOW)
    assert str(old) in str(caught.value) or str(new) in str(caught.value)


def test_damage_that_may_be_newer_is_not_passed_over(store: CalibrationStore) -> None:
    store.save(at(5))
    store.save(at(10)).write_text(example().to_json().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(CalibrationError, match=r"schema_version.*may be the newest"):
        store.latest(DEVICE, now=NOW)


def test_damage_of_the_same_second_is_not_passed_over(store: CalibrationStore) -> None:
    store.save(at(5))
    store.save(at(5)).write_text("")
    with pytest.raises(CalibrationError, match="may be the newest"):
        store.latest(DEVICE, now=NOW)


def test_devices_that_share_a_folder_are_kept_apart(store: CalibrationStore) -> None:
    one, two = at(5, device="local:slos?a"), at(10, device="local:slos-a")
    assert store.save(one).parent == store.save(two).parent
    assert store.latest("local:slos?a", now=NOW) == one
    assert store.latest("local:slos-a", now=NOW) == two


def test_a_record_in_the_wrong_folder_is_reported(store: CalibrationStore) -> None:
    other = store.save(at(5, device="other"))
    store.save(at(5))
    other.rename(store.folder / FOLDER / "20260301T121000Z.json")
    assert "record of other" in store.all(DEVICE).damaged[0]


@pytest.mark.parametrize("device", ["..", "/etc/passwd", "", ".", "a/../b", "x" * 500, "\u00e9\n", "..\\b"])
def test_folders_stay_inside(store: CalibrationStore, device: str) -> None:
    name = folder_name(device)
    assert name
    assert not name.startswith(".")
    assert (store.folder / name).resolve().parent == store.folder.resolve()
    assert len(name) <= 100
    if device:
        assert store.save(at(5, device=device)).parent.parent == store.folder


def test_long_names_that_begin_alike_have_folders_of_their_own() -> None:
    assert folder_name("x" * 500) != folder_name("x" * 501)


def test_files_beside_the_folders_are_no_records(store: CalibrationStore) -> None:
    store.save(example())
    (store.folder / "schema.json").write_text(str(json_schema()))
    (store.folder / FOLDER / "notes.md").write_text("")
    assert store.all(DEVICE).damaged == ()
