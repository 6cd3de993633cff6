"""Records: what goes in comes out, and whatever is not a record is refused in one line that names the key."""

from __future__ import annotations

import copy
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qpu_sdk.calibration.known import vendor_record
from qpu_sdk.calibration.parts import Identity, parameter_name
from qpu_sdk.calibration.record import CalibrationRecord, json_schema
from qpu_sdk.calibration.times import utc_text
from qpu_sdk.errors import CalibrationError
from qpu_sdk.photonics.click_model import click_distribution

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/calibration_record_v1.json"
IDENTITY = Identity("quandela:qpu:belenos", "qpu:belenos", 3, (0, 2), "threshold")
PERFS = {"Transmittance (%)": 4.84, "HOM (%)": 82.7, "g2 (%)": 18.2}
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def number(value: float, error: float | None = 0.0, unit: str = "1") -> dict[str, Any]:
    return {"value": value, "standard_error": error, "unit": unit}


def job(name: str, role: str, chi2: float, **changes: Any) -> dict[str, Any]:
    values = {
        "name": name,
        "role": role,
        "tag": f"calibrate/{name}",
        "job_id": "7c1f",
        "program": "5d41402abc4b2a76",
        "input_modes": [0, 2],
        "shots": 1000,
        "windows": 9000,
        "clicks": {"1": 950, "2": 50},
        "chi2": chi2,
        "dof": 5,
    }
    return values | changes


def content(**changes: Any) -> dict[str, Any]:
    """What a file holds, with fixed numbers: 3 modes, sources at 0 and 2, the first output fixed."""
    names = ["g2", "indistinguishability", "input_transmissions[0]", "input_transmissions[2]"]
    names += ["output_efficiencies[1]", "output_efficiencies[2]", "dark_counts[0]"]
    errors = np.array([0.002, 0.004, 0.0005, 0.0006, 0.01, 0.012, 1e-6])
    correlation = 0.25 + 0.75 * np.eye(len(names))
    values: dict[str, Any] = {
        "schema_version": 1,
        "device": "quandela:qpu:belenos",
        "platform": "qpu:belenos",
        "architecture_hash": "ab" * 32,
        "modes": 3,
        "input_modes": [0, 2],
        "detector": "threshold",
        "origin": "simulated",
        "model": "OBB, distinguishable second photon, threshold, one permanent per set",
        "gauge": "Brightness and the first output efficiency are fixed to 1.",
        "brightness": number(1.0),
        "indistinguishability": number(0.9, 0.004),
        "g2": number(0.02, 0.002),
        "input_transmissions": {"0": number(0.06, 0.0005), "2": number(0.055, 0.0006)},
        "output_efficiencies": [number(1.0), number(0.93, 0.01), number(0.88, 0.012)],
        "dark_counts": [number(5e-6, 1e-6, "1/window"), *[number(0.0, 0.0, "1/window")] * 2],
        "phase_error": number(0.01, 0.003, "rad"),
        "parameters": names,
        "covariance": (errors[:, None] * correlation * errors).tolist(),
        "jobs": [job("shift 0", "fit", 4.5), job("random 0", "validation", 6.0), job("repeat", "drift", 3.0)],
        "fit": {"chi2": 4.5, "dof": 5, "p_value": 0.48},
        "validation": {"chi2": 6.0, "dof": 5, "p_value": 0.31},
        "drift": {"chi2": 3.0, "dof": 5, "p_value": 0.7},
        "utc_start": "2026-03-01T11:58:00Z",
        "utc_end": "2026-03-01T12:00:00Z",
        "mitigations_requested": "[]",
        "mitigations_returned": "[]",
        "vendor": {**PERFS, "clock (MHz)": 4.94},
        "versions": {"qpu_sdk": "0.3.0", "perceval-quandela": "1.3.1"},
        "validity_h": 24.0,
        "seed": 7,
        "notes": "",
    }
    return values | changes


def example(**changes: Any) -> CalibrationRecord:
    return CalibrationRecord.from_json(json.dumps(content(**changes)))


def pairs(value: float = 0.81) -> dict[str, Any]:
    """Changes for a record of three inputs with an overlap for each pair."""
    overlaps = [{"modes": list(m), **number(value, 0.01)} for m in ((0, 1), (0, 2), (1, 2))]
    into = {str(mode): number(0.06, 0.001) for mode in range(3)}
    empty: dict[str, Any] = {"parameters": [], "covariance": []}
    return {"indistinguishability": overlaps, "input_modes": [0, 1, 2], "input_transmissions": into} | empty


