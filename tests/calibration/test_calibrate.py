"""A calibration from end to end: one job, the truth within its errors, and a record that says how it was made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import perceval as pcvl
import pytest
from scipy import stats

from qpu_sdk.arrays import FloatArray
from qpu_sdk.calibration.calibrate import calibrate
from qpu_sdk.calibration.measure import CalibrationRequest, Whose, measure
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.plan import calibration_plan, haar
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.calibration.twin import open_twin, twin
from qpu_sdk.devices.address import DeviceAddress
from qpu_sdk.devices.base import Device, Job
from qpu_sdk.devices.job_record import RAW
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.machines import NOISE_PRESETS
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.sending import Terms
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import CalibrationError, ConfigError, ProgramError
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import RectangularMesh
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from tests.helpers import Clock

if TYPE_CHECKING:
    from qpu_sdk.emulator.server import EmulatedCloud

INPUTS = (0, 2, 5)
REQUEST = CalibrationRequest(6, INPUTS, 300_000, seed=3)
TOKEN = "_T_secret-of-the-tests"


class Watched(Device):
    """A device that remembers what it was asked for."""

    def __init__(self, device: LocalDevice) -> None:
        self.device, self.spec = device, device.spec
        self.asked: list[tuple[int, int, str]] = []

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        self.asked.append((len(programs), shots, tag))
        return self.device.submit(programs, shots=shots, tag=tag)


def uneven(modes: int = 6) -> Noise:
    """Something different in every mode."""
    rng = np.random.default_rng(4)
    return Noise(
        indistinguishability=0.9,
        g2=0.03,
        transmittance=rng.uniform(0.1, 0.3, modes),
        efficiency=rng.uniform(0.7, 1.0, modes),
        dark_counts=1e-5,
    )


def device_of(noise: Noise, *, seed: int = 1) -> LocalDevice:
    return LocalDevice(seed=seed, model=LocalModel(noise=noise))


def whose(request: CalibrationRequest = REQUEST, *, seed: int | None = 1) -> Whose:
    identity = Identity("local:lab", "lab", request.modes, request.input_modes, "threshold")
    return Whose(identity, "simulated", {"HOM (%)": 90.0}, seed)


def measured(
    device: Device, request: CalibrationRequest = REQUEST, *, journal: Journal | None = None
) -> CalibrationRecord:
    with journal or Journal(None) as open_journal:
        return measure(device, request, whose(request), journal=open_journal, terms=Terms("calibrate"))


def truth_of(noise: Noise, request: CalibrationRequest = REQUEST) -> dict[str, float]:
    """The device's numbers in the gauge of a record."""
    here = noise.at(request.input_modes, modes=request.modes)
    eta, sent = here.efficiency, zip(request.input_modes, here.transmittance, strict=True)
    t = {f"input_transmissions[{j}]": float(t * eta.mean()) for j, t in sent}
    out = {f"output_efficiencies[{i}]": float(e) for i, e in enumerate(eta / eta.mean())}
    dark = {f"dark_counts[{i}]": float(d) for i, d in enumerate(here.dark_counts)}
    return {"indistinguishability": float(here.indistinguishability), "g2": here.g2} | t | out | dark


def pulls(record: CalibrationRecord, truth: dict[str, float]) -> FloatArray:
    found = record.measured()
    assert set(record.parameters) == set(truth)
    return np.array([(found[n].value - truth[n]) / (found[n].standard_error or 0.0) for n in record.parameters])


# -- one device ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [uneven(), NOISE_PRESETS["ascella-published"], NOISE_PRESETS["belenos-published"]])
def test_the_truth_is_found_within_its_errors(noise: Noise) -> None:
    record = measured(device_of(noise))
    assert np.abs(pulls(record, truth_of(noise))).max() < 4.0
    if noise.phase_error > 0.0:  # circuits that are not those asked for: their size is told, and no test is exact
        assert record.phase_error is not None
        assert 0.25 * noise.phase_error < record.phase_error.value < 4.0 * noise.phase_error
        return
    for test in (record.fit, record.validation, record.drift):
        assert test is not None
        assert test.p_value is not None
        assert test.p_value > 1e-3


def test_a_calibration_is_one_job() -> None:
    device = Watched(device_of(uneven()))
    record = measured(device)
    assert device.asked == [(len(record.jobs), REQUEST.shots, "calibrate")]
    assert len({job.job_id for job in record.jobs}) == 1


def test_a_record_says_how_it_was_made() -> None:
    record = measured(device_of(uneven()))
    plan = calibration_plan(REQUEST.modes, REQUEST.input_modes, seed=REQUEST.seed)
    wanted = [(s.name, s.role, s.program.fingerprint, s.program.input_modes) for s in plan]
    assert [(job.name, job.role, job.program, job.input_modes) for job in record.jobs] == wanted
    for job in record.jobs:
        assert (job.shots, job.windows, job.tag) == (REQUEST.shots, None, "calibrate")
        assert sum(job.clicks.values()) == job.shots
    assert (record.mitigations_requested, record.seed, record.validity_h) == (RAW, 1, REQUEST.validity_h)
    assert (record.device, record.platform, record.origin) == ("local:lab", "lab", "simulated")
    assert record.vendor == {"HOM (%)": 90.0}
    assert record.versions["perceval-quandela"] == version("perceval-quandela")
    assert {"qpu_sdk", "numpy"} <= set(record.versions)
    assert record.utc_start <= record.utc_end
    assert CalibrationRecord.from_json(record.to_json()) == record


