"""
Clients that ask for too much of a running bridge, or too slowly.
"""

from __future__ import annotations

import socket
import time
import unittest
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.live.bridge import BOT, Bridge, componentTable
from tests.live.process import LOOPBACK, eventually

ECHO = '{"kind": "message", "to": "a@b.example", "body": "x"}'


def rest(connection: socket.socket) -> bytes:
    """
    All that comes until the other end closes, whichever way.
    """
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


class LimitTests(unittest.TestCase):
    """
    No server is needed.
    """

    @contextmanager
    def bridge(self, **http: int | float) -> Iterator[Bridge]:
        with Bridge(componentTable(1), http=http) as bridge:
            bridge.start(ready=False)
            yield bridge
            self.assertEqual(bridge.faults(), [])

    def connect(self, bridge: Bridge, data: bytes = b"") -> socket.socket:
        connection = socket.create_connection((LOOPBACK, bridge.port), timeout=20)
        self.addCleanup(connection.close)
        connection.sendall(data)
        return connection

    def test_requests(self) -> None:
        """
        Too many requests of an account get 429, and as many as are told to come later are let in then.
        """
        with self.bridge(requests_per_minute=60, requests_burst=3) as bridge:
            answers = [bridge.post("/rest/echo", ECHO) for _ in range(5)]
            self.assertEqual([answer.status for answer in answers][:3], [200] * 3)
            last = answers[-1]
            self.assertEqual(last.status, 429)
            told = {name.lower(): text for name, text in last.headers.items()}
            self.assertEqual(told["ratelimit-policy"], '"requests";q=3;w=3')
            self.assertEqual(told["ratelimit"], f'"requests";r=0;t={told["retry-after"]}')
            time.sleep(int(told["retry-after"]))
            self.assertEqual(bridge.post("/rest/echo", ECHO).status, 200)
            self.assertEqual(bridge.get("/healthz").status, 200)

    def test_connections(self) -> None:
        """
        One connection too many is closed at once; when another ends there is room again.
        """
        with self.bridge(max_connections=5) as bridge:
            opened = [self.connect(bridge) for _ in range(5)]
            eventually(lambda: rest(self.connect(bridge)) == b"", "a connection to be refused")
            for connection in opened:
                connection.close()
            bridge.waitFor("/healthz", 200)

    def test_slow(self) -> None:
        """
        Headers and bodies that don't come get 408; a connection without a request is closed.
        """
        with self.bridge(header_timeout=0.5, body_timeout=0.5, idle_timeout=1) as bridge:
            begun = (b"GET /hea", b"POST /rest HTTP/1.1\r\nContent-Length: 9\r\n\r\nx")
            for connection in [self.connect(bridge, data) for data in begun]:
                self.assertTrue(rest(connection).startswith(b"HTTP/1.1 408 "))
            self.assertEqual(rest(self.connect(bridge)), b"")

    def test_headers(self) -> None:
        """
        Headers that are too large get 431; a length of thousands of digits gets 400.
        """
        with self.bridge(max_headers=5000) as bridge:
            for line, status in ((b"A: " + b"x" * 6000, b"431"), (b"Content-Length: " + b"9" * 4500, b"400")):
                data = rest(self.connect(bridge, b"GET /healthz HTTP/1.1\r\n" + line + b"\r\n\r\n"))
                self.assertEqual(data.split()[1], status)

    def test_unread(self) -> None:
        """
        Thousands of pipelined requests whose answers nobody reads take no memory, and hinder nobody.
        """
        with self.bridge() as bridge, closing(self.connect(bridge)) as connection:
            before = _memory(bridge)
            connection.settimeout(2)
            with self.assertRaises(TimeoutError):
                for _ in range(20_000):
                    connection.sendall(b"GET /openapi.json HTTP/1.1\r\n\r\n" * 100)
            self.assertEqual(bridge.get("/healthz").status, 200)
            self.assertLess(_memory(bridge) - before, 20_000)

    def test_pipelined(self) -> None:
        """
        Who reads gets them all.
        """
        with self.bridge() as bridge:
            connection = self.connect(bridge, b"GET /openapi.json HTTP/1.1\r\n\r\n" * 200)
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nConnection: close\r\n\r\n")
            time.sleep(0.5)
            self.assertEqual(rest(connection).count(b"HTTP/1.1 200 OK\r\n"), 201)

    def test_bot(self) -> None:
        """
        Requests whose credentials are wrong are not the account's.
        """
        with self.bridge(requests_per_minute=60, requests_burst=1) as bridge:
            self.assertEqual(bridge.post("/rest/echo", ECHO, auth="Bearer wrong").status, 403)
            self.assertEqual(bridge.post("/rest/echo", ECHO, auth=BOT).status, 200)


def _memory(bridge: Bridge) -> int:
    """
    Its resident set, in KiB.
    """
    status = Path(f"/proc/{bridge.process.pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
