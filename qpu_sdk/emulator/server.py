"""The server in a thread of this process, or blocking for the command line."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, final

from ..arrays import whole
from ..errors import ConfigError, DeviceUnavailable
from .faults import Faults
from .guard import CONNECTIONS, guarded_protocol
from .http import Application
from .settings import CloudSettings
from .state import CloudState

_HOST = "127.0.0.1"


def _uvicorn(application: Application) -> Any:
    try:
        import uvicorn
    except ImportError:
        raise ConfigError(
            'the cloud emulator needs uvicorn, which is not installed. Run pip install "uvicorn>=0.34,<0.55".'
        ) from None
    config = uvicorn.Config(
        application,
        http=guarded_protocol(),  # h11: a fault that drops the connection reaches into its request cycle
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,  # nothing of a request is logged: it carries a token
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
        limit_concurrency=CONNECTIONS,
    )

    class Server(uvicorn.Server):
        """Perceval's simulator takes Ctrl-C for itself when it runs, and then nobody hears of it: take it back."""

        async def on_tick(self, counter: int) -> bool:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, self.handle_exit)
            return await super().on_tick(counter)

    return Server(config)


def _listening(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1 only."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left is free at once
        sock.bind((_HOST, port))
        sock.listen(128)
    except (OSError, OverflowError) as error:
        sock.close()
        raise ConfigError(f"port {port} of {_HOST} cannot be used ({error}). Choose another, or 0 for any.") from None
    return sock


@final
class EmulatedCloud:
    """An emulated Quandela Cloud that runs in a thread of this process while the context is open.

    :param settings: of the cloud; or write them out, as in ``EmulatedCloud(seed=1, time_scale=1000.0)``.
    :param faults: what goes wrong, or a file of it as ``examples/faults.toml``; None: nothing.
    :param port: on 127.0.0.1; 0 takes a free one.
    :param clock: seconds; for tests.
    :param options: the fields of :class:`~qpu_sdk.emulator.settings.CloudSettings`, in place of ``settings``.
    :raises ConfigError: when the extra is not installed, the port is taken, or a setting is unknown or missing.

    >>> with EmulatedCloud(seed=1, platforms=("sim:ideal",)) as cloud:
    ...     cloud.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        settings: CloudSettings | None = None,
        faults: Faults | str | Path | None = None,
        *,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        settings, port = _settings(settings, options), whole(port, "port", ConfigError, least=0, most=65535)
        self._state = CloudState(settings, clock)
        rules = Faults.load(faults) if isinstance(faults, str | Path) else faults or Faults()
        self._application = Application(self._state, rules)
        self._server = _uvicorn(self._application)
        self._port, self.url = port, ""
        self._thread: threading.Thread | None = None

    def __enter__(self) -> EmulatedCloud:
        sock = _listening(self._port)
        self.url = f"http://{_HOST}:{sock.getsockname()[1]}"
        serve = threading.Thread(target=self._server.run, args=([sock],), name="qpu-sdk-emulator", daemon=True)
        serve.start()
        self._thread = serve
        while not self._server.started:
            if not serve.is_alive():
                raise DeviceUnavailable(f"the emulated cloud at {self.url} did not start. Try another port.")
            time.sleep(0.001)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._application.stop()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=10.0)
        self._state.close()

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """A record of every job, in the order of creation, as ``GET /emulator/jobs`` answers."""
        return self._application.jobs()

    @property
    def requests(self) -> dict[str, Any]:
        """Numbers of requests, as ``GET /emulator/requests`` answers."""
        return self._application.requests()

    def change(self, **values: Any) -> None:
        """Change settings, as ``POST /emulator/set`` does; raises :class:`ConfigError`."""
        self._state.change(**values)


def _settings(settings: CloudSettings | None, options: dict[str, Any]) -> CloudSettings:
    """The settings, given as a value or written out."""
    if settings is not None and options:
        raise ConfigError(f"settings and {', '.join(options)} were given. Use one of the two ways.")
    known = [field.name for field in fields(CloudSettings)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"the emulated cloud has no setting {unknown[0]!r}. Settings: {', '.join(known)}.")
    if settings is None and "seed" not in options:
        raise ConfigError("the emulated cloud needs a seed. Write EmulatedCloud(seed=1).")
    return settings if settings is not None else CloudSettings(**options)


def serve(
    settings: CloudSettings,
    faults: Faults | None = None,
    *,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve until Ctrl-C.

    :param ready: called with the URL before the first request is taken.
    :param told: called with a line when a job is created and when it has ended.
    :raises ConfigError: when the extra is not installed or the port is taken.
    """
    state = CloudState(settings, told=told)
    application = Application(state, faults or Faults())
    server, sock = _uvicorn(application), _listening(port)
    if ready is not None:
        ready(f"http://{_HOST}:{sock.getsockname()[1]}")
    try:
        with suppress(KeyboardInterrupt):  # uvicorn stops cleanly on Ctrl-C, then raises the signal again
            server.run([sock])
    finally:
        application.stop()
        state.close()
        sock.close()
