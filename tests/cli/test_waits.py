"""Whatever command waits for a cloud says on standard error what it waits for, and until when."""

from __future__ import annotations

import json
import logging
import re
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qpu_sdk.cli.app import app
from qpu_sdk.cli.waits import told
from qpu_sdk.words import WAITING

CLOCK = r"until \d\d:\d\d:\d\d \S+"


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> str:
    """A device at an address where nobody is, which is given up after a moment."""
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", "_T_waits")
    monkeypatch.setattr("qpu_sdk.devices.cloud.retry.TOLD_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"quandela:sim:ideal?url=http://127.0.0.1:{port}&deadline_s=0.5&poll_s=0.01"


@pytest.mark.parametrize("command", ["devices", "plan", "calibrate", "train"])
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_every_command_tells_what_it_waits_for(command: str, as_json: bool, gone: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'device = "{gone}"\n')
    arguments = {
        "devices": [gone],
        "plan": [str(tmp_path / "config.toml")],
        "calibrate": [gone, "--modes", "4", "--out", str(tmp_path / "records")],
        "train": [str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")],
    }[command]
    result = CliRunner().invoke(app, [command, *arguments, *(["--json"] if as_json and command != "train" else [])])
    assert result.exit_code == 3, result.output
    assert result.stdout == ""
    assert re.search(f"platform sim:ideal: connection refused .*; asking again in .*{CLOCK}", result.stderr)
    assert logging.getLogger("qpu_sdk").handlers == []


def test_a_connection_that_was_never_made_is_given_up_long_before_the_deadline(gone: str) -> None:
    result = CliRunner().invoke(app, ["devices", gone.replace("deadline_s=0.5", "deadline_s=900")])
    assert result.exit_code == 3
    assert "Check the address" in result.stderr


def test_words_of_others_do_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("qpu_sdk.devices")
    with told():
        log.info("news that nobody waits for")
        log.log(WAITING, "%s: asking again", "\x1b[2J[/red]\n\u202e")
        log.warning("once")
    assert capsys.readouterr().err == "\\x1b[2J[/red] \\u202e: asking again\nonce\n"


def test_a_progress_bar_has_the_word_while_it_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from qpu_sdk.cli.progress import Progress

    log = logging.getLogger("qpu_sdk.devices")
    with told():
        with Progress(Console(stderr=True)):
            log.warning("in the middle")
        log.warning("at the end")
    assert capsys.readouterr().err.split("\n") == ["in the middle", "at the end", ""]
    assert json.dumps(logging.getLogger("qpu_sdk").level) == "0"


def test_a_log_file_keeps_everything_with_times_and_shows_nothing_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, log = tmp_path / "sdk.log", logging.getLogger("qpu_sdk.devices")
    path.write_text("before\n")
    with told(log_file=path):
        log.info("quiet\nnews")
        log.warning("loud")
    assert capsys.readouterr().err == "loud\n"
    before, quiet, loud = path.read_text().splitlines()
    assert before == "before"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO qpu_sdk.devices: quiet news", quiet)
    assert loud.endswith("WARNING qpu_sdk.devices: loud")
    assert logging.getLogger("qpu_sdk").handlers == []


def test_verbose_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with told(verbose=True):
        logging.getLogger("qpu_sdk.devices").info("news")
    assert capsys.readouterr().err == "news\n"


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--log-file", str(tmp_path / "no" / "x.log"), "devices"])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "--log-file" in result.stderr
