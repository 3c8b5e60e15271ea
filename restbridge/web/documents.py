"""
The documents of an OAuth 2.0 authorization server: JSON objects of a bounded size, in a bounded time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import treq
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers

from restbridge.config.issuers import isSecure
from restbridge.stanzas.nesting import decodeJSON
from restbridge.web.trust import trustRoots

TIMEOUT = 5.0
"""Seconds for a whole call."""

MAX_DOCUMENT = 128 * 1024
"""Bytes."""


class ServerDown(Exception):
    """
    The authorization server can't be asked now, or what it says is of no use; in words for the log.
    """


def client(reactor: Any, roots: Path | None = None) -> HTTPClient:
    """
    A client that keeps no connections.

    @param roots: the file of the certificates that are trusted, in PEM; L{None} for the system's.
    """
    policy = BrowserLikePolicyForHTTPS(trustRoot=trustRoots(roots))
    agent = Agent(reactor, contextFactory=policy, pool=HTTPConnectionPool(reactor, persistent=False))
    return HTTPClient(agent)


class Documents:
    """
    Asks for them. Redirects aren't followed.
    """

    def __init__(self, *, client: HTTPClient, clock: IReactorTime) -> None:
        self._client = client
        self._clock = clock

    async def get(self, url: str) -> dict[str, Any]:
        """
        The document at a URL.

        @raise ServerDown: there is none.
        """
        return await self._asked("GET", url, {}, None)

    async def post(self, url: str, form: Mapping[str, str], authorization: str) -> dict[str, Any]:
        """
        The answer to a form.

        @param authorization: the header.
        @raise ServerDown: there is no answer.
        """
        headers = {"Authorization": authorization, "Content-Type": "application/x-www-form-urlencoded"}
        return await self._asked("POST", url, headers, urlencode(form, errors="surrogateescape").encode())

    async def _asked(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> dict[str, Any]:
        if not isSecure(url):
            raise ServerDown("it names a URL that is neither https nor on this machine")
        whole = Deferred.fromCoroutine(self._read(method, url, headers, body))
        try:
            data = await whole.addTimeout(TIMEOUT, self._clock, _late)
        except ServerDown as down:
            raise ServerDown(f"{method} {_shown(url)}: {down}") from None
        except Exception as error:
            # A client fails in many ways, whose words may be as long as they like.
            raise ServerDown(f"{method} {_shown(url)}: {type(error).__name__} {error}"[:500]) from None
        document = asObject(data)
        if document is None:
            raise ServerDown(f"{method} {_shown(url)}: its answer is no JSON object")
        return document

    async def _read(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        sent = Headers({name: [value] for name, value in headers.items()} | {"Accept": ["application/json"]})
        response = await self._client.request(
            method, url, headers=sent, data=body, allow_redirects=False, unbuffered=True
        )
        document = bytearray()

        def collect(piece: bytes) -> None:
            if len(document) + len(piece) > MAX_DOCUMENT:
                raise ServerDown(f"its answer has more than {MAX_DOCUMENT} bytes")
            document.extend(piece)

        await treq.collect(response, collect)
        if response.code != 200:
            raise ServerDown(f"it answers {response.code}")
        return bytes(document)


def _late(_: object, seconds: float) -> Failure:
    # A client that is cancelled fails in ways of its own.
    return Failure(ServerDown(f"no answer within {seconds:g} s"))


def _shown(url: str) -> str:
    return url.partition("?")[0]


def asObject(data: bytes) -> dict[str, Any] | None:
    """
    A JSON object out of remote bytes; L{None} for anything else.
    """
    try:
        document = decodeJSON(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
