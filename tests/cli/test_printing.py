"""What others wrote is text on every path to a terminal: no markup, no emoji, nothing that a terminal obeys."""

from __future__ import annotations

import ast
import functools
import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from qpu_sdk.cli import printing
from qpu_sdk.cli.app import app
from qpu_sdk.cli.progress import Progress
from qpu_sdk.devices.budget import Cost
from qpu_sdk.devices.job_record import Intent
from qpu_sdk.devices.journal import Journal
from qpu_sdk.errors import DeviceError, QPUError
from qpu_sdk.words import printable
from tests.commands import BAD_INPUT, Commands

COMMANDS = Commands()
#: Markup that opens, closes what is not open, and links; an emoji; a command to the terminal; a half of a character.
HOSTILE = "[/bold] [red]upstream[/api/job/status] [link=x]y :smile: \x1b[2J\x07 \udcff \u202e out[final].json"
#: What pytest captures of logs goes from worker to worker as UTF-8.
LOGGED = HOSTILE.replace("\udcff", "")
CLI = Path(printing.__file__).parent


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the SDK's console shows on a terminal of 300 columns, on which rich does all that it can."""
    screen = io.StringIO()
    options = {"file": screen, "force_terminal": True, "width": 300, "color_system": "truecolor"}
    monkeypatch.setattr("rich.console.Console", functools.partial(Console, **options))
    return screen


def check_shown(text: str, *, whole: str = HOSTILE) -> None:
    """Every character is there, those that a terminal would obey written out."""
    assert printable(whole) in text
    for obeyed in ("\x1b[2J", "\x07", "\udcff", "\u202e", "\N{SMILING FACE WITH OPEN MOUTH AND SMILING EYES}"):
        assert obeyed not in text


def loud() -> Console:
    return printing.console()  # type: ignore[no-any-return]


@pytest.mark.parametrize("warning", [False, True])
def test_what_a_device_says_stands_beside_the_bar(terminal: io.StringIO, warning: bool) -> None:
    with Progress(loud()) as progress:
        logging.getLogger("qpu_sdk.devices.cloud").log(logging.WARNING if warning else logging.INFO, LOGGED)
        progress.advanced({"loss": 1.0, "accuracy": 0.5}, done=1, total=2)
        progress._bars.refresh()
    check_shown(terminal.getvalue(), whole=LOGGED)


