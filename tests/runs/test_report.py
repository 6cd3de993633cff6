"""Reports of many runs: seeds together, nothing lost for the sake of one damaged file, one line for what is."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk.calibration.calibrate import calibrate
from qpu_sdk.calibration.verdict import record_verdict
from qpu_sdk.devices.registry import open_device
from qpu_sdk.errors import CheckpointError, ConfigError, DataError
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.gathered import gather
from qpu_sdk.runs.measured import measured_last
from qpu_sdk.runs.page import MOST_IN_FULL
from qpu_sdk.runs.report import Report, report
from qpu_sdk.runs.spending import planned_for, record_rows, spending_rows
from qpu_sdk.runs.summary import RunSummary
from qpu_sdk.runs.train import train
from qpu_sdk.statistics import total_variation
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import load_config, read_config
from tests.digits import SMALLEST
from tests.runs.test_page import read, write_run

GOLDEN = Path(__file__).parents[1] / "golden" / "run_0_1_0"


def config(seed: int, **changes: object) -> RunConfig:
    values = {**SMALLEST, "seed": seed} | {key.replace("__", "."): value for key, value in changes.items()}
    return load_config(overrides=[f"{key}={value}" for key, value in values.items()])


def toml(seed: int, **changes: object) -> str:
    return config(seed, **changes).to_toml()


def sweep(folder: Path) -> Path:
    """Two configurations of three and two seeds at different depths."""
    for seed, accuracy in enumerate([0.90, 0.92, 0.91]):
        controls = {"frozen_random": accuracy - 0.01 * seed, "constant": 0.5}
        write_run(folder / f"a/{seed}", toml(seed), seed=seed, test_accuracy=accuracy, controls=controls)
    for seed, accuracy in enumerate([0.80, 0.82]):
        write_run(
            folder / f"b/deep/er/{seed}",
            toml(seed, generator__bond_dim=3),
            seed=seed,
            test_accuracy=accuracy,
        )
    return folder


# -- grouping ----------------------------------------------------------------------------------------------


def test_runs_that_differ_by_their_seed_alone_are_one_row(tmp_path: Path) -> None:
    found = report(sweep(tmp_path / "s"))
    assert [group.label for group in found.groups] == ["generator.bond_dim 2", "generator.bond_dim 3"]
    assert [len(group.runs) for group in found.groups] == [3, 2]
    assert [run.summary.seed for run in found.groups[0].runs] == [0, 1, 2]
    assert found.groups[0].accuracy.mean == pytest.approx(0.91)
    assert found.groups[0].accuracy.spread == pytest.approx(0.01)
    assert found.page == tmp_path / "s" / "report.html"
    reader = read(found.page.read_text(encoding="utf-8"))
    assert "5 runs of 2 configurations: up to 91.0 % test accuracy" in reader.text
    assert "No benefit of the quantum part shown: the intervals overlap" in reader.text
    assert "details" in reader.tags
    assert "script" not in reader.tags
    assert found.unread == ()


def test_what_changes_no_result_tells_no_runs_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "0", toml(0), seed=0)
    write_run(tmp_path / "1", toml(1, controls="true", budget__settings=900, training__threads=2), seed=1)
    assert len(gather([tmp_path]).groups) == 1


def test_other_networks_passed_as_objects_are_other_configurations(tmp_path: Path) -> None:
    for name, target in (("0", "a"), ("1", "a"), ("2", "b")):
        run = write_run(tmp_path / name, toml(int(name)), seed=int(name))
        run.given.write_text(json.dumps({"target": target, "data": None}))
    assert [len(group.runs) for group in gather([tmp_path]).groups] == [2, 1]


def test_a_run_is_counted_once_however_it_is_named(tmp_path: Path) -> None:
    sweep(tmp_path / "s")
    (tmp_path / "s" / "link").symlink_to(tmp_path / "s" / "a")
    (tmp_path / "s" / "a" / "loop").symlink_to(tmp_path / "s")
    found = gather([tmp_path / "s", tmp_path / "s" / "a" / "1", tmp_path / "s"])
    assert len(found.runs) == 5


def test_the_same_seed_twice_is_no_second_seed(tmp_path: Path) -> None:
    sweep(tmp_path / "s")
    shutil.copytree(tmp_path / "s/a/1", tmp_path / "s/a/copy")
    found = report(tmp_path / "s")
    assert len(found.groups[0].runs) == 3
    [repeat] = found.groups[0].repeats
    assert repeat.name == "a/copy"
    assert "not counted: this seed is there already" in found.page.read_text(encoding="utf-8")


def test_the_configuration_of_a_sweep_is_no_run(tmp_path: Path) -> None:
    sweep(tmp_path / "s")
    (tmp_path / "s" / "config.toml").write_text(toml(0))
    assert gather([tmp_path / "s"]).unread == ()


def test_many_configurations_stay_small(tmp_path: Path) -> None:
    """Full detail of the most accurate alone, and the others with their tables."""
    for number in range(50):
        values = {"test_accuracy": 0.5 + number / 200, "controls": {"constant": 0.4}}
        write_run(tmp_path / f"s/{number}", toml(0, spsa__c=0.01 * (number + 1)), **values)
    text = report(tmp_path / "s").page.read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    reader = read(text)
    assert text.count("<details>") == 50
    assert reader.text.count("Only the 6 most accurate configurations have figures") == 50 - MOST_IN_FULL
    assert "looks better than it is" in reader.text
    assert reader.text.index("spsa.c 0.5") < reader.text.index("spsa.c 0.02")


# -- bad input ---------------------------------------------------------------------------------------------


def why(found: Report) -> dict[str, str]:
    assert all("\n" not in str(one) for one in found.unread)
    page = read(found.page.read_text(encoding="utf-8")).text
    assert all(str(one) in page for one in found.unread)
    return {one.name: one.why for one in found.unread}


def test_what_cannot_be_reported_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s")
    (folder / "a/0/summary.json").unlink()
    (folder / "a/1/summary.json").write_text('{"schema_version": 1, "test_accur')
    (folder / "b/deep/er/0/metrics.jsonl").write_text("?\n{}\n")
    (folder / "b/deep/er/1/config.toml").write_text("seed = [")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    places = [tmp_path / name for name in ("s", "empty", "gone", "file")]
    found = report(*places, out=tmp_path / "out.html")
    lines = why(found)
    assert "not finished" in lines["a/0"]
    assert "resume" in lines["a/0"]
    assert "damaged" in lines["a/1"]
    assert "line 1" in lines["b/deep/er/0"]
    assert "config.toml" in lines["b/deep/er/1"]
    assert "holds no run" in lines[str(tmp_path / "empty")]
    assert "no such folder" in lines[str(tmp_path / "gone")]
    assert "is a file" in lines[str(tmp_path / "file")]
    assert len(lines) == 7
    assert sorted(run.name for group in found.groups for run in group.runs) == ["a/2", "b/deep/er/0", "b/deep/er/1"]
    assert [one.name for one in found.unread if not one.bad] == ["a/0"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", "{", '"text"', "[" * 5000, b"\xff\xfe", '{"test_accuracy": 0.5}'],
)
def test_a_damaged_summary_is_one_line(tmp_path: Path, content: str | bytes) -> None:
    sweep(tmp_path / "s")
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "s/a/1/summary.json").write_bytes(data)
    assert "damaged" in why(report(tmp_path / "s"))["a/1"]


@pytest.mark.parametrize("changes", [{"test_accuracy": 7.0}, {"test_size": 0}, {"controls": {"constant": -1.0}}])
def test_a_summary_of_impossible_numbers_is_damaged(tmp_path: Path, changes: dict[str, Any]) -> None:
    sweep(tmp_path / "s")
    write_run(tmp_path / "s/wrong", **changes)
    assert "no fraction" in why(report(tmp_path / "s"))["wrong"]


def test_no_run_at_all_writes_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "s/a")
    run.summary.unlink()
    with pytest.raises(CheckpointError, match="no finished run to report: a: not finished") as caught:
        report(tmp_path / "s")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s" / "report.html").exists()


def test_what_is_no_folder_or_file_is_refused(tmp_path: Path) -> None:
    sweep(tmp_path / "s")
    for wrong in (None, 3, "", "a\0b", [tmp_path]):
        with pytest.raises(ConfigError):
            report(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no folder"):
        report()
    with pytest.raises(DataError, match="is a folder"):
        report(tmp_path / "s", out=tmp_path)
    with pytest.raises(DataError, match="cannot write"):
        report(tmp_path / "s", out=tmp_path / "s/a/0/summary.json/x.html")
    with pytest.raises(DataError, match="is no page"):
        report(tmp_path / "s", out=tmp_path / "s/a/0/summary.json")
    assert report(tmp_path / "s").page == report(tmp_path / "s").page  # a page is written again


def test_names_that_are_no_text_or_formula_are_shown(tmp_path: Path) -> None:
    for name in ("<b>&$x$", "数字", "a\nb"):
        write_run(tmp_path / "s" / name, toml(0, spsa__c=0.01 * len(name)), controls={"constant": 0.1})
    reader = read(report(tmp_path / "s", out=tmp_path / "o.html").page.read_text(encoding="utf-8"))
    assert "<b>&$x$" in reader.text
    assert "b" not in reader.tags


# -- real runs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a noisy device that knows its noise, with controls."""
    folder = tmp_path_factory.mktemp("real")
    changes = {"device": '"local:slos?noise=belenos"', "data__source": f'"{digits}"', "controls": "true"}
    shots = {f"training__{key}": 400_000 for key in ("shots", "final_shots")} | {"spsa__shots": 400_000}
    for seed in (1, 2):
        train(config(seed, **changes, **shots), folder / f"seed{seed}")
    return folder


