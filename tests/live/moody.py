"""
A webhook's receiver that has its moods: it fails, hangs, answers slowly, hangs up, goes away; and that keeps
account of every call::

    moody.mood = inTurn(FAILS, HANGS, OK, FAILS)   # and from then on OK
    moody.mood = always(FAILS)

It does not use the project's code: signatures are checked by the package C{standardwebhooks}, and what came
is read as JSON.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from standardwebhooks import Webhook, WebhookVerificationError

from tests.live.process import LOOPBACK, eventually, freePorts
from tests.live.receiver import KeptAlive, QuietServer

JSON = "application/json"


@dataclass(frozen=True)
class Mood:
    """
    How a call is answered.

    @ivar delay: seconds to wait before.
    @ivar hangs: never to answer.
    @ivar breaks: to break the connection in the middle of the answer.
    @ivar away: seconds for which nobody listens after that; the call itself gets no answer.
    """

    status: int = 204
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    hangs: bool = False
    breaks: bool = False
    away: float = 0.0


OK = Mood()
FAILS = Mood(500)
HANGS = Mood(hangs=True)
SLOW = Mood(delay=0.3)
BREAKS = Mood(200, breaks=True)
AWAY = Mood(away=1.5)


def busy(seconds: int, status: int = 503) -> Mood:
    """
    Fails, and says for how long it will.
    """
    return Mood(status, headers={"Retry-After": str(seconds)})


@dataclass
class Call:
    """
    One call, be it the first or a repeated one.

    @ivar conversation: the bare addresses of the two who talk: from, to.
    @ivar attempt: 1 for the first call with this C{webhookId}.
    @ivar genuine: whether every secret of ours confirms the signature.
    @ivar at: when it came, on the monotonic clock.
    @ivar accepted: whether it was answered with 2xx, and to the end.
    """

    path: str
    kind: str
    conversation: tuple[str, str]
    text: str
    headers: Mapping[str, str]
    webhookId: str
    attempt: int
    genuine: bool
    at: float
    mood: Mood = OK
    accepted: bool = False


Choosing = Callable[[Call], Mood]


def always(mood: Mood) -> Choosing:
    """
    One mood for all calls.
    """
    return lambda call: mood


def inTurn(*moods: Mood, then: Mood = OK) -> Choosing:
    """
    A mood for each call, as they come.
    """
    left = itertools.chain(moods, itertools.repeat(then))
    return lambda call: next(left)


class Moody:
    """
    The receiver. It keeps its port while it is away.

    @ivar mood: chooses how to answer a call; with a lock held, so that calls are chosen for one by one.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        """
        @param secrets: C{whsec_…}; each must confirm each signature.
        """
        self.mood: Choosing = always(OK)
        self.closing = threading.Event()
        self._webhooks = [Webhook(secret) for secret in secrets]
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        (self._port,) = freePorts(1)
        self._listener: _Listener | None = None
        self.comeBack()

    def url(self, path: str = "/") -> str:
        """
        The address of a path, for the bridge's configuration.
        """
        return f"http://{LOOPBACK}:{self._port}{path}"

    @property
    def calls(self) -> list[Call]:
        """
        All calls so far, in the order of their coming. OPTIONS aren't calls.
        """
        with self._lock:
            return list(self._calls)

    def texts(self, path: str = "/") -> list[str]:
        """
        What was accepted, in order, at paths that start so; repeated calls included.
        """
        return [call.text for call in self.calls if call.accepted and call.path.startswith(path)]

    def expect(self, predicate: Callable[[Call], bool], what: str, timeout: float = 15.0) -> Call:
        """
        The first call that fits; wait for it if need be.
        """
        return eventually(lambda: next(filter(predicate, self.calls), None), what, timeout)

    def goAway(self) -> None:
        """
        Refuse connections, and break those that there are.
        """
        with self._lock:
            listener, self._listener = self._listener, None
            ends = list(self._connections)
        if listener is not None:
            listener.shutdown()
            listener.server_close()
        for end in ends:
            _reset(end)

    def comeBack(self) -> None:
        """
        Listen again, at the same port.
        """
        with self._lock:
            if self._listener is not None or self.closing.is_set():
                return
            self._listener = _Listener((LOOPBACK, self._port), _Conversation)
            self._listener.moody = self
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """
        Go away for ever, and let waiting answers go.
        """
        self.closing.set()
        self.goAway()

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Call:
        """
        Keep a call, and choose a mood for it.
        """
        stanza = json.loads(body)
        webhookId = headers.get("webhook-id", "")
        genuine = all(_confirms(webhook, headers, body) for webhook in self._webhooks)
        with self._lock:
            call = Call(
                path=path,
                kind=stanza["kind"],
                conversation=(_bare(stanza["from"]), _bare(stanza["to"])),
                text=stanza.get("body", ""),
                headers=headers,
                webhookId=webhookId,
                attempt=1 + sum(known.webhookId == webhookId for known in self._calls),
                genuine=genuine,
                at=time.monotonic(),
            )
            self._calls.append(call)
            call.mood = self.mood(call)
        return call

    def leaveFor(self, seconds: float) -> None:
        """
        Go away, and come back by ourselves.
        """
        self.goAway()
        self.closing.wait(seconds)
        self.comeBack()

    def opened(self, listener: _Listener, connection: socket.socket) -> None:
        """
        A connection was made. One that we took just before we went away is broken like the others.
        """
        with self._lock:
            self._connections.add(connection)
            if self._listener is listener:
                return
        _reset(connection)

    def closed(self, connection: socket.socket) -> None:
        """
        A connection has ended.
        """
        with self._lock:
            self._connections.discard(connection)


