"""evaluate and predict for networks of one's own, from the folder where they are and from any other."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qpu_sdk.export.weights import load_model
from tests.commands import BAD_INPUT, INTERRUPTED, PARTLY, Commands, interrupt_after
from tests.digits import TINY, train_arguments, write_digits

pytestmark = pytest.mark.usefixtures("no_figures")

COMMANDS = Commands()
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail
ROOT = Path(__file__).parents[2]
NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm2d(1), nn.Linear(64, 3)

    def forward(self, x):
        return self.layer(self.norm(x).flatten(1))
"""
SMALL = TINY | {f"qnn.{i}.{key}": value for i in range(2) for key, value in (("modes", 6), ("photons", 2))}


def project(folder: Path, name: str = "net_of_mine.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(NETWORK)
    return write_digits(folder / "d.npz", side=8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of a network in the folder that the command was given in, and its summary."""
    folder = tmp_path_factory.mktemp("project")
    data, here = project(folder), Path.cwd()
    os.chdir(folder)
    try:
        summary = succeed(*train_arguments(data, Path("run"), base=SMALL, target__factory="net_of_mine:Net"))
    finally:
        os.chdir(here)
    return folder / "run", summary


def test_a_network_beside_the_command_needs_no_path(tmp_path: Path) -> None:
    """As installed: the console script's folder is on Python's path, the working one is not."""
    data = project(tmp_path / "two words")
    arguments = train_arguments(data, Path("run"), base=SMALL, target__factory="net_of_mine:Net")
    code = "import sys; from qpu_sdk.cli.app import main; sys.argv = ['qpu-sdk', *sys.argv[1:]]; main()"
    command = [sys.executable, "-P", "-W", "ignore", "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path / "two words", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    again = subprocess.run(
        [*command, "evaluate", str(tmp_path / "two words" / "run"), "--json"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert json.loads(again.stdout)["test_accuracy"] == json.loads(done.stdout)["test_accuracy"]


@pytest.mark.parametrize("factory", ["net_of_mine:Net", "net_of_mine.py:Net", "sub/net_of_mine.py:Net"])
def test_an_interrupted_run_finds_its_network_from_anywhere(
    tmp_path: Path, factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sub" if "/" in factory else tmp_path
    data = project(folder)
    arguments = train_arguments(data, Path("run"), base=SMALL, target__factory=f'"{factory}"')
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        fail(INTERRUPTED, *arguments)
    monkeypatch.chdir("/")
    resumed = succeed("resume", tmp_path / "run", "--json")
    assert succeed("evaluate", tmp_path / "run", "--json")["test_accuracy"] == resumed["test_accuracy"]


def test_code_that_changed_in_between_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = project(tmp_path)
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        arguments = train_arguments(data, tmp_path / "run", base=SMALL)
        fail(INTERRUPTED, *arguments, "--set", f"target.factory={tmp_path}/net_of_mine.py:Net")
    (tmp_path / "net_of_mine.py").write_text(NETWORK.replace("self.norm(x)", "self.norm(x).tanh()"))
    assert "its code has changed" in fail(BAD_INPUT, "resume", tmp_path / "run")
    (tmp_path / "net_of_mine.py").write_text(NETWORK)
    assert succeed("resume", tmp_path / "run", "--json")["test_size"] == 30


def test_a_configuration_finds_the_network_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = project(tmp_path / "project")
    (tmp_path / "project" / "run.toml").write_text('[target]\nfactory = "net_of_mine:Net"\n')
    monkeypatch.chdir("/")
    name, *options = train_arguments(data, tmp_path / "run", base=SMALL)
    succeed(name, tmp_path / "project" / "run.toml", *options)
    assert succeed("evaluate", tmp_path / "run", "--json")["test_size"] == 30


def test_a_run_folder_is_the_users_own_and_a_bare_file_is_not(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, summary = finished
    shutil.copy(folder / "model.safetensors", tmp_path / "model.safetensors")
    for name, options in (("evaluate", ["--data", folder.parent / "d.npz"]), ("predict", [tmp_path / "none.png"])):
        assert "--target" in fail(BAD_INPUT, name, tmp_path / "model.safetensors", *options)
    named = ["--target", f"{folder.parent / 'net_of_mine.py'}:Net"]
    for model, options in ((folder, []), (folder, named), (tmp_path / "model.safetensors", named)):
        assert succeed("evaluate", model, *options, "--json")["test_accuracy"] == summary["test_accuracy"]
    (tmp_path / "other.py").write_text(NETWORK.replace("self.norm(x)", "self.norm(x).tanh()"))
    assert "answers otherwise" in fail(BAD_INPUT, "evaluate", folder, "--target", f"{tmp_path / 'other.py'}:Net")


def test_a_model_file_does_not_say_where_the_code_is(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    data = project(tmp_path)
    succeed(*train_arguments(data, tmp_path / "run", base=SMALL, target__factory=f'"{tmp_path}/net_of_mine.py:Net"'))
    named = [load_model(folder).metadata["target"] for folder in (finished[0], tmp_path / "run")]
    assert named == ["net_of_mine:Net", "net_of_mine.py:Net"]


# -- predict -----------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures [1]"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name)
    np.save(folder / "c.npy", rng.random((3, 8, 8)))
    return folder


def test_an_archive_of_images_is_classified(finished: tuple[Path, dict[str, Any]], pictures: Path) -> None:
    images = np.load(pictures / "c.npy")
    expected = [row["label"] for row in succeed("predict", finished[0], pictures / "c.npy", "--json")]
    for name, arrays in (
        ("one", {"a": images}),
        ("several", {"x_test": images, "y_test": np.zeros(3), "other": images}),
    ):
        np.savez(pictures / f"{name}.npz", **arrays)
        rows = succeed("predict", finished[0], pictures / f"{name}.npz", "--json")
        assert [row["label"] for row in rows] == expected
        assert rows[2]["image"] == f"{pictures / name}.npz[2]"
    np.savez(pictures / "open.npz", a=images, b=images)
    assert "holds a, b" in run("predict", finished[0], pictures / "open.npz").stderr
    (pictures / "bad.npz").write_bytes(b"PK\x03\x04 and nothing")
    assert "is no .npz file" in run("predict", finished[0], pictures / "bad.npz").stderr


def test_the_likeliest_labels_are_shown_with_their_probabilities(
    finished: tuple[Path, dict[str, Any]], pictures: Path
) -> None:
    [row] = succeed("predict", finished[0], pictures / "a.png", "--json")
    [line] = run("predict", finished[0], pictures / "a.png").stdout.splitlines()
    shown = [(int(label), float(p)) for label, p in re.findall(r"(\d) \(([\d.]+) %\)", line)]
    order = sorted(range(3), key=lambda label: -row["probabilities"][label])
    expected = [(label, round(100 * row["probabilities"][label], 1)) for label in order]
    assert shown == [expected[0], *(pair for pair in expected[1:] if pair[1] > 0)]


def test_folders_and_arrays_are_classified(finished: tuple[Path, dict[str, Any]], pictures: Path) -> None:
    rows = succeed("predict", finished[0], pictures, "--json")
    names = ["a.png", "b.png", *(f"c.npy[{i}]" for i in range(3))]
    assert [row["image"] for row in rows] == [str(pictures / name) for name in names]
    assert all(len(row["probabilities"]) == 3 and sum(row["probabilities"]) == pytest.approx(1) for row in rows)
    lines = run("predict", finished[0], pictures).stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(pictures / name) for name in names]


def test_a_bad_file_among_others_is_told_and_the_others_are_classified(
    finished: tuple[Path, dict[str, Any]], pictures: Path
) -> None:
    (pictures / "b.png").write_bytes(b"no picture")
    text = run("predict", finished[0], pictures, pictures / "none.png")
    assert text.exit_code == PARTLY
    assert len(text.stdout.splitlines()) == 4
    assert [words in line for words, line in zip(("b.png", "none.png"), text.stderr.splitlines(), strict=True)] == [
        True
    ] * 2
    assert all(line.startswith("qpu-sdk: ") for line in text.stderr.splitlines())
    told = run("predict", finished[0], pictures, "--json")
    assert told.exit_code == PARTLY
    assert json.loads(told.stderr)["code"] == PARTLY
    assert ["error" in row for row in json.loads(told.stdout)] == [False, True, False, False, False]


def test_a_pattern_that_no_shell_saw_to_is_matched(finished: tuple[Path, dict[str, Any]], pictures: Path) -> None:
    folder = pictures.rename(pictures.with_name("pictures"))
    rows = succeed("predict", finished[0], folder / "*.png", folder / "[c].npy", "--json")
    names = ["a.png", "b.png", *(f"c.npy[{i}]" for i in range(3))]
    assert [row["image"] for row in rows] == [str(folder / name) for name in names]
    assert "*.gif does not exist" in fail(BAD_INPUT, "predict", finished[0], folder / "*.gif")
    (folder / "[c].npy").write_bytes((folder / "c.npy").read_bytes())  # a name that is there is itself
    [first, *_] = succeed("predict", finished[0], folder / "[c].npy", "--json")
    assert first["image"] == str(folder / "[c].npy[0]")


def test_pictures_of_the_usual_formats_agree(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Without loss they say the same, and JPEG nearly so."""
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (8, 8), dtype=np.uint8))
    paths = [tmp_path / f"a.{ending}" for ending in ("png", "tiff", "bmp", "jpg")]
    for path in paths:
        picture.save(path, quality=100) if path.suffix == ".jpg" else picture.save(path)
    png, *others = (row["probabilities"] for row in succeed("predict", finished[0], *paths, "--json"))
    assert others[0] == others[1] == png
    assert others[2] == pytest.approx(png, abs=0.05)


