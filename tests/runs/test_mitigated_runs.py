"""A run on a noisy device from the command line: its records, before and after, and going on with the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from qpu_sdk.calibration.known import vendor_record
from qpu_sdk.calibration.parts import Identity
from qpu_sdk.calibration.store import CalibrationStore, load_record
from qpu_sdk.export.weights import load_model
from qpu_sdk.runs.summary import RunSummary
from tests.commands import BAD_INPUT, INTERRUPTED, Commands, interrupt_after, metric_rows, same_model
from tests.digits import train_arguments, write_digits

pytestmark = pytest.mark.usefixtures("no_figures")

NOISY = "local:slos?noise=belenos-published,transmittance=0.4"
COMMANDS = Commands()
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


def arguments(data: Path, out: Path, **changes: object) -> list[str]:
    return train_arguments(data, out, **({"device": json.dumps(NOISY)} | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Data, folder and summary of a run on a noisy device."""
    folder = tmp_path_factory.mktemp("mitigated")
    data = write_digits(folder / "digits.npz")
    return data, folder / "run", succeed(*arguments(data, folder / "run"))


@pytest.fixture
def copied(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[1], tmp_path / "run"))


# -- what it leaves --------------------------------------------------------------------------------------------


def test_the_summary_tells_before_and_after(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    _, folder, summary = finished
    [path] = [p for p in (folder / "records").iterdir() if p.name != "index.json"]
    record = load_record(path)
    assert (record.device, record.origin) == (NOISY, "simulated")
    assert summary["record_ids"] == [record.id]
    found = summary["mitigation"]
    assert found["record_ids"] == {NOISY: record.id}
    assert found["methods"] == {NOISY: ["unfold-fuse"]}
    assert all(0.0 < moved < 1.0 for moved in found["p_shift"])
    assert found["notes"] == {}
    assert 0.0 <= summary["test_accuracy_before_mitigation"] <= 1.0
    last = [row for row in metric_rows(folder) if row["kind"] == "measure"][-1]
    assert (found["p_shift"], found["effective_samples"]) == (last["shift"], last["effective_samples"])
    assert RunSummary.model_validate_json((folder / "summary.json").read_text()).model_dump(mode="json") == summary


def test_the_model_and_the_page_name_the_record(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    _, folder, summary = finished
    [record_id] = summary["record_ids"]
    provenance = json.loads(load_model(folder).metadata["mitigation"])
    assert provenance["record_ids"] == {NOISY: record_id}
    assert provenance["methods"] == {NOISY: ["unfold-fuse"]}
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in (record_id, "unfold-fuse", "test accuracy on the unmitigated p", "shift of p by mitigation"):
        assert words in page


def test_equal_runs_give_equal_models_and_another_seed_does_not(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    data, folder, _ = finished
    succeed(*arguments(data, tmp_path / "again"))
    succeed(*arguments(data, tmp_path / "other", seed=1))
    assert same_model(tmp_path / "again", folder)
    assert not same_model(tmp_path / "other", folder)
    assert metric_rows(tmp_path / "again") == metric_rows(folder)


def test_mitigation_changes_the_weights_and_costs_no_setting(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    data, folder, summary = finished
    plain = succeed(*arguments(data, tmp_path / "plain", mitigation__method='"post-select"'))
    assert (plain["mitigation"], plain["test_accuracy_before_mitigation"], plain["record_ids"]) == (None, None, [])
    assert not (tmp_path / "plain" / "records").exists()
    assert "mitigation" not in load_model(tmp_path / "plain").metadata
    assert plain["circuit_settings"] == summary["circuit_settings"]
    first, other = (metric_rows(f)[0] for f in (folder, tmp_path / "plain"))
    assert first["samples"] == other["samples"]
    assert other["shift"] == [0.0, 0.0]
    tensors = load_model(folder).tensors
    assert not all(torch.equal(tensors[k], t) for k, t in load_model(tmp_path / "plain").tensors.items())


# -- going on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [1, 3, 4, 6])
def test_an_interrupted_run_goes_on_with_the_same_bits(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, units: int
) -> None:
    data, folder, summary = finished
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(units, patch)
        fail(INTERRUPTED, *arguments(data, out))
    COMMANDS.go_on(out, folder, summary)


def test_a_finished_run_is_finished_again_from_its_files(copied: Path, finished: tuple[Path, Path, Any]) -> None:
    for name in ("summary.json", "model.safetensors", "report.html"):
        (copied / name).unlink()
    assert succeed("resume", copied, "--json") == finished[2]
    assert same_model(copied, finished[1])


def test_a_resumed_run_uses_the_records_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer record in the store, or none at all any more, changes nothing."""
    data, store = write_digits(tmp_path / "digits.npz"), CalibrationStore(tmp_path / "store")
    figures = {"Transmittance (%)": 40.0, "HOM (%)": 82.7, "g2 (%)": 18.2}
    identity = Identity(NOISY, "slos", 9, (0, 1, 2, 3), "threshold")
    first = vendor_record(figures, identity, utc="2026-01-01T00:00:00Z")
    store.save(first)
    changes = {"mitigation__record": json.dumps(str(tmp_path / "store"))}
    whole = succeed(*arguments(data, tmp_path / "whole", **changes))
    assert whole["record_ids"] == [first.id]
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        fail(INTERRUPTED, *arguments(data, tmp_path / "run", **changes))
    store.save(vendor_record(figures | {"g2 (%)": 1.0}, identity, utc="2026-01-02T00:00:00Z"))
    assert succeed("resume", tmp_path / "run", "--json")["record_ids"] == [first.id]
    assert same_model(tmp_path / "run", tmp_path / "whole")
    assert succeed(*arguments(data, tmp_path / "new", **changes))["record_ids"] != [first.id]


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_run_does_not_go_on_without_its_records(copied: Path, damage: str) -> None:
    [path] = [p for p in (copied / "records").iterdir() if p.name != "index.json"]
    if damage == "changed":
        path.write_text(path.read_text().replace('"value": 0.182', '"value": 0.181'))
        assert "was changed" in fail(BAD_INPUT, "resume", copied, "--json")
    else:
        shutil.rmtree(copied / "records")
        assert "records beside it. Restore them" in fail(BAD_INPUT, "resume", copied, "--json")


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mitigation__method": '"magic"'}, "method 'magic' is unknown"),
        ({"mitigation__method": '["unfold", "fuse"]'}, "mitigation.method: Input should be a valid string"),
        ({"mitigation__record": '"none.json"'}, "none.json"),
        ({"mitigation__max_age_h": -1}, "mitigation.max_age_h"),
    ],
)
def test_bad_settings_leave_nothing_behind(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    out = tmp_path / "run"
    COMMANDS.refuse_to_begin(out, words, *arguments(finished[0], out, **changes))


def test_a_record_of_another_device_is_refused_before_the_folder_is_made(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    [path] = [p for p in (finished[1] / "records").iterdir() if p.name != "index.json"]
    changes = {"device": '"local:slos?noise=ascella"', "mitigation__record": json.dumps(str(path))}
    line = fail(BAD_INPUT, *arguments(finished[0], tmp_path / "run", **changes))
    assert "the device is local:slos?noise=ascella" in line
    assert not (tmp_path / "run").exists()


def test_a_cloud_device_without_a_record_is_post_selected_and_says_so_once(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    from qpu_sdk.emulator.server import EmulatedCloud
    from qpu_sdk.emulator.settings import CloudSettings

    data = write_digits(tmp_path / "digits.npz")
    with EmulatedCloud(CloudSettings(seed=1, time_scale=1e6)) as server:
        device = f"quandela:sim:ideal?url={server.url}&poll_s=0.01&max_poll_s=0.05"
        commands = Commands()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PCVL_CLOUD_TOKEN", "rehearsal")
            shown = commands.run(
                *[a for a in arguments(data, tmp_path / "run", device=json.dumps(device)) if a != "--json"]
            )
            assert shown.exit_code == 0, shown.output
            named = arguments(data, tmp_path / "named", device=json.dumps(device), mitigation__method='"subtract"')
            assert "no calibration record of quandela:sim:ideal" in commands.fail(BAD_INPUT, *named)
    name = f"quandela:sim:ideal?url={server.url}"
    note = f"no calibration record of {name}; make one with: qpu-sdk calibrate '{name}' --modes 9 --inputs 0,1,2,3"
    assert shown.stderr.count(note) == 1
    assert shown.stdout.count(note) == 1
    summary = RunSummary.model_validate_json((tmp_path / "run" / "summary.json").read_text())
    assert summary.mitigation is not None
    assert summary.mitigation.notes[device].startswith(note)
    assert summary.test_accuracy_before_mitigation is None
