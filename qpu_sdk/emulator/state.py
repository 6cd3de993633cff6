"""The state of the emulated cloud: platforms, jobs, one account, and when everything happens.

Nothing waits: the status of a job follows from the clock, the creation times and the cancellations, whenever it is
asked for. Only the counts are computed in the background, and a job is not complete before they are.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, final

from ..devices.perceval_checks import UnreadableText
from ..errors import ConfigError
from ..words import one_line
from .jobs import EmulatedJob
from .payloads import SettingResult, Submission, encode_results, read_submission
from .platforms import (
    CloudRefusal,
    EmulatedPlatform,
    check_payload,
    check_request,
    check_shots,
    emulated_platform,
    job_limit,
)
from .settings import CloudSettings

#: Jobs that are remembered, and bytes of all of them; the oldest that have ended are forgotten for new ones.
MOST_JOBS, MOST_STORED = 5_000, 2**29
#: How long the settings of a job may be computed, seconds.
LONGEST_COMPUTING_S = 600.0


@final
class CloudState:
    """All platforms and jobs of one account.

    :param clock: seconds, for tests; by default the time of day.
    :param told: called with a line when a job is created and when its end is noticed.
    """

    def __init__(
        self,
        settings: CloudSettings,
        clock: Callable[[], float] = time.time,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.settings, self._told = settings, told
        self.platforms = {name: self._build(name) for name in settings.platforms}
        self._clock, self._lock = clock, threading.RLock()  # methods that hold it call others that take it
        self._jobs: dict[str, EmulatedJob] = {}
        self._open: dict[str, list[EmulatedJob]] = {name: [] for name in settings.platforms}
        self._free = dict.fromkeys(settings.platforms, -math.inf)  # of all times before the first job
        self._seen: Counter[str] = Counter()
        self._spent = 0.0
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="qpu-sdk-emulator")

    def _build(self, name: str) -> EmulatedPlatform:
        version = self.settings.payload_version or 2
        return emulated_platform(name, self.settings, payload_version=version)

    def close(self) -> None:
        """Stop the workers; what they have not begun is dropped."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def change(self, **values: Any) -> None:
        """Change settings from now on; jobs that exist keep their times.

        :raises ConfigError: when a key is unknown or cannot be changed while the server runs.
        """
        fixed = {"seed", "platforms", "noise", "time_scale", "payload_version"}
        allowed = sorted(set(CloudSettings.__dataclass_fields__) - fixed)
        for key in values:
            if key not in allowed:
                raise ConfigError(f"setting {key!r} cannot be changed here. Use one of {', '.join(allowed)}.")
        if values.get("tokens") is not None:
            values["tokens"] = frozenset(map(str, values["tokens"]))
        with self._lock:
            self.settings = replace(self.settings, **values)
            if "credits" in values:
                self._spent = 0.0

    def platform(self, name: str) -> EmulatedPlatform:
        """The platform of that name, or the vendor's 404.

        :raises CloudRefusal: when there is none of that name.
        """
        if name not in self.platforms:
            raise CloudRefusal(404, "Platform not found")
        return self.platforms[name]

    def job(self, job_id: str, otherwise: str = "Not found") -> EmulatedJob:
        """The job of that id, up to date, or the vendor's 404.

        :raises CloudRefusal: when there is none of that id.
        """
        if job_id not in self._jobs:
            raise CloudRefusal(404, otherwise)
        self.refresh()
        return self._jobs[job_id]

    @property
    def job_count(self) -> int:
        """Jobs created so far."""
        return len(self._jobs)

    def job_number(self, job_id: str) -> int | None:
        """Its place in the order of creation, from 1; None when there is no such job."""
        return next((n for n, known in enumerate(tuple(self._jobs), start=1) if known == job_id), None)

    def jobs(self) -> list[EmulatedJob]:
        """All jobs in the order of creation, up to date."""
        self.refresh()
        return list(self._jobs.values())

    def now(self) -> float:
        """The server's clock, seconds."""
        return self._clock()

    def refresh(self) -> None:
        """Bring the schedule up to date: each platform runs one job at a time, in the order of creation."""
        with self._lock:
            now = self._clock()
            for name, waiting in self._open.items():
                free = self._free[name]
                for job in waiting:
                    self._note_computed(job)
                    job.reschedule(free)
                    free = max(free, job.end)
                while waiting and waiting[0].end <= now:
                    self._settle(waiting.pop(0), now)

    def _note_computed(self, job: EmulatedJob) -> None:
        if math.isfinite(job.computed) or len(job.done_at) < len(job.futures):
            return
        job.computed = max(job.done_at, default=job.created)
        for future in job.futures:
            if not future.cancelled() and (error := future.exception()) is not None:
                text = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
                job.failure = one_line(text)

    def _settle(self, job: EmulatedJob, now: float) -> None:
        self._told(job.line(now))
        name = job.platform.name
        self._free[name] = max(self._free[name], job.end)
        # What came is paid; the reservation, of all that was asked for, ends with the job.
        results = job.results(now)
        self._spent += self.settings.credits_for(name, sum(result.shots for result in results))
        job.size += sum(len(str(result.entry["results"])) for result in results)

    def create(self, body: object, *, size: int = 0, rerun_from: str | None = None) -> EmulatedJob:
        """Create a job, or refuse as the vendor does.

        :param size: of the body, bytes.
        :raises CloudRefusal: with the vendor's status code and text.
        """
        asked = check_request(body)
        platform = self._asked_platform(asked)
        self._check_open()
        check_payload(asked["payload"], platform)
        # Outside the lock: a payload takes long to decode, and the cloud answers others meanwhile.
        try:
            submission, failure = read_submission(asked["payload"], platform=platform.name), ""
        except UnreadableText as error:
            raise CloudRefusal(400, f"Invalid payload: {error}") from None
        except ConfigError as error:  # the real worker finds out after the job was accepted
            submission, failure = None, str(error)
        check_shots(asked["payload"], submission, self.settings.max_shots)
        with self._lock:
            settings = self.settings
            self.refresh()
            self._check_room(platform)
            self._make_room(size)
            shots = sum(setting.max_shots for setting in submission.settings) if submission else 0
            price = settings.credits_for(platform.name, shots)
            self._check_credits(price)
            now = self._clock()
            job = EmulatedJob(
                body=asked,
                platform=platform,
                submission=submission,
                price=price,
                created=now,
                earliest=now + settings.queue_s / settings.time_scale,
                setting_s=settings.setting_s(platform.name),
                limit_s=job_limit(asked, settings.job_limit_s),
                scale=settings.time_scale,
                rerun_from=rerun_from,
                failure=failure,
                size=size,
            )
            self._told(job.line(now))
            self._start(job)
            return job

    def _make_room(self, size: int) -> None:
        """Forget the oldest jobs that have ended; raises :class:`CloudRefusal` when that is not enough."""
        stored = size + sum(job.size for job in self._jobs.values())
        for job_id, job in tuple(self._jobs.items()):
            if len(self._jobs) < MOST_JOBS and stored <= MOST_STORED:
                return
            if job not in self._open[job.platform.name]:
                stored -= job.size
                del self._jobs[job_id]
        if len(self._jobs) >= MOST_JOBS or stored > MOST_STORED:
            raise CloudRefusal(400, f"Cannot create more than {len(self._jobs)} jobs of this size")

    def _asked_platform(self, body: dict[str, Any]) -> EmulatedPlatform:
        if body.get("platform_name"):
            return self.platform(str(body["platform_name"]))
        for platform in self.platforms.values():
            if platform.platform_id == body["platform_id"]:
                return platform
        raise CloudRefusal(400, f"Invalid platform: {body['platform_id']}")

    def _check_open(self) -> None:
        if self.settings.status != "available":
            raise CloudRefusal(400, f"Create job disabled, Platform in {self.settings.status} status")

    def _start(self, job: EmulatedJob) -> None:
        if job.submission is not None:
            for index, setting in enumerate(job.submission.settings):
                occurrence = self._seen[setting.digest]
                self._seen[setting.digest] += 1
                future = self._workers.submit(_computed, job, job.submission, index, occurrence)
                job.futures.append(future)
                future.add_done_callback(lambda _: job.done_at.append(self._clock()))
        self._jobs[job.job_id] = job
        self._open[job.platform.name].append(job)
        self.refresh()

    def _check_room(self, platform: EmulatedPlatform) -> None:
        # A job that would start at once takes no waiting place.
        now, limit = self._clock(), self.settings.waiting_limit(platform.name)
        waits = self.settings.queue_s > 0.0 or any(job.end > now for job in self._open[platform.name])
        if waits and self.waiting(platform.name) >= limit:
            raise CloudRefusal(400, f"Cannot create more than {limit} jobs")

    def _check_credits(self, price: float) -> None:
        left = self.credits_left()
        if left is None or price == 0.0:
            return
        now = self._clock()
        reserved = sum(job.price for jobs in self._open.values() for job in jobs if job.end > now)
        if price > left:
            raise CloudRefusal(401, "Not enough credits")
        if price > left - reserved:
            text = "Not enough credits: all remaining credits are reserved by waiting or running jobs"
            raise CloudRefusal(401, text)

    def credits_left(self) -> float | None:
        """Credits that are not spent, reserved ones included; None when there is no limit."""
        return None if self.settings.credits is None else self.settings.credits - self._spent

    def waiting(self, platform: str) -> int:
        """Jobs of a platform that wait."""
        with self._lock:
            self.refresh()
            now = self._clock()
            return sum(job.state(now) == "waiting" for job in self._open[platform])

    def availability(self) -> dict[str, int]:
        """Places in the queue: those of the platform with the fewest free ones among platforms that have jobs.

        The vendor counts per account, this emulator per platform.
        """
        with self._lock:
            self.refresh()
            used = [name for name in self.platforms if self._open[name]] or [next(iter(self.platforms))]
            name = min(used, key=lambda name: self.settings.waiting_limit(name) - self.waiting(name))
            running = sum(job.state(self._clock()) in ("running", "cancel_requested") for job in self._open[name])
            return {
                "max_concurrent_jobs": 1,
                "num_concurrent_jobs": running,
                "max_jobs_in_queue": self.settings.waiting_limit(name),
                "num_jobs_in_queue": self.waiting(name),
                "max_running_qt_jobs": 0,
                "num_running_qt_jobs": 0,
            }

    def cancel(self, job_id: str) -> dict[str, str]:
        """Cancel a waiting or running job, or refuse as the vendor does.

        :raises CloudRefusal: when there is none of that id, or it has ended.
        """
        with self._lock:
            job = self.job(job_id, f"invalid job_id: {job_id}")
            now = self._clock()
            if job.state(now) not in ("waiting", "running"):
                raise CloudRefusal(400, "Can not cancel job")
            if job.state(now) == "waiting":
                for future in job.futures:
                    future.cancel()
            job.cancel_asked = now
            self.refresh()
            return {"message": "ok"}

    def rerun(self, job_id: str) -> EmulatedJob:
        """The same payload as a new job, with fresh random numbers."""
        old = self.job(job_id, f"invalid job_id: {job_id}")
        return self.create(old.body, size=old.size, rerun_from=job_id)

    def result(self, job_id: str) -> dict[str, Any]:
        """The answer to a result request; ``results`` is null before the job has ended."""
        job, now = self.job(job_id), self._clock()
        sent = job.submission if now >= job.end else None
        return {
            "job_id": job.job_id,
            "duration": int(job.duration_s(now)),
            "intermediate_results": [],
            "results": encode_results(sent, job.results(now)) if sent is not None else None,
            "results_type": None,
            "shots": job.shots(now),
        }

    def usage(self) -> list[dict[str, Any]]:
        """The usage report: one token stands for the account."""
        now, report = self._clock(), []
        jobs = self.jobs()
        for name in self.platforms:
            mine = [job for job in jobs if job.platform.name == name]
            if mine:
                report.append(
                    {
                        "platform_name": name,
                        "nb_jobs": len(mine),
                        "duration_seconds": int(sum(job.duration_s(now) for job in mine)),
                        "credits": self.settings.credits_for(name, sum(job.shots(now) for job in mine)),
                        "free_credits": 0.0,
                    }
                )
        return [{"token_id": 1, "total_jobs": len(jobs), "usage": report}]


def _computed(job: EmulatedJob, submission: Submission, index: int, occurrence: int) -> SettingResult:
    job.begun = min(job.begun, time.monotonic())
    if time.monotonic() - job.begun > LONGEST_COMPUTING_S:
        raise ConfigError(f"{index} settings took {LONGEST_COMPUTING_S:g} s to simulate. Send smaller circuits.")
    return job.platform.chip.run(submission, index, occurrence)
