"""Ctrl-C ends a command, whatever was imported meanwhile and whatever it is in the middle of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from qpu_sdk.cli.interrupts import stoppable
from qpu_sdk.devices.waiting import hear_interrupts

INTERRUPTED = 4
#: How long an interrupted process may take to end before it counts as one that did not hear.
GUARD_S = 60.0

#: As ``import perceval`` and its simulator do it: a handler of C takes the place of Python's.
TAKEN = "import perceval"
SIMULATES = """
import perceval
from perceval.algorithm import Sampler
processor = perceval.Processor("SLOS", perceval.BS())
processor.with_input(perceval.BasicState([1, 1]))
processor.min_detected_photons_filter(1)
Sampler(processor).probs()
"""
COMMAND = """
from qpu_sdk.cli.interrupts import stoppable
from qpu_sdk.cli.printing import as_command
def command():
    exec({taken!r})
    print("ready", flush=True)
    __import__("time").sleep({guard_s})
try:
    stoppable(as_command(command))()
except RuntimeError as error:
    raise SystemExit(error.exit_code)
"""
LIBRARY = """
from qpu_sdk.devices.waiting import hear_interrupts
exec({taken!r})
hear_interrupts()
try:
    print("ready", flush=True)
    __import__("time").sleep({guard_s})
except KeyboardInterrupt:
    raise SystemExit(4)
"""


def code_after(number: signal.Signals, script: str, taken: str) -> int:
    """The exit code of a process that gets a signal when it is ready."""
    whole = script.format(taken=taken, guard_s=GUARD_S)
    process = subprocess.Popen([sys.executable, "-c", whole], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        return process.wait(GUARD_S / 2)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("taken", [TAKEN, SIMULATES], ids=["imported", "simulated"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_command_hears_ctrl_c_though_perceval_takes_it(number: signal.Signals, taken: str) -> None:
    assert code_after(number, COMMAND, taken) == INTERRUPTED


def test_who_waits_for_a_device_hears_ctrl_c_too() -> None:
    assert code_after(signal.SIGINT, LIBRARY, SIMULATES) == INTERRUPTED


def test_a_module_that_breaks_when_it_is_interrupted_ends_in_one_line() -> None:
    """The import of torch makes an AttributeError of Ctrl-C now and then."""
    app = typer.Typer()

    @app.command()
    @stoppable
    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GUARD_S)
        except KeyboardInterrupt:
            raise AttributeError("module 'sympy' has no attribute 'core'") from None

    result = CliRunner().invoke(app)
    assert result.exit_code == INTERRUPTED
    assert result.stderr == "qpu-sdk: interrupted (AttributeError: module 'sympy' has no attribute 'core')\n"


def test_an_error_of_its_own_stays_what_it_is() -> None:
    @stoppable
    def command() -> None:
        raise AttributeError("a defect")

    with pytest.raises(AttributeError, match="a defect"):
        command()


def test_signals_are_afterwards_as_they_were() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    stoppable(lambda: None)()
    hear_interrupts()
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
