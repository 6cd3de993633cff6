"""What could be lost between a sweep and those who work for it, and what it says of them."""

from __future__ import annotations

import io
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from qpu_sdk.cli.sweep import _Progress
from qpu_sdk.errors import BudgetExceeded, CheckpointError, ConfigError, QPUError
from qpu_sdk.runs.cell_work import Task, pack_folder, work
from qpu_sdk.runs.cells import Cell, cells_of
from qpu_sdk.runs.folder import RunFolder
from qpu_sdk.runs.sweep import _check_workers, plan_sweep, sweep
from qpu_sdk.runs.sweep_folder import SweepFolder
from qpu_sdk.runs.sweep_work import Advance, WorkItem, parts_of, worked
from qpu_sdk.runs.train import train
from qpu_sdk.runs.workers import WorkerDied, Workers
from qpu_sdk.training.config import RunConfig
from qpu_sdk.training.control_names import STANDARD_CONTROLS
from qpu_sdk.training.schedule import Schedule
from qpu_sdk.versions import versions
from tests.runs.test_warm_start import tiny

#: Minutes, unless it is stopped.
ENDLESS = {"training": {"warm_start_epochs": 100_000, "trials": 1}}

#: Without a warm start, and with one of two epochs.
COLD = ["training.trials=1", "training.warm_start_epochs=0"]
WARM = ["training.trials=1", "training.warm_start_epochs=2"]


class Stop:
    """An observer that stops a run after some units."""

    def __init__(self, units: int) -> None:
        self.units = units

    def advanced(self, row: object, *, done: int, total: int) -> None:
        if done == self.units:
            raise KeyboardInterrupt

    def phase(self, what: str) -> None:
        pass

    def stage(self, name: str, *, number: int, of: int) -> None:
        raise AssertionError


def parts(cells: list[Cell], folder: Path) -> list[WorkItem]:
    return parts_of(cells, SweepFolder.of(folder))


def done_by(parts: list[WorkItem], submit: Any, **options: Any) -> list[WorkItem]:
    """Settled parts, in their order."""
    settled: list[WorkItem] = []
    given = {"elsewhere": True, "force": False, "observer": None}
    worked(parts, submit, settled=settled.append, **(given | options))
    return settled


def ended(result: bytes | BaseException) -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_running_or_notify_cancel()
    if isinstance(result, bytes):
        future.set_result(result)
    else:
        future.set_exception(result)
    return future


# -- nothing is lost ------------------------------------------------------------------------------------------


