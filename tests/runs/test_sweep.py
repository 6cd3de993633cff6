"""Sweeps: skipped, gone on with, killed, and done by workers that die, here and through a Dask scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import qpu_sdk as qs
from qpu_sdk.errors import BudgetExceeded, CheckpointError, ConfigError
from qpu_sdk.runs.cell_work import Task, check_versions, pack_folder, unpack_folder, work
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.sweep import plan_sweep, sweep
from qpu_sdk.runs.sweep_result import Sweep
from qpu_sdk.runs.sweep_work import Advance
from qpu_sdk.versions import versions
from tests.commands import Commands
from tests.runs.test_warm_start import tiny

COMMANDS = Commands()
#: A second or two a cell, and 4 cells.
SLOW = {"training": {"warm_start_epochs": 30, "trials": 1, "rounds": 4}}
SLOW_OVER = {"spsa.steps": [0, 3], "seed": [1, 2]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A sweep of slow cells that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    sweep(tiny(digits, **SLOW), out, over=SLOW_OVER, workers=2)
    return out


def models(out: Path) -> dict[str, bytes]:
    """What every cell left, by its name."""
    return {entry.name: RunFolder(entry).model.read_bytes() for entry in sorted(out.iterdir()) if is_cell(entry)}


def is_cell(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def test_a_sweep_is_ordinary_runs_that_share_what_they_have_in_common(tmp_path: Path, digits: Path) -> None:
    over = {"spsa.steps": [0, 1], "seed": [1, 2]}
    found = sweep(tiny(digits), tmp_path / "out", over=over, workers=2)
    assert isinstance(found, Sweep)
    assert [cell.name for cell in found.cells] == [f"spsa.steps={n},seed={s}" for n in (0, 1) for s in (1, 2)]
    for cell in found.cells:
        assert cell.summary is not None
        assert cell.summary.seed == cell.values["seed"]
        alone = qs.train(tiny(digits, seed=cell.values["seed"], spsa=spsa_of(cell.values)), tmp_path / cell.name)
        assert RunFolder(alone.path).model.read_bytes() == RunFolder(cell.path).model.read_bytes()
    assert len(list((tmp_path / "out" / ".warm").iterdir())) == 2  # one a seed
    assert "spsa.steps" in str(found)
    before = models(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    larger = sweep(tiny(digits), tmp_path / "out", over=over | {"seed": [1, 2, 3]}, workers=1)
    assert [cell.summary is not None for cell in larger.cells] == [True] * 6
    assert all(path.stat().st_mtime_ns == told for path, told in times.items())  # what was done is not done again
    assert before.items() <= models(tmp_path / "out").items()


def spsa_of(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(tiny_spsa()) | {"steps": values["spsa.steps"]}


def tiny_spsa() -> dict[str, Any]:
    return {"shots": 1000, "images": 24, "calibration_pairs": 2, "blocking": False}


def test_equal_configurations_run_once(tmp_path: Path, digits: Path) -> None:
    found = sweep(tiny(digits), tmp_path / "out", over={"budget.settings": [300, 400]}, workers=1)
    assert [cell.summary is not None for cell in found.cells] == [True, True]
    assert len([path for path in (tmp_path / "out").iterdir() if is_cell(path)]) == 1
    assert found.cells[0].path == found.cells[1].path


def test_a_cell_that_fails_is_tried_once_more_and_told_of(tmp_path: Path, digits: Path) -> None:
    told: list[Advance] = []
    over = {"training.lr": [0.02, 1e30]}
    found = sweep(tiny(digits), tmp_path / "out", over=over, workers=1, observer=told.append)
    assert [cell.summary is not None for cell in found.cells] == [True, False]
    [failed] = found.failed
    assert "diverged" in failed.error
    assert told[-1].cells == (2, 2)
    assert [part.tries for part in told[-1].parts if part.error] == [2]
    entries = json.loads((tmp_path / "out" / "sweep.json").read_text())["cells"]
    assert [entry["state"] for entry in entries] == ["done", "failed"]


def test_a_folder_with_another_sweep_is_refused(tmp_path: Path, digits: Path) -> None:
    sweep(tiny(digits), tmp_path, over={"spsa.steps": [0]}, workers=1)
    before = models(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds another sweep: its cell spsa.steps=0 is not asked for"):
        sweep(tiny(digits), tmp_path, over={"spsa.steps": [1]}, workers=1)
    with pytest.raises(CheckpointError, match=r"its cell spsa.steps=0 is not asked for"):
        sweep(tiny(digits), tmp_path, over={"spsa.steps": [0], "seed": [1]}, workers=1)
    with pytest.raises(CheckpointError, match=r"its cell spsa.steps=0 has another configuration there"):
        sweep(tiny(digits, seed=8), tmp_path, over={"spsa.steps": [0]}, workers=1)
    assert models(tmp_path) == before


def test_folders_that_are_no_place_for_a_sweep(tmp_path: Path, digits: Path) -> None:
    qs.train(tiny(digits), tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"holds a run. Choose another folder for the sweep"):
        sweep(tiny(digits), tmp_path / "run", over={"seed": [1]})
    qs.train(tiny(digits, seed=5), tmp_path / "out" / "seed=1")
    with pytest.raises(CheckpointError, match=r"seed=1 holds another run than this cell"):
        sweep(tiny(digits), tmp_path / "out", over={"seed": [1]})
    with pytest.raises(CheckpointError, match=r"holds no sweep"):
        Sweep.load(tmp_path / "run")
    (tmp_path / "out" / "sweep.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"sweep.json is damaged"):
        sweep(tiny(digits), tmp_path / "out", over={"seed": [5]})


def test_two_sweeps_on_one_folder(tmp_path: Path, digits: Path) -> None:
    def again(advance: Advance) -> None:
        with pytest.raises(CheckpointError, match=r"another process works on the sweep in"):
            sweep(tiny(digits), tmp_path, over={"seed": [1]})

    sweep(tiny(digits), tmp_path, over={"seed": [1]}, workers=1, observer=again)


def test_the_budget_of_all_cells_is_checked_before_any_begins(tmp_path: Path, digits: Path) -> None:
    over = {"seed": [1, 2]}
    planned = plan_sweep(tiny(digits), tmp_path / "out", over=over).total
    with pytest.raises(BudgetExceeded, match=r"all cells together may take .* settings; the budget of the sweep is"):
        sweep(tiny(digits), tmp_path / "out", over=over, budget={"settings": planned.settings - 1})
    assert not [path for path in (tmp_path / "out").iterdir() if is_cell(path)]
    with pytest.raises(ConfigError, match=r"a sweep has no budget of 'time'"):
        sweep(tiny(digits), tmp_path / "out", over=over, budget={"time": 1})


def test_a_dry_run_says_what_a_sweep_takes(tmp_path: Path, digits: Path) -> None:
    over = {"spsa.steps": [0, 2], "seed": [1, 2]}
    plan = plan_sweep(tiny(digits), tmp_path / "out", over=over)
    single = [qs.plan(tiny(digits, spsa=dict(tiny_spsa()) | {"steps": n})).total for n in (0, 2)]
    assert plan.total.settings == 2 * sum(cost.settings for cost in single)
    assert plan.total.shots == 2 * sum(cost.shots for cost in single)
    first, _, later, _ = plan.cells
    assert first.epochs - later.epochs == 6  # of the warm start, which the later one has of the first
    assert plan.training_s is not None
    assert plan.training_s > 0
    assert not (tmp_path / "out").exists()


class Elsewhere(Executor):
    """An executor whose workers have other disks: what goes there and comes back is bytes."""

    def __init__(self) -> None:
        self.pool, self.tasks = ThreadPoolExecutor(2), list[Task]()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.tasks.append(args[0])
        return self.pool.submit(fn, *args, **kwargs)


def test_another_executor_gives_the_same_bytes(tmp_path: Path, digits: Path) -> None:
    over = {"spsa.steps": [0, 1]}
    executor = Elsewhere()
    sweep(tiny(digits), tmp_path / "there", over=over, executor=executor)
    sweep(tiny(digits), tmp_path / "here", over=over, workers=1)
    assert models(tmp_path / "there") == models(tmp_path / "here")
    assert not any(task.folder or task.warm for task in executor.tasks)
    assert not list(Path(tmp_path / "there").glob(".*arriving"))


def test_paid_devices_are_asked_from_here_alone(tmp_path: Path, digits: Path) -> None:
    config = tiny(digits, device="quandela:qpu:belenos")
    with pytest.raises(ConfigError, match=r"asks quandela:qpu:belenos, whose jobs are written down beside the run"):
        sweep(config, tmp_path, over={"seed": [1]}, executor=Elsewhere())


def test_other_versions_are_one_line() -> None:
    check_versions(versions())
    with pytest.raises(ConfigError, match=r"a worker has torch .*; the sweep has torch 1.0. Install the same versions"):
        check_versions(versions() | {"torch": "1.0"})
    with pytest.raises(ConfigError, match="Install the same versions"):
        work(Task("cell", "", versions() | {"numpy": "1.0"}))


@pytest.mark.parametrize("name", ["../out", "/etc/x", "a/../../b"])
def test_an_archive_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(CheckpointError, match="no name"):
        unpack_folder(buffer.getvalue(), tmp_path / "in")
    with pytest.raises(CheckpointError, match="no archive"):
        unpack_folder(b"nothing", tmp_path / "in")


def test_archives_keep_every_byte(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.bin").write_bytes(bytes(range(256)))
    (tmp_path / "a" / ".hidden").write_bytes(b"")
    files = pack_folder(tmp_path / "a")
    unpack_folder(files, tmp_path / "d")
    assert pack_folder(tmp_path / "d") == files


# -- killed ---------------------------------------------------------------------------------------------------


def command(digits: Path, out: Path) -> list[str]:
    """A sweep of four cells of a second or two, as a shell would begin it."""
    config = out.parent / "config.toml"
    config.write_text(tiny(digits, **SLOW).to_toml())
    over = ["--over", "spsa.steps=0,3", "--over", "seed=1..2"]
    return [sys.executable, "-m", "qpu_sdk", "sweep", str(config), *over, "--workers", "2", "--out", str(out), "--json"]


def workers_of(parent: int) -> list[int]:
    """Processes of its workers."""
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", "qpu_sdk.runs.workers"], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def rows(out: Path) -> int:
    """Units that all cells and warm starts have done."""
    return sum(path.read_bytes().count(b"\n") for path in out.rglob("metrics.jsonl"))


def until(condition: Any, process: subprocess.Popen[Any]) -> None:
    """Wait for something that the process does, unless it ends before."""
    while not condition() and process.poll() is None:
        time.sleep(0.01)


def test_a_sweep_killed_three_times_ends_with_the_same_bytes(tmp_path: Path, digits: Path, whole: Path) -> None:
    killed = tmp_path / "killed"
    total = rows(whole)
    orphans: list[int] = []
    for share in (0.2, 0.5, 0.8):
        process = subprocess.Popen(command(digits, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda share=share: rows(killed) > share * total, process)
        orphans += workers_of(process.pid)
        process.kill()
        process.wait()
    while any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in orphans):  # they end by themselves
        time.sleep(0.05)
    subprocess.run(command(digits, killed), check=True, capture_output=True)
    assert models(killed) == models(whole)
    assert (killed / "sweep.json").read_bytes() == (whole / "sweep.json").read_bytes()


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_worker_that_dies_fails_no_cell(tmp_path: Path, digits: Path, whole: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command(digits, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: rows(out) > 30, process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert [cell["error"] for cell in json.loads(stdout)] == [""] * 4
    assert models(out) == models(whole)


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(digits, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: rows(out) > 30, process)
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 4
    assert "go on with the same command" in json.loads(stderr.strip().splitlines()[-1])["error"]
    assert workers
    assert all(is_zombie(pid) for pid in workers)
    saved = [path for path in out.rglob("checkpoint/*.json") if path.is_file()]
    assert saved


# -- Dask -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two worker processes on 127.0.0.1."""
    pytest.importorskip("distributed")
    place = tmp_path_factory.mktemp("dask")
    said = place / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": place}
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    one = [*here, "--port", "0", "--scheduler-file", str(said)]
    processes = [subprocess.Popen([*dask("dask_scheduler"), *one], **quiet)]
    until(said.is_file, processes[0])
    address = json.loads(said.read_text())["address"]
    two = [address, *here, "--nthreads", "1", "--no-nanny"]
    processes += [subprocess.Popen([*dask("dask_worker"), *two], **quiet) for _ in range(2)]
    yield address, processes
    for process in processes[::-1]:
        process.terminate()
        process.wait()