def test_round_trip() -> None:
    for record in (example(), example(**pairs()), example(vendor={"a": [1, 1.0, None, {"b": "\u00e9"}]})):
        again = CalibrationRecord.from_json(record.to_json())
        assert again == record
        assert again.id == record.id
        assert again.to_json() == record.to_json()
        assert max(map(len, record.to_json().splitlines())) <= 120


def test_the_golden_file_loads_for_ever() -> None:
    record = CalibrationRecord.from_json(GOLDEN.read_text(encoding="utf-8"))
    assert record == example()
    assert record.id == "f76d994c3e6cf377"


def test_the_schema_on_file_is_the_schema() -> None:
    assert json.loads((ROOT / "calibration/schema.json").read_text(encoding="utf-8")) == json_schema()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    return [path]


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    data = copy.deepcopy(data)
    inside = data
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return data


def value_at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def test_any_change_of_content_changes_the_id() -> None:
    base, seen, changed = content(), {example().id}, 0
    for path in leaves(base):
        old = value_at(base, path)
        new = old + "b" if isinstance(old, str) else old * (1 - 1e-9) if isinstance(old, float) else old - 1
        try:
            record = CalibrationRecord.from_json(json.dumps(put(base, path, new)))
        except CalibrationError:
            continue
        assert old == 0.0 or record.id not in seen, path
        seen.add(record.id)
        changed += 1
    assert changed > 100


def test_noise_is_that_of_the_record() -> None:
    noise = example().noise()
    assert noise.modes == 3
    assert noise.transmittance == (0.06, 0.0, 0.055)
    assert noise.efficiency == (1.0, 0.93, 0.88)
    assert noise.dark_counts == (5e-6, 0.0, 0.0)
    assert (noise.brightness, noise.indistinguishability, noise.g2, noise.phase_error) == (1.0, 0.9, 0.02, 0.01)


def test_pairs_mean_what_one_number_means() -> None:
    """Both forms give one distribution when all pairs are alike, and I is the visibility on a beam splitter."""
    columns = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0].astype(complex)[None]
    one = example(**(pairs() | {"indistinguishability": number(0.81, 0.01), "g2": number(0.0, 0.0)}))
    many = example(**(pairs() | {"g2": number(0.0, 0.0)}))
    distributions = [click_distribution(columns, r.noise().at((0, 1, 2), modes=3))[1] for r in (one, many)]
    np.testing.assert_allclose(distributions[0], distributions[1], atol=1e-14)
    perfect = [number(1.0)] * 3
    lossless = {"input_transmissions": dict.fromkeys("012", number(1.0)), "output_efficiencies": perfect}
    still = {"dark_counts": [number(0.0, 0.0, "1/window")] * 3, "g2": number(0.0)}
    splitter = np.array([[1, 1j, 0], [1j, 1, 0], [0, 0, np.sqrt(2)]])[None] / np.sqrt(2)
    noise = example(**(pairs(0.7) | lossless | still)).noise().at((0, 1), modes=3)
    sets, p = click_distribution(splitter[:, :, :2], noise)
    assert p[0, sets.masks.tolist().index(3)] == pytest.approx((1 - 0.7) / 2)


def test_age() -> None:
    record = example()
    assert record.age_h(NOW) == 0.5
    assert record.age_h(NOW.astimezone(datetime.strptime("+0530", "%z").tzinfo)) == 0.5
    assert record.ended + timedelta(hours=0.5) == NOW
    assert utc_text(record.ended) == record.utc_end
    with pytest.raises(CalibrationError, match="time zone"):
        record.age_h(NOW.replace(tzinfo=None))


def test_covariance_and_names_go_together() -> None:
    record = example()
    measured = record.measured()
    errors = [measured[name].standard_error for name in record.parameters]
    np.testing.assert_allclose(np.sqrt(np.diag(record.covariance_array())), np.array(errors, dtype=float))
    assert example(**pairs()).covariance_array().shape == (0, 0)
    assert parameter_name("indistinguishability", 0, 2) in example(**pairs()).measured()


def covariance_with(row: int, column: int, value: float) -> list[list[float]]:
    rows: list[list[float]] = copy.deepcopy(content()["covariance"])
    rows[row][column] = value
    return rows


def indefinite() -> list[list[float]]:
    rows = np.array(content()["covariance"])
    rows[0, 1:] *= -3.5
    rows[1:, 0] *= -3.5
    return rows.tolist()  # type: ignore[no-any-return]