def test_the_same_seed_gives_the_same_numbers_and_a_second_measurement_others() -> None:
    one, same = (measured(device_of(uneven())) for _ in range(2))
    assert one.measured() == same.measured()
    device = Watched(device_of(uneven()))
    first, second = measured(device), measured(device)
    assert len(device.asked) == 2
    assert first.measured() != second.measured()
    assert first.measured() == one.measured()


def test_a_kept_journal_is_used_instead_of_a_second_job(tmp_path: Path) -> None:
    device = Watched(device_of(uneven()))
    first, again = (measured(device, journal=Journal(tmp_path / "journal.sqlite")) for _ in range(2))
    assert len(device.asked) == 1
    assert again == first


def test_pairs_have_numbers_of_their_own() -> None:
    pairs = np.eye(6)
    for (j, k), i in {(0, 2): 0.95, (0, 5): 0.9, (2, 5): 0.8}.items():
        pairs[j, k] = pairs[k, j] = i
    noise = Noise(**(vars(uneven()) | {"indistinguishability": pairs}))
    record = measured(device_of(noise), CalibrationRequest(6, INPUTS, 300_000, seed=3, pairs=True))
    assert isinstance(record.indistinguishability, tuple)
    for pair in record.indistinguishability:
        assert abs(pair.value - pairs[pair.modes]) < 4.0 * (pair.standard_error or 0.0)


def test_what_does_not_fit_the_device_is_refused_before_it_is_asked() -> None:
    device = Watched(device_of(uneven()))
    for request, kind in (
        (CalibrationRequest(7, INPUTS, 1000, 0), ProgramError),
        (CalibrationRequest(6, (0,), 1000, 0), CalibrationError),
    ):
        with pytest.raises(kind):
            measured(device, request)
    assert device.asked == []


def test_counts_without_lossy_shots_are_refused() -> None:
    model = LocalModel(noise=NOISE_PRESETS["ascella-published"], outcomes="collision_free")
    with pytest.raises(CalibrationError, match=r"none with a single click: .* Ask for raw counts, filter one click"):
        measured(LocalDevice(seed=1, model=model))


# -- its twin --------------------------------------------------------------------------------------------------


def by_pattern(counts: Counts) -> FloatArray:
    out = np.zeros(2**counts.modes)
    np.add.at(out, (counts.outcomes > 0) @ (1 << np.arange(counts.modes)), counts.numbers)
    return out


def same_distribution(one: Counts, other: Counts) -> float:
    """p-value of the two-sample chi-square test with as many shots on either side, rare patterns together."""
    a, b = by_pattern(one), by_pattern(other)
    often = a + b >= 20.0
    rows = np.array([np.append(x[often], x[~often].sum()) for x in (a, b)])
    rows = rows[:, rows.sum(axis=0) > 0]
    return float(stats.chi2.sf(((rows[0] - rows[1]) ** 2 / rows.sum(axis=0)).sum(), rows.shape[1] - 1))


def test_the_twin_gives_the_counts_of_the_device(tmp_path: Path) -> None:
    noise, mesh = uneven(), RectangularMesh(6)
    record = measured(device_of(noise), CalibrationRequest(6, INPUTS, 1_000_000, seed=3))
    (tmp_path / "record.json").write_text(record.to_json(), encoding="utf-8")
    address = DeviceAddress.parse(f"local:twin?record={tmp_path / 'record.json'}")
    opened = open_twin(address, seed=5)
    assert opened.spec.name == str(address)
    assert opened.spec.record_names == (str(address), record.device)
    assert opened.spec.record_file == str(tmp_path / "record.json")
    assert opened.spec.noise == record.noise()
    rng = np.random.default_rng(9)
    programs = [Program(mesh, mesh.phases_of(haar(6, rng)), INPUTS) for _ in range(4)]
    device = device_of(noise, seed=8)
    devices: tuple[Device, ...] = (device, opened, twin(record, seed=6), device_of(Noise(transmittance=0.2)))
    real, first, second, other = (d.submit(programs, shots=50_000).result() for d in devices)
    for k in range(len(programs)):
        assert same_distribution(real[k], first[k]) > 1e-3
        assert same_distribution(real[k], second[k]) > 1e-3
        assert same_distribution(real[k], other[k]) < 1e-3


@pytest.mark.parametrize("options", ["", "?record=a&noise=ascella", "?noise=ascella"])
def test_a_twin_needs_its_record_and_nothing_else(options: str) -> None:
    with pytest.raises(ConfigError, match="Write local:twin"):
        open_twin(DeviceAddress.parse(f"local:twin{options}"), seed=1)