def dask(name: str) -> list[str]:
    return [sys.executable, "-m", f"distributed.cli.{name}"]


def test_dask_workers_give_the_same_bytes_and_one_may_be_killed(
    tmp_path: Path, digits: Path, scheduler: tuple[str, list[subprocess.Popen[bytes]]], whole: Path
) -> None:
    address, (_, worker, _) = scheduler

    def kill(advance: Advance) -> None:
        if advance.cells[0]:
            worker.kill()

    found = sweep(tiny(digits, **SLOW), tmp_path / "there", over=SLOW_OVER, scheduler=address, observer=kill)
    assert [cell.error for cell in found.cells] == [""] * 4
    assert worker.wait() == -signal.SIGKILL
    assert models(tmp_path / "there") == models(whole)


def test_an_unreachable_scheduler_is_one_line(tmp_path: Path, digits: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1"):
        sweep(tiny(digits), tmp_path, over={"seed": [1]}, scheduler="tcp://127.0.0.1:1")


# -- the command ----------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, digits: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(tiny(digits).to_toml())
    base = ["sweep", config, "--over", "spsa.steps=0,1", "--out", tmp_path / "out"]
    planned = COMMANDS.run(*base, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "2, of which 2 are to be done" in planned.stdout
    done = COMMANDS.run(*base, "--workers", 1)
    assert done.exit_code == 0, done.output
    assert "2 of 2" in done.stderr
    assert [cell["values"] for cell in COMMANDS.succeed(*base, "--json")] == [{"spsa.steps": 0}, {"spsa.steps": 1}]
    again = COMMANDS.succeed(*base, "--dry-run", "--json")
    assert [cell["done"] for cell in again["cells"]] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--over", "generator.bond=1"], "generator.bond"),
        (["--over", "seed"], "is not key=values"),
        (["--budget", "credits"], "is not key=number"),
        (["--budget", "credit=3", "--over", "seed=1"], "a sweep has no budget of 'credit'"),
        (["nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in COMMANDS.fail(2, "sweep", *arguments, "--out", tmp_path / "out")


def test_the_front_door() -> None:
    assert qs.sweep is sweep
