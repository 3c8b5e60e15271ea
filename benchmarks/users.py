"""
What XMPP users do without the bridge, by nothing but sockets.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from base64 import b64encode
from itertools import count

from benchmarks.load import Failed, Measured, Meter
from tests.live.process import LOOPBACK
from tests.live.servers import HOST, passwordOf, readUntil
from tests.live.web import asUser

HEADER = (
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    f" version='1.0' to='{HOST}'>"
)
FEATURES = re.compile(rb"</stream:features>")
RESULT = re.compile(rb"</iq>|<iq [^>]*/>")
NS_MAM = "urn:xmpp:mam:2"
NS_RSM = "http://jabber.org/protocol/rsm"
BURST = 8
"""Messages that are on their way at once."""
PATIENCE = 30.0

numbers = count()


class Login:
    """
    A user who is logged in, and asks one thing at a time.
    """

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection = connection
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._hear(HEADER, FEATURES)
        plain = b64encode(f"\0{name}\0{passwordOf(name)}".encode()).decode()
        sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
        self._hear(f"<auth xmlns='{sasl}' mechanism='PLAIN'>{plain}</auth>", re.compile(rb"<success"))
        self._hear(HEADER, FEATURES)
        self.ask("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")

    def ask(self, payload: str) -> None:
        """
        Set something, and wait for the answer and what comes before it.

        @raise Failed: the answer is an error.
        """
        seen = self._hear(f"<iq type='set' id='q{next(numbers)}'>{payload}</iq>", RESULT)
        if b"type='error'" in seen or b'type="error"' in seen:
            raise Failed(f"{payload}: {seen.decode()}")

    def page(self, most: int) -> None:
        """
        Read the newest messages of the own archive.
        """
        newest = f"<set xmlns='{NS_RSM}'><max>{most}</max><before/></set>"
        self.ask(f"<query xmlns='{NS_MAM}' queryid='page'>{newest}</query>")

    def archiveAll(self) -> None:
        """
        Have all messages kept from now on.
        """
        self.ask(f"<prefs xmlns='{NS_MAM}' default='always'><always/><never/></prefs>")

    def say(self, xml: str) -> None:
        """
        Write what has no answer.
        """
        self._connection.sendall(xml.encode())

    def _hear(self, xml: str, until: re.Pattern[bytes]) -> bytes:
        self.say(xml)
        return readUntil(self._connection, until).string


class Occurrences:
    """
    Counts a piece of a stream of bytes, in however many parts that comes.
    """

    def __init__(self, piece: bytes) -> None:
        self._piece, self._cut = piece, b""
        self.number = 0

    def see(self, data: bytes) -> None:
        """
        Count in what comes next.
        """
        seen = self._cut + data
        self.number += seen.count(self._piece)
        # Too short to hold the piece, and long enough to begin one.
        self._cut = seen[1 - len(self._piece) :]


class Streams:
    """
    Open streams of events of one user, and a component that writes to that one.
    """

    def __init__(self, sender: socket.socket, domain: str, user: str) -> None:
        self._sender, self._domain, self._user = sender, domain, user
        self._selector = selectors.DefaultSelector()
        self._events = Occurrences(b"data: ")
        self._streams = 0

    def open(self, port: int, number: int) -> None:
        """
        Open so many, and wait until all of them are served.
        """
        for _ in range(number):
            connection = socket.create_connection((LOOPBACK, port), PATIENCE)
            head = f"GET /api/sse HTTP/1.1\r\nHost: bridge\r\nAuthorization: {asUser(self._user)}\r\n\r\n"
            connection.sendall(head.encode())
            if b" 200 " not in (answer := connection.recv(1 << 16)):
                raise Failed(f"/api/sse: {answer.decode()}")
            self._selector.register(connection, selectors.EVENT_READ)
        self._streams = number
        self._settle()

    def measure(self, pid: int | None, seconds: float) -> Measured:
        """
        Events a second; each is a message on one stream.
        """
        began, until = self._events.number, time.monotonic() + seconds
        times = []
        with Meter(pid) as used:
            start = time.monotonic()
            while (now := time.monotonic()) < until:
                self._write(BURST)
                self._read(self._events.number + BURST * self._streams, PATIENCE)
                times.append(time.monotonic() - now)
            lasted = time.monotonic() - start
        arrived = self._events.number - began
        p99 = sorted(times)[int(len(times) * 0.99)] * 1e3
        return Measured(rate=arrived / lasted, p99=p99, cpu=used.each(arrived))

    def close(self) -> None:
        """
        Leave.
        """
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _settle(self) -> None:
        """
        Write until a message arrives everywhere, and nothing more comes: the user's presence is on its way.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self._write(1)
            seen = self._events.number
            if self._read(seen + self._streams, 1.0, strict=False):
                return
        raise Failed("no event came")

    def _write(self, messages: int) -> None:
        self._sender.sendall(
            "".join(
                f"<message from='u@{self._domain}/r' to='{self._user}@{HOST}' type='chat'"
                f" id='e{next(numbers)}'><body>Hello, how are you today?</body>"
                "<no-store xmlns='urn:xmpp:hints'/></message>"
                for _ in range(messages)
            ).encode()
        )

    def _read(self, until: int, patience: float, strict: bool = True) -> bool:
        deadline = time.monotonic() + patience
        while self._events.number < until:
            for key, _ in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                self._events.see(key.fileobj.recv(1 << 18))
            if time.monotonic() > deadline:
                if strict:
                    raise Failed(f"{until - self._events.number} events are missing")
                return False
        return True
