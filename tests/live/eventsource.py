"""
A client of server-sent events (HTML Standard, section 9.2), by nothing but a socket.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from tests.live.mailbox import Mailbox
from tests.live.process import LOOPBACK

ENDED = object()


@dataclass(frozen=True)
class Event:
    """
    What was read up to an empty line.

    @ivar lines: fields other than those of events, comments for one.
    """

    id: str | None
    name: str | None
    data: str
    lines: tuple[str, ...] = ()

    def json(self) -> Any:
        """
        The data, read as JSON.
        """
        return json.loads(self.data)

    def body(self) -> str | None:
        """
        The text of a message.
        """
        return str(self.json().get("body")) if self.data else None


class EventSource:
    """
    A stream that is read in a thread, from the moment on that it is there.

    @ivar status: of the answer.
    @ivar headers: by their names in lower case.
    @ivar seen: all events so far, in their order.
    @ivar lastId: what to come back with.
    """

    def __init__(self, port: int, auth: str, lastId: str | None = None, path: str = "/api/sse") -> None:
        self.lastId = lastId
        self.seen: list[Event] = []
        self._mailbox: Mailbox[Any] = Mailbox("an event")
        self._socket = socket.create_connection((LOOPBACK, port), 15)
        self._socket.sendall(request(auth, lastId, path))
        self._response = HTTPResponse(self._socket)
        self._response.begin()
        self.status = self._response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in self._response.getheaders()}
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def expect(self, text: str, timeout: float = 10.0) -> Event:
        """
        Take the oldest event that is a message with this text; wait for it if need be.
        """
        event: Event = self._mailbox.expect(lambda one: one is not ENDED and one.body() == text, timeout)
        return event

    def expectEnd(self, timeout: float = 10.0) -> None:
        """
        Wait until the stream is ended by the other side.
        """
        self._mailbox.expect(lambda one: one is ENDED, timeout)

    def bodies(self) -> list[str | None]:
        """
        The texts so far.
        """
        return [event.body() for event in self.seen]

    @property
    def isOpen(self) -> bool:
        """
        Whether more may come.
        """
        return self._thread.is_alive()

    def close(self) -> None:
        """
        Leave, in the middle of whatever there is.
        """
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _read(self) -> None:
        lines: list[str] = []
        try:
            while line := self._response.readline():
                text = line.decode().removesuffix("\n")
                if text:
                    lines.append(text)
                else:
                    self._dispatch(lines)
                    lines = []
        except (OSError, ValueError):
            # However it ends, what is left of an event is none.
            pass
        self._mailbox.put(ENDED)

    def _dispatch(self, lines: list[str]) -> None:
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        others = tuple(line for line in lines if line.partition(": ")[0] not in ("id", "event", "data"))
        event = Event(fields.get("id"), fields.get("event"), fields.get("data", ""), others)
        if event.id is not None:
            self.lastId = event.id
        if event.data:
            self.seen.append(event)
            self._mailbox.put(event)


def request(auth: str, lastId: str | None = None, path: str = "/api/sse") -> bytes:
    """
    What asks for a stream.
    """
    lines = [f"GET {path} HTTP/1.1", "Host: bridge", f"Authorization: {auth}", "Accept: text/event-stream"]
    if lastId is not None:
        lines.append(f"Last-Event-ID: {lastId}")
    return "\r\n".join([*lines, "", ""]).encode()
