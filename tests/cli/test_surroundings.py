"""A locale that is not UTF-8, a home that cannot be written, a narrow terminal: it works, or says so in a line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qpu_sdk.cli import printing
from qpu_sdk.cli.surroundings import SIGNS, speak_any_encoding, writable_places
from tests.digits import SMALLEST, train_arguments, write_small_digits

ROOT = Path(__file__).parents[2]
#: The locale C as it was before Python took it for UTF-8.
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def started(*words: str, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """The program in a process of its own, with these environment variables."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "qpu_sdk", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose name is not ASCII, made under a locale that is nothing but ASCII."""
    folder = tmp_path_factory.mktemp("folder")
    data = write_small_digits(folder / "d.npz")
    words = [word for word in train_arguments(data, folder / "rün", base=SMALLEST) if word != "--json"]
    done = started(*words, folder=folder, variables=ASCII)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).isascii()
    return folder


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_sign_ends_a_command(finished: Path, encoding: str) -> None:
    """With ± and others in names, tables, configurations and messages; where there is but ASCII, click writes UTF-8."""
    variables, written = ASCII | {"PYTHONIOENCODING": encoding}, {"ascii": "utf-8", "latin-1": "latin-1"}[encoding]
    (finished / "c.toml").write_text('[data]\nsource = "dätä ± … 日本.npz"\n', encoding="utf-8")
    commands = [
        ["report", "rün"],
        ["runs", "list", "."],
        ["jobs", "list", "--run", "rün"],
        ["config", "c.toml"],
        ["init", f"nëu-{encoding}.toml"],
    ]
    for words in commands:
        done = started(*words, folder=finished, variables=variables)
        assert done.returncode == 0, (words, done.stderr)
        shown = done.stdout.decode(written)
        assert ("日本" if written == "utf-8" else "\\u65e5\\u672c") in shown or words[0] != "config"
    for words in (["train", "--set", "±日=±"], ["résumé日"], ["devices", "löcal:日"]):
        done = started(*words, folder=finished, variables=variables)
        assert done.returncode in (2, 3)
        [line] = done.stderr.decode(written).splitlines()
        assert line.startswith("qpu-sdk: ")


def test_pages_and_configurations_are_utf_8_whatever_the_locale(finished: Path) -> None:
    page = (finished / "rün" / "report.html").read_bytes().decode("utf-8")
    assert '<meta charset="utf-8">' in page
    (finished / "rün" / "config.toml").read_bytes().decode("utf-8")


@pytest.mark.parametrize("path", [[], ["train"], ["jobs"]], ids=" ".join)
def test_help_is_ascii_on_an_ascii_terminal(path: list[str], tmp_path: Path) -> None:
    done = started(*path, "--help", folder=tmp_path, variables=ASCII)
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_our_signs_have_words_in_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        speak_any_encoding()
        print("".join(SIGNS), "é \udcff 日", end="", flush=True)  # noqa: T201  (that is what is tested)
    shown = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert shown == "".join(SIGNS.values()) + " \\xe9 \\udcff \\u65e5"


def test_a_spinner_turns_in_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm")
        with printing.waiting("reading"):
            pass
    stream.flush()
    assert b"reading" in stream.buffer.getvalue()  # type: ignore[attr-defined]


# -- homes ---------------------------------------------------------------------------------------------------

#: What nobody can make a folder in, be he root.
CLOSED = {"HOME": "/dev/null", "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
needs_a_closed_place = pytest.mark.skipif(
    not Path("/dev/null").exists(), reason="no file that takes no folder, be one root"
)


@needs_a_closed_place
@pytest.mark.parametrize("words", [["doctor"], ["report", "rün"], ["runs", "list", "."], ["train"]], ids=" ".join)
def test_a_home_that_cannot_be_written_is_nobodys_business(words: list[str], finished: Path) -> None:
    """Perceval and matplotlib are given a folder of the process, which is gone afterwards."""
    if words == ["train"]:
        words = train_arguments(finished / "d.npz", finished / "at-home", base=SMALLEST)
    (place := finished / "temporary").mkdir(exist_ok=True)
    variables = {**CLOSED, "TMPDIR": str(place), "PCVL_PERSISTENT_PATH": "", "MPLCONFIGDIR": "", "PYTHONUTF8": "1"}
    environment = {name: value for name, value in {**os.environ, **variables}.items() if value}
    command = [sys.executable, "-m", "qpu_sdk", *words]
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=finished, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "building the font cache" not in line] == []
    assert list(place.iterdir()) == []


def test_a_home_that_can_be_written_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PCVL_PERSISTENT_PATH", "MPLCONFIGDIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with writable_places():
        assert "PCVL_PERSISTENT_PATH" not in os.environ
        assert "MPLCONFIGDIR" not in os.environ
    assert list(tmp_path.iterdir()) == []


@needs_a_closed_place
def test_completion_that_cannot_be_installed_is_one_line(tmp_path: Path) -> None:
    variables = {**CLOSED, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "SHELL": "/bin/bash"}
    done = started("--install-completion", "bash", folder=tmp_path, variables=variables)
    assert done.returncode == 2
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("qpu-sdk: /dev/null")