def test_all_probabilities_are_shown_and_tabled(finished: tuple[Path, dict[str, Any]], pictures: Path) -> None:
    rows = succeed("predict", finished[0], pictures, "--json")
    shown = run("predict", finished[0], pictures, "--probabilities").stdout.splitlines()
    for row, line in zip(rows, shown, strict=True):
        numbers = dict(re.findall(r"(\d+):([\d.]+)", line.partition(": ")[2]))
        assert [float(numbers[str(k)]) for k in range(3)] == pytest.approx(row["probabilities"], abs=1e-6)
    table = list(csv.DictReader(run("predict", finished[0], pictures, "--csv").stdout.splitlines()))
    assert [(row["image"], int(row["label"])) for row in table] == [(row["image"], row["label"]) for row in rows]
    assert [float(table[1][f"p_{k}"]) for k in range(3)] == rows[1]["probabilities"]
    (pictures / "a, b.png").write_bytes((pictures / "a.png").read_bytes())
    (pictures / "bad.png").write_bytes(b"")
    told = run("predict", finished[0], pictures, "--csv")
    assert told.exit_code == PARTLY
    assert next(csv.DictReader(told.stdout.splitlines()))["image"].endswith("a, b.png")
    assert "two forms" in fail(BAD_INPUT, "predict", finished[0], pictures, "--csv", "--json")


