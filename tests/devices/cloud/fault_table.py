"""The fault table F1..F51: what goes wrong between a client and the cloud, and what two clients make of it.

Every row breaks the loopback cloud in one way and runs our client and Perceval's against it; what is told about
them is measured, above all the number of jobs that the server ends up with. ``python -m tests.benchmarks.faults``
prints the table, ``test_fault_table.py`` demands that our client meets every row.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import MagicMock, patch
from urllib.parse import unquote

import numpy as np
import perceval as pcvl
import requests
from perceval.providers.quandela import QuandelaCommunicationLayer
from perceval.runtime import ExecutionFactory, ExecutionGroup, RemoteComputer
from perceval.utils import PersistentData

from qpu_sdk.devices.budget import Budget, Cost, Rates
from qpu_sdk.devices.cloud.decoding import UnusableAnswer
from qpu_sdk.devices.job_record import JobRecord, JobState
from qpu_sdk.devices.journal import Journal
from qpu_sdk.devices.journalled import JournalledDevice, JournalledJob
from qpu_sdk.devices.registry import open_device
from qpu_sdk.devices.sending import Terms
from qpu_sdk.devices.waiting import wait_all
from qpu_sdk.emulator.faults import Faults
from qpu_sdk.emulator.server import EmulatedCloud
from qpu_sdk.emulator.settings import CloudSettings
from qpu_sdk.errors import (
    AuthenticationError,
    BudgetExceeded,
    CheckpointError,
    ConfigError,
    DeviceUnavailable,
    JobCancelled,
    JobFailed,
    JobTimeout,
    OutOfCredits,
    ProgramError,
    QPUError,
    QueueFull,
    SubmissionUncertain,
)
from qpu_sdk.photonics.counts import Counts
from qpu_sdk.photonics.meshes import IsometryMesh
from qpu_sdk.photonics.program import Program
from qpu_sdk.words import short
from tests.forked import Command
from tests.helpers import Clock
from tests.oracles.permanents import boson_probability, outcomes

ROOT = Path(__file__).parents[3]
TOKEN, OTHER_TOKEN = "_T_fault-table", "_T_fault-table-renewed"
SHOTS = 100
#: Seconds after which Perceval's client is stopped when it has not ended.
LIMIT_S = 4.0
#: Seconds that only keep a run that hangs from keeping the tests, however busy the machine is.
GUARD_S = 120.0
OPTIONS = {"poll_s": 0.02, "max_poll_s": 0.1, "deadline_s": GUARD_S, "create_s": GUARD_S, "queue_s": GUARD_S}
TERMS = Terms(label="fault-table")
MESH = IsometryMesh(4, 2)
PROGRAMS = tuple(
    Program(MESH, np.random.default_rng(i).uniform(0.0, 2 * np.pi, MESH.declared), MESH.default_input(2))
    for i in range(6)
)
ONE = PROGRAMS[:1]

#: Between what a client did and what it did when it was asked again.
AGAIN = ", again: "

Edit = Callable[[str, dict[str, Any]], dict[str, Any]]


def kind(error: BaseException | None) -> str:
    """Name of an error's class, with its module where the name alone says nothing."""
    name = type(error).__name__
    return name if name != "error" else f"{type(error).__module__}.{name}"


# Outcomes


@dataclass(frozen=True)
class Case:
    """What one client made of one variant of a fault.

    :param label: of the variant, ``""`` when there is only one.
    :param jobs: jobs on the server at the end, None when there is no server in it.
    :param unmet: what the row requires and the run did not show.
    """

    label: str
    text: str
    jobs: int | None
    seconds: float
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What one client made of a fault, in all its variants."""

    cases: tuple[Case, ...]

    @classmethod
    def of(cls, *cases: Case) -> Outcome:
        """Of variants."""
        return cls(cases)

    @property
    def text(self) -> str:
        """In short, with the jobs on the server; variants that ended alike stand together."""
        labels: dict[str, list[str]] = {}
        for case in self.cases:
            said = case.text.replace(f" {case.label}", "") if case.label.isdecimal() else case.text
            jobs = "" if case.jobs is None else f" ({case.jobs} job{'' if case.jobs == 1 else 's'})"
            labels.setdefault(said + jobs, []).append(case.label)
        return "; ".join(f"{', '.join(names)}: {said}".removeprefix(": ") for said, names in labels.items())

    @property
    def jobs(self) -> tuple[int | None, ...]:
        """Jobs on the server at the end of each variant."""
        return tuple(case.jobs for case in self.cases)

    @property
    def seconds(self) -> float:
        """That the client took."""
        return sum(case.seconds for case in self.cases)

    @property
    def unmet(self) -> tuple[str, ...]:
        """What the row requires and the client did not show."""
        return tuple(f"{case.label}: {what}".removeprefix(": ") for case in self.cases for what in case.unmet)

    @property
    def ok(self) -> bool:
        """True when nothing that the row requires is missing."""
        return not self.unmet


@dataclass(frozen=True)
class Row:
    """One row of the table.

    :param fault: what is broken.
    :param jobs: jobs that the server must hold at the end of each variant of our run.
    """

    id: str
    fault: str
    ours: Callable[[], Outcome]
    perceval: Callable[[], Outcome]
    jobs: tuple[int, ...]


def missing(required: Mapping[str, bool]) -> tuple[str, ...]:
    """Names of the requirements that do not hold."""
    return tuple(name for name, holds in required.items() if not holds)


# The server


class Relay:
    """Stands between a client and the server: edits answers, and can be away for a while after one of them.

    :param edit: path and JSON of an answer to the JSON that the client gets.
    :param hint: what goes before every answer.
    :param drip: beginning of the path that is answered, the first time, by headers without end.
    :param away_s: seconds for which connections are refused after the first answer about availability.
    :param back: what must be so, too, before it is there again.
    """

    def __init__(
        self, target: str, edit: Edit | None, away_s: float, back: Callable[[], bool], hint: bytes = b"", drip: str = ""
    ) -> None:
        self._target, self._edit, self._away_s, self._back = target, edit, away_s, back
        self._hint, self._drip = hint, drip
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port, self._ended = self._listening.getsockname()[1], False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._port}"

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(5.0)
        self._listening.close()

    def _serve(self) -> None:
        while not self._ended:
            self._listening.settimeout(0.05)
            with suppress(TimeoutError), self._listening.accept()[0] as connection, suppress(OSError):
                self._answer(connection)
            if self._listening.fileno() < 0:
                time.sleep(self._away_s)
                until(lambda: self._ended or self._back())
                self._listening, self._away_s = socket.create_server(("127.0.0.1", self._port)), 0.0

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5.0)
        with connection.makefile("rb") as file:
            method, path, _ = file.readline().decode().split()
            headers = dict(line.decode().strip().split(": ", 1) for line in iter(file.readline, b"\r\n"))
            body = file.read(int(headers.get("Content-Length", 0)))
        if self._drip and path.startswith(self._drip):
            self._drip = ""
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not self._ended:
                connection.sendall(b"a")
                time.sleep(0.05)
        kept = {k: v for k, v in headers.items() if k in ("Authorization", "Content-Type")}
        answer = requests.request(method, self._target + path, data=body, headers=kept, timeout=5.0)
        content = answer.content
        if self._edit is not None and answer.ok:
            content = json.dumps(self._edit(path, answer.json())).encode()
        if self._away_s and path.startswith("/api/jobs/availability"):
            self._listening.close()
        head = f"HTTP/1.1 {answer.status_code} Relayed\r\nContent-Type: application/json\r\nConnection: close\r\n"
        connection.sendall(self._hint + f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)


@contextmanager
def token(text: str) -> Iterator[None]:
    """The user's token for a while."""
    with patch.dict(os.environ, {"PCVL_CLOUD_TOKEN": text}):
        pcvl.RemoteConfig.clear_cache()
        try:
            yield
        finally:
            pcvl.RemoteConfig.clear_cache()


@contextmanager
def stage(
    faults: str = "",
    *,
    edit: Edit | None = None,
    away_s: float = 0.0,
    until_refused: bool = False,
    clock: Clock | None = None,
    hint: bytes = b"",
    drip: str = "",
    **settings: Any,
) -> Iterator[Stage]:
    """A server with faults, a folder for the journal, and a token.

    :param away_s: as in :class:`Relay`.
    :param until_refused: stay away until the journal says that a creation was refused.
    """
    values: dict[str, Any] = {"seed": 7, "platforms": ("sim:ideal",), "time_scale": 1000.0} | settings
    chosen = CloudSettings(**values)
    cloud = EmulatedCloud(chosen, Faults.parse(faults), clock=time.time if clock is None else clock)
    with tempfile.TemporaryDirectory() as folder, token(TOKEN), cloud:
        back = partial(_has_refused, Path(folder) / "journal.sqlite") if until_refused else lambda: True
        between = edit is not None or away_s or hint or drip
        relay = Relay(cloud.url, edit, away_s, back, hint, drip) if between else nullcontext(cloud.url)
        with relay as url:
            yield Stage(cloud, Path(folder), url, chosen.platforms[0])


def _has_refused(path: Path) -> bool:
    with Journal(path, write=False) as journal:
        return any(record.state is JobState.REFUSED for record in journal.jobs())


@dataclass(frozen=True)
class Stage:
    """A broken cloud and what a client needs to use it."""

    cloud: EmulatedCloud
    folder: Path
    url: str
    platform: str

    @property
    def journal(self) -> Path:
        """Where a run folder has it."""
        return self.folder / "journal.sqlite"

    def requests(self, endpoint: str) -> int:
        """Requests that the server got."""
        return sum(self.cloud.requests["endpoints"].get(endpoint, {}).values())

    def address(self, **options: Any) -> str:
        """Device string."""
        pairs = {"url": self.url} | OPTIONS | options
        return f"quandela:{self.platform}?" + "&".join(f"{k}={v}" for k, v in pairs.items())

    # -- our client --

    def open(self, **options: Any) -> Any:
        """Our device, impatient between repetitions."""
        read_s = options.pop("read_s", GUARD_S)
        device: Any = open_device(self.address(**options), seed=0)
        device.transport.patience = replace(device.transport.patience, longest_s=0.05, read_s=read_s)
        return device

    def run(
        self,
        programs: Sequence[Program] = ONE,
        *,
        terms: Terms = TERMS,
        timeout_s: float = GUARD_S,
        meanwhile: Callable[[JournalledJob, JournalledDevice], None] | None = None,
        **options: Any,
    ) -> Run:
        """What a process does with our client: open the journal, submit, wait; again: what the next process does."""
        begun, error, counts = time.monotonic(), None, None
        with Journal(self.journal) as journal, listening() as heard:
            try:
                device = JournalledDevice(self.open(**options), journal, terms)
                job = device.submit(programs, shots=SHOTS, tag="row")
                if meanwhile is not None:
                    meanwhile(job, device)
                counts = job.result(timeout_s)
            except Exception as raised:
                error = raised
            records = journal.jobs()
            answers = {record.name: journal.answer(record.name) or "" for record in records}
            stored = {record.name: journal.of_job(record.name) for record in records}
            seconds = time.monotonic() - begun
            return Run(counts, error, records, answers, stored, journal.total(), "\n".join(heard), seconds)

    def attach(self) -> None:
        """A person looks up the newest job and says that it is the uncertain one."""
        from qpu_sdk.runs.jobs import attach_job
        from qpu_sdk.training.config import RunConfig

        (self.folder / "config.toml").write_text(RunConfig(device=self.address()).to_toml())
        attach_job(self.folder, self.cloud.jobs[-1]["job_id"])

    # -- Perceval's client --

    def execution(self, programs: Sequence[Program] = ONE, *, request_s: float | None = None) -> Any:
        """Perceval's execution of the same programs."""
        layer = QuandelaCommunicationLayer(self.platform, url=self.url)
        if request_s is not None:
            layer._rpc_handler.request_timeout = request_s
        circuit, state = programs[0].mesh.to_perceval(None), programs[0].input_state
        if len(programs) == 1:
            circuit = programs[0].to_perceval()[0]
        experiment = pcvl.Experiment(circuit)
        experiment.with_input(pcvl.BasicState(list(state)))
        experiment.min_detected_photons_filter(1)
        factory = ExecutionFactory(RemoteComputer(layer), experiment, max_shots_per_call=SHOTS)
        wired = {p.name for p in circuit.get_parameters()}
        for program in programs if len(programs) > 1 else ():
            phases = {f"phi{i}": float(x) for i, x in enumerate(program.phases) if f"phi{i}" in wired}
            factory.add_iteration(circuit_params=phases, max_samples=SHOTS, max_shots=SHOTS)
        return factory.sample_count

    def perceval(self, programs: Sequence[Program] = ONE, *, request_s: float | None = None) -> Theirs:
        """A run of Perceval's client from the beginning."""
        theirs = Theirs(self, programs, request_s)
        theirs.go()
        return theirs


