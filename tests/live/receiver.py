"""
A real HTTP server that keeps what it is sent and answers as the test says: the webhook's end of the bridge.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from tests.live.mailbox import Mailbox
from tests.live.process import LOOPBACK

T = TypeVar("T")

XML = "application/xmpp+xml"
JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """
    A request that arrived.

    @ivar path: with the query, as it was sent.
    @ivar headers: by their names in lower case.
    @ivar connection: the number of the TCP connection that it came by.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Reply:
    """
    What to answer.

    @ivar delay: seconds to wait before.
    @ivar drop: close the connection instead of answering.
    """

    status: int = 204
    type: str | None = None
    body: str | bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False


Answering = Callable[[Request], Reply]


class Receiver:
    """
    The server. It answers 204 where nobody said otherwise.

    @ivar requests: the requests that arrived, OPTIONS apart.
    @ivar probes: the OPTIONS requests that arrived.
    @ivar hangUpOnReuse: set to close a connection at the moment when a second request comes by it, unread:
        what a client meets whose request crosses with the server's idle time-out.
    """

    def __init__(self) -> None:
        self.requests: Mailbox[Request] = Mailbox("a request")
        self.probes: Mailbox[Request] = Mailbox("an OPTIONS request")
        self.hangUpOnReuse = threading.Event()
        self.hungUp = threading.Semaphore(0)
        self.closing = threading.Event()
        self.connections = itertools.count(1)
        self._replies: dict[str, Answering] = {}
        self._accepts: dict[str, str] = {}
        self._server = _Listener((LOOPBACK, 0), _Conversation)
        self._server.receiver = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        """
        The address of a path, for the bridge's configuration.
        """
        return f"http://{LOOPBACK}:{self._server.server_address[1]}{path}"

    def answer(self, prefix: str, reply: Reply | Answering) -> None:
        """
        From now on, answer requests for paths that start so with C{reply}.
        """
        self._replies[prefix] = reply if callable(reply) else lambda request: reply

    def answerProbe(self, prefix: str, accept: str) -> None:
        """
        Answer OPTIONS for paths that start so with this C{Accept}.
        """
        self._accepts[prefix] = accept

    def expect(self, predicate: Callable[[Request], bool], timeout: float = 10.0) -> Request:
        """
        Take the oldest request that fits; wait for it if need be.
        """
        return self.requests.expect(predicate, timeout)

    def clear(self) -> None:
        """
        Forget what arrived and what was to be answered; probes stay.
        """
        self.requests.clear()
        self._replies.clear()
        self.hangUpOnReuse.clear()

    def close(self) -> None:
        """
        Stop listening, and let waiting answers go.
        """
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def replyTo(self, request: Request) -> Reply:
        """
        Keep a request, and say what to answer.
        """
        if request.method == "OPTIONS":
            self.probes.put(request)
            accept = _longest(self._accepts, request.path)
            return Reply(200, headers={"Accept": accept} if accept else {})
        self.requests.put(request)
        answering = _longest(self._replies, request.path)
        return answering(request) if answering else Reply()


def _longest(table: Mapping[str, T], path: str) -> T | None:
    """
    The entry whose key is the longest beginning of C{path}.
    """
    fitting = [prefix for prefix in table if path.startswith(prefix)]
    return table[max(fitting, key=len)] if fitting else None


class QuietServer(ThreadingHTTPServer):
    """
    One thread for each connection; none of them is waited for.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """
        A connection that breaks is an everyday thing here.
        """


class KeptAlive(BaseHTTPRequestHandler):
    """
    One connection, kept alive.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1


class _Listener(QuietServer):
    receiver: Receiver


class _Conversation(KeptAlive):
    server: _Listener

    def setup(self) -> None:
        """
        Number the connection.
        """
        super().setup()
        self._number = next(self.server.receiver.connections)
        self._answered = 0

    def handle_one_request(self) -> None:
        """
        One request, if the connection is to live on.
        """
        if self._answered and self._hangUp():
            self.close_connection = True
            return
        super().handle_one_request()

    def _hangUp(self) -> bool:
        """
        Wait for the next request; when told to, reset the connection the moment it comes.
        """
        receiver = self.server.receiver
        if not self.connection.recv(1, socket.MSG_PEEK) or not receiver.hangUpOnReuse.is_set():
            return False
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        receiver.hungUp.release()
        return True

    def _serve(self) -> None:
        """
        Any method.
        """
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.server.receiver
        request = Request(self.command, self.path, headers, self.rfile.read(length), self._number)
        reply = receiver.replyTo(request)
        receiver.closing.wait(reply.delay)
        if reply.drop:
            self.close_connection = True
            return
        self._write(reply)

    do_POST = do_OPTIONS = do_GET = do_HEAD = do_PUT = _serve

    def _write(self, reply: Reply) -> None:
        """
        Send the reply, and count it.
        """
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.type:
            self.send_header("Content-Type", reply.type)
        if reply.status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if reply.status not in (204, 304):
            self.wfile.write(body)
        self.wfile.flush()
        self._answered += 1

    def log_message(self, *arguments: object, **named: object) -> None:
        """
        Tests read requests, not logs.
        """
