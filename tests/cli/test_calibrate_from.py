"""``qpu-sdk calibrate --from``: a run's own counts, other people's files, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.calibration.from_files import FilesRequest, record_from_files
from qpu_sdk.calibration.store import load_record
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import CalibrationError, CalibrationMismatch
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.commands import BAD_INPUT, Commands

DEVICE = "local:slos?noise=lab"
NOISE = Noise(indistinguishability=0.9, g2=0.02, transmittance=0.2, efficiency=(1.0, 0.5, 0.9, 0.7))
run, fail = Commands().run, Commands().fail


def measured(number: int = 4) -> tuple[list[Program], list[Counts]]:
    programs = [Program.random(RectangularMesh(4), (0, 2), seed=seed) for seed in range(number)]
    device = LocalDevice(seed=1, model=LocalModel(noise=NOISE), name=DEVICE)
    return programs, device.submit(programs, shots=100_000).result()


def lines(path: Path, texts: list[str]) -> Path:
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def bare(counts: Counts) -> Counts:
    return replace(counts, program=None, fingerprint="", device="")


def test_counts_that_carry_their_programs_need_nothing_else(tmp_path: Path) -> None:
    _, counts = measured()
    path = lines(tmp_path / "counts.json", [c.to_json() for c in counts])
    result = run("calibrate", "--from", path, "--out", tmp_path / "records")
    assert result.exit_code == 0, result.output
    [written] = (tmp_path / "records").rglob("*.json")
    record = load_record(written)
    assert (record.device, record.origin, len(record.jobs)) == (DEVICE, "simulated", 4)
    eta = np.array([m.value for m in record.output_efficiencies])
    np.testing.assert_allclose(eta / eta.max(), NOISE.efficiency, rtol=0.1)


def test_programs_beside_the_counts(tmp_path: Path) -> None:
    programs, counts = measured()
    seen = lines(tmp_path / "counts.json", [bare(c).to_json() for c in counts])
    beside = lines(tmp_path / "programs.json", [p.to_json() for p in programs])
    result = run("calibrate", "lab", "--from", seen, "--programs", beside, "--out", tmp_path / "records")
    assert result.exit_code == 0, result.output
    [written] = (tmp_path / "records").rglob("*.json")
    assert load_record(written).device == "lab"


def test_several_files_and_one_of_programs(tmp_path: Path) -> None:
    programs, counts = measured()
    files = [lines(tmp_path / f"{k}.json", [bare(c).to_json()]) for k, c in enumerate(counts)]
    beside = lines(tmp_path / "programs.json", [p.to_json() for p in programs])
    record = record_from_files(FilesRequest("lab", tuple(files), (beside,)))
    one_by_one = tuple(lines(tmp_path / f"p{k}.json", [p.to_json()]) for k, p in enumerate(programs))
    again = record_from_files(FilesRequest("lab", tuple(files), one_by_one))
    assert record.measured() == again.measured()


def test_several_tables_that_do_not_say_their_photons(tmp_path: Path) -> None:
    programs, counts = measured()
    tables = []
    for k, one in enumerate(counts):
        rows = zip(one.outcomes.tolist(), one.numbers.tolist(), strict=True)
        tables.append(lines(tmp_path / f"{k}.csv", [f"|{','.join(map(str, seen))}>,{number}" for seen, number in rows]))
    beside = lines(tmp_path / "programs.json", [p.to_json() for p in programs])
    record = record_from_files(FilesRequest("lab", tuple(tables), (beside,)))
    assert len(record.jobs) == 4


def test_what_is_refused(tmp_path: Path) -> None:
    programs, counts = measured()
    seen = lines(tmp_path / "counts.json", [bare(c).to_json() for c in counts])
    fewer = lines(tmp_path / "fewer.json", [p.to_json() for p in programs[:2]])
    for message, request, error in (
        ("do not say of which program", FilesRequest("lab", (seen,)), CalibrationError),
        (
            "name no device",
            FilesRequest(None, (seen,), (lines(tmp_path / "p", [p.to_json() for p in programs]),)),
            CalibrationMismatch,
        ),
        (
            "no counts are of lab",
            FilesRequest("lab", (lines(tmp_path / "own", [c.to_json() for c in counts]),)),
            CalibrationMismatch,
        ),
    ):
        with pytest.raises(error, match=message):
            record_from_files(request)
    out = tmp_path / "records"
    assert "2 programs" in fail(BAD_INPUT, "calibrate", "lab", "--from", seen, "--programs", fewer, "--out", out)
    assert "--programs goes with --from" in fail(BAD_INPUT, "calibrate", "lab", "--programs", fewer)
    one = lines(tmp_path / "one.json", [counts[0].to_json()])
    assert "1 setting for 4 efficiencies" in fail(BAD_INPUT, "calibrate", "--from", one, "--out", out)
    assert not out.exists()
