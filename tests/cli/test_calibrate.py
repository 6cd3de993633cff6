"""``qpu-sdk calibrate``: a dated record that is never overwritten, shown, compared, and never paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qpu_sdk.calibration.plan import calibration_plan
from qpu_sdk.calibration.store import CalibrationStore, load_record
from qpu_sdk.devices.machines import NOISE_PRESETS
from qpu_sdk.devices.registry import open_device
from tests.calibration.simulate import drifting, simulate, uniform_parameters
from tests.commands import Commands

BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED = 2, 3, 4
TOKEN = "_T_secret-of-the-tests"
DEVICE = "local:slos?noise=belenos-published,g2=0.05,transmittance=0.2"
FEW = ["--modes", "4", "--inputs", "0,2", "--shots", "100000", "--seed", "5"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of records; whatever happens, no token may be found in it."""
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", TOKEN)
    yield tmp_path / "records"
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


COMMANDS = Commands(before=("calibrate",), after=("--json",), secrets=(TOKEN,))
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# -- measuring -------------------------------------------------------------------------------------------------


def test_a_record_is_written_and_printed(folder: Path) -> None:
    data = succeed(DEVICE, "--out", folder, *FEW, "--valid", "6")
    assert files(folder) == [Path(data["path"])]
    record = load_record(data.pop("path"))
    assert data == record.model_dump(mode="json")
    assert (record.modes, record.input_modes, record.validity_h, record.seed) == (4, (0, 2), 6.0, 5)
    name = open_device(DEVICE, seed=0).spec.name
    assert (record.device, record.platform, record.origin) == (name, "slos", "simulated")
    truth = {"g2": 0.05, "indistinguishability": NOISE_PRESETS["belenos-published"].indistinguishability}
    truth |= {"input_transmissions[0]": 0.2, "input_transmissions[2]": 0.2}
    for parameter, value in truth.items():
        found = record.measured()[parameter]
        assert abs(found.value - value) < 4.0 * (found.standard_error or 0.0), parameter
    assert CalibrationStore(folder).latest(name, modes=4, detector="threshold") == record


def test_the_text_names_the_file_and_every_parameter(folder: Path) -> None:
    result = run(DEVICE, "--out", folder, *FEW)
    assert result.exit_code == 0, result.output
    [path] = files(folder)
    assert f"written: {path}" in result.stderr
    shown = {name.replace("_", " ") for name in load_record(path).parameters}
    assert all(any(line.startswith(name) for line in result.stdout.splitlines()) for name in shown)
    assert run("--show", path).stdout == result.stdout


def test_a_record_is_never_overwritten(folder: Path) -> None:
    first = succeed(DEVICE, "--out", folder, *FEW)["path"]
    before = Path(first).read_bytes()
    second, third = (succeed(DEVICE, "--out", folder, *FEW)["path"] for _ in range(2))
    assert len({first, second, third}) == len(files(folder)) == 3
    assert Path(first).read_bytes() == before


def test_photons_and_pairs_are_what_was_asked_for(folder: Path) -> None:
    few = ["--modes", "5", "--photons", "3", "--shots", "100000"]
    record = succeed(DEVICE, "--out", folder, *few, "--pairs")
    assert record["input_modes"] == [0, 1, 2]
    assert [pair["modes"] for pair in record["indistinguishability"]] == [[0, 1], [0, 2], [1, 2]]
    assert "value" in succeed(DEVICE, "--out", folder, *few)["indistinguishability"]


# -- showing and comparing -------------------------------------------------------------------------------------


def saved(folder: Path, factor: float, *, seed: int) -> Path:
    """A record of one device whose first transmission is ``factor`` times what it was."""
    plan, truth = calibration_plan(4, (0, 2), seed=1), uniform_parameters(4, (0, 2), 0.2)
    world = drifting(truth, factor, 2, moving=(0,))
    return CalibrationStore(folder).save(
        simulate(plan, lambda _, inputs: world(1, inputs), pulses=500_000, seed=seed).record()
    )


def test_a_record_is_shown_with_its_page(folder: Path) -> None:
    path, page = saved(folder, 1.0, seed=1), folder / "record.html"
    data = succeed("--show", path, "--page", page)
    assert data.pop("path") == str(path)
    assert data == load_record(path).model_dump(mode="json")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    for words in ("<svg", "indistinguishability", "shift 0", "Measured on a simulation"):
        assert words in text
    assert run("--show", path).stdout.splitlines()[0].split() == ["device", "simulated", "(simulated)"]


