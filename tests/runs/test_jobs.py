"""Runs on a cloud from the command line: planned, left alone, harvested, decided about, and never paid twice."""

from __future__ import annotations

import json
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qpu_sdk.devices.budget import Cost
from qpu_sdk.devices.job_record import Intent, JobState
from qpu_sdk.devices.journal import Journal
from qpu_sdk.errors import CheckpointError
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.jobs import list_jobs, newest_run
from tests.commands import Commands
from tests.digits import SMALLEST, train_arguments

pytest.importorskip("uvicorn")

from qpu_sdk.emulator.faults import Fault, Faults
from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.emulator.settings import CloudSettings
from tests.helpers import Clock

pytestmark = pytest.mark.usefixtures("no_figures", "token")

BAD_INPUT, DEVICE_OR_BUDGET, INTERRUPTED = 2, 3, 4
TOKEN, NEW_TOKEN = "_T_secret-of-the-tests", "_T_other-secret-of-the-tests"
#: Jobs of the tiny run: two measurements and a step.
JOBS, SETTINGS = 3, 8


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of a run; whatever happens to the run, no token may be found in it."""
    yield tmp_path / "run"
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert TOKEN.encode() not in content, path
        assert NEW_TOKEN.encode() not in content, path


def cloud(*faults: Fault, clock: Clock | None = None, **settings: Any) -> EmulatedCloud:
    if clock is not None:
        return EmulatedCloud(CloudSettings(seed=1, seconds_per_setting=1.0, **settings), Faults(faults), clock=clock)
    return EmulatedCloud(CloudSettings(seed=1, time_scale=1e6, **settings), Faults(faults))


def device(server: EmulatedCloud, platform: str = "sim:ideal") -> str:
    return f"quandela:{platform}?url={server.url}&poll_s=0.01&max_poll_s=0.05&deadline_s=60&queue_s=60"


def train(digits: Path, folder: Path, server: EmulatedCloud | None = None, **changes: object) -> list[str]:
    where = {"device": device(server)} if server is not None else {}
    few = {"training__shots": 2000, "training__final_shots": 3000, "spsa__shots": 1000, "training__final_epochs": 1}
    return train_arguments(digits, folder, base=SMALLEST, **(where | few | changes))


COMMANDS = Commands(secrets=(TOKEN, NEW_TOKEN))
run, succeed, fail = COMMANDS.run, COMMANDS.succeed, COMMANDS.fail


def states(folder: Path) -> list[str]:
    return [job["state"] for job in succeed("jobs", "list", "--run", folder, "--json")]


def check_finished(summary: dict[str, Any], folder: Path, server: EmulatedCloud) -> None:
    """The run is complete, every setting was run once, and everything the provider has is in the journal."""
    assert (folder / "model.safetensors").is_file()
    known = Counter(program for job in list_jobs(folder) if job.state is JobState.DONE for program in job.programs)
    assert set(known.values()) == {1}
    assert (summary["circuit_settings"], sum(known.values())) == (SETTINGS, SETTINGS)
    ids = [job["job_id"] for job in server.jobs]
    assert ids == [job.job_id for job in list_jobs(folder) if job.job_id]
    assert summary["jobs"] == len(ids) == JOBS


# -- plan --------------------------------------------------------------------------------------------------


def test_plan_prints_rows_and_the_same_in_json() -> None:
    text, plan = run("plan"), succeed("plan", "--json")
    assert text.exit_code == 0
    assert text.stderr == ""
    assert f"at most {plan['total']['settings']:,} settings in {plan['total']['jobs']:,} jobs" in text.stdout
    assert (plan["problems"], len(plan["devices"]), {row["qnn"] for row in plan["settings"]}) == ([], 1, {0, 1})


def test_plan_leaves_with_3_when_it_cannot_work() -> None:
    result = run("plan", "--set", "budget.settings=1", "--set", "device=local:slos?transmittance=0.01")
    assert result.exit_code == DEVICE_OR_BUDGET
    lines = result.stderr.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("qpu-sdk: cannot work: ") for line in lines)
    assert "together" in result.stdout
    problems = json.loads(run("plan", "--set", "budget.settings=1", "--json").stdout)["problems"]
    assert len(problems) == 1


def test_plan_offline_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection is made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("PCVL_CLOUD_TOKEN")
    arguments = ["plan", "--offline", "--json", "--set"]
    plan = json.loads(run(*arguments, "device=quandela:qpu:belenos").stdout)
    assert plan["devices"][0]["transmittance"] == 0.0484
    assert plan["total"]["credits"] > 0
    assert "nothing is published" in fail(BAD_INPUT, *arguments, "device=quandela:qpu:nowhere")


def test_plan_asks_the_platform_and_creates_nothing() -> None:
    with cloud() as server:
        plan = json.loads(run("plan", "--json", "--set", f"device={device(server, 'sim:belenos')}").stdout)
        assert plan["devices"][0]["source"] == "published by the platform"
        assert plan["devices"][0]["transmittance"] == pytest.approx(0.0484)
        assert server.jobs == []


def test_devices_describes_a_platform() -> None:
    with cloud() as server:
        spec = succeed("devices", device(server), "--json")
        assert (spec["max_modes"], spec["max_photons"], spec["simulated"]) == (24, 12, True)
        assert "max modes" in run("devices", device(server)).stdout


# -- leaving and coming back -------------------------------------------------------------------------------


def test_a_detached_run_is_harvested_step_by_step(digits: Path, folder: Path) -> None:
    hand = Clock()
    with cloud(clock=hand) as server:
        line = fail(INTERRUPTED, *train(digits, folder, server), "--detach")
        assert f"qpu-sdk resume {folder}" in line
        for jobs in range(1, JOBS + 1):
            for _ in range(2):  # nothing new: leaves again, and sends nothing
                assert f"qpu-sdk resume {folder}" in fail(INTERRUPTED, "resume", folder, "--json")
                assert len(server.jobs) == jobs
            hand.now += 100.0
            if jobs < JOBS:
                fail(INTERRUPTED, "resume", folder, "--json")
        check_finished(succeed("resume", folder, "--json"), folder, server)


def test_resume_can_wait_to_the_end(digits: Path, folder: Path) -> None:
    hand = Clock()
    with cloud(clock=hand) as server:
        fail(INTERRUPTED, *train(digits, folder, server), "--detach")
        hand.step = 1.0
        summary = succeed("resume", folder, "--wait", "--json")
        check_finished(summary, folder, server)
        requests = server.requests["endpoints"]
        assert succeed("resume", folder, "--json") | {"wall_s": 0} == summary | {"wall_s": 0}
        assert server.requests["endpoints"] == requests  # a finished run asks nobody


def test_a_run_that_stays_needs_no_resume(digits: Path, folder: Path) -> None:
    with cloud() as server:
        summary = succeed(*train(digits, folder, server))
        check_finished(summary, folder, server)
        names = [job["job_name"] for job in server.jobs]
        assert [re.sub("-[0-9a-f]{12}$", "", name) for name in names] == [
            "run/measure/0",
            "run/spsa/0/0",
            "run/measure/1",
        ]


def test_only_one_process_works_on_a_run(digits: Path, folder: Path) -> None:
    hand = Clock()
    with cloud(clock=hand) as server:
        fail(INTERRUPTED, *train(digits, folder, server), "--detach")
        with Journal(folder / "journal.sqlite"):
            for arguments in (["resume", folder], ["jobs", "attach", "x", "--run", folder]):
                assert "another process works on" in fail(BAD_INPUT, *arguments, "--json")
            assert states(folder) == ["running"]  # looking is allowed
        hand.step = 1.0
        check_finished(succeed("resume", folder, "--wait", "--json"), folder, server)


# -- looking and deciding ----------------------------------------------------------------------------------


def test_jobs_are_listed_and_shown_by_name_and_id(digits: Path, folder: Path) -> None:
    with cloud() as server:
        succeed(*train(digits, folder, server))
    jobs = succeed("jobs", "list", "--run", folder, "--json")
    assert [(job["state"], job["programs"]) for job in jobs] == [("done", 2), ("done", 4), ("done", 2)]
    header, *text = run("jobs", "list", "--run", folder).stdout.splitlines()
    assert header.split()[:3] == ["created", "state", "id"]
    assert all(" UTC " in line for line in text)
    assert all(job["job_id"] in line and job["name"] in line for job, line in zip(jobs, text, strict=True))
    by_name, by_id = (succeed("jobs", "show", jobs[1][key], "--run", folder, "--json") for key in ("name", "job_id"))
    assert by_name == by_id == jobs[1] | {"shots_of_settings": [1000] * 4}
    assert "knows no job" in fail(BAD_INPUT, "jobs", "show", "none", "--run", folder)
    assert "could be cancelled" in fail(BAD_INPUT, "jobs", "cancel", "--run", folder)
    assert "only an uncertain job" in fail(BAD_INPUT, "jobs", "forget", jobs[0]["name"], "--run", folder)
    assert "no uncertain job" in fail(BAD_INPUT, "jobs", "attach", jobs[0]["job_id"], "--run", folder)


def test_a_folder_without_jobs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no journal" in fail(BAD_INPUT, "jobs", "list", "--run", tmp_path)
    assert "no run under runs" in fail(BAD_INPUT, "jobs", "list")


def test_the_newest_run_is_that_whose_journal_was_written_last(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        newest_run(tmp_path)
    for age, name in ((300, "old"), (200, "running"), (100, "finished")):
        (tmp_path / name).mkdir()
        with Journal(tmp_path / name / "journal.sqlite"):
            pass
        when = (tmp_path / name / "journal.sqlite").stat().st_mtime - age
        os.utime(tmp_path / name / "journal.sqlite", (when, when))
    assert newest_run(tmp_path).name == "finished"
    list_jobs(tmp_path / "old")  # looking is not writing
    assert newest_run(tmp_path).name == "finished"
    with Journal(tmp_path / "running" / "journal.sqlite") as journal:
        journal.intend(Intent("a", "lab", "", True, ("p",), 1, "", Cost()))
        assert newest_run(tmp_path).name == "running"


def test_a_job_whose_answer_was_lost_is_attached(digits: Path, folder: Path) -> None:
    with cloud(Fault(endpoint="create", action="drop-after", calls=(2,))) as server:
        line = fail(DEVICE_OR_BUDGET, *train(digits, folder, server))
        first, lost = server.jobs
        for words in (lost["job_name"], "jobs attach ID", "jobs forget", "not sent again"):
            assert words in line
        assert re.search(r"jobs forget \S+ --run \S+; then: qpu-sdk resume", line)  # a command ends where it ends
        assert states(folder) == ["done", "uncertain"]
        assert "nobody knows" in fail(DEVICE_OR_BUDGET, "resume", folder, "--wait", "--json")
        attach = ["jobs", "attach", "--run", folder, "--json"]
        assert f"is {first['job_name']} already" in fail(BAD_INPUT, *attach, first["job_id"])
        assert "unknown" in fail(DEVICE_OR_BUDGET, *attach, "no-such-id")
        assert states(folder) == ["done", "uncertain"]
        [record] = succeed(*attach, lost["job_id"])
        assert (record["state"], record["job_id"], record["name"]) == ("submitted", lost["job_id"], lost["job_name"])
        check_finished(succeed("resume", folder, "--wait", "--json"), folder, server)


def test_a_job_that_never_arrived_is_forgotten(digits: Path, folder: Path) -> None:
    with cloud(Fault(endpoint="create", action="drop", calls=(2,))) as server:
        fail(DEVICE_OR_BUDGET, *train(digits, folder, server))
        assert (len(server.jobs), states(folder)) == (1, ["done", "uncertain"])
        name = succeed("jobs", "list", "--run", folder, "--json")[1]["name"]
        [record] = succeed("jobs", "forget", name, "--run", folder, "--json")
        assert record["state"] == "refused"
        check_finished(succeed("resume", folder, "--wait", "--json"), folder, server)


@pytest.mark.parametrize("ran_s", [0.0, 1.5])
def test_a_cancelled_job_keeps_what_it_finished(digits: Path, folder: Path, ran_s: float) -> None:
    hand = Clock()
    with cloud(clock=hand) as server:
        fail(INTERRUPTED, *train(digits, folder, server), "--detach")
        hand.now += ran_s
        [record] = succeed("jobs", "cancel", "--run", folder, "--json")
        assert record["job_id"] == server.jobs[0]["job_id"]
        hand.now += 1.0
        hand.step = 1.0
        if not ran_s:  # nothing was finished, so that nothing goes again by itself
            assert "cut short" in fail(DEVICE_OR_BUDGET, "resume", folder, "--wait", "--json")
        summary = succeed("resume", folder, "--wait", "--json")
        assert (summary["circuit_settings"], summary["jobs"]) == (SETTINGS, JOBS + 1)
        assert [job["status"] for job in server.jobs] == ["canceled"] + ["completed"] * JOBS
        assert [job["iterations"] for job in server.jobs] == [2, 1 if ran_s else 2, 4, 2]
        assert states(folder) == ["cancelled-partial"] + ["done"] * JOBS


def test_a_job_that_never_brings_its_result_can_be_given_up(digits: Path, folder: Path) -> None:
    """The provider does not know it any more: it counts as spent, and its settings are sent again."""
    with cloud(Fault(endpoint="result", action="answer", status=404, calls=(1, 2, 3, 4))) as server:
        assert "ask again later" in fail(DEVICE_OR_BUDGET, *train(digits, folder, server))
        [name] = [r["name"] for r in succeed("jobs", "list", "--run", folder, "--json")]
        assert "--lost" in fail(BAD_INPUT, "jobs", "forget", name, "--run", folder)
        [record] = succeed("jobs", "forget", name, "--lost", "--run", folder, "--json")
        assert (record["state"], record["cost"]["settings"]) == ("failed", 2)
        summary = succeed("resume", folder, "--wait", "--json")
        assert (summary["jobs"], len(server.jobs)) == (JOBS + 1, JOBS + 1)


# -- money -------------------------------------------------------------------------------------------------


def test_a_limit_can_be_raised_in_mid_run(digits: Path, folder: Path, tmp_path: Path) -> None:
    assert "--set budget.jobs=3" in fail(DEVICE_OR_BUDGET, *train(digits, folder, budget__jobs=1))
    assert not folder.exists()  # a plan knows that it will not do
    line = fail(DEVICE_OR_BUDGET, *train(digits, folder, budget__jobs=1), "--force")
    assert "--set budget.jobs=2" in line
    assert f"qpu-sdk resume {folder}" in line
    assert states(folder) == ["done"]
    resume = ["resume", folder, "--json", "--set"]
    assert "budget.jobs=3" in fail(DEVICE_OR_BUDGET, *resume, "budget.jobs=2")
    assert "budget.settings=8" in fail(DEVICE_OR_BUDGET, *resume, "budget.settings=1")
    for change in ("training.rounds=2", "seed=1", "device=local:slos", "budget=1", "budget"):
        assert "only budget." in fail(BAD_INPUT, *resume, change)
    assert "budget.jobs" in fail(BAD_INPUT, *resume, "budget.jobs=many")
    summary = succeed(*resume, "budget.settings=8", "--set", "budget.jobs=3")
    assert (summary["circuit_settings"], summary["jobs"]) == (SETTINGS, JOBS)
    whole = succeed(*train(digits, tmp_path / "whole"))
    assert summary["test_accuracy"] == whole["test_accuracy"]
    assert (folder / "model.safetensors").stat().st_size > 0


def test_no_credits_stop_a_run_until_there_are_some(digits: Path, folder: Path) -> None:
    with cloud(credits=0.0, credits_per_shot=1e-6) as server:
        assert "Not enough credits" in fail(DEVICE_OR_BUDGET, *train(digits, folder, server))
        assert (server.jobs, states(folder)) == ([], ["refused"])
        server.change(credits=10.0)
        check_finished(succeed("resume", folder, "--wait", "--json"), folder, server)


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_bad_token_is_told_before_anything_is_begun(
    digits: Path, folder: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCVL_CLOUD_TOKEN", token)
    monkeypatch.setattr("perceval.RemoteConfig.get_token", lambda self: "")
    with cloud(tokens=frozenset({TOKEN})) as server:
        assert "PCVL_CLOUD_TOKEN" in fail(DEVICE_OR_BUDGET, *train(digits, folder, server))
        assert not folder.exists()


def test_a_token_that_expires_loses_no_job(digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Clock()
    with cloud(clock=hand, tokens=frozenset({TOKEN})) as server:
        fail(INTERRUPTED, *train(digits, folder, server), "--detach")
        server.change(tokens=[NEW_TOKEN])
        assert "refuses the token" in fail(DEVICE_OR_BUDGET, "resume", folder, "--wait", "--json")
        assert states(folder) == ["running"]
        monkeypatch.setenv("PCVL_CLOUD_TOKEN", NEW_TOKEN)
        hand.step = 1.0
        check_finished(succeed("resume", folder, "--wait", "--json"), folder, server)


@pytest.mark.parametrize("endpoint", ["status", "result", "create"])
def test_a_token_that_is_refused_while_we_wait_loses_no_job(digits: Path, folder: Path, endpoint: Any) -> None:
    body = {"error": "Invalid or expired job token"}
    refusal = Fault(endpoint=endpoint, action="answer", calls=(2,), status=401, body=body)
    with cloud(refusal) as server:
        line = fail(DEVICE_OR_BUDGET, *train(digits, folder, server))
        assert "refuses the token" in line
        assert f"Then: qpu-sdk resume {folder}" in line
        check_finished(succeed("resume", folder, "--wait", "--json"), folder, server)


def test_maintenance_stops_a_run_until_it_is_over(digits: Path, folder: Path) -> None:
    with cloud() as server:
        server.change(status="maintenance")
        assert "'maintenance'" in fail(DEVICE_OR_BUDGET, *train(digits, folder, server))
        assert (server.jobs, states(folder)) == ([], ["refused"])
        server.change(status="available")
        check_finished(succeed("resume", folder, "--wait", "--json"), folder, server)


def test_an_unknown_platform_is_told_before_anything_is_begun(digits: Path, folder: Path) -> None:
    with cloud() as server:
        nowhere = device(server, "sim:nowhere")
        assert "sim:nowhere is unknown" in fail(DEVICE_OR_BUDGET, *train(digits, folder, device=nowhere))
        assert "sim:nowhere is unknown" in fail(DEVICE_OR_BUDGET, "devices", nowhere)
        assert not folder.exists()


def test_a_cloud_that_is_not_there_is_told_before_anything_is_begun(digits: Path, folder: Path) -> None:
    with cloud() as server:
        gone = device(server).replace("deadline_s=60", "deadline_s=0.1")
    assert "no usable answer" in fail(DEVICE_OR_BUDGET, *train(digits, folder, device=gone))
    assert not folder.exists()


def test_a_program_that_is_too_large_is_told_before_anything_is_begun(digits: Path, folder: Path) -> None:
    with cloud() as server:
        large = train(digits, folder, server, qnn__0__modes=25, qnn__0__photons=2)
        assert "24 (spec.max_modes)" in fail(BAD_INPUT, *large)
        assert not folder.exists()
        assert server.jobs == []


def test_a_run_is_readable_by_its_owner_only(digits: Path, folder: Path) -> None:
    fail(DEVICE_OR_BUDGET, *train(digits, folder, budget__jobs=1), "--force")
    for path in (folder, RunFolder(folder).journal):
        assert path.stat().st_mode & 0o077 == 0
