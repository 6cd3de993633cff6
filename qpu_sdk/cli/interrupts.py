"""Ctrl-C and its kin: what ends a command early, with everything saved, whoever takes the signals for himself."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ..words import one_line
from .printing import INTERRUPTED, fail


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """The command, ended by SIGTERM and SIGHUP as by Ctrl-C: a queue system or a closed terminal loses nothing."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        interrupted = False

        def interrupt(number: int, frame: object) -> NoReturn:
            nonlocal interrupted
            interrupted = True
            raise KeyboardInterrupt

        with _handled(interrupt):
            try:
                command(**values)
            except Exception as error:
                if not interrupted or hasattr(error, "exit_code"):  # the latter is an end that was meant
                    raise
                # A module that is interrupted while it is imported raises whatever it raises.
                fail(f"interrupted ({one_line(f'{type(error).__name__}: {error}')})", INTERRUPTED)

    return wrapped


@contextmanager
def _handled(interrupt: Callable[[int, object], NoReturn]) -> Iterator[None]:
    """Let these signals interrupt; as before afterwards."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other may set them
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # nohup ignores it, and means it
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    try:
        if signal.SIGTERM in before and hasattr(signal, "pthread_sigmask"):
            with _ctrl_c_passed_on():
                yield
        else:
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ctrl_c_passed_on() -> Iterator[None]:
    """Let Ctrl-C come as SIGTERM does.

    Perceval puts its own handler in the place of Python's, when it is imported and whenever it simulates, and that one
    tells nobody. So the signal is blocked in every thread, and a thread waits for it.
    """
    ours, handler = {signal.SIGINT}, signal.getsignal(signal.SIGINT)
    if handler in (signal.SIG_IGN, None) or signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ours):
        yield
        return
    main, over = threading.main_thread().ident or 0, threading.Event()

    def listen() -> None:
        while True:
            signal.sigwait(ours)
            if over.is_set():
                return
            signal.pthread_kill(main, signal.SIGTERM)

    listener = threading.Thread(target=listen, daemon=True, name="qpu-sdk-interrupts")
    listener.start()
    try:
        yield
    finally:
        over.set()
        signal.pthread_kill(listener.ident or 0, signal.SIGINT)  # it waits no more
        listener.join()
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
