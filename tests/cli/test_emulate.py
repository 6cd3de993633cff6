"""The rehearsal: an emulated cloud in a process of its own, a creation whose answer is lost, and a person who looks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.commands import Commands
from tests.digits import SMALLEST, train_arguments, write_small_digits

pytest.importorskip("uvicorn")

pytestmark = pytest.mark.usefixtures("no_figures")

DEVICE_OR_BUDGET = 3
GUARD_S = 120.0
LOST = '[[fault]]\nendpoint = "create"\ncalls = [1]\naction = "drop-after"\n'
TOKEN_LINE = re.compile(r"export PCVL_CLOUD_TOKEN=(\S+)")


@contextmanager
def emulator(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command, and what it prints before the first request."""
    command = [sys.executable, "-c", "from qpu_sdk.cli.app import main; main()", "emulate", "--port", "0"]
    command += ["--platform", "sim:ideal", "--time-scale", "1e6", *arguments]
    kept = {name: value for name, value in os.environ.items() if name != "QPU_SDK_EMULATOR_TOKEN"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kept | environment)
    assert process.stdout is not None
    said: list[str] = []
    try:
        while not said or "'quandela:" not in said[-1]:
            said.append(process.stdout.readline())
            assert process.poll() is None, said
        yield process, said
    finally:
        for _ in range(int(GUARD_S)):  # one at the moment at which Perceval simulates may be lost
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5.0)
                break
        assert process.returncode is not None


def address(said: list[str]) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", said[0])
    assert found is not None
    return found[0]


def test_it_takes_only_the_token_that_it_printed() -> None:
    tokens = set()
    for _ in range(2):
        with emulator() as (_, said):
            (token,) = TOKEN_LINE.findall("".join(said))
            tokens.add(token)
            for sent, status in ((token, 200), ("rehearsal", 401), ("any", 401)):
                headers = {"Authorization": f"Bearer {sent}"}
                for path in ("/api/jobs/availability", "/emulator/jobs"):
                    answer = requests.get(address(said) + path, headers=headers, timeout=GUARD_S)
                    assert answer.status_code == status
    assert len(tokens) == 2  # another each time


def test_a_token_of_ones_own_is_not_printed() -> None:
    with emulator(QPU_SDK_EMULATOR_TOKEN="mine-of-old") as (_, said):
        assert "mine-of-old" not in "".join(said)
        for sent, status in (("mine-of-old", 200), ("rehearsal", 401)):
            headers = {"Authorization": f"Bearer {sent}"}
            answer = requests.get(address(said) + "/emulator/jobs", headers=headers, timeout=GUARD_S)
            assert answer.status_code == status


def test_a_lost_creation_is_found_in_its_log_and_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults, folder = tmp_path / "faults.toml", tmp_path / "run"
    faults.write_text(LOST, encoding="utf-8")
    digits = write_small_digits(tmp_path / "digits.npz")
    few = {"training__shots": 2000, "training__final_shots": 3000, "spsa__shots": 1000, "training__final_epochs": 1}
    with emulator("--faults", str(faults)) as (process, said):
        (token,) = TOKEN_LINE.findall("".join(said))
        monkeypatch.setenv("PCVL_CLOUD_TOKEN", token)
        commands = Commands(secrets=(token,))
        device = f"quandela:sim:ideal?url={address(said)}&poll_s=0.01&max_poll_s=0.05"
        arguments = train_arguments(digits, folder, base=SMALLEST, device=device, **few)
        assert "jobs attach" in commands.fail(DEVICE_OR_BUDGET, *arguments)
        assert process.stdout is not None
        told = process.stdout.readline()
        found = re.fullmatch(r"job (\S+) \(([\w-]+)\) waiting: \d+ settings on sim:ideal\n", told)
        assert found is not None, told
        (uncertain,) = commands.succeed("jobs", "list", "--run", folder, "--json")
        assert uncertain["name"] == found[1]
        listed = requests.get(
            f"{address(said)}/emulator/jobs", headers={"Authorization": f"Bearer {token}"}, timeout=GUARD_S
        )
        assert [(job["job_name"], job["job_id"]) for job in listed.json()] == [found.groups()]
        commands.succeed("jobs", "attach", found[2], "--run", folder, "--json")
        commands.succeed("resume", folder, "--wait", "--json")
    assert (folder / "model.safetensors").is_file()
