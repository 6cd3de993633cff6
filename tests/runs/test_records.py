"""Which record serves which device, that a run keeps it, and that stopping changes no bit of a mitigated run."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.calibration.store import CalibrationStore
from qpu_sdk.devices.base import Device, DeviceSpec, Job
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.replay import ReplayDevice
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import (
    CalibrationError,
    CalibrationMismatch,
    CalibrationNotFound,
    CalibrationStale,
    CheckpointError,
    ConfigError,
    MitigationError,
)
from qpu_sdk.layer.estimator import Mitigation
from qpu_sdk.layer.records import save_records
from qpu_sdk.mitigation.methods import METHODS
from qpu_sdk.photonics.click_model import accurate_click_distribution
from qpu_sdk.photonics.counts import Counts, Detector
from qpu_sdk.photonics.noise import Noise
from qpu_sdk.photonics.program import Program
from qpu_sdk.runs.records import load_records, resolve
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import load_config, parse_config
from qpu_sdk.training.qnn import QNNBank
from tests.oracles.unitaries import haar
from tests.training import tiny
from tests.training.test_loop import bits, copied, finish, weights

NOISY = "local:slos?noise=belenos-published,transmittance=0.4"
QPU = "fake:qpu"


class Silent(Device):
    """A device that must not be asked."""

    def __init__(self, name: str = QPU, detector: Detector = "threshold") -> None:
        self.spec = DeviceSpec(name=name, max_modes=24, max_photons=12, detector=detector, simulated=False)

    def submit(self, programs: Sequence[Program], *, shots: int, tag: str = "") -> Job:
        raise AssertionError("nothing may be submitted")


def record(device: str = QPU, *, modes: int = 4, inputs: tuple[int, ...] = (0, 1), **changes: Any) -> CalibrationRecord:
    noise = Noise(transmittance=0.3, indistinguishability=0.9)
    found = known_record(noise, Identity(device, "", modes, inputs, "threshold"))
    return CalibrationRecord.model_validate(found.model_dump() | changes)


def resolved(device: str = QPU, opened: Device | None = None, **keys: Any) -> Mitigation:
    config = tiny.config(device=device, mitigation=keys)
    return resolve(config, {device: opened if opened is not None else Silent(device)})


def stored(folder: Path, *records: CalibrationRecord) -> str:
    for one in records:
        CalibrationStore(folder).save(one)
    return str(folder)


def written(path: Path, one: CalibrationRecord) -> str:
    path.write_text(one.to_json(), encoding="utf-8")
    return str(path)


# -- configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_the_method_goes_to_toml_and_back(tmp_path: Path, method: str) -> None:
    tree = {"mitigation": {"method": method, "record": "a/b.json", "max_age_h": 12.0}}
    config, path = parse_config(tree, where="test"), tmp_path / "config.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert load_config(path) == config
    assert config.mitigation.method == method
    assert load_config(overrides=[f"mitigation.method={method}"]).mitigation.method == method


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "magic"}, "mitigation.method: method 'magic' is unknown. Use auto, post-select, response"),
        (
            {"method": "post-selection"},
            "mitigation.method: method 'post-selection' is unknown; post-select is the near",
        ),
        ({"method": "unfold, fuse"}, "unfold-fuse is the nearest"),
        ({"method": ["unfold", "fuse"]}, "mitigation.method: Input should be a valid string"),
        ({"method": 3}, "mitigation.method: Input should be a valid string"),
        ({"max_age_h": 0}, "mitigation.max_age_h"),
        ({"record": 3}, "mitigation.record"),
        ({"steps": "auto"}, "unknown key 'mitigation.steps'"),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"mitigation": values}, where="run.toml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_records_come_from_is_not_in_the_fingerprint_but_their_content_is() -> None:
    config, moved = tiny.config(), tiny.config(mitigation={"record": "elsewhere", "max_age_h": 1.0})
    assert config.fingerprint == moved.fingerprint
    prints = [Mitigation(known, "auto", 0, {}).fingerprint(config) for known in ({}, {QPU: record()}, {"b": record()})]
    prints += [Mitigation({QPU: record(notes="another")}, "auto", 0, {}).fingerprint(config)]
    assert len(set(prints)) == 4
    assert prints[0] == config.fingerprint
    assert tiny.config(mitigation={"method": "unfold"}).fingerprint != config.fingerprint


# -- which record ------------------------------------------------------------------------------------------


def test_a_noiseless_simulator_is_post_selected_without_a_word() -> None:
    for device in ("local:slos", "local:slos?transmittance=0.3", "local:slos?noise=ideal"):
        found = resolved(device, open_device(device, seed=1))
        assert (found.records, found.notes) == ({}, {})


def test_a_noisy_simulator_knows_its_noise_whenever_it_is_asked() -> None:
    one, other = (resolved(NOISY, open_device(NOISY, seed=s)) for s in (1, 2))
    assert one.record_ids == other.record_ids
    known = one.records[NOISY]
    assert (known.device, known.origin, known.modes, known.input_modes) == (NOISY, "simulated", 4, (0, 1))
    assert (known.g2.value, known.g2.standard_error) == (0.182, 0.0)
    assert known.noise().transmittance == (0.4, 0.4, 0.0, 0.0)
    assert resolved(NOISY, open_device(NOISY, seed=1), method="post-select").records == {}


def test_a_named_method_works_on_a_noiseless_simulator() -> None:
    device = "local:slos?transmittance=0.3"
    known = resolved(device, open_device(device, seed=1), method="unfold").records[device]
    assert (known.detector, known.noise().transmittance, known.g2.value) == ("threshold", (0.3, 0.3, 0.0, 0.0), 0.0)


def test_a_twin_serves_with_the_record_it_is_made_of(tmp_path: Path) -> None:
    own = record("fake:original")
    device = f"local:twin?record={written(tmp_path / 'own.json', own)}"
    assert resolved(device, open_device(device, seed=1)).records[device] == own
    assert resolved(device, open_device(device, seed=1), record=str(tmp_path / "own.json")).records[device] == own
    newer = record("fake:original", notes="newer", utc_end="2026-01-01T00:00:00Z")
    folder = stored(tmp_path / "store", newer)
    assert resolved(device, open_device(device, seed=1), record=folder).records[device] == newer


def test_replayed_counts_are_mitigated_as_those_that_were_recorded() -> None:
    program = Program(tiny.config().qnn[0].open_mesh(), np.zeros(7), (0, 1))
    device = open_device(NOISY, seed=1)
    counts = device.submit([program], shots=100).result()
    replay = ReplayDevice(counts, name="replay:x", origin=device.spec)
    found = resolved("replay:x", replay)
    assert found.record_ids["replay:x"] == resolved(NOISY, device).record_ids[NOISY]


def test_a_device_without_a_record_is_post_selected_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "qpu_sdk"):
        found = resolved()
    assert found.records == {}
    assert found.notes[QPU].startswith(f"no calibration record of {QPU}; make one with: qpu-sdk calibrate {QPU}")
    assert [r.getMessage() for r in caplog.records] == [found.notes[QPU]]
    with pytest.raises(CalibrationNotFound, match="no calibration record of fake:qpu; make one with"):
        resolved(method="subtract")
    assert resolved(method="post-select").notes == {}


def test_the_newest_record_that_fits_is_taken_from_a_folder(tmp_path: Path) -> None:
    old, small, wide = (
        record(notes=name, modes=modes, inputs=(0, 1), utc_end=f"2026-01-0{day}T00:00:00Z")
        for name, modes, day in (("old", 4, 1), ("wide", 6, 2), ("small", 3, 3))
    )
    folder = stored(tmp_path, old, small, wide, record("fake:another"))
    assert resolved(record=folder).records[QPU].notes == "wide"
    assert resolved(NOISY, open_device(NOISY, seed=1), record=folder).records[NOISY].device == NOISY


def test_records_of_devices_age_and_those_of_simulators_do_not(tmp_path: Path) -> None:
    aged = {"utc_end": "2026-01-01T00:00:00Z", "validity_h": 1.0}
    folder = stored(tmp_path / "store", record(**aged), record(NOISY, **aged))
    with pytest.raises(CalibrationStale, match="1 h are allowed"):
        resolved(record=folder)
    with pytest.raises(CalibrationStale):
        resolved(record=written(tmp_path / "one.json", record(**aged)))
    with pytest.raises(CalibrationStale, match="2 h are allowed"):
        resolved(record=folder, max_age_h=2.0)
    assert QPU in resolved(record=folder, max_age_h=1e6).records
    assert NOISY in resolved(NOISY, open_device(NOISY, seed=1), record=folder, max_age_h=1.0).records
    counts = Counts(
        photons=2, outcomes=np.eye(4, dtype=np.uint8), numbers=np.arange(4), detector="threshold", device=QPU
    )
    assert "replay:x" in resolved("replay:x", ReplayDevice([counts], name="replay:x"), record=folder).records


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (record("fake:another"), "the record is of fake:another, the device is fake:qpu"),
        (record(modes=3), "4 modes on fake:qpu"),
        (record(inputs=(0, 2)), r"photons in modes \[1\]"),
        (record(detector="pnr"), "threshold detectors"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_before_anything_is_submitted(
    tmp_path: Path, wrong: CalibrationRecord, words: str
) -> None:
    path = written(tmp_path / "record.json", wrong)
    config = tiny.config(device=QPU, mitigation={"record": path})
    with pytest.raises(CalibrationMismatch, match=words):
        resolve(config, {QPU: Silent()})
    if wrong.device == QPU:
        with pytest.raises(CalibrationMismatch):
            resolved(record=stored(tmp_path / "store", wrong))


def test_one_file_serves_its_device_beside_a_noiseless_one(tmp_path: Path) -> None:
    qnns = [{"modes": 4, "photons": 2, "device": name} for name in (QPU, "local:slos")]
    config = tiny.config(qnn=qnns, mitigation={"record": written(tmp_path / "r.json", record())})
    found = resolve(config, {QPU: Silent(), "local:slos": open_device("local:slos", seed=1)})
    assert list(found.records) == [QPU]
    with pytest.raises(CalibrationMismatch):
        resolved("local:slos", open_device("local:slos", seed=1), record=str(tmp_path / "r.json"))
    with pytest.raises(CalibrationNotFound, match="none"):
        resolved(record=str(tmp_path / "none.json"))


def test_noise_that_no_record_can_hold_is_said() -> None:
    device = "local:slos?noise=belenos,g2_distinguishable=false&engine=perceval"
    found = resolved(device, open_device(device, seed=1))
    assert found.records == {}
    assert "second photon" in found.notes[device]
    with pytest.raises(CalibrationNotFound, match="second photon"):
        resolved(device, open_device(device, seed=1), method="unfold")


# -- what a simulator knows of itself ----------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.floats(0.1, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.01, 1.0),
    st.lists(st.floats(0.1, 1.0), min_size=4, max_size=4),
    st.floats(0.0, 1e-3),
)
def test_a_known_record_gives_the_same_clicks(
    brightness: float, overlap: float, transmittance: float, efficiencies: list[float], dark: float
) -> None:
    """Of any brightness without second photons, and of brightness 1 with them."""
    for b, g2 in ((brightness, 0.0), (1.0, 0.3)):
        noise = Noise(
            brightness=b,
            indistinguishability=overlap,
            g2=g2,
            transmittance=transmittance * np.array([1.0, 0.5, 0.0, 0.9]),
            efficiency=efficiencies,
            dark_counts=dark,
        )
        found = known_record(noise, Identity("d", "", 4, (0, 1, 3), "threshold")).noise()
        columns = haar(4, seed=1)[:, :2]
        a, other = (accurate_click_distribution(columns, n.at((0, 3), modes=4))[1] for n in (noise, found))
        np.testing.assert_allclose(other, a, rtol=1e-9, atol=1e-15)


def test_another_brightness_with_second_photons_sends_as_many_of_each() -> None:
    """A source of brightness 0.5: its photon numbers behind the loss, and how many of the photons are common."""
    noise = Noise(brightness=0.5, g2=0.2, indistinguishability=0.5)
    found = known_record(noise, Identity("d", "", 2, (0,), "threshold"))
    one, two = (known_photons(n) for n in (noise, found.noise()))
    np.testing.assert_allclose(one, two, rtol=1e-12)


def known_photons(noise: Noise) -> list[float]:
    """Probabilities of one and two photons, and mean number of common ones, from the definition of the source."""
    here = noise.at((0,), modes=2)
    b, g2, t = noise.brightness, noise.g2, float(here.transmittance[0] * here.efficiency[0])
    roots = np.roots([g2, 2 * b * g2 - 2.0, b * b * g2])
    two = float(min(r.real for r in roots if r.real >= 0.0))
    single = (b - two) * t + 2 * two * t * (1 - t)
    return [single, two * t * t, float(np.sqrt(here.indistinguishability)) * b * t]


@pytest.mark.parametrize("noise", [{"modes": 2}, {"modes": 3, "eta": 0.0}])
def test_noise_of_too_few_modes_or_without_light_gives_no_record(noise: dict[str, Any]) -> None:
    given = Noise(efficiency=np.full(noise["modes"], noise.get("eta", 1.0)))
    with pytest.raises(CalibrationError, match="Use fewer modes, or other noise"):
        known_record(given, Identity("d", "", 3, (0,), "threshold"))


def test_pairs_and_phase_errors_go_into_a_known_record() -> None:
    pairs = ((1.0, 0.8, 0.6), (0.8, 1.0, 0.5), (0.6, 0.5, 1.0))
    noise = Noise(transmittance=0.5, phase_error=0.01, indistinguishability=pairs)
    back = known_record(noise, Identity("d", "", 3, (0, 1, 2), "threshold")).noise()
    assert back.indistinguishability == pairs
    assert back.phase_error == 0.01


# -- in a run ----------------------------------------------------------------------------------------------


def noisy_config(**changes: Any) -> RunConfig:
    return tiny.config(device=NOISY, **changes)


def test_rows_say_what_was_done_and_how_sure_it_is() -> None:
    run = tiny.training(noisy_config())
    states, rows = zip(*run.run(run.init()), strict=True)
    for row in rows:
        if row["kind"] == "measure":
            assert all(len(row[key]) == 2 for key in ("samples", "effective_samples", "overhead", "methods", "shift"))
            assert set(row["methods"]) <= {"unfold-fuse", "subtract"}
            assert all(0.0 < shift < 1.0 for shift in row["shift"])
        if row["kind"] in ("measure", "spsa"):
            assert 0.0 < row["p_error"] < 10.0
    assert states[-1].measured["shift"] == [row for row in rows if row["kind"] == "measure"][-1]["shift"]
    assert not torch.equal(states[-1].p, states[-1].p_before)
    json.dumps(rows, allow_nan=False)


def test_without_noise_nothing_is_changed() -> None:
    auto, plain = (tiny.training(tiny.config(mitigation={"method": m})) for m in ("auto", "post-select"))
    found, other = finish(auto), finish(plain)
    assert torch.equal(weights(auto, found), weights(plain, other))
    assert torch.equal(found.p, found.p_before)
    assert found.measured["shift"] == [0.0, 0.0]


@pytest.mark.parametrize("method", ["auto", "fuse", "subtract"])
def test_stopping_after_any_unit_changes_no_bit_of_a_mitigated_run(method: str) -> None:
    config = noisy_config(mitigation={"method": method}, training={"rounds": 1})
    whole, states = tiny.training(config), []
    for state, _ in whole.run(whole.init()):
        states.append((state, copied(whole.bank.journal)))
    assert len(states) == len(whole.schedule.units)
    for state, journal in states:
        resumed = tiny.training(config, journal=journal)
        assert bits(finish(resumed, state)) == bits(states[-1][0]), f"after unit {state.done}"


def test_no_event_at_all_names_the_device_and_the_shots() -> None:
    config = noisy_config(training={"shots": 1})
    with pytest.raises(MitigationError, match=r"belenos.*measure/0, .*no collision-free 2-photon event in 1 shots"):
        finish(tiny.training(config))


# -- in the folder of a run --------------------------------------------------------------------------------


def test_records_and_notes_survive_the_folder(tmp_path: Path) -> None:
    qnns = [{"modes": 4, "photons": 2, "device": name} for name in (QPU, "fake:qpu?x", "fake-qpu")]
    config = tiny.config(qnn=qnns)
    records = {QPU: record(), "fake-qpu": record("fake-qpu")}  # whose files would have one name
    save_records(tmp_path, Mitigation(records, "auto", 0, {"fake:qpu?x": "none"}))
    found = load_records(tmp_path, config)
    assert (found.records, found.notes) == (records, {"fake:qpu?x": "none"})
    assert len(list(tmp_path.iterdir())) == 3


def test_nothing_to_say_makes_no_folder(tmp_path: Path) -> None:
    save_records(tmp_path / "records", Mitigation({}, "auto", 0, {}))
    assert not (tmp_path / "records").exists()
    assert load_records(tmp_path / "records", tiny.config()).records == {}


@pytest.mark.parametrize("damage", ["delete", "change", "cut", "no index", "bad index", "newer index", "other device"])
def test_damaged_records_stop_a_run_from_going_on(tmp_path: Path, damage: str) -> None:
    config = tiny.config(device=QPU)
    save_records(tmp_path, Mitigation({QPU: record()}, "auto", 0, {}))
    index = tmp_path / "index.json"
    [path] = [p for p in tmp_path.iterdir() if p != index]
    match damage:
        case "delete":
            path.unlink()
        case "change":
            path.write_text(record(notes="changed").to_json())
        case "cut":
            path.write_text(path.read_text()[:-40])
        case "no index":
            index.unlink()
        case "bad index":
            index.write_text("[]")
        case "newer index":
            index.write_text(json.dumps(json.loads(index.read_text()) | {"schema_version": 2}))
        case "other device":
            config = tiny.config()
    with pytest.raises(CheckpointError, match="Restore them") as caught:
        load_records(tmp_path, config)
    assert "\n" not in str(caught.value)


def test_two_models_of_one_device_do_not_share_a_memory_of_records() -> None:
    """The record follows the open device, not its name."""
    model = LocalModel(noise=Noise(transmittance=0.5, g2=0.1))
    found = resolved("local:slos", LocalDevice(seed=1, model=model))
    assert found.records["local:slos"].g2.value == 0.1


def test_a_bank_without_a_configuration_post_selects() -> None:
    config = noisy_config()
    bank = QNNBank(QNNBank.of(config, {NOISY: open_device(NOISY, seed=1)}).qnns, {NOISY: open_device(NOISY, seed=1)})
    with Journal(None):
        [measured] = bank.measure(bank.initial_phases(seed=1)[None], shots=2000, tag="t")
    assert [[s.name for s in d.history] for d in measured] == [["post-select"], ["post-select"]]
