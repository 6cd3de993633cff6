"""A device over time: what changed is found, what did not is not, and both are shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.calibration.history import CHANGED, CalibrationHistory
from qpu_sdk.calibration.history_page import draw_history, history_page, kinds_of
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.calibration.store import CalibrationStore
from qpu_sdk.calibration.times import utc_text
from qpu_sdk.calibration.verdict import ALARM
from qpu_sdk.errors import CalibrationNotFound
from tests.calibration.test_page import vendor
from tests.calibration.test_record import example, number
from tests.commands import BAD_INPUT, Commands
from tests.runs.test_page import NASTY, read

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEVICE = "local:slos?noise=ascella"


def on_day(day: int, *, g2: float = 0.02, dark: float = 5e-6, **changes: object) -> CalibrationRecord:
    time = utc_text(BEGIN + timedelta(days=day))
    values: dict[str, object] = {"utc_start": time, "utc_end": time, "g2": number(g2, 0.002), "device": DEVICE}
    values |= {"parameters": [], "covariance": []}
    values["dark_counts"] = [number(dark, 1e-6, "1/window")] * example().modes
    return example(**(values | changes))


def history(*records: CalibrationRecord) -> CalibrationHistory:
    return CalibrationHistory.of(DEVICE, records)


def test_constancy_is_the_chi_square_of_the_weighted_mean() -> None:
    values = [0.020, 0.023, 0.019, 0.024]
    found = history(*(on_day(day, g2=value) for day, value in enumerate(values))).constancy["g2"]
    assert found.chi2 == pytest.approx(sum(((x - np.mean(values)) / 0.002) ** 2 for x in values))
    assert found.dof == 3


def test_false_alarms_are_as_rare_as_the_limit_says() -> None:
    """Of p-values of numbers that never changed a tenth is below a tenth, and next to none is an alarm."""
    rng = np.random.default_rng(1)
    found = [
        history(*(on_day(day, g2=float(rng.normal(0.02, 0.002))) for day in range(5))).constancy["g2"].p_value
        for _ in range(200)
    ]
    below = sum(p is not None and p < 0.1 for p in found)
    assert abs(below - 20) < 4 * math.sqrt(20 * 0.9)
    assert min(p for p in found if p is not None) > ALARM / 10


def test_a_step_is_marked_where_it_happened() -> None:
    found = history(on_day(0), on_day(1), on_day(2, g2=0.06), on_day(3, g2=0.06))
    assert found.drifted == ("g2",)
    assert [found.changed(record, "g2") for record in found.records] == [False, False, True, False]
    assert [row[-1] for row in found.rows() if row[0] == "g2"] == ["", "", CHANGED, ""]
    assert found.verdict.startswith("The device changed over 4 records, 2026-03-01T12:00:00Z to 2026-03-04T12:00:00Z")
    assert "g2 the most, from 0.02 to 0.06" in found.verdict


def test_a_slow_drift_is_found_that_no_two_records_in_a_row_show() -> None:
    found = history(*(on_day(day, g2=0.02 + 0.002 * day) for day in range(8)))
    assert not any(found.changed(record, "g2") for record in found.records)
    assert found.drifted == ("g2",)


def test_nothing_changed_is_said_to_be_so() -> None:
    found = history(on_day(0), on_day(1, g2=0.0215))
    assert found.verdict.startswith("Nothing changed that the records could tell over 2 records")
    assert "nothing to compare it with yet" in history(on_day(0)).verdict
    published = vendor().model_copy(update={"device": DEVICE})
    assert "no errors to compare with" in history(published, published).verdict


def test_records_of_another_size_are_left_out_and_named() -> None:
    other = on_day(0, detector="pnr")
    found = history(other, on_day(1), on_day(2))
    assert len(found.records) == 2
    assert found.left_out == (f"{other.id} of {other.utc_end}: {other.modes} modes, pnr detectors",)


def test_the_table_has_what_changed_and_what_is_of_the_whole_device() -> None:
    found = history(on_day(0), on_day(1, dark=5e-5))
    shown = {row[0] for row in found.rows()}
    assert {"g2", "indistinguishability", "dark counts[0]"} <= shown
    assert not any(name.startswith("output efficiencies") for name in shown)
    every = found.rows(details=True)
    assert len(every) == 2 * len(found.numbers)
    assert next(row for row in every if row[0] == "g2")[2:4] == ("0.0200 +- 0.0020", "0.0161 .. 0.0239")


def test_every_number_is_in_the_figure_of_its_kind() -> None:
    found = history(on_day(0), on_day(1), on_day(2, g2=0.06))
    kinds = kinds_of(found)
    assert sorted(name for names in kinds.values() for name in names) == sorted(found.numbers)
    for kind, names in kinds.items():
        axes = draw_history(found, kind).axes[0]
        lines = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 3]
        wanted = [[measured.value for _, measured in found.numbers[name]] for name in names]
        assert [np.asarray(line.get_ydata()).tolist() for line in lines] == wanted
    rings = [line for line in draw_history(found, "g2").axes[0].lines if line.get_fillstyle() == "none"]
    assert [np.asarray(line.get_ydata()).tolist() for line in rings] == [[0.06]]


def test_the_page_is_well_formed_and_escaped() -> None:
    odd = [on_day(day, device=NASTY, g2=0.02 + 0.03 * day) for day in range(2)]
    text = history_page(CalibrationHistory.of(NASTY, odd, [f"{NASTY} is damaged"]))
    reader = read(text)
    assert {"svg", "table", "h1"} <= reader.tags
    assert not {"script", "img", "link"} & reader.tags
    assert reader.text.count(NASTY) >= 3
    assert " +- " not in reader.text
    assert reader.text.index("The device changed") < reader.text.index("Lines at the points")


def test_the_store_gives_it_and_says_what_there_is_not(tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path)
    with pytest.raises(CalibrationNotFound, match=r"no calibration record of nope in .*Make one with: qpu-sdk"):
        store.history("nope")
    first = store.save(on_day(0))
    store.save(on_day(1))
    (first.parent / "20260101T000000Z.json").write_text("{")
    found = store.history(DEVICE)
    assert [record.utc_end for record in found.records] == ["2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"]
    assert len(found.left_out) == 1
    assert "20260101T000000Z.json" in found.left_out[0]


def test_the_command_prints_a_plain_table_json_and_a_page(tmp_path: Path) -> None:
    store, page = CalibrationStore(tmp_path / "records"), tmp_path / "history.html"
    for day, g2 in enumerate((0.02, 0.021, 0.06)):
        store.save(on_day(day, g2=g2))
    asked = ("calibrate", "--history", DEVICE, "--out", store.folder)
    told = Commands().run(*asked, "--page", page)
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert lines[0].startswith("The device changed over 3 records")
    assert lines[2].split() == ["number", "time", "value", "95", "%", "interval", "change"]
    assert [line.split()[-1] for line in lines[3:] if line.startswith("g2 ")] == ["0.0239", "0.0249", CHANGED]
    assert "prefers-color-scheme: dark" in page.read_text(encoding="utf-8")
    data = Commands().succeed(*asked, "--json")
    assert data["drifted"] == ["g2"]
    assert [entry["changed"] for entry in data["numbers"]["g2"]] == [False, False, True]
    assert data["numbers"]["g2"][0] == {
        "record": data["records"][0]["id"],
        "value": 0.02,
        "unit": "1",
        "standard_error": 0.002,
        "low": pytest.approx(0.01608),
        "high": pytest.approx(0.02392),
        "changed": False,
    }


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("nope",), "no calibration record of nope in"),
        ((), "no device. Write for example: qpu-sdk calibrate --history"),
    ],
)
def test_without_records_or_device_it_is_one_line(tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    assert line in Commands().fail(BAD_INPUT, "calibrate", "--history", *words, "--out", tmp_path)
