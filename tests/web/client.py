"""
An HTTP client without a socket: bytes into a L{BridgeSite}, and its answers out.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPMessage, HTTPResponse
from io import BytesIO
from typing import Any, cast

import attrs
from argon2 import PasswordHasher
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.boundaries import Credential, Taker, UserLink
from restbridge.config import Account, Glob, Secret
from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import parseDocument, serialize
from restbridge.web.answer import Refusal
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


class FakeLink:
    """
    A L{restbridge.boundaries.Link} without a server.

    @ivar sent: what was written.
    @ivar timeouts: of the requests.
    @ivar fault: raised in place of anything being written.
    @ivar holds: whether the server takes its time to take a message or presence.
    @ivar error: what the server says to a message or presence.
    @ivar answer: what the entity asked says; L{None} to stay silent.
    @ivar awaited: the requests that nobody has answered.
    @ivar forgotten: how many of them were cancelled.
    @ivar results: the messages that an archive brings.
    @ivar returns: whether the stream is soon there again, when it breaks.
    """

    def __init__(self) -> None:
        self.sent: list[Element] = []
        self.timeouts: list[float] = []
        self.fault: Exception | None = None
        self.holds = False
        self.error: Element | None = None
        self.answer: Element | None = None
        self.awaited: list[Deferred[Element]] = []
        self.forgotten = 0
        self.results: list[Element] = []
        self.returns = False

    def whyDown(self) -> str | None:
        return None

    def send(self, stanza: Element) -> None:
        if self.fault is not None:
            raise self.fault
        # What can't be written isn't sent.
        self.sent.append(parseDocument(serialize(stanza).encode()))

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        self.send(stanza)
        return Deferred(self._forget) if self.holds else succeed(self.error)

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        self.send(iq)
        self.timeouts.append(timeout)
        if self.answer is not None:
            return succeed(self.answer)
        self.awaited.append(Deferred(self._forget))
        return self.awaited[-1]

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        return [*self.results, await self.request(iq, timeout)]

    async def restored(self, timeout: float) -> bool:
        return self.returns and timeout > 0

    def _forget(self, _: object) -> None:
        self.forgotten += 1


class FakeUserLink(FakeLink):
    """
    The link of a user.

    @ivar available: whether the last presence to all, if there was one, was available.
    @ivar takers: whom what comes in is offered to.
    @ivar held: how often somebody holds the login.
    """

    address = JID("alice", "example.com", "r")

    def __init__(self) -> None:
        super().__init__()
        self.available = False
        self.takers: list[Taker] = []
        self.held = 0
        self._reason: str | None = None
        self._awaitingBreak: list[Callable[[str], object]] = []
        self._awaitingEnd: list[Callable[[str], object]] = []

    def whyDown(self) -> str | None:
        return self._reason

    def send(self, stanza: Element) -> None:
        super().send(stanza)
        if stanza.name == "presence" and not stanza.hasAttribute("to"):
            self.available = not stanza.hasAttribute("type")

    def offerTo(self, takers: Sequence[Taker]) -> None:
        self.takers.extend(takers)

    def whenBroken(self, call: Callable[[str], object]) -> None:
        self._awaitingBreak.append(call)

    def whenEnded(self, call: Callable[[str], object]) -> None:
        self._awaitingEnd.append(call)

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1

    def receive(self, stanza: Element) -> bool:
        """
        Something comes in.

        @return: whether somebody took it.
        """
        return any(taker.take(stanza) for taker in self.takers)

    def lose(self, reason: str = "the connection broke") -> None:
        """
        The connection breaks.
        """
        self._reason, self.fault = reason, LinkDown(reason)
        for call in self._awaitingBreak:
            call(reason)

    def resume(self) -> None:
        """
        The login goes on by another one.
        """
        self._reason = self.fault = None

    def end(self, reason: str = "the session was closed") -> None:
        """
        The login ends.
        """
        self.lose(reason)
        calls, self._awaitingEnd = self._awaitingEnd, []
        for call in calls:
            call(reason)


class FakeUsers:
    """
    L{restbridge.boundaries.Users} of C{example.com}.

    @ivar link: what the right credentials open; L{None} while there are none.
    @ivar asked: with what somebody tried to log in.
    @ivar refusal: raised in place of any answer.
    """

    def __init__(self, link: UserLink | None = None) -> None:
        self.link = link
        self.asked: list[tuple[str, str, bool, str]] = []
        self.refusal: Refusal | None = None

    def serves(self, domain: str) -> bool:
        return domain == "example.com"

    async def open(self, user: JID, credential: Credential, client: str) -> UserLink | None:
        self.asked.append((user.full, credential.secret, credential.isToken, client))
        if self.refusal is not None:
            raise self.refusal
        return self.link if credential.secret in ("secret", "token") else None


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
