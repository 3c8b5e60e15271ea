"""
One configured callback at run time: what it wants to be sent, and how much at once.

::

    start      -> OPTIONS probe -> its Accept -> the media type of the calls
    stanza     -> encode -> sign -> POST -> Response
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from twisted.internet.defer import DeferredLock, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge import __version__
from restbridge.config import Callback
from restbridge.stanzas.media import INPUTS, JSON, XML, choose, encode
from restbridge.stanzas.xml import NS_XML
from restbridge.webhook.filter import expand, stanzaVariables
from restbridge.webhook.outcomes import BUSY, Outcomes
from restbridge.webhook.post import Response
from restbridge.webhook.signature import newWebhookId, signatureHeaders

AT_ONCE = 64
"""Calls to one callback at the same time."""

WAITING = 1000
"""Stanzas that wait for one of them; more are refused."""

PROBE_AGAIN = 30.0
"""Seconds until a callback whose probe failed is asked again, with the next stanza."""

USER_AGENT = f"restbridge/{__version__}"


class Busy(Exception):
    """
    More stanzas wait for this callback than are kept.
    """


class Caller(Protocol):
    """
    Makes a call; see L{restbridge.webhook.post.Poster}.
    """

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Response:
        """
        Make one call.
        """


class Receiver:
    """
    A callback.

    @ivar waiting: stanzas that are being delivered or wait for it.
    @ivar outcomes: how the calls ended.
    """

    log = Logger()

    def __init__(self, *, settings: Callback, domain: str, caller: Caller, clock: IReactorTime) -> None:
        self.settings = settings
        self.waiting = 0
        self.outcomes = Outcomes(clock.seconds)
        self._domain = domain
        self._caller = caller
        self._clock = clock
        self._free = DeferredSemaphore(AT_ONCE)
        self._format = settings.format
        self._probedAt: float | None = None
        self._probed = False
        self._probing = DeferredLock()

    async def probe(self) -> None:
        """
        Ask which media type the receiver prefers, as mod_rest does at its start. A receiver that
        doesn't answer gets C{application/xmpp+xml}, and is asked again later.
        """
        self._probedAt = self._clock.seconds()
        await self._probing.acquire()
        try:
            await self._ask()
        finally:
            self._probed = True
            self._probing.release()

    async def _ask(self) -> None:
        variables = {"kind": "meta", "type": "info", "to": self._domain, "from": self._domain}
        url = expand(self.settings.url, variables)
        try:
            response = await self._caller.call("OPTIONS", url, self._headers(), b"", self.settings.timeout)
        except Exception as error:
            self.log.warn(
                "The callback {url} does not answer yet: {error}", url=self.settings.label, error=error
            )
            return
        accept = b",".join(response.headers.getRawHeaders(b"accept", [])).decode("latin-1")
        if self._format is None and response.status < 500:
            self._format = choose(accept, "", (XML, JSON))

    async def call(self, stanza: Element, webhookId: str | None = None) -> Response:
        """
        Deliver a stanza.

        @param webhookId: the same with each attempt; L{None} where there is but one.
        @raise Busy: too many wait already.
        @raise Exception: see L{restbridge.webhook.post.Poster.call}.
        """
        if self.waiting >= AT_ONCE + WAITING:
            self.outcomes.counts[BUSY] += 1
            raise Busy(f"{self.waiting} stanzas wait for {self.settings.label}")
        self.waiting += 1
        try:
            await self._free.acquire()
            try:
                return await self._post(stanza, webhookId)
            finally:
                self._free.release()
        finally:
            self.waiting -= 1

    async def _post(self, stanza: Element, webhookId: str | None) -> Response:
        mediaType = await self._mediaType()
        body = encode(mediaType, stanza)
        headers = {**self._headers(), "Content-Type": mediaType, **self._signature(webhookId, body)}
        language = stanza.getAttribute((NS_XML, "lang"))
        if language and language.isascii() and language.isprintable():
            headers["Content-Language"] = language
        url = expand(self.settings.url, stanzaVariables(stanza))
        call = self._caller.call("POST", url, headers, body, self.settings.timeout)
        return await self.outcomes.counted(call)

    async def _mediaType(self) -> str:
        if self._format is None and self._mayProbe():
            await self.probe()
        elif not self._probed and self._probing.locked:
            # What comes during the first probe waits for it. Not so later: a receiver may never answer.
            await self._probing.acquire()
            self._probing.release()
        return self._format or XML

    def _mayProbe(self) -> bool:
        return self._probedAt is None or self._clock.seconds() - self._probedAt >= PROBE_AGAIN

    def _headers(self) -> dict[str, str]:
        configured = {name: value.reveal() for name, value in self.settings.headers.items()}
        return {"User-Agent": USER_AGENT, "Accept": ", ".join(INPUTS), **configured}

    def _signature(self, webhookId: str | None, body: bytes) -> dict[str, str]:
        if not self.settings.secret:
            return {} if webhookId is None else {"webhook-id": webhookId}
        secrets = [secret.reveal() for secret in self.settings.secret]
        return signatureHeaders(secrets, webhookId or newWebhookId(), int(time.time()), body)
