"""Worker processes of a sweep on this machine, one for each thread of a pool, which is an ordinary executor.

They are told tasks in lines of JSON and live as long as their thread: torch and Perceval are imported once. A worker
that dies, however it does, fails its own cell alone; workers whose parent has died end themselves; one that is told to
stop, by SIGTERM, saves where its run stands.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from ..errors import CheckpointError, QPUError
from ..words import one_line
from .cell_work import Task, work

#: One thread each, whatever a library would take. Memory that is freed is kept: to fault it in again at every step
#: takes a sixth of the time of small networks.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
}
#: Seconds that a worker has to save its run.
GRACE_S = 20.0
#: What a worker answers that was told to stop, and then ends.
INTERRUPTED = "interrupted"


@final
class WorkerDied(QPUError):
    """The process that did a cell is gone: out of memory, killed, or crashed."""


@final
class Workers:
    """Processes of this machine behind a pool of threads.

    :param number: of processes, each with one thread of torch.
    :param log: file that takes what they write to standard error.

    ::

        with Workers(2, log=folder / "workers.log") as workers:
            future = workers.submit(task)
    """

    def __init__(self, number: int, *, log: Path) -> None:
        self._pool = ThreadPoolExecutor(max_workers=number, thread_name_prefix="qpu-sdk-worker")
        self._log, self._own = log, threading.local()
        self._processes: list[subprocess.Popen[str]] = []
        self._stopped, self._beginning = False, threading.Lock()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def submit(self, task: Task) -> Future[bytes]:
        """Have a task done."""
        return self._pool.submit(self._work, task)

    def stop(self) -> None:
        """End all of them, those at work after they have saved their runs."""
        with self._beginning:  # a process that begins is among those that are told to stop, or does not begin
            self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            with suppress(OSError):
                process.terminate()
        for process in self._processes:
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._pool.shutdown(wait=True)
        for process in self._processes:
            _close(process)

    def _work(self, task: Task) -> bytes:
        process = self._process()
        told = asdict(task)
        if told.pop("files") or told.pop("warm_files"):
            raise CheckpointError("a worker of this machine reads runs from the disk. Give their folders.")
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError):
            answer = ""
        if not answer.endswith("\n"):
            code = process.wait()
            raise WorkerDied(f"its process ended with code {code}{_signal_of(code)}. {self._log} may say why.")
        found = json.loads(answer)
        if found["error"] == INTERRUPTED:
            process.wait()  # it takes no other task
            raise WorkerDied("its process was told to stop, and has saved where the run stands.")
        if found["error"]:
            raise QPUError(found["error"])
        return b""

    def _process(self) -> subprocess.Popen[str]:
        """The process of this thread, a new one where there is none that lives."""
        own: subprocess.Popen[str] | None = getattr(self._own, "process", None)
        if own is None or own.poll() is not None:
            with self._beginning:
                if self._stopped:
                    raise WorkerDied("the sweep was stopped.")
                own = self._begun()
                self._processes.append(own)
            self._own.process = own
        return own

    def _begun(self) -> subprocess.Popen[str]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "qpu_sdk.runs.workers"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_ENVIRONMENT | os.environ | _with_this_path(),
                start_new_session=True,  # Ctrl-C goes to the sweep, which tells them
            )


def _close(process: subprocess.Popen[str]) -> None:
    """Let go of its pipes; a line that it never took is lost with it."""
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def _with_this_path() -> dict[str, str]:
    """Where modules are looked for here: targets of the user's own are found there too."""
    return {"PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}


def _signal_of(code: int) -> str:
    """Which signal ended a process, where one did."""
    with suppress(ValueError):
        return f" ({signal.Signals(-code).name})"
    return ""


def main(do: Callable[[Task], bytes] = work) -> None:
    """Do what standard input says, a task a line; answer each with a line. The end of the input is the end."""
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a network prints is no answer
    busy, stopped, tasks = threading.Event(), threading.Event(), queue.SimpleQueue[str]()

    def stop(number: int, frame: object) -> None:
        stopped.set()
        if busy.is_set():
            raise KeyboardInterrupt
        os._exit(0)

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(line)
        os._exit(1)  # nobody is there to take the result; the run goes on from its last checkpoint

    signal.signal(signal.SIGTERM, stop)
    if hasattr(signal, "pthread_sigmask"):  # a command that waits for Ctrl-C in its own way leaves it blocked
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=listen, daemon=True, name="qpu-sdk-tasks").start()
    while not stopped.is_set():
        task = Task(**json.loads(tasks.get()))
        results.write(json.dumps(_answer(task, do, busy)) + "\n")
        results.flush()


def _answer(task: Task, do: Callable[[Task], bytes], busy: threading.Event) -> dict[str, Any]:
    busy.set()
    try:
        do(task)
        return {"error": ""}
    except KeyboardInterrupt:
        return {"error": INTERRUPTED}
    except QPUError as error:
        return {"error": one_line(error, 2000)}
    except Exception as error:  # a network of the user's may raise anything; the next cell is another's
        sys.excepthook(type(error), error, error.__traceback__)  # into the log
        return {"error": one_line(f"{type(error).__name__}: {error}", 2000)}
    finally:
        busy.clear()


if __name__ == "__main__":
    main()