@pytest.mark.parametrize("width", [36, 40, 60, 80, 100, 120, 199, 200])
def test_bar_and_time_are_seen_on_every_terminal(width: int) -> None:
    """Beside long names, numbers and remarks, each of which has one line at most."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    row = {"loss": 0.5, "accuracy": 0.868, "circuit_settings": 12_345, "shots": 6_200_000_000}
    with Progress(console) as progress:
        progress.phase("round 1/4, SPSA step 3/5")
        progress.advanced(row, done=2, total=2)
        progress.stage("random p, a generator of equal size", number=2, of=13)
        progress.advanced(row, done=2, total=2)
        progress.said("waiting for job " + 40 * "0123456789 ", warning=False)
    with console.capture() as captured:
        console.print(progress._bars.get_renderable())
    lines = captured.get().splitlines()
    bars = [line.count("\u2501") for line in lines if line.rstrip().endswith(" left")]
    assert bars == [min(width // 4, 30)] * 2
    assert [line.count(" elapsed ") for line in lines].count(1) == (2 if width >= 60 else 0)
    assert all("control 2/13"[: max(width // 4, 12) - 1] in captured.get() for _ in lines)
    now = "random p, a generator of equal size  loss 0.500  accuracy 86.8 %"
    assert now[: width - 1] in captured.get()
    assert "waiting for job 01234567" in lines[-1]
    assert len(lines) <= 4


def console_of(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, record=True)


@pytest.mark.parametrize("width", [40, 80, 120, 220])
def test_the_phase_is_seen_on_every_terminal(width: int) -> None:
    console = console_of(width)
    with Progress(console) as progress:
        for done, phase in enumerate(["trial 2/6, epoch 1/12", "round 1/4, SPSA step 3/5", "final fit, epoch 1/9"]):
            progress.phase(phase)
            progress._bars.refresh()
            assert phase in console.export_text()
            progress.advanced({"loss": 0.5}, done=done + 1, total=3)
        progress.stage("frozen", number=2, of=3)
        progress._bars.refresh()
        told = console.export_text()
    assert "control 2/3" in told
    assert "frozen" in told


def test_no_time_is_left_before_there_is_a_guess() -> None:
    console = console_of(80)
    with Progress(console) as progress:
        progress._bars.refresh()
        assert " left" not in console.export_text(clear=False)
        assert "elapsed" in console.export_text()
        progress.advanced({"loss": 0.5}, done=2, total=2)
    assert " 0:00:00 left" in console.export_text()


def test_a_terminal_of_a_few_columns_has_the_bar_alone() -> None:
    console = console_of(20)
    with Progress(console) as progress:
        progress.advanced({"loss": 0.5}, done=2, total=2)
    assert "\u2501" * 20 in console.export_text().splitlines()[0]


def test_a_notebook_shows_a_bar_where_it_has_widgets_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: shown.append(text))
    for widgets in (True, False):
        monkeypatch.setattr("qpu_sdk.cli.progress.find_spec", lambda name, found=widgets: found or None)
        progress = Progress(Console(force_jupyter=True, width=80))
        assert progress._bars.disable is not widgets
    with progress:
        progress.phase("trial 1/2, epoch 1/2")
        progress.advanced({"loss": 1.0}, done=1, total=2)
    assert [line.strip() for line in shown] == ["training 50 %  trial 1/2, epoch 1/2  loss 1.000"]


def test_a_dumb_terminal_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=True, width=80, _environ={"TERM": "dumb"})) as progress:
        progress.phase("round 1/4, measurement")
        progress.advanced({"loss": 1.0}, done=5, total=10)
    assert "training 50 %  round 1/4, measurement  loss 1.000" in file.getvalue()


def test_a_stage_may_have_any_name(terminal: io.StringIO) -> None:
    with Progress(loud()) as progress:
        progress.stage(HOSTILE, number=1, of=2)
        progress.advanced({"loss": 1.0}, done=1, total=2)
        progress._bars.refresh()
    check_shown(terminal.getvalue())


def test_without_a_terminal_it_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    with Progress(Console(file=file, width=80)) as progress:
        progress.stage(HOSTILE, number=1, of=2)
        progress.said(HOSTILE, warning=True)
        progress.advanced({"loss": 1.0}, done=1, total=2)
    check_shown(file.getvalue())


def test_a_spinner_shows_text(terminal: io.StringIO) -> None:
    with printing.waiting(HOSTILE) as update:
        update(f"then {HOSTILE}")
    check_shown(terminal.getvalue())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_rows_wrap_in_a_terminal_but_for_commands(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "2 settings in 1 job, 200,000 shots, 0 credits, " * 4
    hint = "make one with: qpu-sdk calibrate quandela:qpu:belenos --modes 14 --inputs 0,1 --out calibration"
    rows = [("test accuracy on the unmitigated p", "81.3 %"), ("together", told), ("note", hint)]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    printing.print_rows(rows)
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if len(line) > width and "qpu-sdk " not in line] == []
    assert hint in text
    assert " ".join(text.split()).count("200,000") == 4
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    printing.print_rows(rows)
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_no_cell_of_a_table_is_lost_in_a_narrow_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = ["created", "state", "id", "settings", "shots each", "device", "name"]
    row = ["2026-11-29 22:54:22 UTC", "submitted", "0191e3f0-7c5d", "16", "1,000,000", "quandela:qpu:belenos", "run/0"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    printing.print_table([head, row, row])
    text = capsys.readouterr().out
    shown = "".join(text.split())
    assert all(shown.count(name.replace(" ", "")) >= 1 for name in head)
    assert sum(map(len, text.split())) >= 2 * sum(len(cell.replace(" ", "")) for cell in row)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_a_small_figure_is_not_shown_as_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    printing.show_values(
        {"loss": 0.02614, "largest_difference": 3.2e-7, "tolerance": 1e-5, "error": 0.0, "n": 7}, False
    )
    lines = [tuple(line.rsplit(maxsplit=1)) for line in capsys.readouterr().out.splitlines()]
    assert {name.strip(): value for name, value in lines} == {
        "loss": "0.0261",
        "largest difference": "3.2e-07",
        "tolerance": "1.0e-05",
        "error": "0.0000",
        "n": "7",
    }


@pytest.mark.parametrize("width", [60, 80, 100, 110, 160])
def test_the_id_of_a_job_is_never_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = "3bbc18d3-e12a-4160-91fa-57e3b60b00be"
    rows = [("created", "id", "device", "name"), ("2026-11-29 22:54:22 UTC", job, "quandela:qpu:belenos" * 2, "run/0")]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    printing.print_table(rows)
    text = capsys.readouterr().out
    assert job in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_rows_tables_and_lines_show_text(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_rows([(HOSTILE, HOSTILE)])
    check_shown(capsys.readouterr().out)
    printing.print_table([("name", "value"), (HOSTILE, HOSTILE)])
    check_shown(capsys.readouterr().out)
    printing.show_values({"key": HOSTILE}, False)
    check_shown(capsys.readouterr().out)
    printing.tell(f"written: {HOSTILE}", err=True)
    check_shown(capsys.readouterr().err)


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    def broken(json_: bool) -> None:
        raise DeviceError(f"two\nlines {HOSTILE}")

    with pytest.raises(typer.Exit):
        printing.as_command(broken)(json_=as_json)
    [line] = capsys.readouterr().err.splitlines()
    if as_json:
        assert line.isascii()
        told = json.loads(line)
        assert told["code"] == printing.DEVICE_OR_BUDGET
        line = told["error"]
    check_shown(line)


ERRORS = [QPUError(HOSTILE), OSError(28, HOSTILE, HOSTILE), OSError(HOSTILE), MemoryError(HOSTILE)]
ERRORS += [OSError(5, HOSTILE, b"\xff")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_of_the_machine_are_one_line_too(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), printing.one_line_errors():
        raise error
    [line] = capsys.readouterr().err.splitlines()
    check_shown(line)


OWN = "[red]up[/api/x] out[final].json"
BAD = f"[/bold] {OWN} \x1b[2J"
TYPED = [
    ["train", f"--{BAD}"],
    [BAD],
    ["devices", BAD],
    ["devices", f"local:slos?g2={BAD}"],
    ["jobs", BAD],
    ["train", BAD],
]
TYPED += [["train", "--set", BAD], ["jobs", "list", "--run", BAD], ["evaluate", BAD], ["plan", "--data", BAD]]
TYPED += [["calibrate", f"{BAD}:x"], ["compare", "x", "--record", BAD], ["export", "x", "--format", BAD]]
TYPED += [["mitigate", BAD, "--record", BAD], ["resume", BAD], ["predict", BAD, BAD], ["train", "--out", "x", BAD, BAD]]


@pytest.mark.parametrize("words", TYPED, ids=lambda words: words[0][:5])
def test_what_was_typed_is_shown_as_it_was_typed(words: list[str]) -> None:
    result = CliRunner().invoke(app, words, env={"TERMINAL_WIDTH": "300"})
    assert result.exit_code in (2, 3)
    [line] = result.stderr.splitlines()
    check_shown(line, whole=OWN)


def test_names_of_files_are_printed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "two [bold]words[red]"
    folder.mkdir()
    with Journal(folder / "journal.sqlite") as journal:
        journal.intend(Intent(f"job {BAD}", f"device {BAD}", "", True, ("p",), 1, "raw", Cost(1, 1, 0.0, 1)))
    listed = COMMANDS.run("jobs", "list", "--run", folder)
    assert listed.exit_code == 0
    check_shown(listed.stdout, whole=BAD)
    assert str(folder) in COMMANDS.fail(BAD_INPUT, "jobs", "cancel", "--run", folder)


def test_nothing_else_writes_to_a_terminal() -> None:
    """One file prints: nobody has to remember to switch markup off."""
    found = []
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if path.name not in ("printing.py", "usage.py") and name in (
                "typer.echo",
                "typer.secho",
                "print",
                "Console",
            ):
                found.append(f"{path.name}:{name}")
            if name == "TextColumn":
                assert any(k.arg == "markup" and ast.unparse(k.value) == "False" for k in node.keywords)  # type: ignore[attr-defined]
    assert found == []


def test_help_shows_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(*words: str) -> str:
        return CliRunner().invoke(app, [*words, "--help"], env={"TERMINAL_WIDTH": "400", "COLUMNS": "400"}).output

    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, found in commands.items():
        for parameter in found.params:
            if getattr(parameter, "help", None):
                assert parameter.help.split()[0] in shown(name), name


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError), printing.one_line_errors():
        os.write(write, b"x")
    os.close(write)