@contextmanager
def listening() -> Iterator[list[str]]:
    """Everything that our client and urllib3 log, from debug on."""
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger("qpu_sdk"), logging.getLogger("urllib3")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    loggers[1].propagate = False  # a line for every request is no news to anybody else
    try:
        yield heard
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


@dataclass(frozen=True)
class Run:
    """How a run of our client ended."""

    counts: list[Counts] | None
    error: Exception | None
    records: list[JobRecord]
    answers: dict[str, str]
    stored: dict[str, list[Counts | None]]
    total: Cost
    log: str
    seconds: float

    @property
    def text(self) -> str:
        """Of the outcome, in a word or two."""
        return "result" if self.error is None else type(self.error).__name__

    @property
    def states(self) -> list[JobState]:
        """Of the journal's jobs."""
        return [record.state for record in self.records]

    @property
    def leaks(self) -> bool:
        """Whether a token is in an error, a log or the journal's messages."""
        said = f"{self.error} {self.log} {[record.message for record in self.records]}"
        return TOKEN in said or OTHER_TOKEN in said

    def met(self, wants: type[QPUError] | None, programs: int = 1) -> dict[str, bool]:
        """Whether it ended as it should: the error, or the counts of the first programs in their order."""
        right = self.counts is not None and [c.shots for c in self.counts] == [SHOTS] * programs
        ideal = [c for c in self.counts or () if c.device.startswith("quandela:sim:ideal")]
        fit = [p_value(c, program) for c, program in zip(ideal, PROGRAMS, strict=False)]
        return {
            f"{wants.__name__ if wants else 'the whole result'}, not {self.text} ({self.error})": (
                type(self.error) is wants if wants else right
            ),
            f"counts of the right programs ({fit})": min(fit, default=1.0) > 1e-4,
        }


class Theirs:
    """Perceval's client in a thread that is left alone when it does not end."""

    def __init__(self, at: Stage, programs: Sequence[Program], request_s: float | None) -> None:
        self._at, self._programs, self._request_s = at, programs, request_s
        self.execution: Any = None
        self.shots: list[int] | None = None
        self.results: Any = None
        self.error: Exception | None = None
        self.stopped, self.seconds = False, 0.0
        self.steps: list[str] = []
        self.said = ""
        self.log = MagicMock()

    def go(self, act: Callable[[Any], None] | None = None, limit_s: float = LIMIT_S) -> None:
        """Create the job if the client does not think that it has one, wait, and fetch the results.

        :param act: done between creation and waiting.
        """
        begun, self.shots, self.error, self.stopped = time.monotonic(), None, None, False
        over = threading.Event()
        thread = threading.Thread(target=self._work, args=(over, act), daemon=True)
        with patch("perceval.utils.logging._logger", self.log):
            thread.start()
            thread.join(limit_s)
            self.stopped = thread.is_alive()
            over.set()
        self.seconds += time.monotonic() - begun
        self.steps.append(self.text)
        self.said += str(self.error)

    def _work(self, over: threading.Event, act: Callable[[Any], None] | None) -> None:
        try:
            if self.execution is None:
                self.execution = self._at.execution(self._programs, request_s=self._request_s)
            if not self.execution.was_sent:
                self.execution.execute_async(max_samples=SHOTS)
            if act is not None:
                act(self.execution)
            while not self.execution.is_complete:
                if over.wait(0.05):
                    return
            self.results = self.execution.get_results()
            self.shots = shots_of(self.results)
        except Exception as error:
            self.error = error

    @property
    def text(self) -> str:
        """Of the outcome, in a few words."""
        if self.stopped:
            return f"waits without limit (stopped after {LIMIT_S:g} s)"
        if self.error is not None:
            code = re.search(r"status code (\d+)|\b(\d{3}) (?:Client|Server) Error", str(self.error))
            number = f" {code[1] or code[2]}" if code else ""
            return kind(self.error) + number
        if self.right:
            return "result"
        if self.shots and set(self.shots) == {SHOTS}:
            return "incomplete result, no error"
        return f"wrong result ({f'{self.shots[0]} shots' if self.shots else short(self.results, 40)})"

    @property
    def right(self) -> bool:
        """Whether there are all shots of all programs."""
        return self.shots == [SHOTS] * len(self._programs)

    @property
    def lost(self) -> int:
        """Jobs on the server whose id the client neither knows nor said in an error."""
        known = self.said + (self.execution.get_details() if self.execution is not None else "")
        return sum(job["job_id"] not in known for job in self._at.cloud.jobs)

    def case(self, label: str, jobs: int, required: Mapping[str, bool] | None = None, *, more: str = "") -> Case:
        """Its outcome, against what is required of both clients."""
        held, lost = len(self._at.cloud.jobs), self.lost
        text = AGAIN.join(self.steps) + (f", {lost} of {held} job ids lost" if lost else "") + more
        common = {
            "ends by itself": not any("without limit" in step for step in self.steps),
            f"{jobs} jobs on the server, not {held}": held == jobs,
            "every job's id is known": not lost,
        }
        return Case(label, text, held, self.seconds, missing({**common, **(required or {})}))


def exact(program: Program) -> dict[tuple[int, ...], float]:
    """Probabilities by outcome, the occupied modes with repetition; from the definition."""
    columns = MESH.unitary(program.phases)[:, list(program.input_modes)]
    return {o: boson_probability(columns, o) for o in outcomes(MESH.modes, program.photons)}


def numbers(counts: Counts) -> dict[tuple[int, ...], int]:
    """How often each outcome came."""
    rows = (tuple(np.repeat(np.arange(MESH.modes), row).tolist()) for row in counts.outcomes)
    return dict(zip(rows, counts.numbers.tolist(), strict=True))


def p_value(counts: Counts, program: Program) -> float:
    """That counts come from a program."""
    return chi_square([counts], program)


def chi_square(several: Sequence[Counts], program: Program) -> float:
    """p-value of counts of one program, taken together."""
    from tests.oracles.statistics import chi_square_p  # slow to import, and no child needs it

    expected, total = exact(program), sum(counts.shots for counts in several)
    drawn = [sum(numbers(counts).get(o, 0) for counts in several) for o in expected]
    return chi_square_p(drawn, [total * p for p in expected.values()])


def shots_of(results: Any) -> list[int]:
    """Shots of each program in Perceval's results, ``[]`` when they are something else."""
    entries = results.get("results_list", [results]) if isinstance(results, dict) else []
    return [sum(e["results"].values()) for e in entries if hasattr(e.get("results"), "values")]


def ours_case(
    at: Stage, label: str, runs: Sequence[Run], jobs: int, required: Mapping[str, bool], *, attached: bool = False
) -> Case:
    """A variant of our client's outcome; every job on the server must be in the journal under its name.

    :param attached: a person attached the id before the last run.
    """
    held = at.cloud.jobs
    names = {record.name for record in runs[-1].records}
    common = {
        f"{jobs} jobs on the server, not {len(held)}": len(held) == jobs,
        "every job is in the journal": all(job["job_name"] in names for job in held),
        "no token in an error, a log or the journal": not any(run.leaks for run in runs),
        "only errors of the SDK": all(run.error is None or isinstance(run.error, QPUError) for run in runs),
    }
    texts = [run.text for run in runs]
    if attached:
        texts[-1] = f"id attached, {texts[-1]}"
    return Case(label, AGAIN.join(texts), len(held), sum(run.seconds for run in runs), missing({**common, **required}))


# The common kind of row: something is broken, a client runs, and perhaps somebody tries again


@dataclass(frozen=True)
class Try:
    """One variant.

    :param wants: error of the first run, None for the whole result.
    :param then: what follows: nothing, the next run brings the result, or that only after the id was attached by hand.
    :param jobs: jobs on the server at the end.
    :param posts: creations that our client sends.
    :param states: states in the journal after the first run.
    :param says: words in the error's message.
    :param logs: words in the log.
    :param check: more requirements of our client, by the stage and the first run.
    :param request_s: Perceval's time limit of a request in place of its 10 s.
    """

    label: str
    faults: str = ""
    wants: type[QPUError] | None = None
    then: Literal["", "resume", "attach"] = ""
    jobs: int = 1
    posts: int = 1
    states: tuple[JobState, ...] | None = None
    says: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    repair: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Stage, Run], Mapping[str, bool]] = lambda *_: {}
    request_s: float | None = None

    def ours(self) -> Case:
        """Our client's run."""
        with stage(self.faults, **self.settings) as at:
            runs = [at.run(**self.options)]
            if self.then == "attach":  # the client may have given up before the server had made the job
                until(lambda: len(at.cloud.jobs) == self.jobs)
            required = self._first(at, runs[0])
            if self.repair:
                at.cloud.change(**self.repair)
            if self.then == "attach":
                runs.append(at.run())
                required |= runs[-1].met(SubmissionUncertain)
                at.attach()
            if self.then:
                runs.append(at.run())
                required |= runs[-1].met(None)
                required["the journal says done"] = runs[-1].states == [
                    *[JobState.REFUSED] * self._refused,
                    JobState.DONE,
                ]
            posts = at.requests("create")
            required[f"{self.posts} creations sent, not {posts}"] = posts == self.posts
            return ours_case(at, self.label, runs, self.jobs, required, attached=self.then == "attach")

    @property
    def _refused(self) -> int:
        return int(self.states == (JobState.REFUSED,))

    def _first(self, at: Stage, run: Run) -> dict[str, bool]:
        required = run.met(self.wants)
        for words in self.says:
            required[f"the error says {words!r}, not {run.error}"] = words in str(run.error)
        for words in self.logs:
            required[f"the log says {words!r}"] = words in run.log
        if self.states is not None:
            names = [s.value for s in run.states]
            required[f"journal {[s.value for s in self.states]}, not {names}"] = tuple(run.states) == self.states
        if self.wants is SubmissionUncertain:
            required["shots stay reserved"] = run.total.shots == SHOTS
        return required | dict(self.check(at, run))

    def theirs(self) -> Case:
        """Perceval's run; trying again goes on with the job it knows, or creates one."""
        with stage(self.faults, **self.settings) as at:
            run = at.perceval(request_s=self.request_s)
            as_wanted = run.error is not None if self.wants else run.right
            if self.repair:
                at.cloud.change(**self.repair)
            if self.then and not run.right:
                run.go()
            required = {"the first run ends as required": as_wanted, "a result at last": run.right or not self.then}
            return run.case(self.label, self.jobs, required)