def test_a_twin_of_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"schema_version": 1, "dev', encoding="utf-8")
    for name, words in (("none.json", "no file"), ("cut.json", "not a calibration record")):
        with pytest.raises(CalibrationError, match=words):
            open_twin(DeviceAddress.parse(f"local:twin?record={tmp_path / name}"), seed=1)


# -- through the cloud's door ----------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock(step=1.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[EmulatedCloud]:
    pytest.importorskip("uvicorn")
    from qpu_sdk.emulator.server import EmulatedCloud
    from qpu_sdk.emulator.settings import CloudSettings

    monkeypatch.setenv("PCVL_CLOUD_TOKEN", TOKEN)
    with EmulatedCloud(
        CloudSettings(seed=1, noise=NOISE_PRESETS["belenos-published"], time_scale=1e6), clock=clock
    ) as running:
        yield running


def cloud_device(server: EmulatedCloud) -> Device:
    return open_device(f"quandela:qpu:belenos?url={server.url}&poll_s=0.01&max_poll_s=0.05", seed=1)


def test_an_emulated_belenos_is_calibrated_in_one_job(server: EmulatedCloud) -> None:
    request = CalibrationRequest(9, (0, 2, 5, 8), 300_000, seed=3)
    record = measured(cloud_device(server), request)
    [job] = server.jobs
    assert {j.job_id for j in record.jobs} == {job["job_id"]}
    assert re.fullmatch(r"calibrate/calibrate-[0-9a-f]{12}", job["job_name"])
    z = dict(zip(record.parameters, pulls(record, truth_of(NOISE_PRESETS["belenos-published"], request)), strict=True))
    wanted = ("indistinguishability", "g2", *(f"input_transmissions[{j}]" for j in request.input_modes))
    assert all(abs(z[name]) < 5.0 for name in wanted), z
    assert record.validation is not None
    assert (record.validation.p_value or 0.0) > 1e-3


@pytest.mark.parametrize("moment", ["while it waits", "before the fit"])
def test_an_interrupted_calibration_goes_on_without_a_second_job(
    server: EmulatedCloud, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "journal.sqlite"
    with monkeypatch.context() as patch:
        where = "devices.journalled.time.sleep" if moment == "while it waits" else "calibration.measure.record_of"
        patch.setattr(f"qpu_sdk.{where}", interrupt)
        clock.step = 0.0 if moment == "while it waits" else 1.0
        with pytest.raises(KeyboardInterrupt):
            measured(cloud_device(server), journal=Journal(path))
    assert len(server.jobs) == 1
    clock.step = 1.0
    record = measured(cloud_device(server), journal=Journal(path))
    assert [job["job_id"] for job in server.jobs] == [record.jobs[0].job_id]
    assert TOKEN.encode() not in path.read_bytes()


def test_two_calibrations_in_a_row_are_two_measurements(server: EmulatedCloud) -> None:
    first, second = (measured(cloud_device(server)) for _ in range(2))
    assert [job["job_id"] for job in server.jobs] == [record.jobs[0].job_id for record in (first, second)]
    assert first.measured() != second.measured()


def test_inputs_of_a_calibration_are_those_of_a_program() -> None:
    device = LocalDevice(seed=1, model=LocalModel(noise=Noise(transmittance=0.5, indistinguishability=0.8)))
    ways: list[Any] = [(0, 2), [0, 2], np.array([1, 0, 1, 0]), [1, 0, 1, 0], "|1,0,1,0>", pcvl.BasicState([1, 0, 1, 0])]
    for inputs in ways:
        record = calibrate(device, modes=np.int64(4), inputs=inputs, shots=np.int64(20_000), seed=np.int64(0))  # type: ignore[arg-type]
        assert record.input_modes == (0, 2)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"device": "local:slos"}, "Open one first: open_device"),
        ({"inputs": 2}, "no whole numbers"),
        ({"inputs": [0, 1, 2, 3]}, "Write modes as a tuple"),
        ({"inputs": (0,)}, "two or more"),
        ({"inputs": "0,2"}, "no Fock state"),
        ({"shots": 0}, "Use 1 or more"),
        ({"seed": -1}, "Use 0 or more"),
    ],
)
def test_what_no_calibration_takes_is_one_line(changed: Any, words: str) -> None:
    asked: Any = {"device": LocalDevice(seed=1), "modes": 4, "inputs": (0, 2), "shots": 100, "seed": 0} | changed
    with pytest.raises(CalibrationError, match=words) as caught:
        calibrate(asked.pop("device"), **asked)
    assert "\n" not in str(caught.value)


def test_an_interrupted_calibration_of_another_processor_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def processor(overlap: float) -> Device:
        found = pcvl.Processor("SLOS", 4, pcvl.NoiseModel(indistinguishability=overlap, transmittance=0.5))
        return open_device(found, seed=1)

    def at(device: Device) -> CalibrationRecord:
        return calibrate(device, modes=4, inputs=(0, 2), shots=50_000, seed=0, store=tmp_path)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qpu_sdk.calibration.measure.fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            at(processor(0.9))
    found = at(processor(0.3)).indistinguishability
    assert abs(found.value - 0.3) < 0.1  # type: ignore[union-attr]