def test_the_page_of_a_run_is_the_report_of_it_alone(real: Path, tmp_path: Path) -> None:
    own = (real / "seed1/report.html").read_text(encoding="utf-8")
    assert report(real / "seed1", out=tmp_path / "one.html").page.read_text(encoding="utf-8") == own
    reader = read(own)
    for words in ("Accuracy beside its controls", "Training", "Circuits", "Budget", "calibration", "Configuration"):
        assert words in reader.text
    assert own.count('class="gate"') == sum(len(qnn.open_mesh().gates) for qnn in config_of(real / "seed1").qnn)
    assert "post-selected" in reader.text
    assert "mitigated" in reader.text


def config_of(folder: Path) -> RunConfig:
    return read_config(RunFolder(folder).config)


def test_seeds_are_told_together(real: Path, tmp_path: Path) -> None:
    found = report(real, out=tmp_path / "both.html")
    [group] = found.groups
    assert group.label == real.name
    text = read(found.page.read_text(encoding="utf-8")).text
    assert f"{real.name}: " in text
    assert "over 2 seeds" in text
    assert "mean of 2 seeds" in text
    assert "2 seeds" in group.verdict.text


def test_distributions_are_those_that_the_run_trained_with(real: Path) -> None:
    """Recomputed from the journal they are what the summary says of the last measurement."""
    folder = RunFolder(real / "seed1")
    summary = RunSummary.model_validate_json(folder.summary.read_text())
    measured = measured_last(folder, config_of(folder.path))
    assert measured.missing == ()
    assert summary.mitigation is not None
    for qnn, events, moved in zip(measured.qnns, summary.events, summary.mitigation.p_shift, strict=True):
        assert qnn.before is not None
        assert qnn.after is not None
        assert qnn.before.samples == events
        assert total_variation(qnn.after.probabilities, qnn.before.probabilities) == pytest.approx(moved, abs=1e-12)
        assert qnn.ideal is not None
        assert qnn.program is not None


