"""Recording and replaying: files that come back, refusals instead of invented counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from qpu_sdk.devices.base import JobStatus
from qpu_sdk.devices.counts_files import load_counts
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.recording import RecordingDevice
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.replay import ReplayDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import DataError, DeviceUnavailable, ProgramError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program
from tests.helpers import program

SHOTS = 200


A, B, C = program(IsometryMesh(4, 2), 2, 1), program(IsometryMesh(4, 2), 2, 2), program(IsometryMesh(5, 3), 3, 3)


def lines(counts: list[Counts]) -> list[str]:
    return [c.to_json() for c in counts]


def record(path: Path, *jobs: list[Program], shots: int = SHOTS, model: LocalModel | None = None) -> list[str]:
    device = RecordingDevice(LocalDevice(seed=1, model=model), path)
    return [line for job in jobs for line in lines(device.submit(job, shots=shots).result())]


def test_a_recorded_run_replays_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    recorded = record(path, [A, C], [B], [A])
    assert path.read_text(encoding="utf-8").splitlines() == recorded
    device = ReplayDevice(load_counts(path))
    replayed = [line for job in ([A, C], [B], [A]) for line in lines(device.submit(job, shots=SHOTS).result())]
    assert replayed == recorded


def test_other_order_of_different_programs_gives_each_its_own(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    one, two, three = record(path, [A], [B], [C])
    device = ReplayDevice(load_counts(path))
    assert lines(device.submit([C, A, B], shots=SHOTS).result()) == [three, one, two]


def test_one_program_replays_in_the_order_of_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    recorded = record(path, [A], [A], [A])
    assert len(set(recorded)) == 3
    device = ReplayDevice(load_counts(path))
    replayed = lines(device.submit([A], shots=SHOTS).result()) + lines(device.submit([A, A], shots=SHOTS).result())
    assert replayed == recorded


@pytest.mark.parametrize("detector", ["pnr", "threshold"])
def test_spec_comes_from_the_recording(tmp_path: Path, detector: str) -> None:
    path = tmp_path / "counts.jsonl"
    record(path, [A, C], model=LocalModel(detector=detector))  # type: ignore[arg-type]
    spec = ReplayDevice(load_counts(path), name="replay:x").spec
    assert (spec.name, spec.max_modes, spec.max_photons, spec.detector) == ("replay:x", 5, 3, detector)


def test_a_replay_says_of_whom_its_counts_are(tmp_path: Path) -> None:
    device = open_device("local:slos?noise=ascella", seed=1)
    [counts] = device.submit([A], shots=SHOTS).result()
    path = tmp_path / "counts.jsonl"
    path.write_text(counts.to_json() + "\n", encoding="utf-8")
    spec = open_device(f"replay:{path}", seed=1).spec
    assert (spec.name, spec.platform, spec.noise) == (f"replay:{path}", "slos", device.spec.noise)
    assert (spec.record_names, spec.record_file, spec.drifts) == (device.spec.record_names, "", False)
    of_a_qpu = replace(counts, device="quandela:qpu:belenos")
    spec = ReplayDevice([of_a_qpu, replace(counts, device="local:gone")], name="replay:x").spec
    assert (spec.record_names, spec.noise, spec.drifts) == (("local:gone", "quandela:qpu:belenos"), None, False)
    assert ReplayDevice([replace(counts, device="")], name="replay:x").spec.record_names == ("replay:x",)


def test_a_replay_runs_one_program(tmp_path: Path) -> None:
    [recorded] = record(tmp_path / "counts.jsonl", [A])
    assert ReplayDevice(load_counts(tmp_path / "counts.jsonl")).run(A, shots=SHOTS).to_json() == recorded


def test_replayed_jobs_are_done_and_stay_done(tmp_path: Path) -> None:
    record(tmp_path / "counts.jsonl", [A], [A])
    device = ReplayDevice(load_counts(tmp_path / "counts.jsonl"))
    job = device.submit([A], shots=SHOTS)
    before = lines(job.result())
    assert job.status() is JobStatus.DONE
    job.cancel()
    assert job.status() is JobStatus.DONE
    job.result().clear()
    assert lines(job.result()) == before
    assert job.id != device.submit([A], shots=SHOTS).id


# -- a replay never invents counts -----------------------------------------------------------------------------


def test_programs_that_were_not_recorded_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "counts.jsonl", [A])
    device = ReplayDevice(load_counts(tmp_path / "counts.jsonl"))
    with pytest.raises(ProgramError, match=B.fingerprint[:12]):
        device.submit([B], shots=SHOTS)


def test_a_refused_submission_uses_nothing_up(tmp_path: Path) -> None:
    [recorded] = record(tmp_path / "counts.jsonl", [A])
    device = ReplayDevice(load_counts(tmp_path / "counts.jsonl"))
    for programs in ([A, B], [A, A]):
        with pytest.raises(ProgramError, match="more times"):
            device.submit(programs, shots=SHOTS)
    assert lines(device.submit([A], shots=SHOTS).result()) == [recorded]
    with pytest.raises(ProgramError, match="recorded 0 more times"):
        device.submit([A], shots=SHOTS)


def test_other_shots_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "counts.jsonl", [A])
    device = ReplayDevice(load_counts(tmp_path / "counts.jsonl"))
    with pytest.raises(ProgramError, match=f"holds {SHOTS}"):
        device.submit([A], shots=SHOTS + 1)


def test_other_shots_are_refused_behind_the_first_recording_too(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    record(path, [A])
    record(path, [A], shots=SHOTS + 1)
    device = ReplayDevice(load_counts(path))
    with pytest.raises(ProgramError, match="shots"):
        device.submit([A, A], shots=SHOTS)


def test_an_empty_recording_is_no_device() -> None:
    with pytest.raises(DeviceUnavailable, match="holds no counts"):
        ReplayDevice([])


# -- files -----------------------------------------------------------------------------------------------------


def test_counts_are_written_once_however_often_they_are_fetched(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    job = RecordingDevice(LocalDevice(seed=1), path).submit([A, B], shots=SHOTS)
    with ThreadPoolExecutor(4) as pool:
        fetched = [lines(f.result()) for f in [pool.submit(job.result) for _ in range(8)]]
    assert lines(load_counts(path)) == fetched[0]
    assert all(f == fetched[0] for f in fetched)


def test_jobs_that_are_fetched_from_many_threads_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    device = RecordingDevice(LocalDevice(seed=1), path)
    jobs = [device.submit([A, B], shots=SHOTS, tag=str(i)) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        fetched = list(pool.map(lambda job: lines(job.result()), jobs))
    written = lines(load_counts(path))
    assert sorted(map(tuple, fetched)) == sorted(zip(written[::2], written[1::2], strict=True))


def test_recording_passes_spec_ids_and_status_through(tmp_path: Path) -> None:
    inner = LocalDevice(seed=1)
    device = RecordingDevice(inner, tmp_path / "counts.jsonl")
    assert device.spec == inner.spec
    job = device.submit([A], shots=SHOTS)
    assert job.id == job.result()[0].job_id
    job.cancel()
    assert job.status() is JobStatus.DONE
    with pytest.raises(ProgramError):
        device.submit([], shots=SHOTS)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    record(path, [A])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"schema_version": 1, "pho')
    with pytest.raises(DataError, match="line 2"):
        load_counts(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jsonl"):
        load_counts(tmp_path / "missing.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="binary"):
        load_counts(tmp_path / "binary")
