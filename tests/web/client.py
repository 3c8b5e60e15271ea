"""
An HTTP client without a socket: bytes into a L{BridgeSite}, and its answers out.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from http.client import HTTPMessage, HTTPResponse
from io import BytesIO
from typing import Any, cast

import attrs
from argon2 import PasswordHasher
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import Account, Glob, Secret
from restbridge.web.site import BridgeSite

DOMAIN = "bridge.localhost"

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""As cheap as Argon2 gets."""

HASH = HASHER.hash("secret")


def account(
    name: str = "bot", password: str | None = HASH, tokens: tuple[str, ...] = (), sendAs: tuple[str, ...] = ()
) -> Account:
    """
    An account whose password is C{secret}.

    @param tokens: their hashes.
    @param sendAs: globs; by default its own address.
    """
    return Account(
        name=name,
        password=None if password is None else Secret(password),
        tokens=tuple(map(Secret, tokens)),
        sendAs=tuple(map(Glob, sendAs or (f"{name}@{DOMAIN}",))),
    )


def basic(user: str = "bot", password: str = "secret") -> dict[str, str]:
    """
    The header of HTTP Basic.
    """
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


class Threads:
    """
    Stands for C{deferToThread}: calls at once, unless told to C{hold}.

    @ivar calls: how many functions it was given.
    @ivar held: what still runs: its function, and the Deferred that waits for it.
    """

    def __init__(self, *, hold: bool = False) -> None:
        self.calls = 0
        self.hold = hold
        self.held: list[tuple[Callable[[], bool], Deferred[bool]]] = []

    def __call__(self, work: Callable[[], bool]) -> Deferred[bool]:
        self.calls += 1
        if not self.hold:
            return maybeDeferred(work)
        waiting: Deferred[bool] = Deferred()
        self.held.append((work, waiting))
        return waiting

    def finish(self) -> None:
        """
        The function that has run for longest comes to its end.
        """
        work, waiting = self.held.pop(0)
        waiting.callback(work())


@attrs.frozen(kw_only=True)
class Reply:
    """
    An answer as the client reads it.
    """

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def type(self) -> str:
        """
        Its media type.
        """
        return str(self.headers["Content-Type"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Socket(BytesIO):
    """
    What C{http.client} reads from: bytes that are all there.
    """

    def makefile(self, *_: object) -> _Socket:
        return self

    def close(self) -> None:
        """
        Another answer may follow.
        """


class Client:
    """
    One connection to a site.
    """

    def __init__(self, site: BridgeSite, peer: str = "192.0.2.7") -> None:
        self.clock = Clock()
        site.reactor = self.clock
        address = IPv4Address("TCP", peer, 31337)
        self.transport = StringTransport(peerAddress=address)
        self._protocol = site.buildProtocol(address)
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """
        Write bytes as they are.
        """
        self._protocol.dataReceived(data)

    def leave(self) -> None:
        """
        Close the connection, whatever is under way.
        """
        self._protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """
        Whether the site has closed the connection.
        """
        return bool(self.transport.disconnecting)

    def read(self, *methods: str) -> list[Reply]:
        """
        The answers to requests of these methods; nothing else must have come.
        """
        socket = _Socket(self.transport.value())
        self.transport.clear()
        replies = [_reply(socket, method) for method in methods or ("GET",)]
        rest = socket.read()
        assert not rest, rest
        return replies

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
    ) -> Reply:
        """
        Make a request that is answered at once.
        """
        self.begin(method, path, headers, body)
        return self.read(method)[0]

    def begin(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
    ) -> None:
        """
        Make a request.
        """
        content = body.encode() if isinstance(body, str) else body
        lines = [f"{method} {path} HTTP/1.1", "Host: bridge"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if content is not None:
            lines.append(f"Content-Length: {len(content)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (content or b""))


def _reply(socket: _Socket, method: str) -> Reply:
    response = HTTPResponse(cast(Any, socket), method=method)
    response.begin()
    return Reply(status=response.status, headers=response.headers, body=response.read())


class LoggingTestCase(SynchronousTestCase):
    """
    A test that reads the log.

    @ivar logged: its lines.
    """

    def setUp(self) -> None:
        self.logged: list[str] = []

        def observe(event: LogEvent) -> None:
            self.logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # a function is an observer
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[arg-type]
