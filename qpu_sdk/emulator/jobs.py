"""One job of the emulated cloud: what the clock says about it."""

from __future__ import annotations

import math
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, final

from ..words import one_line
from .payloads import SettingResult, Submission
from .platforms import EmulatedPlatform


@final
@dataclass(eq=False)
class EmulatedJob:
    """One job.

    :param body: the create request.
    :param submission: the decoded payload; None when it cannot be decoded, which ``failure`` then says.
    :param price: credits reserved for it.
    :param created: clock, seconds, as all times that are not said to be simulated.
    :param earliest: when it may start.
    :param setting_s: simulated seconds per iteration.
    :param limit_s: simulated seconds after which it is cancelled.
    :param scale: simulated seconds per second.
    :param size: of the request and its answers, bytes.
    :param begun: when the first setting began to be computed, by the monotonic clock.
    :param done_at: when each of the ``futures`` was computed or dropped, in that order.
    """

    body: dict[str, Any]
    platform: EmulatedPlatform
    submission: Submission | None
    price: float
    created: float
    earliest: float
    setting_s: float
    limit_s: float
    scale: float
    rerun_from: str | None = None
    failure: str = ""
    size: int = 0
    begun: float = math.inf
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    futures: list[Future[SettingResult]] = field(default_factory=list)
    done_at: list[float] = field(default_factory=list)
    cancel_asked: float | None = None
    computed: float = math.inf
    start: float = math.inf
    end: float = math.inf

    @property
    def iterations(self) -> int:
        """Settings in the job."""
        return len(self.submission.settings) if self.submission else 0

    @property
    def planned_s(self) -> float:
        """Simulated seconds that it runs unless somebody cancels it."""
        return 0.0 if self.failure else min(self.iterations * self.setting_s, self.limit_s)

    def reschedule(self, free: float) -> None:
        """Start and end, given when the platform is free; the end is infinite while counts are missing."""
        self.start = max(self.earliest, free)
        if self.cancel_asked is not None and self.cancel_asked <= self.start:
            self.start = self.end = self.cancel_asked
            return
        end = self.start + self.planned_s / self.scale
        if self.cancel_asked is not None:
            end = min(end, self.cancel_asked)
        self.end = max(end, self.computed)

    def duration_s(self, now: float) -> float:
        """Simulated seconds that it has run."""
        if now < self.start:
            return 0.0
        if self.cancel_asked is None and now >= self.end:
            return self.planned_s  # not from the clock, whose float has too few digits for a large scale
        until = now if self.cancel_asked is None else min(now, self.cancel_asked)
        return min(self.planned_s, (until - self.start) * self.scale)

    def finished(self, now: float) -> int:
        """Iterations that are done, as far as the simulated time goes."""
        if now < self.start or self.failure or self.cancel_asked == self.start:  # equal: cancelled while it waited
            return 0
        if self.setting_s == 0.0:
            return self.iterations
        return min(self.iterations, int(self.duration_s(now) / self.setting_s + 1e-9))  # 3 / 1 may be 2.999...

    def state(self, now: float) -> str:
        """The vendor's status string."""
        if now >= self.end:
            if self.failure:
                return "error"
            return "completed" if self.finished(now) == self.iterations else "canceled"
        if self.cancel_asked is not None:
            return "cancel_requested"
        return "running" if now >= self.start else "waiting"

    def progress(self, now: float) -> float:
        """Share of its iterations' time that has passed, 0 to 1."""
        total = self.iterations * self.setting_s
        return min(1.0, self.duration_s(now) / total) if total else float(now >= self.end)

    def results(self, now: float) -> list[SettingResult]:
        """Finished iterations whose counts are computed, from the first on."""
        out: list[SettingResult] = []
        for future in self.futures[: self.finished(now)]:
            if not future.done() or future.cancelled() or future.exception():
                break
            out.append(future.result())
        return out

    def shots(self, now: float) -> int:
        """Shots of the finished iterations."""
        return sum(result.shots for result in self.results(now))

    def status_message(self, now: float) -> str | None:
        """Why it ended without all its iterations."""
        state = self.state(now)
        if state == "error":
            return self.failure
        if state != "canceled":
            return None
        return "Job canceled by user" if self.cancel_asked is not None else f"Time limit of {self.limit_s:g} s exceeded"

    def status_answer(self, now: float) -> dict[str, Any]:
        """The answer to a status request."""
        ended, done = now >= self.end, self.finished(now)
        message = "Completed" if ended else f"Iteration {done + 1}/{self.iterations}" if now >= self.start else "Queued"
        return {
            "msg": "ok",
            "status": self.state(now),
            "status_message": self.status_message(now),
            "progress": self.progress(now),
            "progress_message": message,
            "creation_datetime": self.created,
            "start_time": self.start if now >= self.start else None,
            "duration": int(self.duration_s(now)) if ended else None,
            "failure_code": None,
            "last_intermediate_results": None,
            "shots": self.shots(now),
        }

    def data_answer(self, now: float) -> dict[str, Any]:
        """The answer to a data request."""
        status = self.status_answer(now)
        return {
            "job_id": self.job_id,
            "job_name": self.body.get("job_name"),
            "process_id": self.body.get("process_id"),
            "platform_id": self.platform.platform_id,
            "platform_name": self.platform.name,
            "pcvl_version": self.body.get("pcvl_version"),
            "command": self.body["payload"].get("command"),
            "payload": self.body["payload"],
            **{key: status[key] for key in ("status", "failure_code", "start_time", "duration", "shots")},
            "created_date": datetime.fromtimestamp(self.created, UTC).isoformat(),
            "rerun_from": self.rerun_from,
            "token_id": 1,
            "token_label": "emulated",
        }

    def line(self, now: float) -> str:
        """Name, id, state and settings, as a person watches them go by."""
        name, state, why = one_line(self.body["job_name"], 100), self.state(now), self.status_message(now)
        done = f"{self.finished(now)} of " if now >= self.end else ""
        what = f"job {name} ({self.job_id}) {state}: {done}{self.iterations} settings on {self.platform.name}"
        return what + (f" ({one_line(why, 200)})" if why else "")

    def record(self, now: float) -> dict[str, Any]:
        """What ``/emulator/jobs`` says about it."""
        return {
            "job_id": self.job_id,
            "job_name": self.body.get("job_name"),
            "platform_name": self.platform.name,
            "status": self.state(now),
            "iterations": self.iterations,
            "shots": self.shots(now),
            "duration": int(self.duration_s(now)),
            "payload_version": 2 if "computation" in self.body["payload"] else 1,
        }
