"""The command line from outside: what it prints, writes, refuses, and the codes it leaves with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qpu_sdk import __version__
from qpu_sdk.training.config_file import load_config
from qpu_sdk.training.control_names import STANDARD_CONTROLS
from qpu_sdk.training.schedule import Schedule
from tests.commands import BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED, Commands, interrupt_after, same_model
from tests.digits import TINY, train_arguments, write_digits

pytestmark = pytest.mark.usefixtures("no_figures")

COMMANDS = Commands()
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Data, folder and summary of one finished run."""
    folder = tmp_path_factory.mktemp("finished")
    data = write_digits(folder / "digits.npz")
    return data, folder / "run", succeed(*train_arguments(data, folder / "run"))


@pytest.fixture
def copied(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished[1], tmp_path / "run"))


# -- train -------------------------------------------------------------------------------------------------


def test_train_leaves_a_complete_folder(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    _, folder, summary = finished
    names = set(snapshot(folder))
    assert {"config.toml", "metrics.jsonl", "model.safetensors", "summary.json", "report.html"} <= names
    assert json.loads((folder / "summary.json").read_text()) == summary
    schedule = Schedule.of(load_config(folder / "config.toml"))
    assert (summary["circuit_settings"], summary["shots"]) == (schedule.settings, schedule.shots)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["unit"] for row in rows] == list(range(1, len(rows) + 1))
    assert (summary["test_size"], summary["train_size"], summary["target_parameters"]) == (30, 60, 6690)