def test_predict_loads_what_it_needs_alone(finished: tuple[Path, dict[str, Any]], pictures: Path) -> None:
    """Neither Perceval nor torch's compiler, of which each takes longer than torch and all the images."""
    code = (
        "import sys; from qpu_sdk.cli.app import app; app(sys.argv[1:], standalone_mode=False); "
        "print([name for name in ('perceval', 'exqalibur', 'scipy', 'matplotlib', 'requests', 'torch._dynamo', "
        "'sympy') if name in sys.modules])"
    )
    model, folder = str(finished[0]), finished[0].parent
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", model, str(pictures)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_was_done_to_a_picture_is_said(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 255, dtype=np.uint8)).save(tmp_path / "white.png")
    assert "nothing is to be seen" in run("predict", finished[0], tmp_path / "white.png").stdout
    assert "turned" in run("predict", finished[0], tmp_path / "white.png", "--invert").stdout


def test_standard_input_is_classified(finished: tuple[Path, dict[str, Any]], pictures: Path) -> None:
    from typer.testing import CliRunner

    from qpu_sdk.cli.app import app

    np.savez(pictures / "d.npz", np.load(pictures / "c.npy"))
    for name in ("a.png", "c.npy", "d.npz"):
        content = (pictures / name).read_bytes()
        found = CliRunner().invoke(app, ["predict", str(finished[0]), "-", "--json"], input=content)
        expected = succeed("predict", finished[0], pictures / name, "--json")
        assert [row["label"] for row in json.loads(found.stdout)] == [row["label"] for row in expected]
