"""
A cable between the bridge and a server, that counts its connections and can be cut.

The bridge attaches through it, so that "the stream did not drop" is a fact of the network, not a line of a
log.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.live.process import LOOPBACK, freePorts

Filter = Callable[[bytes], bytes]
"""What is passed on instead of what came."""


class Relay:
    """
    Forwards TCP connections to a port of this machine.

    @ivar target: the port that it forwards to.
    @ivar connections: how many connections were made through it; those that the server refused don't count.
    """

    def __init__(self, port: int) -> None:
        """
        @param port: where to forward to.
        """
        self.target = port
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        (self.port,) = freePorts(1)
        self._listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """
        Close what is connected, without a word.
        """
        with self._lock:
            ends = list(self._open)
        for end in ends:
            _close(end)

    def close(self) -> None:
        """
        Cut, and accept nothing more.
        """
        _close(self._listener)
        self.cut()

    def _accept(self) -> None:
        """
        Pair each connection that comes with one to the target.
        """
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((LOOPBACK, self.target), 5)
            except OSError:
                _close(near)
                continue
            far.settimeout(None)
            self._join(near, far)

    def _fromClient(self) -> Filter:
        """
        What a connection's client says passes through this.
        """
        return bytes

    def _fromServer(self) -> Filter:
        """
        What a connection's server says passes through this.
        """
        return bytes

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        """
        Let the two ends talk, each direction in a thread.
        """
        with self._lock:
            self.connections += 1
            self._open |= {near, far}
        for source, target, through in ((near, far, self._fromClient()), (far, near, self._fromServer())):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(source, target, through), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, through: Filter) -> None:
        """
        Copy, until one end has had enough.
        """
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(through(data))
        for end in (source, target):
            _close(end)
        with self._lock:
            self._open -= {source, target}


class Wiretap(Relay):
    """
    A relay that remembers what clients say.
    """

    def __init__(self, port: int) -> None:
        self._heard = bytearray()
        super().__init__(port)

    def sent(self) -> bytes:
        """
        What clients have said, all connections in one.
        """
        with self._lock:
            return bytes(self._heard)

    def _fromClient(self) -> Filter:
        """
        Remember, and pass on.
        """

        def hear(data: bytes) -> bytes:
            with self._lock:
                self._heard += data
            return data

        return hear


def _close(end: socket.socket) -> None:
    """
    Close a socket, waking up whoever waits for it.
    """
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