def test_summary_counts_trained_numbers(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    _, folder, summary = finished
    config, counted = load_config(folder / "config.toml"), summary["trainable_parameters"]
    assert counted["phases"] == sum(q.open_mesh().declared for q in config.qnn)
    assert counted["total"] == counted["phases"] + counted["generator"]
    assert counted["identifiable"] <= counted["total"]
    accuracy = summary["test_accuracy"]
    assert summary["test_standard_error"] == pytest.approx((accuracy * (1 - accuracy) / 30) ** 0.5)


def test_train_reads_a_configuration_and_prints_text(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    text = run("train", finished[1] / "config.toml", "--out", tmp_path / "again")
    assert text.exit_code == 0
    assert f"{100 * finished[2]['test_accuracy']:.1f} %" in text.stdout
    assert str(tmp_path / "again" / "model.safetensors") in text.stdout
    assert same_model(tmp_path / "again", finished[1])


def test_controls_get_the_same_budget(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    summary = succeed(*train_arguments(finished[0], tmp_path / "run"), "--controls")
    assert set(summary["controls"]) == {*STANDARD_CONTROLS}
    assert summary["control_parameters"]["random_subspace"] == summary["trainable_parameters"]["total"]
    assert summary["control_parameters"]["plain_network"] == 6690
    assert summary["test_accuracy"] == finished[2]["test_accuracy"]
    (tmp_path / "run" / "controls.json").write_text("{")
    assert "controls.json" in fail(BAD_INPUT, "resume", tmp_path / "run", "--json")


def test_an_existing_run_is_refused_and_stays_as_it_was(
    copied: Path, finished: tuple[Path, Path, dict[str, Any]]
) -> None:
    before = snapshot(copied)
    assert "already holds a run" in fail(BAD_INPUT, *train_arguments(finished[0], copied, seed=5))
    assert snapshot(copied) == before


def test_a_folder_that_cannot_be_made_is_refused(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot write" in fail(BAD_INPUT, *train_arguments(finished[0], tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training__shots": 0}, "training.shots"),
        ({"spsa__shots": 0}, "spsa.shots"),
        ({"training__round": 1}, "unknown key 'training.round'"),
        ({"qnn__0__modes": 5}, "joint outcomes"),
        ({"qnn__0__photons": 20}, "qnn.0"),
        ({"target__factory": "no.module:f"}, "no.module:f"),
        ({"data__train_size": 61}, "61 training images"),
        ({"device": "nonsense"}, "nonsense"),
        ({"device": "local:slos?colour=red"}, "colour"),
    ],
)
def test_bad_settings_leave_nothing_behind(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    out = tmp_path / "run"
    COMMANDS.refuse_to_begin(out, words, *train_arguments(finished[0], out, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget__settings": 1}, "budget.settings"),
        ({"budget__shots": 1}, "budget.shots"),
        ({"device": "hardware:x"}, "hardware"),
        ({"device": "local:other"}, "other"),
    ],
)
def test_budget_and_device_have_their_own_code(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in fail(DEVICE_OR_BUDGET, *train_arguments(finished[0], tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_missing_and_damaged_inputs_are_refused(tmp_path: Path) -> None:
    assert "none.npz" in fail(BAD_INPUT, *train_arguments(tmp_path / "none.npz", tmp_path / "run"))
    assert "none.toml" in fail(BAD_INPUT, "train", tmp_path / "none.toml", "--json")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    assert "bad.npz" in fail(BAD_INPUT, *train_arguments(tmp_path / "bad.npz", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_images_that_do_not_fit_the_target_are_refused(tmp_path: Path) -> None:
    data = write_digits(tmp_path / "large.npz", side=32)
    assert "(1, 32, 32)" in fail(BAD_INPUT, *train_arguments(data, tmp_path / "run"))


# -- resume ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [1, 3, 6])
def test_an_interrupted_run_resumes_to_the_same_bits(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, units: int
) -> None:
    data, whole, summary = finished
    with monkeypatch.context() as patch:
        interrupt_after(units, patch)
        assert f"qpu-sdk resume {tmp_path / 'run'}" in fail(INTERRUPTED, *train_arguments(data, tmp_path / "run"))
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert max((tmp_path / "run" / "checkpoint").glob("*.json")).stem == f"{units:06d}"
    COMMANDS.go_on(tmp_path / "run", whole, summary)


def test_a_killed_run_resumes_from_its_last_checkpoint(
    copied: Path, finished: tuple[Path, Path, dict[str, Any]]
) -> None:
    for path in [
        *sorted((copied / "checkpoint").iterdir())[-2:],
        copied / "model.safetensors",
        copied / "summary.json",
    ]:
        path.unlink()
    with (copied / "metrics.jsonl").open("a") as file:
        file.write('{"unit": 7, "kin')
    assert succeed("resume", copied, "--json") | {"wall_s": 0} == finished[2] | {"wall_s": 0}
    assert same_model(copied, finished[1])


def test_a_finished_run_is_only_finished_again(copied: Path, finished: tuple[Path, Path, dict[str, Any]]) -> None:
    before = snapshot(copied)
    succeed("resume", copied, "--json")
    after = snapshot(copied)
    assert set(after) == set(before)
    assert all(after[name] == before[name] for name in ("config.toml", "metrics.jsonl", "summary.json"))
    assert same_model(copied, finished[1])


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    assert "holds no run" in fail(BAD_INPUT, "resume", tmp_path, "--json")
    assert "holds no run" in fail(BAD_INPUT, "resume", tmp_path / "none", "--json")


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_corrupt_checkpoint_is_told_and_nothing_is_changed(copied: Path, suffix: str) -> None:
    path = max((copied / "checkpoint").glob(f"*.{suffix}"))
    path.write_bytes(path.read_bytes()[:-20])
    before = snapshot(copied)
    assert "damaged" in fail(BAD_INPUT, "resume", copied, "--json")
    assert snapshot(copied) == before


@pytest.mark.parametrize(("old", "new"), [("seed = 0", "seed = 1"), ("final_epochs = 3", "final_epochs = 4")])
def test_an_edited_configuration_is_refused(copied: Path, old: str, new: str) -> None:
    text = (copied / "config.toml").read_text()
    assert old in text
    (copied / "config.toml").write_text(text.replace(old, new))
    before = snapshot(copied)
    assert "another configuration" in fail(BAD_INPUT, "resume", copied, "--json")
    assert snapshot(copied) == before


def test_other_images_than_before_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_digits(tmp_path / "digits.npz")
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        fail(INTERRUPTED, *train_arguments(data, tmp_path / "run"))
    write_digits(data, seed=2)
    assert "not those the run began with" in fail(BAD_INPUT, "resume", tmp_path / "run", "--json")


# -- trained models ----------------------------------------------------------------------------------------


def test_evaluate_repeats_the_runs_own_test(finished: tuple[Path, Path, dict[str, Any]]) -> None:
    data, folder, summary = finished
    for arguments in ((folder,), (folder / "model.safetensors",), (folder, "--data", data)):
        result = succeed("evaluate", *arguments, "--json")
        assert result["test_accuracy"] == summary["test_accuracy"]
        assert result["test_size"] == 30


def test_evaluate_and_predict_agree(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    data, folder, summary = finished
    with np.load(data) as arrays:
        images, labels = arrays["x_test"], arrays["y_test"]
    paths = [tmp_path / f"{i}.npy" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        np.save(path, image)
    rows = succeed("predict", folder, *paths, "--json")
    assert [row["image"] for row in rows] == [str(path) for path in paths]
    hits = np.mean([row["label"] == label for row, label in zip(rows, labels, strict=True)])
    assert hits == pytest.approx(summary["test_accuracy"])
    assert all(0.1 <= row["probability"] <= 1 for row in rows)


def test_predict_inverts_on_request(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    image = np.random.default_rng(1).random((28, 28))
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "b.npy", 1 - image)
    [plain] = succeed("predict", finished[1], tmp_path / "a.npy", "--json")
    [inverted] = succeed("predict", finished[1], tmp_path / "b.npy", "--invert", "--json")
    assert inverted["label"] == plain["label"]
    assert inverted["probability"] == pytest.approx(plain["probability"], rel=1e-4)


def test_predict_refuses_what_is_no_image(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    assert "text.png" in fail(BAD_INPUT, "predict", finished[1], tmp_path / "text.png", "--json")
    assert "none.png" in fail(BAD_INPUT, "predict", finished[1], tmp_path / "none.png", "--json")


def test_evaluate_refuses_labels_and_images_that_do_not_fit(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    large = write_digits(tmp_path / "large.npz", side=32)
    assert "(1, 32, 32)" in fail(BAD_INPUT, "evaluate", finished[1], "--data", large, "--json")
    assert "nowhere" in fail(BAD_INPUT, "evaluate", finished[1], "--data", "nowhere", "--json")


def test_export_writes_the_same_tensors_once(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    assert succeed("export", finished[1], "--out", out, "--json")["written"] == str(out)
    exported, trained = load_file(out), load_file(finished[1] / "model.safetensors")
    assert set(exported) == set(trained)
    assert all(torch.equal(exported[name], trained[name]) for name in trained)
    before = out.read_bytes()
    assert "exists already" in fail(BAD_INPUT, "export", finished[1], "--out", out, "--json")
    assert out.read_bytes() == before
    assert "format 'pickle'" in fail(BAD_INPUT, "export", finished[1], "--format", "pickle", "--json")


def test_export_into_a_missing_folder_is_refused(finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "none" / "net.safetensors"
    assert "cannot write" in fail(BAD_INPUT, "export", finished[1], "--out", out, "--json")


@pytest.mark.parametrize("command", [["evaluate"], ["export", "--out", "net.safetensors"], ["predict", "image.npy"]])
def test_unusable_models_are_refused(copied: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied)
    name, *options = command
    np.save("image.npy", np.zeros((28, 28)))
    model = copied / "model.safetensors"
    content = model.read_bytes()
    for damaged in (b"", content[:5], content[:-7], b"\x00" * 100):
        model.write_bytes(damaged)
        assert "model.safetensors" in fail(BAD_INPUT, name, model, *options, "--json")
    model.unlink()
    assert "model.safetensors" in fail(BAD_INPUT, name, copied, *options, "--json")


@pytest.mark.parametrize("command", [["evaluate"], ["predict", "image.npy"]])
def test_a_model_of_another_origin_is_refused(
    copied: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied)
    name, *options = command
    np.save("image.npy", np.zeros((28, 28)))
    save_file(load_file("model.safetensors"), "foreign.safetensors")
    fail(BAD_INPUT, name, "foreign.safetensors", *options, "--json")


# -- the rest ----------------------------------------------------------------------------------------------


def test_devices_lists_what_can_be_opened() -> None:
    rows = succeed("devices", "--json")
    assert {"local:slos", "replay:FILE"} <= {row["device"] for row in rows}
    assert "local:slos" in run("devices").stdout


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path / "digits.npz")
    (tmp_path / "run.toml").write_text("seed = 1\n")
    options = train_arguments(Path("~/digits.npz"), Path("~/run"))
    succeed(options[0], "~/run.toml", *options[1:])
    assert "seed = 1" in (tmp_path / "run" / "config.toml").read_text()
    assert f'source = "{tmp_path / "digits.npz"}"' in (tmp_path / "run" / "config.toml").read_text()
    succeed("resume", "~/run", "--json")
    succeed("plan", "~/run/config.toml", "--json")
    succeed("evaluate", "~/run", "--json")
    succeed("export", "~/run", "--out", "~/net.safetensors", "--json")
    assert (tmp_path / "net.safetensors").is_file()
    assert run("jobs", "list", "--run", "~/run").exit_code == 0
    assert not (tmp_path / "~").exists()
    assert "no such home folder" in fail(BAD_INPUT, "resume", "~nobody-of-this-name/run")


def test_doctor_finds_a_whole_installation() -> None:
    rows = succeed("doctor", "--json")
    assert all(row["ok"] for row in rows)
    assert "permanents against SLOS" in {row["check"] for row in rows}


def test_doctor_tells_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from qpu_sdk.cli import doctor
    from qpu_sdk.errors import DataError

    def broken() -> str:
        raise DataError("no digits")

    monkeypatch.setattr(doctor, "read_embedded_digits", broken)
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert {"check": "data mnist-5k", "ok": False, "detail": "no digits"} in json.loads(result.stdout)


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == __version__
    for command in ("train", "resume", "evaluate", "predict", "export", "devices", "doctor"):
        assert command in run("--help").stdout
        assert run(command, "--help").exit_code == run(command, "-h").exit_code == 0


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "qpu_sdk", "-h"], capture_output=True, text=True, check=True)
    assert " train " in done.stdout


HELP = """
import sys
from qpu_sdk.cli.app import main
sys.argv = ["qpu-sdk", *sys.argv[1:]]
try:
    main()
except SystemExit as exit:
    assert exit.code in (0, None), exit.code
heavy = {"torch", "perceval", "numpy", "matplotlib"} & {name.partition(".")[0] for name in sys.modules}
sys.exit(f"imported {sorted(heavy)}" if heavy else 0)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_run_in_a_process_of_its_own_gives_the_same_model(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    arguments = train_arguments(finished[0], tmp_path / "run")
    command = [sys.executable, "-c", "from qpu_sdk.cli.app import main; main()", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "7"}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) | {"wall_s": 0} == finished[2] | {"wall_s": 0}
    assert same_model(tmp_path / "run", finished[1])


def test_tiny_settings_are_known_keys() -> None:
    assert load_config(overrides=[f"{key}={value}" for key, value in TINY.items()])