BAD: list[tuple[str, dict[str, Any]]] = [
    ("schema_version", {"schema_version": 2}),
    ("schema_version", {"schema_version": True}),
    ("schema_version", {"schema_version": "1"}),
    ("temperature", {"temperature": 4.0}),
    ("device", {"device": ""}),
    ("modes", {"modes": "3"}),
    ("modes", {"modes": 0}),
    ("architecture_hash", {"architecture_hash": "xy"}),
    ("input_modes", {"input_modes": [2, 0]}),
    ("input_modes", {"input_modes": [0, 3]}),
    ("input_transmissions", {"input_transmissions": {"0": number(0.06, 0.1)}}),
    ("output_efficiencies", {"output_efficiencies": [number(1.0)]}),
    ("detector", {"detector": "eye"}),
    ("origin", {"origin": "guessed"}),
    ("brightness", {"brightness": number(0.5)}),
    ("g2", {"g2": number(math.nan, 0.002)}),
    ("g2", {"g2": number(math.inf, 0.002)}),
    ("g2", {"g2": number(0.51, 0.002)}),
    ("g2", {"g2": number(-0.01, 0.002)}),
    ("g2", {"g2": number(0.02, -0.002)}),
    ("g2", {"g2": number(0.02, 0.002, "rad")}),
    ("g2", {"g2": number(0.02, 0.002, "%")}),
    ("g2", {"g2": number(0.02, None)}),
    ("g2", {"g2": 0.02}),
    ("g2", {"g2": None}),
    ("phase_error", {"phase_error": number(4.0, 0.1, "rad")}),
    ("dark_counts[0]", {"dark_counts": [number(1.5, 1e-6, "1/window"), *[number(0.0, 0.0, "1/window")] * 2]}),
    ("indistinguishability", {"indistinguishability": []}),
    ("indistinguishability", {"indistinguishability": [{"modes": [2, 0], **number(0.9)}]}),
    ("covariance", {"covariance": []}),
    ("covariance", {"covariance": covariance_with(0, 1, 0.0)}),
    ("covariance", {"covariance": covariance_with(0, 0, 4.1e-6)}),
    ("covariance", {"covariance": covariance_with(0, 0, math.nan)}),
    ("covariance", {"covariance": covariance_with(0, 1, 1e308)}),
    ("covariance is not positive", {"covariance": indefinite()}),
    ("parameters", {"parameters": ["g3", *content()["parameters"][1:]]}),
    ("parameters", {"parameters": ["g2", "g2", *content()["parameters"][2:]]}),
    ("utc_end", {"utc_end": "2026-03-01T12:00:00"}),
    ("utc_end", {"utc_end": "2026-02-30T12:00:00Z"}),
    ("utc_start", {"utc_start": "2026-03-01T12:00:01Z"}),
    ("validity_h", {"validity_h": 0.0}),
    ("vendor", {"vendor": {"HOM (%)": math.nan}}),
    ("fit.dof", {"fit": {"chi2": 1.0, "dof": -1}}),
    ("validation.p_value", {"validation": {"chi2": 1.0, "dof": 1, "p_value": 1.5}}),
    ("clicks", {"jobs": [job("a", "fit", 1.0, clicks={"1": 1001})]}),
    ("windows", {"jobs": [job("a", "fit", 1.0, windows=10)]}),
    ("chi2", {"jobs": [job("a", "fit", 1.0, dof=None)]}),
    ("role", {"jobs": [job("a", "guess", 1.0)]}),
    ("jobs", {"jobs": [job("a", "fit", 1.0, input_modes=[1])]}),
]


@pytest.mark.parametrize(("key", "changes"), BAD, ids=[f"{i}-{key}" for i, (key, _) in enumerate(BAD)])
def test_what_is_wrong_is_named_in_one_line(key: str, changes: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError) as caught:
        example(**changes)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert type(caught.value) is CalibrationError


@pytest.mark.parametrize(
    "key", ["device", "g2", "jobs.0.clicks", "covariance", "utc_end", "input_transmissions.0.value"]
)
def test_a_missing_key_is_named(key: str) -> None:
    data = content()
    *path, last = key.split(".")
    inside: Any = data
    for part in path:
        inside = inside[int(part) if isinstance(inside, list) else part]
    del inside[last]
    with pytest.raises(CalibrationError, match=key.replace(".", r"\.")):
        CalibrationRecord.from_json(json.dumps(data))


def test_every_truncation_is_refused() -> None:
    text = example().to_json().rstrip()
    for length in range(0, len(text), 7):
        with pytest.raises(CalibrationError) as caught:
            CalibrationRecord.from_json(text[:length])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "3", '"a"', "[" * 100_000, '{"a":' * 100_000, "\ud800", '{"device": "\\ud800"}', "9" * 9000],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(CalibrationError, match="not a calibration record"):
        CalibrationRecord.from_json(text)


