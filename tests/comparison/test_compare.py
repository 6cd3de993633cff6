"""The comparison of mitigations: programs with known truth, honest bookkeeping, and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qpu_sdk.calibration.known import known_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.record import CalibrationRecord
from qpu_sdk.comparison.compare import compare
from qpu_sdk.comparison.page import cells, comparison_page, comparison_rows, comparison_verdict, groups, harm
from qpu_sdk.comparison.programs import KINDS, known_programs
from qpu_sdk.comparison.table import MeanRow, rows
from qpu_sdk.comparison.trial import Comparison, ComparisonRequest, Trial
from qpu_sdk.devices.local import LocalDevice
from qpu_sdk.devices.noise_text import parse_noise
from qpu_sdk.devices.simulation import LocalModel
from qpu_sdk.errors import ConfigError
from qpu_sdk.statistics import sampling_distance
from tests.commands import Commands

NAME = "local:slos?noise=transmittance:0.4,indistinguishability:0.9"
NOISE = parse_noise("transmittance=0.4,indistinguishability=0.9")
INPUTS = (0, 2)


def record() -> CalibrationRecord:
    """Of a simulator that knows itself."""
    identity = Identity(NAME, "slos", 4, INPUTS, "threshold")
    return known_record(NOISE, identity)


def device() -> LocalDevice:
    """The simulator."""
    return LocalDevice(seed=1, model=LocalModel(noise=NOISE), name=NAME)


def test_programs_have_their_truth() -> None:
    programs = known_programs(KINDS, modes=4, input_modes=INPUTS, each=2, seed=1)
    assert [(p.kind, p.number) for p in programs] == [
        *(("brickwall", n) for n in range(2)),
        *(("haar", n) for n in range(2)),
        ("identity", 0),
        *(("permutation", n) for n in range(2)),
        ("dft", 0),
    ]
    for known in programs:
        assert known.truth.sum() == pytest.approx(1.0)
    identity = next(p for p in programs if p.kind == "identity")
    assert identity.truth.round(12).tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]  # modes 0 and 2
    permutation = next(p for p in programs if p.kind == "permutation")
    assert permutation.truth.max() == pytest.approx(1.0)
    again = known_programs(("haar",), modes=4, input_modes=INPUTS, each=2, seed=1)
    np.testing.assert_array_equal(again[1].truth, programs[3].truth)


def test_unknown_programs() -> None:
    with pytest.raises(ConfigError, match="programs 'clifford' are unknown"):
        known_programs(("clifford",), modes=4, input_modes=INPUTS, each=1, seed=1)  # type: ignore[arg-type]


def test_every_estimate_gets_the_same_shots() -> None:
    programs = known_programs(("haar",), modes=4, input_modes=INPUTS, each=2, seed=1)
    shots = 90_000
    trials = compare(device(), record(), programs, shots=shots, seed=0, methods=("subtract",))
    assert {t.shots for t in trials} == {shots}
    settings = {(t.method, t.settings) for t in trials}
    assert {"raw", "ours", "ours: subtract", "none", "low", "recycling"} == {m for m, s in settings if s == 1}
    many = {s for m, s in settings if m in ("medium", "high")}
    assert {s for m, s in settings if m == "ours"} == {1} | many  # ours at as many settings as each preset
    first = {t.method: t for t in trials if t.number == 0 and t.settings == 1}
    assert first["none"].tvd == pytest.approx(first["raw"].tvd, abs=1e-12)  # the same counts
    assert first["ours"].tvd is not None
    assert first["raw"].tvd is not None
    for t in trials:
        assert t.floor == pytest.approx(sampling_distance(programs[t.number].truth, t.events))


def test_many_shots_show_the_bias_that_mitigation_removes() -> None:
    programs = known_programs(("haar", "brickwall"), modes=4, input_modes=INPUTS, each=3, seed=2)
    trials = compare(device(), record(), programs, shots=4_000_000, seed=0, presets=())
    found = {row.method: row for row in rows(trials)}
    raw, ours = found["raw"], found["ours"]
    assert raw.tvd is not None
    assert ours.tvd is not None
    # I = 0.9 leaves a bias of some percent; what is left has the size that half a million events allow
    assert ours.tvd < 3.0 * ours.floor < 0.1 * raw.tvd


def trial(method: str, number: int, tvd: float | None, *, settings: int = 1) -> Trial:
    """Made up."""
    return Trial("haar", number, method, 100, settings, 50, tvd, 0.1, 0.95 if tvd is not None else None, "")


def test_rows_are_means_over_programs_and_paired_differences() -> None:
    trials = [trial("raw", 0, 0.2), trial("raw", 1, 0.4), trial("ours", 0, 0.1), trial("ours", 1, 0.5)]
    trials += [trial("high", 0, 0.3, settings=75), trial("high", 1, None, settings=75)]
    found = {row.method: row for row in rows(trials)}
    ours = found["ours"]
    assert (ours.tvd, ours.difference, ours.worse, ours.programs) == (pytest.approx(0.3), pytest.approx(0.0), 1, 2)
    assert ours.difference_error == pytest.approx(0.1)
    assert found["high"].failed == 1
    assert found["high"].difference is None  # no raw at 75 settings to pair with
    assert isinstance(found["raw"], MeanRow)


def comparison() -> Comparison:
    """Made up, with one harm and one failure."""
    trials = (trial("raw", 0, 0.2), trial("raw", 1, 0.4), trial("ours", 0, 0.1), trial("ours", 1, 0.5))
    trials += (trial("recycling", 0, None), trial("recycling", 1, None))
    return Comparison("local:slos", "abc", 10, 1000, ComparisonRequest(("haar",), 2, (100,), 0), trials)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.1, 0.11, 0.12), "Ours is nearer to the truth than raw counts by 0.110 in total variation (95 % +0.099 to"),
        ((-0.1, -0.11, -0.12), "Ours is farther from the truth than raw counts by 0.110"),
        ((0.1, -0.1, 0.03), "which may be chance. It is worse for 1 of 3 programs."),
        ((0.1,), "Nothing tells whether ours is better than raw counts"),
        ((), "Nothing tells"),
    ],
)
def test_the_verdict_is_by_the_interval_over_programs(gains: tuple[float, ...], said: str) -> None:
    trials = [trial("raw", k, 0.4, settings=n) for k in range(len(gains)) for n in (1, 9)]
    trials += [trial("ours", k, 0.4 - gain, settings=n) for k, gain in enumerate(gains) for n in (1, 9)]
    assert said in comparison_verdict(replace(comparison(), trials=tuple(trials)))


def test_reports_name_what_hurts() -> None:
    found = comparison()
    assert harm(found) == ["haar 1, 100 shots in 1: 0.5000, raw 0.4000"]
    ours = next(row for row in rows(found.trials) if row.method == "ours")
    assert cells(ours) == ["ours", "1", "0.300 ± 0.200", "-0.196 to +0.196", "1 of 2", "0", "0.100", "95 %"]
    assert ("record", "abc, 10 settings and 1,000 shots of calibration") in comparison_rows(found)
    page = comparison_page(replace(found, device="<script>"))
    assert "<script>" not in page
    assert "haar 1, 100 shots in 1" in page
    assert page.count("<svg") == len(list(groups(found)))
    assert comparison_verdict(found) in page


def test_the_command(tmp_path: Path) -> None:
    path, page = tmp_path / "record.json", tmp_path / "page.html"
    path.write_text(record().to_json())
    arguments = ["compare", NAME, "--record", str(path), "--each", "1", "--programs", "haar", "--shots", "20000"]
    found = Commands().succeed(
        *arguments, "--presets", "none", "--method", "subtract", "--method", "auto", "--page", page, "--json"
    )
    assert {t["method"] for t in found["trials"]} == {"raw", "ours", "ours: subtract", "none"}
    assert "<svg" in page.read_text()
    assert list(tmp_path.glob(".comparison*")) == []  # the journal goes when there is a result


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--presets", "none,hihg"], "preset 'hihg' is unknown"),
        (["--each", "0"], "'--each'"),
        (["--shots", "0"], "'--shots'"),
        (["--programs", "haar,haar"], "name something twice"),
        (["--programs", "haar,har"], "programs 'har' are unknown"),
        (["--method", "subtract", "--method", "unfold-fus"], "method 'unfold-fus' is unknown; unfold-fuse is the nea"),
        (["--method", "subtract", "--method", "subtract"], "name something twice"),
        (["--inputs", "0,1"], "inputs [0, 1] are not distinct ones of the record, [0, 2]"),
        (["--inputs", "0,0"], "inputs [0, 0] are not distinct"),
        (["--page", "/proc/nowhere/page.html"], "cannot make /proc/nowhere"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_measured(
    more: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalDevice, "submit", None)
    path = tmp_path / "record.json"
    path.write_text(record().to_json())
    result = Commands().run("compare", NAME, "--record", path, *more)
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (2, 1)
    assert message in result.stderr
    assert not list(tmp_path.glob("runs/*"))


def test_fewer_photons_than_the_record_has_inputs(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(record().to_json())
    arguments = ["compare", NAME, "--record", path, "--each", "1", "--programs", "haar", "--shots", "2000"]
    found = Commands().succeed(*arguments, "--presets", "", "--inputs", "2", "--page", tmp_path / "p.html", "--json")
    assert {t["method"] for t in found["trials"]} == {"raw", "ours"}
    assert found["trials"][0]["events"] == 2000  # one photon, and every shot has it


def test_a_record_of_another_device_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalDevice, "submit", None)
    path = tmp_path / "record.json"
    path.write_text(record().to_json())
    result = Commands().run("compare", "local:slos?noise=belenos", "--record", path)
    assert result.exit_code == 2
    assert "the record is of" in result.stderr


def test_a_page_that_cannot_be_written_leaves_the_figures(tmp_path: Path) -> None:
    path, page = tmp_path / "record.json", tmp_path / "page.html"
    path.write_text(record().to_json())
    page.mkdir()
    arguments = ["compare", NAME, "--record", path, "--each", "1", "--programs", " haar", "--shots", "2000"]
    result = Commands().run(*arguments, "--presets", "", "--method", "post-select", "--page", page)
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
    assert "ours: post-select" in result.stdout
