"""The records that come with the repository load, say what they are, and hold the truth of their presets."""

from __future__ import annotations

from pathlib import Path

import pytest

from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.calibration.store import CalibrationStore, load_record
from qpu_sdk.devices.machines import NOISE_PRESETS

FOLDER = Path(__file__).parents[2] / "calibration"
FILES = sorted(FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("preset", ["ascella", "belenos", "ascella-published", "belenos-published"])
def test_every_noisy_preset_has_one(preset: str) -> None:
    listing = CalibrationStore(FOLDER).all(f"local:slos?noise={preset}")
    assert listing.records
    assert not listing.damaged
    for record in listing.records:
        assert (record.origin, record.seed, record.modes) == ("simulated", 1, 9)
        assert_true(record, preset)


def assert_true(record: CalibrationRecord, preset: str) -> None:
    """Each number within five of its standard errors of the preset; efficiencies of mean 1; no dark counts."""
    noise = NOISE_PRESETS[f"{preset.removesuffix('-published')}-published"]  # which the short names stood for until 0.1
    truth = {"indistinguishability": noise.indistinguishability, "g2": noise.g2}
    for name in record.parameters:
        kind = name.partition("[")[0]
        if kind != "dark_counts":
            true = truth.get(kind, noise.transmittance if kind == "input_transmissions" else 1.0)
            measured = record.measured()[name]
            assert measured.standard_error
            assert abs(measured.value - true) < 5 * measured.standard_error, name
    assert all(dark.value < 1e-6 for dark in record.dark_counts)
    for test in (record.fit, record.validation, record.drift):
        assert test is not None
        assert test.p_value is not None
        assert test.p_value > 1e-3


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_is_a_record_in_its_place(path: Path) -> None:
    record = load_record(path)
    assert path.stem.startswith(record.ended.strftime("%Y%m%dT%H%M%SZ"))
    assert len(record.jobs) <= 12