def test_a_key_that_stands_twice_is_refused() -> None:
    text = example().to_json().replace('"seed": 7', '"seed": 7, "seed": 8')
    with pytest.raises(CalibrationError, match="seed stands there twice"):
        CalibrationRecord.from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def read_or_refused(text: str) -> CalibrationRecord | None:
    try:
        return CalibrationRecord.from_json(text)
    except CalibrationError as error:
        line = str(error)
    assert "\n" not in line
    return None


@given(st.data())
def test_no_edit_gives_another_error(data: st.DataObject) -> None:
    """Any value anywhere: a record, or one line of CalibrationError."""
    base = content()
    path = data.draw(st.sampled_from(leaves(base)))
    path = path[: data.draw(st.integers(1, len(path)))]
    record = read_or_refused(json.dumps(put(base, path, data.draw(JSON))))
    assert record is None or CalibrationRecord.from_json(record.to_json()) == record


@given(st.text() | JSON.map(json.dumps))
def test_no_text_gives_another_error(text: str) -> None:
    with pytest.raises(CalibrationError):
        CalibrationRecord.from_json(text)


@given(st.integers(0, 5000), st.characters())
def test_no_slip_of_the_pen_gives_another_error(position: int, character: str) -> None:
    text = example().to_json()
    position %= len(text)
    read_or_refused(text[:position] + character + text[position + 1 :])


def test_records_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        example().modes = 4


def test_what_a_vendor_publishes() -> None:
    record = vendor_record(PERFS, IDENTITY, utc="2026-03-01T12:00:00Z")
    assert record.origin == "vendor"
    assert record.vendor == PERFS
    assert {m.standard_error for m in record.measured().values()} == {None}
    assert record.indistinguishability.value == pytest.approx(0.827)  # type: ignore[union-attr]
    assert record.noise().transmittance == pytest.approx((0.0484, 0.0, 0.0484))
    assert CalibrationRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("into", [[10.0, 99.0, 8.0], [10.0, 8.0]])
def test_transmissions_per_mode_go_before_an_aggregate_of_zero(into: list[float]) -> None:
    table = {"t_in": into, "t_out": [40.0, 50.0, 25.0]}
    perfs: dict[str, Any] = {**PERFS, "Transmittance (%)": 0, "Transmission per mode (%)": table}
    noise = vendor_record(perfs, IDENTITY, utc="2026-03-01T12:00:00Z").noise()
    assert noise.efficiency == pytest.approx((0.8, 1.0, 0.5))
    assert noise.transmittance == pytest.approx((0.05, 0.0, 0.04))


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("Transmittance", {"Transmittance (%)": 0}),
        ("Transmittance", {"Transmittance (%)": 101}),
        ("HOM", {"HOM (%)": "82.7"}),
        ("HOM", {"HOM (%)": math.nan}),
        ("HOM", {"HOM (%)": True}),
        ("g2", {"g2 (%)": 60.0}),
        ("per mode", {"Transmission per mode (%)": [1.0]}),
        ("per mode", {"Transmission per mode (%)": {"t_in": [1.0, 1.0]}}),
        ("per mode", {"Transmission per mode (%)": {"t_in": [1.0, 1.0], "t_out": [1.0]}}),
        ("per mode", {"Transmission per mode (%)": {"t_in": [1.0], "t_out": [1.0, 1.0, 1.0]}}),
        ("per mode", {"Transmission per mode (%)": {"t_in": [1.0, 1.0], "t_out": [0, 0, 0]}}),
        ("per mode", {"Transmission per mode (%)": {"t_in": [1.0, 1.0], "t_out": []}}),
        ("per mode", {"Transmission per mode (%)": {"t_in": [1.0, None], "t_out": [1.0, 1.0, 1.0]}}),
    ],
)
def test_published_figures_that_cannot_be_are_refused(key: str, changes: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match=key) as caught:
        vendor_record({**PERFS, **changes}, IDENTITY, utc="2026-03-01T12:00:00Z")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["Transmittance (%)", "HOM (%)", "g2 (%)"])
def test_figures_that_are_not_published_are_named(key: str) -> None:
    with pytest.raises(CalibrationError, match="publishes no") as caught:
        vendor_record({k: v for k, v in PERFS.items() if k != key}, IDENTITY, utc="2026-03-01T12:00:00Z")
    assert key in str(caught.value)
