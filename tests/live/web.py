"""
A small HTTP client: one request, one answer, and how long it took.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from tests.live.client import parse
from tests.live.process import LOOPBACK
from tests.live.servers import HOST, passwordOf


def basic(name: str, password: str) -> str:
    """
    The value of an Authorization header.
    """
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def asUser(account: str, password: str | None = None) -> str:
    """
    The value of an Authorization header: an XMPP account, with its own password if none is named.
    """
    return basic(f"{account}@{HOST}", passwordOf(account) if password is None else password)


@dataclass(frozen=True)
class Answer:
    """
    What came back.

    @ivar headers: by their names in lower case; several of a name are joined by commas.
    @ivar seconds: from the request's first byte to the answer's last.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def type(self) -> str:
        """
        The media type without its parameters.
        """
        return self.headers.get("content-type", "").partition(";")[0].strip()

    def json(self) -> Any:
        """
        The body, read as JSON.
        """
        return json.loads(self.body)

    def xml(self) -> Element:
        """
        The body, read as XML.
        """
        return parse(self.body)

    def text(self) -> str:
        """
        The body, as text.
        """
        return self.body.decode("utf-8", "replace")


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 30.0,
    host: str = LOOPBACK,
) -> Answer:
    """
    Ask over a connection of its own.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        return askOver(connection, method, path, body, headers)
    finally:
        connection.close()


def askOver(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """
    Ask over a connection that stays.
    """
    began = time.monotonic()
    connection.request(method, path, body or None, dict(headers or {}))
    response = connection.getresponse()
    content = response.read()
    seconds = time.monotonic() - began
    named: dict[str, str] = {}
    for name, value in response.getheaders():
        known = named.get(name.lower())
        named[name.lower()] = f"{known}, {value}" if known else value
    return Answer(response.status, named, content, seconds)