def test_a_drift_that_was_put_in_is_significant_and_none_is_not(folder: Path) -> None:
    before, same, later = (saved(folder, f, seed=k) for k, f in enumerate((1.0, 1.0, 0.95)))
    still, moved = (succeed("--compare", before, after) for after in (same, later))
    assert still["joint"]["p_value"] > 1e-3
    assert moved["joint"]["p_value"] < 1e-6
    changes = {change["parameter"]: change for change in moved["changes"]}
    assert changes["input_transmissions[0]"]["z"] < -5.0
    assert abs(changes["input_transmissions[2]"]["z"]) < 4.0
    assert moved["before"] == load_record(before).id
    rows = run("--compare", before, later).stdout.splitlines()
    assert rows[-1].startswith("all together")
    assert len(rows) == len(moved["changes"]) + 1


# -- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no device"),
        ([DEVICE, "--inputs", "0,x"], "--inputs '0,x' are not modes"),
        ([DEVICE, "--modes", "4", "--inputs", "0,4"], "distinct modes of 0..3"),
        ([DEVICE, "--modes", "4", "--inputs", "1"], "two or more"),
        ([DEVICE, "--modes", "4", "--photons", "5"], "distinct modes of 0..3"),
        ([DEVICE, "--modes", "4", "--photons", "2", "--shots", "0"], "shots"),
        ([DEVICE, "--modes", "4", "--photons", "2", "--shots", "100"], "Use at least"),
        (["local:slos?colour=red"], "colour"),
        (["nonsense"], "nonsense"),
        ([DEVICE, *FEW, "--valid", "0"], "valid"),
        ([DEVICE, *FEW, "--valid", "-1"], "valid"),
        ([DEVICE, *FEW, "--valid", "nan"], "valid"),
        (["--show", "none.json"], "none.json"),
        (["--compare", "none.json", "none.json"], "none.json"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder: Path, arguments: list[str], words: str) -> None:
    assert words in fail(BAD_INPUT, *arguments, "--out", folder / "records")
    assert not (folder / "records").exists()


def test_a_record_that_was_cut_or_edited_is_refused(folder: Path) -> None:
    path = saved(folder, 1.0, seed=1)
    text = path.read_text(encoding="utf-8")
    for damaged, words in (
        (text[:-300], "not a calibration record"),
        (text.replace('"schema_version": 1', '"schema_version": 2'), "schema_version is 2, this SDK reads 1"),
        (text.replace('"g2": {"value": 0', '"g2": {"value": 7'), "g2"),
        (text.replace('"g2"', '"g3"', 1), "g"),
        ("", "not a calibration record"),
    ):
        assert damaged != text
        path.write_text(damaged, encoding="utf-8")
        line = fail(BAD_INPUT, "--show", path)
        assert words in line
        assert path.name in line


def test_records_of_two_devices_are_not_compared(folder: Path) -> None:
    one, other = saved(folder, 1.0, seed=1), folder / "other.json"
    other.write_text(one.read_text(encoding="utf-8").replace('"device": "simulated"', '"device": "another"'))
    assert "Compare records of one device" in fail(BAD_INPUT, "--compare", one, other)


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    folder.parent.joinpath("file").write_text("")
    assert "Choose another place" in fail(BAD_INPUT, DEVICE, *FEW, "--out", folder.parent / "file" / "records")


# -- interruptions ---------------------------------------------------------------------------------------------


def test_an_interrupted_command_leaves_its_journal_and_the_next_one_uses_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn")
    from qpu_sdk.emulator.server import EmulatedCloud
    from qpu_sdk.emulator.settings import CloudSettings

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    now = [1_000_000.0]
    with EmulatedCloud(CloudSettings(seed=1), clock=lambda: now[0]) as server:
        device = f"quandela:sim:belenos?url={server.url}&poll_s=0.01&max_poll_s=0.05"
        command = [device, "--out", folder, *FEW]
        with monkeypatch.context() as patch:
            patch.setattr("qpu_sdk.devices.journalled.time.sleep", interrupt)
            assert "interrupted" in fail(INTERRUPTED, *command)
        assert len(server.jobs) == 1
        left = files(folder)
        assert left
        assert all(path.name.startswith(".") for path in left)
        now[0] += 1000.0
        record = succeed(*command)
        assert [job["job_id"] for job in server.jobs] == [record["jobs"][0]["job_id"]]
        assert files(folder) == [Path(record["path"])]
        with monkeypatch.context() as patch:  # another measurement, not the counts of the first
            patch.setattr("qpu_sdk.devices.journalled.time.sleep", interrupt)
            fail(INTERRUPTED, *command)
        assert len(server.jobs) == 2


def test_another_request_does_not_use_the_journal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qpu_sdk.calibration.measure.record_of", interrupt)
        fail(INTERRUPTED, DEVICE, "--out", folder, *FEW)
    [journal] = [path for path in files(folder) if path.suffix == ".sqlite"]
    record = succeed(DEVICE, "--out", folder, *FEW[:-1], "6")
    assert journal in files(folder)
    assert record["seed"] == 6
    succeed(DEVICE, "--out", folder, *FEW)
    assert journal not in files(folder)
