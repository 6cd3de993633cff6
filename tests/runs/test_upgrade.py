"""A run that one release began goes on with every later one, whatever keys and defaults that has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qpu_sdk.export.weights import load_model
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.config_file import load_config
from tests.commands import Commands, interrupt_after, metric_rows
from tests.places import PACKAGE, ROOT

GOLDEN = sorted((ROOT / "tests" / "golden").glob("run_*"))
COMMANDS = Commands()
pytestmark = pytest.mark.usefixtures("no_figures")

#: What a later release may have.
LATER_KEYS = "    later: int = 3\n    later_unset: float | None = None\n"
LATER_TABLE = "@final\nclass LaterConfig(Section):\n    steps: int = 5\n\n\n@final\nclass RunConfig(Section)"


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a later release may be: more keys in every table, one more table, another default."""
    root = tmp_path_factory.mktemp("later")
    shutil.copytree(PACKAGE, root / "qpu_sdk")
    names = ("circuit_config.py", "device_config.py", "named_config.py", "config.py")
    files = [root / "qpu_sdk" / "training" / name for name in names]
    tables = 0
    for path in files:
        text, found = re.subn(
            r'(class \w+\(Section\):\n    """(?:[^"]|"(?!""))*"""\n\n)', rf"\1{LATER_KEYS}", path.read_text()
        )
        path.write_text(text)
        tables += found
    assert tables >= 9
    text = text.replace("@final\nclass RunConfig(Section)", LATER_TABLE)
    text = text.replace(
        "    spsa: SPSAConfig =", "    later_table: LaterConfig = LaterConfig()\n    spsa: SPSAConfig ="
    )
    text, defaults = re.subn(r"    lr: Rate = 0\.01\n", "    lr: Rate = 0.5\n", text)
    assert defaults == 1
    path.write_text(text)
    return root


def resume(root: Path, folder: Path) -> None:
    """With the package under ``root``, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{ROOT}"}
    line = "import sys; sys.argv = ['qpu-sdk', 'resume', sys.argv[1]]; from qpu_sdk.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", line, str(folder)], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def whole(golden: Path, out: Path) -> Path:
    """The same run, never stopped, by the present code."""
    COMMANDS.succeed("train", golden / "config.toml", "--out", out, "--json")
    return out


def check_alike(one: Path, other: Path) -> None:
    """The same weights and rows, up to what another machine rounds otherwise."""
    a, b = load_model(one), load_model(other)
    assert a.tensors.keys() == b.tensors.keys()
    for name in a.tensors:
        torch.testing.assert_close(a.tensors[name], b.tensors[name], rtol=0, atol=1e-5)
    assert [(row["unit"], row["kind"]) for row in metric_rows(one)] == [
        (row["unit"], row["kind"]) for row in metric_rows(other)
    ]
    assert a.metadata["config_sha256"] == b.metadata["config_sha256"]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_an_unfinished_run_of_every_release_goes_on(golden: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(golden, tmp_path / "run"))
    COMMANDS.succeed("resume", copy, "--json")
    assert (copy / "config.toml").read_bytes() == (golden / "config.toml").read_bytes()
    check_alike(copy, whole(golden, tmp_path / "whole"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_a_later_release_goes_on_with_every_run(golden: Path, later: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(golden, tmp_path / "run"))
    resume(later, copy)
    assert (copy / "config.toml").read_bytes() == (golden / "config.toml").read_bytes()
    check_alike(copy, whole(golden, tmp_path / "whole"))


def test_a_later_release_goes_on_with_a_run_of_this_one(
    later: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [
        "train",
        GOLDEN[-1] / "config.toml",
        "--set",
        "spsa.max_step=none",
        "--set",
        "spsa.blocking=false",
        "--out",
    ]
    with monkeypatch.context() as patch:
        interrupt_after(5, patch)
        assert "interrupted" in COMMANDS.fail(4, *arguments, tmp_path / "run", "--json")
    before = (tmp_path / "run" / "config.toml").read_bytes()
    resume(later, tmp_path / "run")
    assert (tmp_path / "run" / "config.toml").read_bytes() == before
    COMMANDS.succeed(*arguments, tmp_path / "whole", "--json")
    check_alike(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_what_a_release_wrote_is_still_told_from_other_settings(golden: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(golden, tmp_path / "run"))
    text = (copy / "config.toml").read_text()
    for old, new in (("final_epochs = 2", "final_epochs = 3"), ("c = 0.02", "c = 0.03"), ("max_step = 0.004\n", "")):
        assert old in text
        (copy / "config.toml").write_text(text.replace(old, new))
        assert "another configuration" in COMMANDS.fail(2, "resume", copy)


def test_no_limit_is_a_word_in_a_file(tmp_path: Path) -> None:
    """TOML has no null, and leaving a key out means its default."""
    config = RunConfig(spsa={"max_step": None}, budget={"settings": None})
    (tmp_path / "config.toml").write_text(config.to_toml())
    read = load_config(tmp_path / "config.toml")
    assert (read.spsa.max_step, read.budget.settings) == (None, None)
    assert read.of_a_run().fingerprint == read.fingerprint == config.fingerprint