def _bare(address: str) -> str:
    return address.partition("/")[0]


def _confirms(webhook: Webhook, headers: Mapping[str, str], body: bytes) -> bool:
    """
    Whether the signature is one by this secret.
    """
    try:
        webhook.verify(body, dict(headers))
    except WebhookVerificationError:
        return False
    return True


def _reset(end: socket.socket) -> None:
    """
    Break a connection off, and wake up whoever waits for it.
    """
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)


class _Listener(QuietServer):
    moody: Moody


class _Conversation(KeptAlive):
    server: _Listener

    def setup(self) -> None:
        """
        Let it be known.
        """
        super().setup()
        self.server.moody.opened(self.server, self.connection)

    def finish(self) -> None:
        """
        Likewise.
        """
        self.server.moody.closed(self.connection)
        super().finish()

    def do_OPTIONS(self) -> None:
        """
        The probe for the media type.
        """
        self._write(Mood(200, headers={"Accept": JSON}))

    def do_POST(self) -> None:
        """
        A call.
        """
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        moody = self.server.moody
        call = moody.take(self.path, headers, body)
        moody.closing.wait(call.mood.delay)
        if call.mood.hangs or call.mood.away or call.mood.breaks:
            self._spoil(call.mood)
            return
        self._write(call.mood)
        call.accepted = 200 <= call.mood.status < 300

    def _spoil(self, mood: Mood) -> None:
        """
        Give no answer, or not a whole one.
        """
        self.close_connection = True
        if mood.hangs:
            self._waitForEnd()
        elif mood.away:
            self.server.moody.leaveFor(mood.away)
        else:
            self.wfile.write(b"HTTP/1.1 %d In the middle\r\nContent-Le" % mood.status)
            self.wfile.flush()
            _reset(self.connection)

    def _waitForEnd(self) -> None:
        """
        Until the caller has had enough: nothing more comes by this connection but its end.
        """
        with suppress(OSError):
            self.connection.recv(1)

    def _write(self, mood: Mood) -> None:
        """
        Send an answer.
        """
        self.send_response(mood.status)
        for name, value in mood.headers.items():
            self.send_header(name, value)
        if mood.body:
            self.send_header("Content-Type", JSON)
        if mood.status != 204:
            self.send_header("Content-Length", str(len(mood.body.encode())))
        self.end_headers()
        if mood.status != 204:
            self.wfile.write(mood.body.encode())
        self.wfile.flush()

    def log_message(self, *arguments: object, **named: object) -> None:
        """
        Tests read calls, not logs.
        """
