"""Who may ask the emulator, and how much: by its own name, with its token, in bounded sizes and times.

A page in a browser on this machine can send requests to any local port, and a name that it controls may point here. So
the name in ``Host`` must be the server's own, and an ``Origin``, which only browsers send, too.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any

from .platforms import CloudRefusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Largest body of a request that creates a job, and of any other, bytes.
LARGEST_JOB, LARGEST_OTHER = 2**26, 2**16
#: How long a body may take, and how long the rest of one that is refused is listened to, seconds.
BODY_S, REST_S = 60.0, 2.0
#: How long the head of a request may take on an open connection, seconds.
HEAD_S = 10.0
#: Connections at one time; for one more, the one that has been silent longest is ended.
CONNECTIONS = 256
#: Payloads in memory that are read at one time.
READERS = 2


def check_address(scope: Message) -> None:
    """Refuse a request that was meant for another server, or comes from a page of one.

    :param scope: of ASGI.
    :raises CloudRefusal: for any ``Host`` but this server's, and any ``Origin`` but it.
    """
    port = scope["server"][1]
    names = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")}
    if port == 80:
        names |= {name.removesuffix(":80") for name in names}
    hosts, origins = (
        [value.decode("latin-1").lower() for name, value in scope["headers"] if name == wanted]
        for wanted in (b"host", b"origin")
    )
    if len(hosts) != 1 or hosts[0] not in names:
        raise CloudRefusal(421, f"this is the emulated cloud at 127.0.0.1:{port}. Ask it by that name.")
    if any(origin.removeprefix("http://") not in names or "://" not in origin for origin in origins):
        raise CloudRefusal(403, "the emulated cloud takes no requests from pages of other servers.")


def check_token(authorization: str, accepted: Collection[str] | None) -> None:
    """Refuse a request without a token that is accepted; None: any is.

    :raises CloudRefusal: in the vendor's words.
    """
    scheme, _, token = authorization.partition(" ")
    known = accepted is None or any(hmac.compare_digest(token.encode(), one.encode()) for one in accepted)
    if scheme.lower() != "bearer" or not token.strip() or not known:
        raise CloudRefusal(401, "Invalid or expired job token")


async def read_body(scope: Message, receive: Receive, limit: int) -> bytes:
    """The body of a request.

    :param limit: bytes.
    :raises CloudRefusal: when it is announced to be longer or becomes so, or takes longer than :data:`BODY_S`.
    """
    too_large = CloudRefusal(413, f"the body is longer than {limit} bytes. Send fewer settings in a job.")
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if not re.fullmatch(rb"\d{1,15}", announced) or int(announced) > limit:
        raise too_large
    parts, size, more = [], 0, True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large
                more = message.get("more_body", False)
    except TimeoutError:
        raise CloudRefusal(408, f"the body took longer than {BODY_S:g} s. Send it again.") from None
    return b"".join(parts)


async def listen_to_the_rest(receive: Receive) -> None:
    """Let a client that is refused finish: most read no answer before they have sent everything."""
    with suppress(TimeoutError):
        async with asyncio.timeout(REST_S):
            while (await receive()).get("more_body", False):
                pass


def guarded_protocol() -> type[Any]:
    """uvicorn's HTTP on a connection, which ends when it is silent too long, or longest of too many."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Guarded(H11Protocol):
        """A head must be whole in time; uvicorn itself waits for ever for the first one."""

        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()
            if len(self.connections) >= CONNECTIONS:
                guarded = [one for one in self.connections if isinstance(one, Guarded)]
                longest = min(guarded, key=lambda one: one._waiting.when() if one._waiting else math.inf)
                self.connections.discard(longest)  # now: it would be chosen again before it is lost
                longest.transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _wait(self) -> None:
            """Begin to wait for a head, unless a request is being answered."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._waiting is None:  # not anew for each byte
                self._waiting = self.loop.call_later(HEAD_S, self.transport.abort)

        def _stop(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return Guarded
