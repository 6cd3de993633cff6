"""Waiting for jobs: one, or several at once, until they are final or a time is over."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence

from ..arrays import real
from ..errors import ConfigError, JobTimeout
from ..words import TOLD_S, WAITING, clock_in
from .base import Job

log = logging.getLogger(__name__)


def checked_timeout(timeout_s: float | None) -> float | None:
    """Seconds to wait, ``None`` for as long as it takes.

    :raises ConfigError: when it is no number of 0 or more.
    """
    most = threading.TIMEOUT_MAX  # longer is no time for the operating system, and as good as for ever
    return None if timeout_s is None else min(most, real(timeout_s, "timeout_s", ConfigError, least=0.0))


def hear_interrupts() -> None:
    """Take Ctrl-C back from Perceval: imported, or simulating, it handles the signal, and then nobody hears of it."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


def wait_for(job: Job, timeout_s: float | None, *, begun: float) -> None:
    """Return when a job is final, advancing it no oftener than that can tell something new.

    :param timeout_s: from ``begun``, a reading of the monotonic clock; ``None`` for as long as it takes.
    :raises JobTimeout: when it is not final by then; the job goes on.
    """
    timeout_s, told = checked_timeout(timeout_s), not job.durable
    while not job.advance().final:
        left = None if timeout_s is None else begun + timeout_s - time.monotonic()
        told = told or _told([job], begun, left)
        if left is not None and left <= 0:
            raise JobTimeout(f"job {job.id} is not done after {timeout_s} s. Ask again.", job_id=job.id)
        hear_interrupts()
        time.sleep(job.pause_s if left is None else min(job.pause_s, left))


def _told(jobs: Sequence[Job], begun: float, left_s: float | None) -> bool:
    """Say what is waited for, once it has taken long; True when it was said."""
    if not jobs or time.monotonic() - begun < TOLD_S:
        return False
    what = f"job {jobs[0].id}" if len(jobs) == 1 else f"{len(jobs)} jobs"
    until = "until the provider is done with it" if left_s is None else f"at most until {clock_in(left_s)}"
    log.log(WAITING, "waiting for %s, %s; Ctrl-C stops waiting, not the job", what, until)
    return True


def wait_all(jobs: Sequence[Job], *, timeout_s: float | None = None) -> None:
    """Return when every job is final, advancing them in turn; an interrupt ends the waiting, not the jobs.

    :param timeout_s: of jobs that outlive this process (``None``: as long as it takes); others are always awaited.
    :raises JobTimeout: names the jobs that are still going.
    """
    begun, waiting, timeout_s, told = time.monotonic(), list(jobs), checked_timeout(timeout_s), False
    while True:
        waiting = [job for job in waiting if not job.advance().final]
        if not waiting:
            return
        left = None if timeout_s is None else begun + timeout_s - time.monotonic()
        if left is not None and left <= 0 and all(job.durable for job in waiting):  # others end with this process
            names = ", ".join(job.id for job in waiting)
            raise JobTimeout(f"{len(waiting)} jobs are not done ({names}). Ask again later.", job_id=waiting[0].id)
        told = told or _told([job for job in waiting if job.durable], begun, left)
        hear_interrupts()
        pause = min(job.pause_s for job in waiting)  # whoever may have news first sets the pace
        time.sleep(pause if left is None or left <= 0 else min(pause, left))
