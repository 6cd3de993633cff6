"""No run is a dead end: whatever a device brings or becomes, there is a way on that the message names, and it works."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import perceval as pcvl
import pytest
from perceval.serialization import serialize

from qpu_sdk.devices.job_record import JobState
from qpu_sdk.errors import MitigationError
from qpu_sdk.layer.estimator import Mitigation
from qpu_sdk.runs.jobs import list_jobs
from qpu_sdk.training.config_file import load_config
from tests.digits import SMALLEST, train_arguments

pytest.importorskip("uvicorn")

from qpu_sdk.devices.cloud.client import CloudClient
from qpu_sdk.emulator.server import EmulatedCloud
from tests.helpers import Clock
from tests.runs.test_jobs import (
    BAD_INPUT,
    DEVICE_OR_BUDGET,
    INTERRUPTED,
    JOBS,
    SETTINGS,
    cloud,
    device,
    fail,
    run,
    succeed,
)

pytestmark = pytest.mark.usefixtures("no_figures", "token")

SHOTS = {"training.shots": 2000, "training.final_shots": 3000, "spsa.shots": 1000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def arguments(digits: Path, folder: Path, where: EmulatedCloud | None = None, **shots: int) -> list[str]:
    base = SMALLEST | SHOTS | {"training.final_epochs": 1} | {key.replace("__", "."): n for key, n in shots.items()}
    return train_arguments(digits, folder, base=base, **({} if where is None else {"device": device(where)}))


def way_on(message: str) -> list[str]:
    """The command at the end of a message."""
    found = re.search(r"qpu-sdk (.*?)\.?$", message)
    assert found is not None, message
    return shlex.split(found[1])


# -- too few events ----------------------------------------------------------------------------------------


@pytest.fixture
def few_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that brings no event in fewer than 1,000 shots."""
    distribution = Mitigation.distribution

    def picky(self: Mitigation, counts: Any, *args: Any, **values: Any) -> Any:
        if counts.shots < 1000:
            raise MitigationError(f"no collision-free event in {counts.shots} shots.")
        return distribution(self, counts, *args, **values)

    monkeypatch.setattr(Mitigation, "distribution", picky)


@pytest.mark.parametrize("where", ["local", "cloud"])
@pytest.mark.parametrize("key", SHOTS)
@pytest.mark.usefixtures("few_are_nothing")
def test_shots_are_raised_in_mid_run(digits: Path, folder: Path, server: EmulatedCloud, key: str, where: str) -> None:
    used = server if where == "cloud" else None
    message = fail(INTERRUPTED, *arguments(digits, folder, used, **{key.replace(".", "__"): 300}))
    assert "no collision-free event in 300 shots" in message
    before = list_jobs(folder)
    assert fail(INTERRUPTED, "resume", folder, "--wait", "--json") == message  # nothing changed, nothing is paid
    assert list_jobs(folder) == before
    assert way_on(message) == ["resume", str(folder), "--set", f"{key}=3000"]
    summary = succeed(*way_on(message), "--wait", "--json")
    assert list_jobs(folder)[: len(before)] == before  # what was measured in vain is kept
    assert summary["jobs"] == JOBS + 1
    assert load_config(folder / "config.toml") == load_config(
        folder / "config.toml", overrides=[f"{name}={n}" for name, n in (SHOTS | {key: 3000}).items()]
    )
    assert succeed("resume", folder, "--json")["jobs"] == JOBS + 1  # a finished run stays one
    assert "has measured all" in fail(BAD_INPUT, "resume", folder, "--set", f"{key}=4000", "--json")


@pytest.mark.parametrize("override", ["spsa.steps=2", "spsa.c=0.1", "training.rounds=9", "mitigation.method=subtract"])
def test_nothing_else_can_be_changed(digits: Path, folder: Path, override: str) -> None:
    succeed(*arguments(digits, folder))
    before = (folder / "config.toml").read_bytes()
    assert "mid-run" in fail(BAD_INPUT, "resume", folder, "--set", override, "--json")
    assert (folder / "config.toml").read_bytes() == before