def damaged(real: Path, folder: Path, *names: str) -> tuple[Report, str]:
    shutil.copytree(real / "seed1", folder)
    for name in names:
        gone = folder / name
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    found = report(folder)
    return found, read(found.page.read_text(encoding="utf-8")).text


def test_without_its_journal_a_run_is_reported_without_distributions(real: Path, tmp_path: Path) -> None:
    found, text = damaged(real, tmp_path / "run", "journal.sqlite")
    assert "the journal, which held the counts, is gone" in text
    assert "post-selected" not in text
    assert 'class="gate"' in found.page.read_text(encoding="utf-8")
    assert not (tmp_path / "run" / "journal.sqlite").exists()


def test_without_its_checkpoint_the_programs_of_the_counts_are_drawn(real: Path, tmp_path: Path) -> None:
    found, text = damaged(real, tmp_path / "run", "checkpoint")
    assert "no interferometers from a checkpoint" in text
    # Both circuits are of one mesh: nobody knows which counts are whose.
    assert 'class="gate"' not in found.page.read_text(encoding="utf-8")
    assert "Budget" in text


def test_without_its_checkpoint_circuits_that_differ_are_known_by_their_counts(digits: Path, tmp_path: Path) -> None:
    different = {"qnn__1__modes": 5, "data__source": f'"{digits}"'}
    train(config(1, **different), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    before = measured_last(folder, config_of(folder.path)).qnns
    shutil.rmtree(folder.checkpoints)
    after = measured_last(folder, config_of(folder.path)).qnns
    assert [qnn.program for qnn in before] == [qnn.program for qnn in after]
    for one, other in zip(before, after, strict=True):
        assert one.before is not None
        assert other.before is not None
        assert (one.before.probabilities == other.before.probabilities).all()


def test_without_its_records_nothing_is_called_mitigated(real: Path, tmp_path: Path) -> None:
    _, text = damaged(real, tmp_path / "run", "records")
    assert "which is not in the folder" in text
    assert "post-selected" in text


@pytest.mark.parametrize("name", ["journal.sqlite", "records/index.json", "checkpoint", "metrics.jsonl"])
def test_a_damaged_file_costs_its_figure_alone(real: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(real / "seed1", tmp_path / "run")
    place = tmp_path / "run" / name
    for file in place.glob("*") if place.is_dir() else [place]:
        file.write_bytes(b"not what it was\n" * 3)
    text = read(report(tmp_path / "run").page.read_text(encoding="utf-8")).text
    assert "Accuracy beside its controls" in text
    assert "Devices and calibration" in text


def test_reading_changes_nothing(real: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in real.rglob("*") if path.is_file()}
    report(real, out=tmp_path / "o.html")
    assert {path: path.read_bytes() for path in real.rglob("*") if path.is_file()} == before


def test_a_run_of_the_first_release_is_read(tmp_path: Path) -> None:
    """Its journal has no programs and fewer tables; it is not finished, so a summary is put beside it."""
    shutil.copytree(GOLDEN, tmp_path / "run")
    with sqlite3.connect(tmp_path / "run/journal.sqlite") as database:
        database.execute("UPDATE jobs SET tag = 'measure/1' WHERE tag = 'measure/0'")
    database.close()
    write_run(tmp_path / "other", seed=5)
    shutil.copy(tmp_path / "other/summary.json", tmp_path / "run/summary.json")
    measured = measured_last(RunFolder(tmp_path / "run"), config_of(tmp_path / "run"))
    assert all(qnn.program is not None for qnn in measured.qnns)
    reader = read(report(tmp_path / "run").page.read_text(encoding="utf-8"))
    assert "QNN 1 on local:slos" in reader.text


# -- spending ----------------------------------------------------------------------------------------------


def test_what_was_used_stands_beside_what_was_planned(real: Path) -> None:
    folder = RunFolder(real / "seed1")
    summary = RunSummary.model_validate_json(folder.summary.read_text())
    own = config_of(folder.path)
    planned = planned_for(own)
    assert planned is not None
    assert summary.circuit_settings <= planned.settings
    rows = {row[0]: row[1:] for row in spending_rows(summary, own)}
    assert rows["circuit settings"] == (f"{summary.circuit_settings} (100 %)", str(planned.settings), "400")
    assert rows["shots"][1:] == (f"{planned.shots:,}", "none")


def test_what_nobody_knows_of_a_device_is_not_planned() -> None:
    unknown = RunConfig(device="quandela:qpu:of-tomorrow")
    assert planned_for(unknown) is None
    rows = {row[0]: row[1:] for row in spending_rows(RunSummary(**values()), unknown)}
    assert rows["circuit settings"][1] == "102"  # the schedule alone tells
    assert rows["credits"][1] == "not known"


def test_a_qpu_takes_credits_and_time() -> None:
    planned = planned_for(RunConfig(device="quandela:qpu:belenos"))
    assert planned is not None
    assert planned.credits > 0.0
    assert planned.seconds > 0.0


def values() -> dict[str, Any]:
    from tests.runs.test_summary import example

    return example().model_dump()


def test_a_record_says_how_old_it_was_and_whether_it_fits() -> None:
    device = open_device("local:slos?transmittance=0.4", seed=1)
    record = calibrate(device, modes=3, inputs=(0, 1), shots=20_000, seed=1)
    later = record.ended + timedelta(hours=3)
    rows = dict(record_rows(record, later))
    assert rows["age at the last measurement"] == "3.0 h"
    assert rows["does it fit"] == record_verdict(record)
    assert record.id in rows["record"]
    assert "age at the last measurement" not in dict(record_rows(record, None))


def test_configurations_without_a_folder_of_their_own_have_names_apart(tmp_path: Path) -> None:
    """Too much differs to be said in a few words, and all of them lie in one folder."""
    for number in range(4):
        other = {"spsa__c": 0.1, "spsa__alpha": 0.5, "spsa__gamma": 0.2, "generator__bond_dim": 3} if number > 1 else {}
        write_run(tmp_path / f"s/{number}", toml(number, **other), seed=number)
    labels = [group.label for group in gather([tmp_path / "s"]).groups]
    assert len(set(labels)) == 2
    assert all(label.endswith("and 1 more") for label in labels)


def test_a_second_test_set_is_shown(tmp_path: Path) -> None:
    second = {"second_test_accuracy": 0.4444, "second_test_size": 321, "second_controls": {"constant": 0.2222}}
    write_run(tmp_path / "run", **second)
    text = read(report(tmp_path / "run").page.read_text(encoding="utf-8")).text
    assert re.search(r"321 images\s*44.4 %", text)
    assert "22.2 % (+22.2 points)" in text
