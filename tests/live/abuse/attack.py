"""
An attack over HTTP: what is sent, what may come back, and how it is made.

What is sent is bytes, not requests: most of it no HTTP client would write.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.live.bridge import BEARER
from tests.live.process import LOOPBACK
from tests.live.receiver import JSON

ATTACKER = "127.0.0.2"
"""Where attacks come from, so that what is counted by address isn't counted against the probe."""

STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9]) [ -~]*\r\n")
REFUSED = frozenset(range(400, 500))
CLOSED = frozenset({0})
"""Stands for a connection that ends without an answer."""

OPEN = frozenset({-1})
"""Stands for one that is left waiting: it holds no more than itself."""

QUIET = 0.25
"""Seconds without another byte after which an answer is taken to be whole."""

Pieces = Iterable[bytes | float]
"""What is sent, one after the other; numbers are seconds to wait."""


@dataclass(frozen=True)
class Attack:
    """
    What is sent over HTTP, and what must come back.

    @ivar sends: made when the attack is, as much of it is large.
    @ivar expects: the statuses that will do, with L{CLOSED} and L{OPEN}; at least one of them comes back by
        each connection.
    @ivar connections: by how many connections it is sent at once.
    @ivar patience: seconds to wait for what comes back.
    @ivar secrets: what the answer must not hold, as a pattern.
    """

    name: str
    sends: Callable[[], Pieces]
    expects: frozenset[int] = REFUSED
    connections: int = 1
    patience: float = 5.0
    source: str = ATTACKER
    secrets: bytes = rb"Traceback|File \"|restbridge/|site-packages|root:x:"


@dataclass
class Conversation:
    """
    One connection of an attack.

    @ivar said: what came back.
    @ivar closed: whether the bridge has closed it.
    """

    port: int
    source: str
    said: bytearray = field(default_factory=bytearray)
    closed: bool = False

    def __post_init__(self) -> None:
        self._socket = socket.create_connection((LOOPBACK, self.port), 10, (self.source, 0))
        # Not by the reader: what is sent while it changes may be cut short.
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, piece: bytes) -> None:
        """
        Send, if that is wanted still.
        """
        with suppress(OSError):
            self._socket.sendall(piece)

    def rest(self, until: float) -> None:
        """
        Wait for what comes back: the end of the connection, or an answer that is followed by nothing.
        """
        while not self.closed and time.monotonic() < until:
            size = len(self.said)
            self._reader.join(QUIET)
            if size and size == len(self.said):
                return

    def close(self) -> None:
        """
        Hang up.
        """
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(5)
        self._socket.close()

    def _read(self) -> None:
        with suppress(OSError):
            while data := self._socket.recv(65536):
                self.said += data
        self.closed = True

    @property
    def statuses(self) -> frozenset[int]:
        """
        The statuses that came back, or what stands for none.
        """
        found = frozenset(int(status) for status in STATUS.findall(bytes(self.said)))
        return found - {100} or (CLOSED if self.closed else OPEN)


def once(*pieces: bytes | float) -> Callable[[], Pieces]:
    """
    What is small enough to be made before it is sent.
    """
    return lambda: pieces


def make(attack: Attack, port: int) -> list[Conversation]:
    """
    Make an attack, and return when it is over.
    """
    conversations = [Conversation(port, attack.source) for _ in range(attack.connections)]
    try:
        for piece in attack.sends():
            if isinstance(piece, float):
                time.sleep(piece)
            else:
                for each in conversations:
                    each.send(piece)
        until = time.monotonic() + attack.patience
        for each in conversations:
            each.rest(until)
    finally:
        # What is seen from here on would be our own doing.
        outcome = [each.closed for each in conversations]
        for each in conversations:
            each.close()
        for each, closed in zip(conversations, outcome, strict=True):
            each.closed = closed
    return conversations


def faults(attack: Attack, conversations: Iterable[Conversation]) -> list[str]:
    """
    What came back and mustn't have.
    """
    found = []
    for each in conversations:
        if not each.statuses <= attack.expects:
            found.append(f"came back: {sorted(each.statuses)} {bytes(each.said[:300])!r}")
        if leak := re.search(attack.secrets, each.said):
            found.append(f"tells {leak[0]!r}")
    return found[:3]


def request(
    target: str | bytes = "/rest",
    body: bytes = b"",
    headers: Mapping[str, str | bytes] | None = None,
    *,
    method: str = "POST",
    mediaType: str | None = JSON,
    auth: str | None = BEARER,
    close: bool = True,
) -> bytes:
    """
    A request by someone who may make it.

    @param close: whether the connection is to end with it.
    """
    named: dict[str, str | bytes | None] = {
        "Host": "localhost",
        "Authorization": auth,
        "Content-Type": mediaType,
        "Content-Length": str(len(body)),
        "Connection": "close" if close else None,
        **(headers or {}),
    }
    lines = [_bytes(method) + b" " + _bytes(target) + b" HTTP/1.1"]
    lines += [_bytes(name) + b": " + _bytes(value) for name, value in named.items() if value is not None]
    return b"\r\n".join([*lines, b"", body])


def head(*lines: str | bytes, target: str = "/rest") -> bytes:
    """
    The beginning of a POST by someone who may make it, up to the body.
    """
    known = (
        f"POST {target} HTTP/1.1",
        "Host: localhost",
        f"Authorization: {BEARER}",
        f"Content-Type: {JSON}",
    )
    return b"".join(_bytes(line) + b"\r\n" for line in (*known, *lines)) + b"\r\n"


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