def test_a_job_that_is_done_can_be_given_up(digits: Path, folder: Path, server: EmulatedCloud) -> None:
    run(*arguments(digits, folder, server), "--detach")
    run("resume", folder, "--json")  # the first job is done by now, or the next resume finds it so
    while list_jobs(folder)[0].state is not JobState.DONE:
        run("resume", folder, "--json")
    first = list_jobs(folder)[0]
    [given_up] = succeed("jobs", "forget", first.name, "--lost", "--run", folder, "--json")
    assert given_up["state"] == "failed"
    assert given_up["cost"]["settings"] == first.cost.settings  # it stays spent
    assert fail(BAD_INPUT, "jobs", "forget", first.name, "--lost", "--run", folder)
    assert succeed("jobs", "show", first.name, "--run", folder, "--json")["shots_of_settings"] == [2000, 2000]


def test_counts_that_were_given_up_are_measured_again(
    digits: Path, folder: Path, server: EmulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first measurement is of no use, for a reason that the shots do not mend."""
    with monkeypatch.context() as patch:
        patch.setattr(Mitigation, "distribution", lambda *_, **__: (_ for _ in ()).throw(MitigationError("no use.")))
        fail(INTERRUPTED, *arguments(digits, folder, server))
    [first] = list_jobs(folder)
    succeed("jobs", "forget", first.name, "--lost", "--run", folder, "--json")
    summary = succeed("resume", folder, "--wait", "--json")
    assert (summary["jobs"], len(server.jobs)) == (JOBS + 1, JOBS + 1)
    assert list_jobs(folder)[1].replaces == first.name


# -- answers that lack something ---------------------------------------------------------------------------


def entries_of(answer: dict[str, Any], change: Callable[[list[Any]], list[Any]]) -> dict[str, Any]:
    inner = json.loads(answer["results"])
    return answer | {"results": json.dumps(inner | {"results_list": change(inner["results_list"])})}


NO_COUNTS, VACUUM = (serialize(pcvl.BSCount(counts)) for counts in ({}, {pcvl.BasicState([0, 0, 0, 0]): 900}))
LACKING: dict[str, Callable[[list[Any]], list[Any]]] = {
    "no entry": lambda entries: [],
    "one entry less": lambda entries: entries[1:],
    "no counts": lambda entries: [entry | {"results": NO_COUNTS} for entry in entries],
    "vacuum alone": lambda entries: [entry | {"results": VACUUM} for entry in entries],
    "one without counts": lambda entries: [entries[0] | {"results": NO_COUNTS}, *entries[1:]],
}


def lacking(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Any]], list[Any]], times: int) -> None:
    """The first answers with results lack something, the others do not."""
    result, asked = CloudClient.result, []

    def changed(self: CloudClient, job_id: str, *, most: int) -> Any:
        answer = result(self, job_id, most=most)
        asked.append(job_id)
        return entries_of(answer, change) if len(asked) <= times else answer

    monkeypatch.setattr(CloudClient, "result", changed)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("what", LACKING)
def test_a_completed_job_is_asked_again_before_it_is_paid_again(
    digits: Path, folder: Path, server: EmulatedCloud, monkeypatch: pytest.MonkeyPatch, what: str, times: int
) -> None:
    lacking(monkeypatch, LACKING[what], times)
    summary = succeed(*arguments(digits, folder, server))
    assert (summary["jobs"], len(server.jobs), summary["circuit_settings"]) == (JOBS, JOBS, SETTINGS)


@pytest.mark.parametrize("what", [what for what in LACKING if what != "one entry less"])
def test_an_answer_of_nothing_is_not_taken_for_a_measurement(
    digits: Path, folder: Path, server: EmulatedCloud, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    lacking(monkeypatch, LACKING[what], 4)
    message = fail(DEVICE_OR_BUDGET, *arguments(digits, folder, server))
    assert len(server.jobs) == 1  # a person decides whether another is paid
    assert list_jobs(folder)[0].state in (JobState.FAILED, JobState.CANCELLED)
    assert message.endswith(f"qpu-sdk resume {folder}")
    assert succeed("resume", folder, "--wait", "--json")["jobs"] == len(server.jobs) == JOBS + 1


def test_settings_that_stay_away_are_sent_again_alone(
    digits: Path, folder: Path, server: EmulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking(monkeypatch, LACKING["one entry less"], 4)
    summary = succeed(*arguments(digits, folder, server))
    assert (summary["jobs"], summary["circuit_settings"]) == (JOBS + 1, SETTINGS)
    assert [len(job.programs) for job in list_jobs(folder)][:2] == [2, 1]


# -- a platform that shrinks or goes -----------------------------------------------------------------------


def limits(**constraints: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def shrink(details: dict[str, Any]) -> dict[str, Any]:
        specs = details["specs"]
        return details | {"specs": specs | {"constraints": dict(specs.get("constraints") or {}) | constraints}}

    return shrink


def no_platform(details: dict[str, Any]) -> dict[str, Any]:
    from qpu_sdk.errors import DeviceUnavailable

    raise DeviceUnavailable("platform sim:ideal is unknown.")


def without_commands(details: dict[str, Any]) -> dict[str, Any]:
    return details | {
        "specs": {k: v for k, v in details["specs"].items() if k not in ("available_commands", "commands")}
    }


@contextmanager
def left_alone(digits: Path, folder: Path) -> Iterator[EmulatedCloud]:
    """A run whose first job was submitted, and has ended since."""
    clock = Clock()
    with cloud(clock=clock) as server:
        assert run(*arguments(digits, folder, server), "--detach").exit_code == INTERRUPTED
        clock.now, clock.step = clock.now + 1000.0, 10.0
        yield server


SHRUNK = {
    "fewer modes": limits(max_mode_count=3),
    "fewer photons": limits(max_photon_count=1),
    "fewer shots": limits(max_sample_count=500),
    "no sampling": without_commands,
    "gone": no_platform,
    "retired": lambda details: details | {"status": "retired"},
}


@pytest.mark.parametrize("what", SHRUNK)
def test_what_is_paid_is_fetched_before_anything_new_is_checked(
    digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with left_alone(digits, folder) as server:
        fetched_before_anything_new(folder, server, monkeypatch, what)


def fetched_before_anything_new(
    folder: Path, server: EmulatedCloud, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    assert [job.state.open for job in list_jobs(folder)] == [True]
    platform = CloudClient.platform
    with monkeypatch.context() as patch:
        patch.setattr(CloudClient, "platform", lambda self, name: SHRUNK[what](platform(self, name)))
        result = run("resume", folder, "--wait", "--json")
        assert result.exit_code in (BAD_INPUT, DEVICE_OR_BUDGET)
        assert len(result.stderr.strip().splitlines()) == 1
        assert list_jobs(folder)[0].state is JobState.DONE
        assert len(server.jobs) == 1
        assert all(
            shots == 2000
            for shots in succeed("jobs", "show", list_jobs(folder)[0].name, "--run", folder, "--json")[
                "shots_of_settings"
            ]
        )
    assert succeed("resume", folder, "--wait", "--json")["jobs"] == len(server.jobs) == JOBS


def test_shots_are_lowered_for_a_platform_that_takes_fewer(
    digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = CloudClient.platform
    with left_alone(digits, folder) as server:
        monkeypatch.setattr(CloudClient, "platform", lambda self, name: SHRUNK["fewer shots"](platform(self, name)))
        assert "Use fewer shots" in fail(BAD_INPUT, "resume", folder, "--wait", "--json")
        fewer = [part for key in SHOTS for part in ("--set", f"{key}=500")]
        assert succeed("resume", folder, "--wait", "--json", *fewer)["jobs"] == len(server.jobs) == JOBS


def test_a_platform_that_is_gone_is_told_before_a_run_begins(
    digits: Path, folder: Path, server: EmulatedCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CloudClient, "platform", lambda self, name: no_platform({}))
    assert "unknown" in fail(DEVICE_OR_BUDGET, *arguments(digits, folder, server))
    assert not folder.exists()


def test_a_job_of_fewer_shots_comes_home_though_the_run_asks_for_more(digits: Path, folder: Path) -> None:
    with left_alone(digits, folder) as server:
        summary = succeed("resume", folder, "--wait", "--set", "training.shots=4000", "--json")
    assert list_jobs(folder)[0].state is JobState.DONE
    assert [job.shots_each for job in list_jobs(folder)][:2] == [2000, 4000]
    assert summary["jobs"] == len(server.jobs) == JOBS + 1
