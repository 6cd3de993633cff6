"""A future of something that has to be asked now and then whether it is ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def polled_future(
    ready: Callable[[], bool],
    result: Callable[[], T],
    cancel: Callable[[], None],
    pause_s: Callable[[], float],
    *,
    name: str,
) -> Future[T]:
    """A future that a thread of its own fills; the thread ends when the future does, and never keeps Python going.

    The future counts as pending until then, so that it can be cancelled at any time.

    :param ready: whether there is a result, or why there is none, by now; what it raises is the future's exception.
    :param result: is called once it is ready.
    :param cancel: is called when the future is cancelled.
    :param pause_s: seconds until asking again.
    :param name: of the thread.

    >>> polled_future(lambda: True, lambda: 7, lambda: None, lambda: 0.01, name="seven").result()
    7
    """
    future: Future[T] = Future()
    ended = threading.Event()
    future.add_done_callback(lambda _: ended.set())

    def wait() -> None:
        try:
            while not future.cancelled() and not ready():
                ended.wait(pause_s())  # a future that is cancelled is heard of at once
            found = None if future.cancelled() else result()
        except BaseException as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
            return
        if future.set_running_or_notify_cancel():
            future.set_result(found)  # type: ignore[arg-type]
        else:
            cancel()

    threading.Thread(target=wait, name=name, daemon=True).start()
    return future