def test_what_arrived_is_kept_when_the_executor_breaks(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.bin").write_bytes(b"1")
    whole = pack_folder(tmp_path / "run")
    asked = parts(cells_of(None, [*COLD, "seed=1..4"]), tmp_path / "out")
    futures: dict[str, Future[bytes]] = {
        part.name: ended(whole if number % 2 else BrokenProcessPool("one died")) for number, part in enumerate(asked)
    }
    settled: list[WorkItem] = []
    with pytest.raises(QPUError, match=r"takes no more work \(BrokenProcessPool: one died\). What is done stays done"):
        worked(
            asked,
            lambda task: futures[task.name],
            elsewhere=True,
            force=False,
            settled=settled.append,
            observer=None,
        )
    assert {part.name for part in settled} == {asked[1].name, asked[3].name}
    assert all((part.folder.path / "model.bin").read_bytes() == b"1" for part in settled)
    assert [part.state for part in asked] == ["waiting", "done", "waiting", "done"]


def test_a_scheduler_that_is_gone_fails_no_cell(tmp_path: Path) -> None:
    """It cancels what it had, which says nothing of the cells."""
    asked = parts(cells_of(None, [*COLD, "seed=1..2"]), tmp_path)

    def cancelled() -> Future[bytes]:
        future: Future[bytes] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    for lost in (cancelled, lambda: ended(CancelledError())):
        with pytest.raises(QPUError, match=r"takes no more work \(CancelledError\)"):
            done_by(asked, lambda task, lost=lost: lost())
        assert [(part.state, part.tries) for part in asked] == [("waiting", 0)] * 2


def test_an_executor_that_is_shut_down_is_one_line(tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(QPUError, match=r"the scheduler or executor takes no more work \(RuntimeError"):
        sweep(None, tmp_path, over={"seed": [1]}, executor=pool)


def test_what_nobody_waits_for_is_not_begun(tmp_path: Path) -> None:
    waiting: list[Future[bytes]] = []

    def submit(task: Task) -> Future[bytes]:
        waiting.append(Future())
        return waiting[-1]

    def interrupt(advance: Advance) -> None:
        raise KeyboardInterrupt

    asked = parts(cells_of(None, [*COLD, "seed=1..3"]), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        done_by(asked, submit, observer=interrupt)
    assert len(waiting) == 3
    assert all(future.cancelled() for future in waiting)


def test_a_cell_that_began_here_goes_on_elsewhere(tmp_path: Path, digits: Path) -> None:
    settings = tiny(digits, training={"warm_start_epochs": 6, "trials": 1})
    [cell] = cells_of(settings, {"seed": [3]})
    folder = RunFolder(tmp_path / "out" / cell.name)
    with pytest.raises(KeyboardInterrupt):
        train(cell.config, folder.path, observer=Stop(4))
    begun = folder.metrics.read_text()
    with ThreadPoolExecutor(1) as executor:
        found = sweep(settings, tmp_path / "out", over={"seed": [3]}, executor=executor)
    assert [one.error for one in found.cells] == [""]
    assert folder.metrics.read_text().startswith(begun)  # with its times: these units were not done again
    alone = train(cell.config, tmp_path / "alone")
    assert folder.model.read_bytes() == RunFolder(alone.path).model.read_bytes()


def test_a_warm_start_that_is_done_is_not_done_again_elsewhere(tmp_path: Path, digits: Path) -> None:
    sent: list[Task] = []

    class Kept(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            sent.append(args[0])
            return ended(work(args[0]))

    sweep(tiny(digits), tmp_path, over={"spsa.steps": [0, 1]}, workers=1)
    [warm] = (tmp_path / ".warm").iterdir()
    before = RunFolder(warm).metrics.read_bytes()
    sweep(tiny(digits), tmp_path, over={"spsa.steps": [0, 1, 2]}, executor=Kept())
    assert [bool(task.files) for task in sent] == [task.warm_only for task in sent] == [True, False]
    assert RunFolder(warm).metrics.read_bytes() == before


# -- what is told ---------------------------------------------------------------------------------------------


def test_cells_whose_warm_start_failed_are_told_of(tmp_path: Path) -> None:
    told: list[Advance] = []
    asked = parts(cells_of(None, [*WARM, "spsa.steps=0..1"]), tmp_path)
    assert [part.warm_only for part in asked] == [True, False, False]
    settled = done_by(asked, lambda task: ended(QPUError("no")), observer=told.append)
    assert [part.error for part in settled] == [f"its {asked[0].name} failed: no"] * 2
    assert [part for advance in told for part in advance.settled if not part.warm_only] == settled


def test_the_share_that_is_done_never_falls_below_nothing(tmp_path: Path) -> None:
    asked = parts(cells_of(None, [*WARM, "spsa.steps=0..1"]), tmp_path)
    assert Advance(asked, [], []).share == 0.0
    for part in asked:
        part.state = "done"
    assert Advance(asked, [], []).share == 1.0


@pytest.mark.parametrize("width", [80, 40])
def test_progress_fits_and_tells_cells_apart(width: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    monkeypatch.setattr("qpu_sdk.cli.sweep.console", lambda: console)
    cells = cells_of(None, ["generator.bond_dim=4", "device=local:slos?noise=belenos", "seed=10..12"])
    asked = [WorkItem(cell.name, cell.config, RunFolder(tmp_path / cell.name), state="running") for cell in cells]
    bars = _Progress(quiet=False)
    bars._advanced(Advance(asked, asked, []))
    with console.capture() as captured:
        console.print(bars._bars)
    lines = captured.get().splitlines()
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)
    assert "0 of 3" in lines[0]
    for line, seed in zip(lines[1:], (10, 11, 12), strict=True):
        assert f"seed={seed} " in line
        assert "training" in line


# -- workers of this machine ----------------------------------------------------------------------------------


def endless(digits: Path, folder: Path) -> Task:
    config = tiny(digits, **ENDLESS)
    return Task("cell", config.to_toml(), versions(), folder=str(folder))


def test_a_worker_that_is_told_to_stop_fails_one_task(tmp_path: Path, digits: Path) -> None:
    with Workers(1, log=tmp_path / "log") as pool:
        future = pool.submit(endless(digits, tmp_path / "cell"))
        after = pool.submit(Task("next", tiny(digits).to_toml(), versions(), folder=str(tmp_path / "next")))
        while not RunFolder(tmp_path / "cell").metrics.is_file() and not future.done():
            time.sleep(0.01)
        pool._processes[0].send_signal(signal.SIGTERM)
        with pytest.raises(WorkerDied, match="told to stop"):
            future.result()
        assert after.result() == b""


def test_a_process_that_begins_while_all_stop_is_stopped(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, begun = threading.Event(), Workers._begun

    def slowly(pool: Workers) -> subprocess.Popen[str]:
        begins.set()
        time.sleep(0.3)  # in which stop() comes; should it come later, all the same holds
        return begun(pool)

    monkeypatch.setattr(Workers, "_begun", slowly)
    pool = Workers(1, log=tmp_path / "log")
    future = pool.submit(endless(digits, tmp_path / "cell"))
    begins.wait()
    pool.stop()
    assert isinstance(future.exception(), WorkerDied)
    assert all(process.poll() is not None for process in pool._processes)


# -- refused in one line --------------------------------------------------------------------------------------


def test_workers_of_a_scheduler_that_cannot_do_cells_are_one_line() -> None:
    class Client:
        def run(self, *_: object) -> None:
            raise ModuleNotFoundError("No module named 'qpu_sdk'")

    with pytest.raises(ConfigError, match=r"cannot do cells \(ModuleNotFoundError: No module .* Install the same"):
        _check_workers(Client())  # type: ignore[arg-type]


def test_two_kinds_of_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"given workers and a scheduler. Choose one"):
        sweep(None, tmp_path / "out", over={"seed": [1]}, workers=2, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"workers is 0. Use 1 or more"):
        sweep(None, tmp_path / "out", over={"seed": [1]}, workers=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("limit", [float("nan"), -1.0])
def test_a_budget_that_is_no_limit_is_refused(tmp_path: Path, limit: float) -> None:
    with pytest.raises(ConfigError, match=r"the sweep's budget of shots is .* Use "):
        sweep(None, tmp_path, over={"seed": [1]}, budget={"shots": limit})
    with pytest.raises(BudgetExceeded):
        sweep(None, tmp_path, over={"seed": [1]}, budget={"shots": 0})


# -- planned --------------------------------------------------------------------------------------------------


def test_a_plan_counts_controls_and_not_what_is_done(tmp_path: Path, digits: Path) -> None:
    names = {"controls": [False, True, ["constant"]]}
    settings = tiny(digits)
    epochs, warm = Schedule.of(settings).total_epochs, Schedule.of(settings).exact_epochs
    plan = plan_sweep(settings, tmp_path, over=names)
    assert [cell.epochs for cell in plan.cells] == [
        epochs,
        epochs * (1 + len(STANDARD_CONTROLS)) - warm,
        2 * epochs - warm,
    ]
    train(cells_of(settings, names)[0].config, tmp_path / plan.cells[0].name)
    again = plan_sweep(settings, tmp_path, over=names)
    assert [cell.epochs for cell in again.cells] == [0, epochs * (1 + len(STANDARD_CONTROLS)), 2 * epochs - warm]


def test_a_plan_refuses_the_folder_that_a_sweep_refuses(tmp_path: Path, digits: Path) -> None:
    settings = tiny(digits)
    sweep(settings, tmp_path, over={"seed": [1]}, workers=1)
    with pytest.raises(CheckpointError, match=r"holds another sweep: its cell seed=1 has another configuration"):
        plan_sweep(RunConfig(), tmp_path, over={"seed": [1]})
    RunFolder(tmp_path / "seed=1").summary.write_text("{")
    with pytest.raises(CheckpointError, match=r"summary.json is damaged"):
        plan_sweep(settings, tmp_path, over={"seed": [1]})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries have no such thresholds")
def test_a_worker_that_is_told_to_give_memory_back_keeps_it_for_the_next_step() -> None:
    """Pages that the same step faults in again, before and after; Dask's nannies set this threshold."""
    code = """
import resource
import numpy as np
from qpu_sdk.runs.cell_work import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(2_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
told = faults()
keep_freed_memory()
faults()
print(told, faults())
"""
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    told, kept = map(int, out.stdout.split())
    assert told > 1000  # they may be large pages
    assert kept < told / 10