def row(id_: str, fault: str, *tries: Try) -> Row:
    """A row of variants."""
    return Row(
        id_,
        fault,
        lambda: Outcome.of(*(t.ours() for t in tries)),
        lambda: Outcome.of(*(t.theirs() for t in tries)),
        tuple(t.jobs for t in tries),
    )


def fault(endpoint: str, action: str, **keys: Any) -> str:
    """TOML of one rule."""
    return (
        "\n".join(
            ["[[fault]]", f'endpoint = "{endpoint}"', f'action = "{action}"', *(_toml(k, v) for k, v in keys.items())]
        )
        + "\n"
    )


def _toml(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{key} = {{ {', '.join(_toml(k, v) for k, v in value.items())} }}"
    return f"{key} = {value if isinstance(value, float) else json.dumps(value)}"


def refused(status: int, text: str, **keys: Any) -> str:
    """The first creation is answered with the vendor's words."""
    return fault("create", "answer", status=status, body={"error": text}, calls=[1], **keys)


def uncertain(label: str, faults: str, **more: Any) -> Try:
    """The job exists and the client cannot know: nothing is sent again, a person attaches the id."""
    says = ("jobs attach", "jobs forget", "not sent again")
    return Try(label, faults, SubmissionUncertain, "attach", states=(JobState.UNCERTAIN,), says=says, **more)


def declined(label: str, status: int, text: str, wants: type[QPUError], says: str = "", **keys: Any) -> Try:
    """Certainly not created, and not tried again; the next run may."""
    faults = refused(status, text, **keys)
    refusal = (JobState.REFUSED,)
    return Try(label, faults, wants, "resume", posts=2, states=refusal, says=(says or text,))


def in_view(label: str, faults: str, wants: type[QPUError] | None = None, **more: Any) -> Try:
    """A fault after creation: whatever happens, the job stays in the journal under its id and is found again."""
    more.setdefault("says", ())
    return Try(label, faults, wants, "resume" if wants else "", states=None, check=_id_kept, **more)


def _id_kept(at: Stage, run: Run) -> Mapping[str, bool]:
    ids = [job["job_id"] for job in at.cloud.jobs]
    wanted = JobState.DONE if run.error is None else JobState.SUBMITTED
    return {
        "the journal keeps the id": [r.job_id for r in run.records] == ids,
        f"the journal does not call it failed ({run.states})": run.states in ([wanted], [JobState.RUNNING]),
    }


# Rows of their own: creation


def refused_connections_ours() -> Outcome:
    """F1: nobody listens between the question for room and the creation."""
    with stage(away_s=0.5, until_refused=True) as at:
        run = at.run()
        tries = [r.tries for r in run.records]
        required = run.met(None) | {f"the journal counts the tries ({tries})": len(tries) == 1 and tries[0] > 1}
        required["one creation reached the server"] = at.requests("create") == 1
        return Outcome.of(ours_case(at, "", [run], 1, required))


def refused_connections_perceval() -> Outcome:
    """F1 likewise."""
    with stage(away_s=0.5) as at:
        run = at.perceval()
        return Outcome.of(run.case("", 1, {"a result": run.right}))


def same_object_again_ours() -> Outcome:
    """F12: refused while nobody knows; a person may force it."""
    again: list[str] = []
    with stage(fault("create", "drop-after", calls=[1])) as at, Journal(at.journal) as journal:
        begun = time.monotonic()
        device = JournalledDevice(at.open(), journal, TERMS)
        for _ in range(3):
            try:
                device.submit(ONE, shots=SHOTS, tag="row")
            except QPUError as error:
                again.append(type(error).__name__)
        held, posts = len(at.cloud.jobs), at.requests("create")
        [record] = journal.jobs()
        journal.move(record.name, JobState.REFUSED, "forgotten")
        forced = device.submit(ONE, shots=SHOTS, tag="row").result(GUARD_S)
        required = {
            f"refused each time ({again})": again == ["SubmissionUncertain"] * 3,
            "one creation": posts == 1,
            "one job": held == 1,
            "forced by a person, it runs": [c.shots for c in forced] == [SHOTS],
            "no job is called None": "None" not in at.cloud.requests["jobs"] and _refuses_none(at),
        }
        return Outcome.of(Case("", AGAIN.join(again), held, time.monotonic() - begun, missing(required)))


def _refuses_none(at: Stage) -> bool:
    try:
        at.open().transport.status("None")
    except ConfigError:
        return True
    return False


def same_object_again_perceval() -> Outcome:
    """F12: the same execution after its creation got lost."""
    with stage(fault("create", "drop-after", calls=[1])) as at:
        run = at.perceval()
        run.go()
        return Outcome.of(run.case("", 1))


# Rows of their own: status


def renewed_token_ours() -> Outcome:
    """F15: the token expires while the job runs."""
    with stage(seconds_per_setting=100.0) as at:
        first = at.run(meanwhile=lambda *_: at.cloud.change(tokens=[OTHER_TOKEN]))
        asked = at.requests("status")
        with token(OTHER_TOKEN):
            second = at.run()
        ids = [job["job_id"] for job in at.cloud.jobs]
        required = first.met(AuthenticationError) | second.met(None)
        required |= dict(_id_kept(at, first)) | {f"not asked again ({asked})": asked == 1}
        required["the same id with the new token"] = [r.job_id for r in second.records] == ids
        return Outcome.of(ours_case(at, "", [first, second], 1, required))


def renewed_token_perceval() -> Outcome:
    """F15: the execution goes on with the token that it has."""
    with stage(seconds_per_setting=100.0) as at:
        run = Theirs(at, ONE, None)
        run.go(lambda _: at.cloud.change(tokens=[OTHER_TOKEN]))
        with token(OTHER_TOKEN):
            run.go()
        return Outcome.of(run.case("", 1, {"a result with the new token": run.right}))


def odd_fields_ours() -> Outcome:
    """F20: fields that are missing, null or of another type, before and at the end.

    In the last two variants the ledger must be kept from numbers that it cannot hold.
    """
    fields = ["progress", "duration", "shots", "creation_datetime", "start_time", "status_message", "progress_message"]
    odd = {"progress": "half", "duration": "long", "shots": "many", "status_message": ["a"]}
    faults = fault("status", "replace", calls=[1], body={"status": "running", "progress": 50})
    faults += fault("status", "replace", calls=[2], body={"status": "running", "progress": 0.25})
    faults += fault("status", "replace", calls=[3], body={"status": "running"}, remove=fields)
    faults += fault("status", "replace", calls=[4], body={"status": "running"}, null=fields)
    faults += fault("status", "replace", calls=[5], body={"status": "running"} | odd)
    seen: list[float | None] = []

    def look(job: JournalledJob, device: JournalledDevice) -> None:
        [handle] = device.handles.values()
        for _ in range(5):
            time.sleep(handle.pause_s)
            handle.status()
            seen.append(handle.progress)  # type: ignore[attr-defined]

    with stage(faults) as at:
        run = at.run(meanwhile=look)
        required = run.met(None) | {f"progress is 0 to 1 or unknown ({seen})": seen == [0.5, 0.25, None, None, None]}
        cases = [ours_case(at, "while running", [run], 1, required)]
    for label, body in _ODD_ENDS.items():
        with stage(fault("status", "replace", body=body)) as at:
            run = at.run()
            required = run.met(None) | {"the ledger holds numbers": run.total.seconds == run.total.seconds}
            cases.append(ours_case(at, label, [run], 1, required))
    return Outcome.of(*cases)


_ODD_ENDS: dict[str, dict[str, Any]] = {
    "text for numbers": {"duration": "long", "shots": "many", "progress": "all"},
    "not a number": {"duration": float("nan"), "progress": float("inf")},
    "numbers too large": {"shots": 10**30, "progress": 10**400},
}


def odd_fields_perceval() -> Outcome:
    """F20 at the end of a job."""
    cases = []
    for label, body in _ODD_ENDS.items():
        with stage(fault("status", "replace", body=body)) as at:
            run = at.perceval()
            cases.append(run.case(label, 1, {"a result": run.right}))
    return Outcome.of(*cases)


READING_S, FEWEST_READS = 0.6, 200
INTERVAL_S = 0.2


def tight_polling_ours() -> Outcome:
    """F21: every way to look at a job, in a loop without pauses."""
    measured: list[int] = []

    def look(job: JournalledJob, device: JournalledDevice) -> None:
        [handle] = device.handles.values()
        begun, reads = time.monotonic(), 0
        while time.monotonic() < begun + READING_S or reads < FEWEST_READS:
            for read in (job.status, handle.status, lambda: job.pause_s, handle.usage):
                read()
            for wait in (lambda: job.result(0.0), lambda: handle.result(0.0), lambda: wait_all([job], timeout_s=0.0)):
                with suppress(JobTimeout):
                    wait()
            reads += 7
        measured.extend([at.requests("status"), 1 + int((time.monotonic() - begun) / INTERVAL_S)])

    with stage(seconds_per_setting=1000.0) as at:
        run = at.run(meanwhile=look, poll_s=INTERVAL_S, max_poll_s=INTERVAL_S)
        asked, allowed = measured
        required = run.met(None) | {f"at most {allowed} requests, not {asked}": asked <= allowed}
        case = ours_case(at, "", [run], 1, required)
    text = f"{case.text}, {asked} requests for {FEWEST_READS} reads and more"  # how many more is the machine's business
    return Outcome.of(replace(case, text=text))


def tight_polling_perceval() -> Outcome:
    """F21: thirty reads of ``is_complete``."""
    measured: list[int] = []

    def look(execution: Any) -> None:
        _ = [execution.is_complete for _ in range(30)]
        measured.append(at.requests("status"))

    with stage(seconds_per_setting=1000.0) as at:
        run = Theirs(at, ONE, None)
        run.go(look)
        more = f", {measured[0]} requests for 30 reads"
        return Outcome.of(run.case("", 1, {"at most one request an interval": measured[0] <= 2}, more=more))


# Rows of their own: results


def edit_entries(change: Callable[[list[Any]], list[Any]], *, first: bool = False) -> Edit:
    """An edit of the list of results, of the first job only or of all."""
    met: list[str] = []

    def edit(path: str, answer: dict[str, Any]) -> dict[str, Any]:
        if "/result/" not in path or not answer.get("results"):
            return answer
        met.append(path)
        inner = json.loads(answer["results"])
        if "results_list" in inner and (not first or path == met[0]):
            inner["results_list"] = change(inner["results_list"])
        return answer | {"results": json.dumps(inner)}

    return edit


FIVE = PROGRAMS[:5]
_PARTIAL: dict[str, tuple[Edit, dict[str, Any]]] = {
    "stopped by a time limit, in another order": (
        edit_entries(lambda entries: entries[::-1]),
        {"job_limit_s": 3.0, "time_scale": 100.0},
    ),
    "3 of 5 entries": (edit_entries(lambda entries: entries[:3]), {}),
}


def partial_results_ours() -> Outcome:
    """F24: what came is kept, only the rest is sent again."""
    cases = []
    for label, (edit, settings) in _PARTIAL.items():
        with stage(edit=edit, **settings) as at:
            run = at.run(FIVE)
            sent = [job["iterations"] for job in at.cloud.jobs]
            required = run.met(None, programs=5) | {f"only what is missing is sent again ({sent})": sent == [5, 2]}
            apart = max(p_value(c, p) for c, p in zip(run.counts or (), FIVE[1:], strict=False))
            required[f"programs that can be told apart ({apart:.0e})"] = apart < 1e-6
            required["marked as partial"] = run.states == [JobState.CANCELLED, JobState.DONE]
            required["the second replaces the first"] = run.records[-1].replaces == run.records[0].name
            case = ours_case(at, label, [run], 2, required)
            cases.append(replace(case, text=f"{case.text}, {' + '.join(map(str, sent))} settings run"))
    return Outcome.of(*cases)


def partial_results_perceval() -> Outcome:
    """F24: what the caller gets, and whether it says that something is missing."""
    cases = []
    for label, (edit, settings) in _PARTIAL.items():
        with stage(edit=edit, **settings) as at:
            run = at.perceval(FIVE)
            with patch("perceval.utils.logging._logger", run.log), suppress(Exception):
                run.shots = shots_of(run.execution.get_results(allow_partial_results=True))
            more = f", {len(run.shots or ())} of 5 settings" + (" on request" if run.error else "")
            cases.append(run.case(label, 1, {"all settings": run.right}, more=more))
    return Outcome.of(*cases)


def _once(edit: Edit) -> Edit:
    """The edit of the first result, as of a server that knew no better yet."""
    met: list[str] = []

    def first(path: str, answer: dict[str, Any]) -> dict[str, Any]:
        if "/result/" not in path or not answer.get("results") or met:
            return answer
        met.append(path)
        return edit(path, answer)

    return first


_LACKING: dict[str, Callable[[list[Any]], list[Any]]] = {"none of 5": lambda _: [], "4 of 5": lambda found: found[:4]}


def lacking_ours() -> Outcome:
    """F50: the server is asked again before anything is paid again."""
    cases = []
    for label, change in _LACKING.items():
        with stage(edit=_once(edit_entries(change))) as at:
            run = at.run(FIVE)
            cases.append(ours_case(at, label, [run], 1, run.met(None, programs=5)))
    return Outcome.of(*cases)


def lacking_perceval() -> Outcome:
    """F50: what the caller gets."""
    cases = []
    for label, change in _LACKING.items():
        with stage(edit=_once(edit_entries(change))) as at:
            run = at.perceval(FIVE)
            cases.append(run.case(label, 1, {"all settings": run.right}))
    return Outcome.of(*cases)


SAMPLES_ONLY = fault("platform", "replace", body={"specs": {"available_commands": ["samples"]}})


def forget_context(path: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The server does not echo how the results are to be converted."""
    if "/result/" not in path or not answer.get("results"):
        return answer
    inner = json.loads(answer["results"])
    inner.pop("job_context", None)
    return answer | {"results": json.dumps(inner)}


def no_context_ours() -> Outcome:
    """F26: counts asked of a platform that only has samples."""
    with stage(SAMPLES_ONLY, edit=forget_context) as at:
        run = at.run()
        return Outcome.of(ours_case(at, "", [run], 1, run.met(None)))


def no_context_perceval() -> Outcome:
    """F26: what comes in place of counts."""
    with stage(SAMPLES_ONLY, edit=forget_context) as at:
        run = at.perceval()
        if not run.right and run.results:
            run.steps[-1] = f"{type(run.results.get('results')).__name__} in place of counts"
        return Outcome.of(run.case("", 1, {"counts": run.right}))


HOSTILE = {"results": json.dumps({"results": "6*7", "job_context": {"result_mapping": ["builtins", "eval"]}})}


def hostile_ours() -> Outcome:
    """F25: nothing is imported, nothing is evaluated."""
    with stage(fault("result", "replace", body=HOSTILE)) as at:
        run = at.run()
        required = run.met(UnusableAnswer) | dict(_id_kept(at, run))
        required["the error names the converter"] = "builtins" in str(run.error)
        required["the answer is kept"] = "builtins" in run.answers[run.records[0].name]
        return Outcome.of(ours_case(at, "", [run], 1, required))


def hostile_perceval() -> Outcome:
    """F25: what comes out of ``6*7``."""
    with stage(fault("result", "replace", body=HOSTILE)) as at:
        run = at.perceval()
        value = (run.results or {}).get("results")
        ran = value == 42
        run.steps[-1] = f"runs the server's code ({value})" if ran else run.steps[-1]
        return Outcome.of(run.case("", 1, {"nothing of the server's is run": not ran}))


# Rows of their own: waiting


def no_room_cancelled() -> Case:
    """F28: a wait that is seen and can be ended."""
    shown: list[str] = []

    def end(job: JournalledJob, _: JournalledDevice) -> None:
        shown.append(job.status().value)
        job.cancel()

    with stage(NO_ROOM) as at:
        run = at.run(meanwhile=end, queue_s=100.0)
        required = run.met(JobCancelled) | {f"shown as queued ({shown})": shown == ["queued"]}
        required["nothing was sent"] = at.requests("create") == 0
        return ours_case(at, "cancelled by the user", [run], 0, required)


NO_ROOM = fault("availability", "replace", body={"num_jobs_in_queue": 10})
NO_ROOM_TRIES = (
    Try("full for long", NO_ROOM, QueueFull, jobs=0, posts=0, states=(), options={"queue_s": 0.5}),
    Try("room a moment later", NO_ROOM + "calls = [1]\n"),
)


# Rows of their own: this machine


def child(function: Callable[[], None], at: Stage) -> Command:
    """A process of its own that runs a function of this module."""
    return Command.start([at.url, at.folder], at.folder / "said", function=function)


def _child_stage() -> Stage:
    cloud: Any = None
    return Stage(cloud, Path(sys.argv[2]), sys.argv[1], "sim:ideal")


def child_batch() -> None:
    """Three jobs of two settings."""
    _child_stage().run(PROGRAMS, settings_per_job=2, timeout_s=GUARD_S)


def child_group() -> None:
    """Three executions in a group."""
    at = _child_stage()
    group = ExecutionGroup("batch", str(at.folder))
    for program in PROGRAMS[:3]:
        group.add(at.execution((program,)), max_samples=SHOTS)
    group.launch_async_executions()


def kill_when(process: Command, ready: Callable[[], bool]) -> None:
    """Kill a process without warning once something is so."""
    until(lambda: ready() or process.code is not None)
    process.kill()


def until(ready: Callable[[], bool]) -> None:
    """Wait for something; :class:`TimeoutError` when it never comes."""
    end = time.monotonic() + GUARD_S
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError("it never came")
        time.sleep(0.005)


SECOND_ANSWER_LATE = fault("create", "delay", calls=[2], delay_s=10 * GUARD_S)


def killed_ours() -> Outcome:
    """F31: killed while the second of three jobs is created; and once all are on their way."""
    with stage(SECOND_ANSWER_LATE) as creating, stage(seconds_per_setting=300.0) as running:
        processes = [child(child_batch, at) for at in (creating, running)]
        kill_when(processes[0], lambda: len(creating.cloud.jobs) == 2)
        kill_when(processes[1], lambda: _submitted(running) == 3)
        return Outcome.of(_after_death_creating(creating), _after_death_running(running))


def _after_death_creating(at: Stage) -> Case:
    with Journal(at.journal, write=False) as journal:
        left = journal.jobs()
    names = [job["job_name"] for job in at.cloud.jobs]
    first = at.run(PROGRAMS, settings_per_job=2)
    at.attach()
    second = at.run(PROGRAMS, settings_per_job=2)
    required = first.met(SubmissionUncertain) | second.met(None, programs=6)
    required["the dead process left intent and id"] = [bool(r.job_id) for r in left] == [True, False]
    required["the journal knows both names"] = [r.name for r in left] == names
    required["every setting ran once"] = [job["iterations"] for job in at.cloud.jobs] == [2, 2, 2]
    return ours_case(at, "while a job is created", [first, second], 3, required, attached=True)


def _after_death_running(at: Stage) -> Case:
    run = at.run(PROGRAMS, settings_per_job=2)
    ids = [job["job_id"] for job in at.cloud.jobs]
    required = run.met(None, programs=6) | {"the same ids": [r.job_id for r in run.records] == ids}
    return ours_case(at, "while jobs run", [run], 3, required)


def _submitted(at: Stage) -> int:
    try:
        with Journal(at.journal, write=False) as journal:
            return sum(bool(record.job_id) for record in journal.jobs())
    except CheckpointError:
        return 0


def killed_perceval() -> Outcome:
    """F31: a group that is loaded and launched again."""
    with stage(SECOND_ANSWER_LATE) as at:
        begun = time.monotonic()
        kill_when(child(child_group, at), lambda: len(at.cloud.jobs) == 2)
        with patch("perceval.utils.logging._logger", MagicMock()):
            group = ExecutionGroup("batch", str(at.folder))
            group.launch_async_executions()
        return Outcome.of(_group_case("while a job is created", at, group, 3, begun))


def _group_case(label: str, at: Stage, group: Any, jobs: int, begun: float, more: str = "") -> Case:
    held = at.cloud.jobs
    known = " ".join(execution.get_details() for execution in group)
    lost = sum(job["job_id"] not in known for job in held)
    required = {f"{jobs} jobs on the server, not {len(held)}": len(held) == jobs, "every id is known": not lost}
    text = f"{len(group)} executions, {lost} of {len(held)} job ids lost{more}"
    return Case(label, text, len(held), time.monotonic() - begun, missing(required))


def child_full() -> None:
    """Our client on a disk that fills up after it began."""
    at = _child_stage()
    device = at.open()
    with Journal(at.journal) as journal:
        _fill(64)  # enough to say what happens
        try:
            JournalledDevice(device, journal, TERMS).submit(PROGRAMS, shots=SHOTS)
            print("sent")  # noqa: T201
        except Exception as error:
            print(type(error).__name__)  # noqa: T201


def child_group_full() -> None:
    """Perceval's group on a disk that fills up after it began."""
    at = _child_stage()
    group = ExecutionGroup("batch", str(at.folder))
    group.add(at.execution(), max_samples=SHOTS)
    _fill(max(path.stat().st_size for path in at.folder.iterdir() if path.is_file()))
    try:
        group.launch_async_executions()
        print("sent")  # noqa: T201
    except Exception as error:
        print(type(error).__name__)  # noqa: T201


def _fill(most: int) -> None:
    """No file of this process grows beyond so many bytes any more."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def said_by(function: Callable[[], None], at: Stage) -> str:
    """What a child printed."""
    process = child(function, at)
    process.wait()
    return process.stdout.strip()


def damaged_ours() -> Outcome:
    """F32: a journal taken back to an older copy, a damaged one, a full disk, two processes."""
    return Outcome.of(_older_copy(), _middle_lost(), _full_disk(), _two_processes())


def _older_copy() -> Case:
    """The journal alone is as it was while the job went on; then the right one is put back."""
    with stage() as at:
        copies: list[bytes] = []
        first = at.run(meanwhile=lambda *_: copies.append(at.journal.read_bytes()))
        copies.append(at.journal.read_bytes())
        at.journal.write_bytes(copies[0])
        error = None
        try:
            at.run(PROGRAMS[1:2])
        except QPUError as raised:
            error = raised
        at.journal.write_bytes(copies[1])
        last = at.run()
        required = first.met(None) | last.met(None)
        required["CheckpointError, nothing sent"] = type(error) is CheckpointError and at.requests("create") == 1
        case = ours_case(at, "older copy", [last], 1, required)
        return replace(case, text=f"{kind(error)}{AGAIN}copy put back, {case.text}")


def _middle_lost() -> Case:
    with stage() as at:
        at.run()
        at.journal.write_bytes(at.journal.read_bytes()[:3000])
        begun, error = time.monotonic(), None
        try:
            at.run(PROGRAMS[1:2])
        except QPUError as raised:
            error = raised
        required = {"CheckpointError": type(error) is CheckpointError, "nothing sent": at.requests("create") == 1}
        text = type(error).__name__ if error else "no error"
        return Case("file cut off", text, len(at.cloud.jobs), time.monotonic() - begun, missing(required))


_LOST: dict[str, Callable[[Path], object]] = {"deleted": Path.unlink, "0 bytes": lambda path: path.write_bytes(b"")}


def lost_ours() -> Outcome:
    """F51: what was noted beside the journal tells that it held a job."""
    cases = []
    for label, lose in _LOST.items():
        with stage() as at:
            at.run()
            lose(at.journal)
            begun, error = time.monotonic(), None
            try:
                at.run()
            except QPUError as raised:
                error = raised
            required = {"CheckpointError": type(error) is CheckpointError, "nothing sent": at.requests("create") == 1}
            seconds = time.monotonic() - begun
            cases.append(Case(label, kind(error), len(at.cloud.jobs), seconds, missing(required)))
    return Outcome.of(*cases)


def lost_perceval() -> Outcome:
    """F51 with a group's file."""
    cases = []
    for label, lose in _LOST.items():
        with stage() as at, patch("perceval.utils.logging._logger", MagicMock()):
            begun = time.monotonic()
            cases.append(_group_again(label, at, lose, begun))
    return Outcome.of(*cases)


def _group_again(label: str, at: Stage, lose: Callable[[Path], object], begun: float) -> Case:
    """The same program begun, its file lost, and begun again."""
    said = "no error"
    try:
        for _ in range(2):
            group = ExecutionGroup("batch", str(at.folder))
            if not len(group):
                group.add(at.execution(), max_samples=SHOTS)
            group.launch_async_executions()
            lose(at.folder / "batch.egrp")
    except Exception as error:
        said = kind(error)
    held = len(at.cloud.jobs)
    required = {f"1 job on the server, not {held}": held == 1}
    return Case(label, said, held, time.monotonic() - begun, missing(required))


def _full_disk() -> Case:
    with stage() as at:
        begun = time.monotonic()
        said = said_by(child_full, at)
        required = {
            f"CheckpointError, not {said}": said == "CheckpointError",
            "nothing sent": at.requests("create") == 0,
        }
        return Case("disk full", said, len(at.cloud.jobs), time.monotonic() - begun, missing(required))


HOLD = """
import sys, pathlib
from qpu_sdk.devices.journal import Journal
with Journal(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _two_processes() -> Case:
    with stage() as at:
        arguments = [sys.executable, "-c", HOLD, str(at.journal)]
        pipe = subprocess.PIPE
        with subprocess.Popen(arguments, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as holder:
            assert holder.stdout is not None
            said, begun, error = holder.stdout.readline().strip(), time.monotonic(), None
            try:
                at.run()
            except QPUError as raised:
                error = raised
            seconds = time.monotonic() - begun
        required = {"the first holds it": said == "held", "the second is refused": type(error) is CheckpointError}
        required["nothing sent"] = at.requests("create") == 0
        return Case("two processes", kind(error), len(at.cloud.jobs), seconds, missing(required))


def damaged_perceval() -> Outcome:
    """F32 with a group's file."""
    return Outcome.of(_group_cut(), _group_full(), _two_groups())


def _group_cut() -> Case:
    with stage() as at, patch("perceval.utils.logging._logger", MagicMock()):
        begun = time.monotonic()
        group = ExecutionGroup("batch", str(at.folder))
        group.add(at.execution(), max_samples=SHOTS)
        group.launch_async_executions()
        path = at.folder / "batch.egrp"
        path.write_bytes(path.read_bytes()[:-100])
        return _reloaded("end of the file lost", at, begun)


def _reloaded(label: str, at: Stage, begun: float, before: str = "") -> Case:
    try:
        return _group_case(label, at, ExecutionGroup("batch", str(at.folder)), 1, begun)
    except Exception as error:
        text = f"{before}{kind(error)}, all job ids lost"
        return Case(label, text, len(at.cloud.jobs), time.monotonic() - begun, ("the group is read",))


def _group_full() -> Case:
    with stage() as at, patch("perceval.utils.logging._logger", MagicMock()):
        begun = time.monotonic()
        said = said_by(child_group_full, at)
        return _reloaded("disk full", at, begun, before=f"{said}, then ")


def _two_groups() -> Case:
    with stage() as at, patch("perceval.utils.logging._logger", MagicMock()):
        begun = time.monotonic()
        groups = [ExecutionGroup("batch", str(at.folder)) for _ in range(2)]
        for group, program in zip(groups, PROGRAMS, strict=False):
            group.add(at.execution((program,)), max_samples=SHOTS)
            group.launch_async_executions()
        return _group_case("two writers", at, ExecutionGroup("batch", str(at.folder)), 2, begun)


def modes_and_token(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Modes of the files under a folder, and those that hold the token."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    modes = {path.name: f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in files}
    return modes, [path.name for path in files if TOKEN.encode() in path.read_bytes()]


def on_disk(modes: Mapping[str, str], leaked: Sequence[str]) -> str:
    """What was found, in short."""
    by_mode = {mode: ", ".join(n for n, m in modes.items() if m == mode) for mode in sorted(set(modes.values()))}
    told = "; ".join(f"{names} {mode}" for mode, names in by_mode.items())
    return f"{told}; {'token in ' + ', '.join(leaked) if leaked else 'no token'}"


def files_ours() -> Outcome:
    """F33: what is on disk while a job runs."""
    found: list[Any] = []

    def look(_: JournalledJob, device: JournalledDevice) -> None:
        found.extend(modes_and_token(at.folder))
        found.append(f"{device!r} {vars(device.device)} {vars(device.device.transport)}")  # type: ignore[attr-defined]

    with stage() as at:
        run = at.run(meanwhile=look)
        modes, leaked, shown = found
        required = run.met(None) | {f"readable by the owner only ({modes})": set(modes.values()) == {"0600"}}
        required |= {"no token on disk": not leaked, "no token in a repr": TOKEN not in shown}
        case = ours_case(at, "", [run], 1, required)
        return Outcome.of(replace(case, text=on_disk(modes, leaked)))


def files_perceval() -> Outcome:
    """F33: a saved configuration and a group."""
    with stage() as at, patch("perceval.utils.logging._logger", MagicMock()):
        begun = time.monotonic()
        config = pcvl.RemoteConfig(PersistentData(str(at.folder)))
        config.set_token(TOKEN)
        config.save()
        group = ExecutionGroup("batch", str(at.folder))
        group.add(at.execution(), max_samples=SHOTS)
        group.launch_async_executions()
        modes, leaked = modes_and_token(at.folder)
        required = {"readable by the owner only": set(modes.values()) == {"0600"}, "no token on disk": not leaked}
        return Outcome.of(
            Case("", on_disk(modes, leaked), len(at.cloud.jobs), time.monotonic() - begun, missing(required))
        )


# Rows of their own: cancelling and running again

CANNOT_CANCEL = fault("cancel", "answer", status=400, body={"error": "Can not cancel job"})
FOUR = PROGRAMS[:4]
_CANCELLED: dict[str, tuple[str, dict[str, Any], int]] = {
    "waiting job": ("", {"queue_s": 1e6}, 0),
    "running job": ("", {"time_scale": 1.0}, 1),
    "job that just ended": (CANNOT_CANCEL, {"time_scale": 20.0}, 0),
}


def until_shots(at: Stage, wanted: int, clock: Clock | None = None) -> None:
    """Return once the server has run as many settings; a clock that stands is moved on until then."""

    def ready() -> bool:
        if clock is not None:
            clock.now += 0.1
        return bool(at.cloud.jobs[0]["shots"] >= wanted * SHOTS)

    until(ready)


def cancel_after(what: Any, *_: object, at: Stage, finished: int, clock: Clock | None, times: int) -> None:
    """Cancel a job or an execution, once so many settings have run; then a clock that stood goes on."""
    until_shots(at, finished, clock)
    for _again in range(times):
        what.cancel()
    if clock is not None:
        clock.step = 0.1


def cancelled_ours() -> Outcome:
    """F34: asked twice; what was finished is kept."""
    cases = []
    for label, (faults, settings, finished) in _CANCELLED.items():
        clock = Clock() if finished else None
        with stage(faults, clock=clock, **settings) as at:
            run = at.run(FOUR, meanwhile=partial(cancel_after, at=at, finished=finished, clock=clock, times=2))
            kept = sum(c is not None for stored in run.stored.values() for c in stored)
            required = run.met(None if faults else JobCancelled, programs=4)
            required["what was finished is kept"] = kept == 4 if faults else finished <= kept < 4
            required["the server was asked"] = at.requests("cancel") > 0
            required["the true end"] = run.states == [JobState.DONE if faults else JobState.CANCELLED]
            case = ours_case(at, label, [run], 1, required)
            cases.append(replace(case, text=f"{case.text}, {kept} of 4 settings kept" if finished else case.text))
    return Outcome.of(*cases)


def cancelled_perceval() -> Outcome:
    """F34: cancelled once."""
    cases = []
    for label, (faults, settings, finished) in _CANCELLED.items():
        clock = Clock() if finished else None
        with stage(faults, clock=clock, **settings) as at:
            run, more = Theirs(at, FOUR, None), ""
            run.go(partial(cancel_after, at=at, finished=finished, clock=clock, times=1))
            as_wanted = run.right if faults else run.error is not None
            if finished:
                with patch("perceval.utils.logging._logger", run.log), suppress(Exception):
                    run.shots = shots_of(run.execution.get_results(allow_partial_results=True))
                more = f", {len(run.shots or ())} of 4 settings on request"
            cases.append(run.case(label, 1, {"ends as required": as_wanted}, more=more))
    return Outcome.of(*cases)


FIRST_FAILS = fault("status", "replace", body={"status": "error", "status_message": "laser off"}, job=1)


def rerun_ours() -> Outcome:
    """F35: the first job fails with one of two settings done; the next run sends the other."""
    with stage(FIRST_FAILS, edit=edit_entries(lambda entries: entries[:1], first=True)) as at:
        first = at.run(PROGRAMS[:2])
        second = at.run(PROGRAMS[:2])
        required = first.met(JobFailed, programs=2) | second.met(None, programs=2)
        required["the server's reason is told"] = "laser off" in str(first.error)
        old, new = second.records[0], second.records[-1]
        required["the new job names the old one"] = bool(new.replaces) and new.replaces == old.name
        required["what was finished is kept"] = [c is not None for c in second.stored[old.name]] == [True, False]
        required["only the rest ran again"] = [job["iterations"] for job in at.cloud.jobs] == [2, 1]
        # By when it was asked the provider had counted one setting of the failed job, or both.
        required["counted as new spend"] = old.cost.shots in (SHOTS, 2 * SHOTS) and (
            (second.total.jobs, second.total.shots) == (2, old.cost.shots + SHOTS)
        )
        return Outcome.of(ours_case(at, "", [first, second], 2, required))


def rerun_perceval() -> Outcome:
    """F35: a group runs its failed execution again."""
    edit = edit_entries(lambda entries: entries[:1], first=True)
    with stage(FIRST_FAILS, edit=edit) as at, patch("perceval.utils.logging._logger", MagicMock()):
        begun = time.monotonic()
        group = ExecutionGroup("batch", str(at.folder))
        group.add(at.execution(PROGRAMS[:2]), max_samples=SHOTS)
        group.launch_async_executions()
        until_shots(at, 2)
        group.relaunch_async_failed_executions()
        ran = sum(job["iterations"] for job in at.cloud.jobs)
        case = _group_case("", at, group, 2, begun, more=f", {ran} settings run for 2")
        return Outcome.of(replace(case, unmet=(*case.unmet, *missing({"only the rest ran again": ran == 3}))))


# Rows of their own: what is asked and what comes


def validated_ours() -> Outcome:
    """F36: what cannot work is refused before any request; what is sent is what was asked."""
    photons = Program(IsometryMesh(24, 13), np.zeros(IsometryMesh(24, 13).declared), tuple(range(13)))
    modes = Program(IsometryMesh(26, 2), np.zeros(IsometryMesh(26, 2).declared), (0, 1))
    asked: list[tuple[Sequence[Program], int]] = [((), SHOTS), (ONE, 0), ((photons,), SHOTS), ((modes,), SHOTS)]
    with stage() as at, Journal(None) as journal:
        begun, device, errors = time.monotonic(), JournalledDevice(at.open(), journal, TERMS), []
        before = at.cloud.requests
        for programs, shots in asked:
            try:
                device.submit(programs, shots=shots)
            except QPUError as error:
                errors.append(type(error).__name__)
        required = {f"ProgramError each time, not {errors}": errors == ["ProgramError"] * 4}
        required["no request"] = at.cloud.requests == before
        required["no trace in the journal"] = not journal.jobs()
        cases = [
            Case("before any request", "ProgramError", len(at.cloud.jobs), time.monotonic() - begun, missing(required))
        ]
    with stage(payload_version=1) as at:
        run = at.run()
        sent = _sent(at)
        required = run.met(None) | {f"sent as asked ({sent})": sent == {(SHOTS, SHOTS)}}
        cases.append(ours_case(at, "sent as asked", [run], 1, required))
    return Outcome.of(*cases)


def _sent(at: Stage) -> set[tuple[int, int]]:
    """``max_samples`` and ``max_shots`` of the last job and of its iterations, as the server got them."""
    url = f"{at.cloud.url}/api/jobs/{at.cloud.jobs[-1]['job_id']}/data"
    payload = requests.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5.0).json()["payload"]
    return {(one["max_samples"], one["max_shots"]) for one in (payload, *payload.get("iterator", ()))}


def validated_perceval() -> Outcome:
    """F36: the same mistakes with Perceval's names."""
    cases = []
    for label, samples in (("no filter", SHOTS), ("no max_samples", None), ("max_samples over max_shots", 5 * SHOTS)):
        log = MagicMock()
        with stage(payload_version=1) as at, patch("perceval.utils.logging._logger", log):
            begun, text = time.monotonic(), ""
            unmet: tuple[str, ...] = ()
            try:
                execution = at.execution()
                if label == "no filter":
                    execution.computation.experiment._min_detected_photons_filter = None
                execution.execute_async(**({} if samples is None else {"max_samples": samples}))
                [(got, _)] = _sent(at)
                how = "with" if log.warn.call_args_list else "without"
                text = f"sends {got} in place of {samples}, {how} a warning" if got != samples else "sent"
                unmet = ("refused before any request",)
            except Exception as error:
                text = type(error).__name__
            cases.append(Case(label, text, len(at.cloud.jobs), time.monotonic() - begun, unmet))
    return Outcome.of(*cases)


def shorten(entries: list[Any]) -> list[Any]:
    """40 shots in place of what was asked."""
    return [entry | {"results": ":PCVL:BSCount:{|1,0,1,0>=40}", "nb_shots_used": 40} for entry in entries]


def shortfall_ours() -> Outcome:
    """F37: fewer counts than asked are told, kept as they are, and not made up."""
    with stage(edit=edit_entries(shorten)) as at:
        run = at.run()
        got = [c.shots for c in run.counts or ()]
        told = f"40 to 40 of {SHOTS} shots" in run.log
        required = {"what came is returned as it is": got == [40], f"the shortfall is told ({run.log[-90:]})": told}
        kept = [c.shots for stored in run.stored.values() for c in stored if c is not None]
        required |= {"recorded": kept == [40], "the ledger has what the server charged": run.total.shots == SHOTS}
        required["what each setting used is kept"] = all('nb_shots_used\\": 40' in a for a in run.answers.values())
        required["what was asked is recorded"] = [r.shots_each for r in run.records] == [SHOTS]
        case = ours_case(at, "", [run], 1, required)
        return Outcome.of(replace(case, text=f"{got} of {SHOTS} shots, {'told' if told else 'not told'}"))


def shortfall_perceval() -> Outcome:
    """F37: what comes, and whether a word is said."""

    def edit(path: str, answer: dict[str, Any]) -> dict[str, Any]:
        if "/result/" not in path or not answer.get("results"):
            return answer
        return answer | {"results": json.dumps(shorten([json.loads(answer["results"])])[0])}

    with stage(edit=edit) as at:
        run = at.perceval()
        told = bool(run.log.warn.call_args_list + run.log.error.call_args_list)
        run.steps[-1] = f"{run.shots} of {SHOTS} shots, {'told' if told else 'not told'}"
        return Outcome.of(run.case("", 1, {"the shortfall is told": told}))


RATES = Rates(credits_per_shot=1e-3)


def budget_ours() -> Outcome:
    """F38: n settings x shots are reserved before anything is sent; an uncertain job keeps its share."""
    cases = []
    for label, budget in (
        ("shots", Budget(shots=499)),
        ("credits", Budget(credits=0.499)),
        ("settings", Budget(settings=4)),
    ):
        with stage() as at:
            run = at.run(FIVE, terms=replace(TERMS, budget=budget, rates=RATES))
            required = run.met(BudgetExceeded) | {"nothing is sent": at.requests("create") == 0}
            cases.append(ours_case(at, f"{label} one too few", [run], 0, required))
    with stage() as at:
        run = at.run(FIVE, terms=replace(TERMS, budget=Budget(shots=500, credits=0.5), rates=RATES))
        spent = Cost(5, 500, 0.5, 1, 5.0)
        required = run.met(None, programs=5) | {f"the ledger says what was used ({run.total})": run.total == spent}
        cases.append(ours_case(at, "just enough", [run], 1, required))
    with stage(fault("create", "drop-after", calls=[1])) as at:
        terms = replace(TERMS, budget=Budget(shots=150))
        runs = [at.run(terms=terms), at.run(PROGRAMS[1:2], terms=terms)]
        required = runs[0].met(SubmissionUncertain) | runs[1].met(BudgetExceeded)
        cases.append(ours_case(at, "after an uncertain job", runs, 1, required))
    return Outcome.of(*cases)


def budget_perceval() -> Outcome:
    """F38: five settings with a limit of shots for the call."""
    with stage() as at:
        run = at.perceval(FIVE)
        used = at.cloud.jobs[0]["shots"]
        more = f", {used} shots with max_shots_per_call = {SHOTS}"
        return Outcome.of(run.case("", 1, {"no more shots than the limit": used <= SHOTS}, more=more))


def add_keys(path: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Keys nobody knows, at every level of an answer."""
    new = {"x_new": {"a": [1, None]}}
    answer = answer | new
    for key in ("specs", "perfs"):
        if isinstance(answer.get(key), dict):
            answer[key] = answer[key] | new
    if "/result/" in path and answer.get("results"):
        inner = json.loads(answer["results"]) | new
        for entry in inner.get("results_list", ()):
            entry |= new
            entry["iteration"] = entry["iteration"] | new
        answer["results"] = json.dumps(inner)
    return answer


def extra_keys_ours() -> Outcome:
    """F39: ignored, and kept in the raw record."""
    with stage(edit=add_keys) as at:
        run = at.run()
        kept = all("x_new" in answer for answer in run.answers.values())
        required = run.met(None) | {"the raw answer is kept": kept and bool(run.answers)}
        required["both spellings of the paths answer alike"] = _same_answers(at)
        return Outcome.of(ours_case(at, "", [run], 1, required))


def extra_keys_perceval() -> Outcome:
    """F39 likewise."""
    with stage(edit=add_keys) as at:
        run = at.perceval()
        return Outcome.of(run.case("", 1, {"a result": run.right}))


def _same_answers(at: Stage) -> bool:
    [job] = at.cloud.jobs
    head = {"Authorization": f"Bearer {TOKEN}"}
    for old in ("status", "result"):
        paths = (f"/api/job/{old}/{job['job_id']}", f"/api/jobs/{job['job_id']}/{old}")
        first, second = (requests.get(at.cloud.url + path, headers=head, timeout=5.0).json() for path in paths)
        if first != second:
            return False
    return True


STREAMS = 8


def streams_ours() -> Outcome:
    """F40: eight equal jobs in worker threads draw different numbers, the same for the same seed."""
    begun = time.monotonic()
    first, jobs = _streams(seed=3)
    again, _ = _streams(seed=3)
    other, _ = _streams(seed=4)
    p = chi_square(first, PROGRAMS[0])
    different = len({_drawn(one) for one in first})
    required = {
        f"all streams differ ({different})": different == STREAMS,
        "the same seed draws the same": list(map(_drawn, first)) == list(map(_drawn, again)),
        "another seed draws others": all(_drawn(a) != _drawn(b) for a, b in zip(first, other, strict=True)),
        f"they follow the exact probabilities (p = {p:.2g})": p > 1e-3,
    }
    text = f"{different} different streams of {STREAMS}"
    return Outcome.of(Case("", text, jobs, time.monotonic() - begun, missing(required)))


def _drawn(counts: Counts) -> str:
    return str(sorted(numbers(counts).items()))


def _streams(seed: int) -> tuple[list[Counts], int]:
    """Counts of equal jobs, and how many there were."""
    with stage(seed=seed) as at:
        run = at.run(ONE * STREAMS, terms=replace(TERMS, reuse=False), settings_per_job=1)
        return run.counts or [], len(at.cloud.jobs)


def streams_perceval() -> Outcome:
    """F40: Perceval's own sampling in fresh threads of this process."""
    from perceval.algorithm import Sampler

    begun, drawn = time.monotonic(), []
    with patch("perceval.utils.logging._logger", MagicMock()):
        circuit, state = PROGRAMS[0].to_perceval()
        for _ in range(STREAMS):
            processor = pcvl.Processor("CliffordClifford2017", circuit)
            processor.with_input(state)
            processor.min_detected_photons_filter(1)
            job = Sampler(processor, max_shots_per_call=SHOTS).samples.execute_async(SHOTS)
            while not job.is_complete:
                time.sleep(0.01)
            drawn.append(str(list(job.get_results()["results"])))
    different = len(set(drawn))
    said = f"{different}" if different == STREAMS else f"fewer than {STREAMS}"  # how many differs from run to run
    text = f"{said} different streams of {STREAMS} (its simulator, in threads)"
    unmet = missing({"all streams differ": different == STREAMS})
    return Outcome.of(Case("", text, None, time.monotonic() - begun, unmet))


# Rows of their own: what a server or the environment may try


@contextmanager
def proxy() -> Iterator[list[str]]:
    """A proxy that the environment names, and what it hears; it passes nothing on."""
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        heard.append(connection.recv(65536).decode("latin-1"))
                        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=run, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        none = {"NO_PROXY": "", "no_proxy": ""}
        with patch.dict(os.environ, none | dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY"), address)):
            yield heard
        listener.shutdown(socket.SHUT_RDWR)


def proxy_ours() -> Outcome:
    """F44: requests to this machine go to it."""
    with stage() as at, proxy() as heard:
        run = at.run()
        required = run.met(None) | {"the proxy hears nothing": not heard}
        return Outcome.of(ours_case(at, "", [run], 1, required))


def proxy_perceval() -> Outcome:
    """F44 likewise."""
    with stage() as at, proxy() as heard:
        run = at.perceval()
        leaked = TOKEN in "".join(heard)
        more = ", token sent to the proxy in clear" if leaked else ""
        return Outcome.of(run.case("", 1, {"a result": run.right, "no token to the proxy": not leaked}, more=more))


def excess(entries: list[Any]) -> list[Any]:
    """Ten times as many counts as there were."""
    return [entry | {"results": re.sub(r"=(\d+)", r"=\g<1>0", _unpacked(entry["results"]))} for entry in entries]


def _unpacked(text: str) -> str:
    plain: str = pcvl.serialization.serialize(pcvl.serialization.deserialize(text), compress=False)
    return plain


def excess_ours() -> Outcome:
    """F48: counted, and told."""
    with stage(edit=edit_entries(excess)) as at:
        run = at.run()
        shots = [c.shots for c in run.counts or ()]
        told = "brought up to 1000 shots where 100 were asked for" in run.log
        required = {f"all shots ({shots})": shots == [10 * SHOTS], "it is told": told, "spent": run.total.shots == 1000}
        case = ours_case(at, "", [run], 1, required)
        return Outcome.of(replace(case, text=f"{shots} shots of {SHOTS}, {'told' if told else 'not told'}"))


def excess_perceval() -> Outcome:
    """F48 likewise."""

    def edit(path: str, answer: dict[str, Any]) -> dict[str, Any]:
        if not path.startswith("/api/job/result"):
            return answer
        inner = json.loads(answer["results"])
        entries = excess(inner.get("results_list", [inner]))
        return answer | {
            "results": json.dumps(inner | entries[0] if "results" in inner else inner | {"results_list": entries})
        }

    with stage(edit=edit) as at:
        run = at.perceval()
        told = bool(run.log.warn.called or run.log.error.called)
        case = run.case("", 1, {"it is told": told})
        return Outcome.of(replace(case, text=f"{run.shots} shots of {SHOTS}, {'told' if told else 'not told'}"))


def relayed(id_: str, fault: str, request_s: float | None = None, **options: Any) -> Row:
    """A row in which something stands between client and server; the result must come all the same."""

    def ours() -> Outcome:
        with stage(**options) as at:
            run = at.run(read_s=1.0)
            return Outcome.of(ours_case(at, "", [run], 1, run.met(None)))

    def theirs() -> Outcome:
        with stage(**options) as at:
            run = at.perceval(request_s=request_s)
            return Outcome.of(run.case("", 1, {"a result": run.right}))

    return Row(id_, fault, ours, theirs, (1,))


# The table


def statuses(codes: Sequence[int], each: int = 2, **keys: Any) -> str:
    """The first status requests are answered with these codes."""
    rules = []
    for i, code in enumerate(codes):
        calls = list(range(each * i + 1, each * i + each + 1))
        rules.append(fault("status", "answer", status=code, calls=calls, **keys))
    return "".join(rules)


def status(action: str, **keys: Any) -> str:
    """A fault of the status."""
    return fault("status", action, **keys)


def _waited(at: Stage, run: Run) -> Mapping[str, bool]:
    return {f"waits as long as it is told ({run.seconds:.1f} s)": run.seconds >= 1.0, **_id_kept(at, run)}


def _asked_once(at: Stage, _: Run) -> Mapping[str, bool]:
    return {f"one request, not {at.requests('platform')}": at.requests("platform") == 1}


def _at_once(at: Stage, _: Run) -> Mapping[str, bool]:
    return {"asked once": at.requests("availability") == 1}


def _harmless(_: Stage, run: Run) -> Mapping[str, bool]:
    said = [str(run.error), *(record.message for record in run.records), *(record.job_id for record in run.records)]
    stored = " ".join([*said, *run.answers.values(), run.log]).lower()
    core = TOKEN.removeprefix("_T_")
    return {
        "nothing for the terminal to obey": all(text.isprintable() and len(text) < 1000 for text in said),
        "no token in any form": core not in unquote(stored).replace("fault-table/", ""),
    }


def _raw_kept(at: Stage, run: Run) -> Mapping[str, bool]:
    kept = any("CUT" in answer for answer in run.answers.values())
    return {"the raw answer is kept": kept, **_id_kept(at, run)}


HTML = "text/html"
BROKEN_RESULTS = (
    fault("result", "answer", status=503, calls=[1])
    + fault("result", "drop", calls=[2])
    + fault("result", "truncate", calls=[3])
    + fault("result", "delay", delay_s=0.8, calls=[4])
    + fault("result", "replace", body={"results": '{"results_list": [{"CUT'}, calls=[5])
)
#: One shot more than a signed 64-bit number holds.
TOO_MANY = {"results": json.dumps({"results": f":PCVL:BSCount:{{|1,0,1,0>={2**63}}}"})}
#: Terminal sequences, a line break, a mark that turns the direction, markup, and the token in three forms.
ODD_WORDS = f"\x1b[2J\x1b]0;a\x07 [/red]\nsecond line \u202e {TOKEN} {TOKEN.upper()} {TOKEN.replace('-', '%2D')}"
BOMB = ":PCVL:zip:" + base64.b64encode(zlib.compress(b":PCVL:BSCount:{" + b"|1,0,1,0>=1;" * 2_000_000)).decode()
#: Results that no machine brings.
IMPOSSIBLE = {
    "20 MB in 30 kB": BOMB,
    "1000 times the shots": ":PCVL:BSCount:{|1,0,1,0>=100000}",
    "5 clicks from 2 photons": ":PCVL:BSCount:{|2,1,1,1>=100}",
    "modes that are not there": ":PCVL:BSCount:{|1,0,1,0,1,1>=100}",
    "an outcome twice": ":PCVL:BSCount:{|1,0,1,0>=60;|1,0,1,0>=40}",
    "Arabic digits": ":PCVL:BSCount:{|1,0,1,0>=\u0661\u0660\u0660}",
    "a negative index": ":PCVL:BSSamples:|1,0,1,0>;|1,1,0,0>/" + ";".join(["-1"] * 100),
}
ODD_IDS = {"escape sequences": "\x1b[2J\nj", "100 kB": "j" * 100_000, "the token": f"j{TOKEN}", "a number": 17}
NO_RESULTS = fault("result", "replace", null=["results"])
SIM = {"platforms": ("sim:ascella",)}

ROWS: tuple[Row, ...] = (
    Row("F1", "creation: connection refused for 0.5 s", refused_connections_ours, refused_connections_perceval, (1,)),
    row("F2", "creation: connection lost, job created", uncertain("", fault("create", "drop-after", calls=[1]))),
    row(
        "F3",
        "creation: answer later than the time limit, job created",
        Try("0.6 s later, in time", fault("create", "delay", delay_s=0.6, calls=[1]), request_s=1.5),
        uncertain(
            "1.2 s later, limit 0.5 s",
            fault("create", "delay", delay_s=1.2, calls=[1]),
            options={"create_s": 0.5},
            request_s=0.5,
        ),
    ),
    row(
        "F4",
        "creation: 500, 502, 503 or 504, job created",
        *(uncertain(str(code), refused(code, "", handled=True)) for code in (500, 502, 503, 504)),
    ),
    row(
        "F5",
        "creation: 400, the queue is full",
        Try("once", refused(400, "Cannot create more than 1 jobs"), posts=2),
        Try(
            "for ever",
            fault("create", "answer", status=400, body={"error": "Cannot create more than 1 jobs"}),
            QueueFull,
            jobs=0,
            posts=2,
            states=(JobState.REFUSED,),
            options={"queue_s": 0.3},
        ),
    ),
    row(
        "F6",
        "creation: 400, job created with fewer shots",
        Try("id in the answer", refused(400, "shots were reduced", handled=True, include_job_id=True)),
        uncertain("no id", refused(400, "shots were reduced", handled=True)),
    ),
    row(
        "F7",
        "creation: 401, the token is refused",
        declined("expired", 401, f"Invalid or expired job token {TOKEN}", AuthenticationError, "Invalid or expired"),
        declined("unknown user", 401, "Invalid user", AuthenticationError),
    ),
    row(
        "F8",
        "creation: 401, no credits or time left",
        Try(
            "no credits",
            wants=OutOfCredits,
            then="resume",
            posts=2,
            states=(JobState.REFUSED,),
            says=("Not enough credits",),
            settings={"credits": 0.05, "credits_per_shot": 1e-3},
            repair={"credits": 1.0},
        ),
        declined("no time", 401, "Not enough qpu time left", OutOfCredits),
    ),
    row(
        "F9",
        "creation: a limit or an argument is refused for good",
        declined("shots limit", 400, "Max shots must less than or equal to 50", ProgramError),
        declined("duration", 400, "Max_duration 9(s) exceeds the platform limit of 5(s)", ProgramError),
        declined("command", 400, "Command 'sample_count' is not available on platform 'x'", DeviceUnavailable),
        declined("403", 403, "No permission to use platform x", DeviceUnavailable),
        declined("404", 404, "Platform not found", DeviceUnavailable),
        declined("422", 422, "Missing data for required field", ProgramError),
    ),
    row(
        "F10",
        "creation: answered 201 with an id",
        Try("", fault("create", "answer", status=201, body={}, handled=True, include_job_id=True, calls=[1])),
    ),
    row(
        "F11",
        "creation: 200 without an id, job created",
        uncertain("HTML", fault("create", "html", handled=True, calls=[1])),
        uncertain("JSON", fault("create", "replace", remove=["job_id"], calls=[1])),
    ),
    Row("F12", "submitted again after a lost creation", same_object_again_ours, same_object_again_perceval, (1,)),
    row(
        "F13",
        "status: 408, 409, 421, 423, 429",
        in_view("10 in a row", statuses((408, 409, 421, 423, 429))),
        Try("Retry-After 1 s", status("answer", status=429, headers={"Retry-After": "1"}, calls=[1]), check=_waited),
        Try(
            "500 in a row",
            status("answer", status=429, first=500),
            DeviceUnavailable,
            states=(JobState.SUBMITTED,),
            check=_id_kept,
            options={"deadline_s": 0.4},
        ),
    ),
    row("F14", "status: 500, 502, 503, 504", in_view("", statuses((500, 502, 503, 504), each=3))),
    Row("F15", "status: 401, the token expired while the job ran", renewed_token_ours, renewed_token_perceval, (1,)),
    row(
        "F16",
        "status: 403 or 404 once",
        in_view("403", status("answer", status=403, calls=[1]), AuthenticationError),
        in_view("404", status("answer", status=404, calls=[1]), DeviceUnavailable),
    ),
    row(
        "F17",
        "status: connection lost, or no answer in time",
        in_view("lost 3 times", status("drop", calls=[1, 2, 3])),
        in_view("slow", status("delay", delay_s=0.8, calls=[1]), options={"read_s": 0.3}, request_s=0.3),
    ),
    row(
        "F18",
        "status: 200 without a JSON object",
        in_view("HTML", status("html", calls=[1])),
        in_view("empty", status("empty", calls=[1])),
        in_view("a list", status("answer", status=200, body=[1], calls=[1])),
        Try(
            "HTML for long",
            status("html", first=500),
            DeviceUnavailable,
            says=(HTML,),
            check=_id_kept,
            options={"deadline_s": 0.4},
        ),
    ),
    row(
        "F19",
        "status: an unknown word, or suspended",
        in_view("3 times", status("replace", body={"status": "dreaming"}, first=3), logs=("dreaming",)),
        Try(
            "for ever",
            status("replace", body={"status": "dreaming"}),
            JobTimeout,
            logs=("dreaming",),
            check=_id_kept,
            options={"timeout_s": 0.5},
        ),
        Try(
            "suspended for ever",
            status("replace", body={"status": "suspended"}),
            JobTimeout,
            check=_id_kept,
            options={"timeout_s": 0.5},
        ),
    ),
    Row("F20", "status: fields missing, null or of another type", odd_fields_ours, odd_fields_perceval, (1, 1, 1, 1)),
    Row("F21", "status: read in a tight loop", tight_polling_ours, tight_polling_perceval, (1,)),
    row(
        "F22",
        "result: null, absent or no dictionary",
        in_view("null twice", NO_RESULTS + "calls = [1, 2]\n"),
        in_view("null 4 times", NO_RESULTS + "first = 4\n", UnusableAnswer),
        in_view("absent 4 times", fault("result", "replace", remove=["results"], first=4), UnusableAnswer),
        in_view("a list 4 times", fault("result", "replace", body={"results": "[1]"}, first=4), UnusableAnswer),
    ),
    row(
        "F23",
        "result: 503, lost, truncated, slow, cut inside",
        in_view("each once", BROKEN_RESULTS, options={"read_s": 0.3}, request_s=0.3),
        Try(
            "cut 4 times",
            fault("result", "replace", body={"results": '{"results_list": [{"CUT'}, first=4),
            UnusableAnswer,
            "resume",
            check=_raw_kept,
        ),
        # needs the sum of the counts to be checked before numpy takes it
        in_view("a count of 2^63, 4 times", fault("result", "replace", body=TOO_MANY, first=4), UnusableAnswer),
    ),
    Row("F24", "result: 3 of 5 settings", partial_results_ours, partial_results_perceval, (2, 2)),
    Row("F25", "result: names builtins.eval as its converter", hostile_ours, hostile_perceval, (1,)),
    Row("F26", "result: samples without the converter that was asked for", no_context_ours, no_context_perceval, (1,)),
    row(
        "F27",
        "availability: an error, or keys missing",
        Try(
            "401",
            fault("availability", "answer", status=401),
            AuthenticationError,
            jobs=0,
            posts=0,
            states=(),
            check=_at_once,
        ),
        Try("404", fault("availability", "answer", status=404)),
        Try(
            "503",
            fault("availability", "answer", status=503),
            DeviceUnavailable,
            jobs=0,
            posts=0,
            states=(),
            options={"deadline_s": 0.5},
        ),
        Try("keys null", fault("availability", "replace", null=["max_jobs_in_queue"])),
        Try("keys missing", fault("availability", "replace", remove=["num_jobs_in_queue"])),
    ),
    Row(
        "F28",
        "availability: no room",
        lambda: Outcome.of(*(t.ours() for t in NO_ROOM_TRIES), no_room_cancelled()),
        lambda: Outcome.of(*(t.theirs() for t in NO_ROOM_TRIES)),
        (0, 1, 0),
    ),
    row(
        "F29",
        "platform details: lost, refused, or incomplete",
        Try("lost once", fault("platform", "drop", calls=[1]), settings=SIM),
        Try("newer path 404", fault("platform", "answer", status=404, calls=[1])),
        Try("404", fault("platform", "answer", status=404), DeviceUnavailable, jobs=0, posts=0, states=()),
        Try(
            "bad token",
            wants=AuthenticationError,
            jobs=0,
            posts=0,
            states=(),
            settings={"tokens": frozenset({"other"})},
            check=_asked_once,
        ),
        Try("no architecture"),
        Try(
            "specs empty",
            fault("platform", "replace", body={"specs": {}}),
            DeviceUnavailable,
            jobs=0,
            posts=0,
            states=(),
        ),
    ),
    row(
        "F30",
        "platform in maintenance",
        Try(
            "by default",
            wants=DeviceUnavailable,
            jobs=0,
            posts=0,
            states=(JobState.REFUSED,),
            says=("maintenance", "any_status=1"),
            settings={"status": "maintenance"},
        ),
        Try(
            "sent all the same",
            wants=DeviceUnavailable,
            jobs=0,
            posts=1,
            states=(JobState.REFUSED,),
            says=("Create job disabled",),
            settings={"status": "maintenance"},
            options={"any_status": 1},
        ),
        Try(
            "takes jobs nevertheless",
            fault("platform", "replace", body={"status": "maintenance"}),
            options={"any_status": 1},
        ),
    ),
    Row("F31", "process killed in a batch of 3 jobs", killed_ours, killed_perceval, (3, 3)),
    Row("F32", "state file damaged, disk full, two processes", damaged_ours, damaged_perceval, (1, 1, 0, 0)),
    Row("F33", "files on disk: who may read, is the token in them", files_ours, files_perceval, (1,)),
    Row("F34", "cancel", cancelled_ours, cancelled_perceval, (1, 1, 1)),
    Row("F35", "a job that failed is run again", rerun_ours, rerun_perceval, (2,)),
    Row("F36", "what cannot work is asked for", validated_ours, validated_perceval, (0, 1)),
    Row("F37", "result: 40 shots of 100", shortfall_ours, shortfall_perceval, (1,)),
    Row("F38", "5 settings x 100 shots against a limit", budget_ours, budget_perceval, (0, 0, 0, 1, 1)),
    Row("F39", "unknown keys in every answer", extra_keys_ours, extra_keys_perceval, (1,)),
    Row("F40", "8 equal jobs in worker threads", streams_ours, streams_perceval, (STREAMS,)),
    row(
        "F41",
        "creation: refused in a gateway's words, job created",
        *(
            uncertain(str(code), refused(code, "injected fault", handled=True))
            for code in (401, 403, 404, 413, 422, 425, 429)
        ),
    ),
    row(
        "F42",
        "a failed job's message: escape sequences, the token",
        Try(
            "",
            status("replace", body={"status": "error", "status_message": ODD_WORDS})
            + fault("result", "answer", status=404),
            JobFailed,
            states=(JobState.FAILED,),
            check=_harmless,
        ),
    ),
    row(
        "F43",
        "creation: an id that is none, job created",
        *(
            uncertain(label, fault("create", "replace", body={"job_id": odd}, calls=[1]), check=_harmless)
            for label, odd in ODD_IDS.items()
        ),
    ),
    Row("F44", "a proxy in the environment, the cloud on this machine", proxy_ours, proxy_perceval, (1,)),
    row(
        "F45",
        "status: a redirect to another host",
        in_view(
            "",
            status("answer", status=302, headers={"Location": "http://127.0.0.2:9/elsewhere"}, calls=[1]),
            DeviceUnavailable,
        ),
    ),
    relayed("F46", "103 Early Hints before every answer", hint=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    relayed("F47", "status: headers without end, once", request_s=1.0, drip="/api/job/status"),
    Row("F48", "result: ten times the shots", excess_ours, excess_perceval, (1,)),
    row(
        "F49",
        "result: what no machine brings, 4 times",
        *(
            in_view(
                label,
                fault("result", "replace", body={"results": json.dumps({"results": text})}, first=4),
                UnusableAnswer,
            )
            for label, text in IMPOSSIBLE.items()
        ),
    ),
    Row("F50", "result of a completed job: settings missing, once", lacking_ours, lacking_perceval, (1, 1)),
    Row("F51", "state file lost after a job, the same work again", lost_ours, lost_perceval, (1, 1)),
)
