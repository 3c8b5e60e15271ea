"""
Access tokens that only their authorization server can read (RFC 7662): it is asked what they are.
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote_plus

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from restbridge.config import OAuth2 as Settings
from restbridge.web.documents import Documents, ServerDown
from restbridge.web.grants import Grant, TokenRefused, grantOf
from restbridge.web.thrift import Remembered, Together

BELIEVED = 60.0
"""Seconds that an answer is believed: as long a token may work that was taken back."""

AT_ONCE = 64
"""Questions under way: invented tokens must not keep the server busy."""


class Introspection:
    """
    Asks about tokens, about each once at a time, and remembers the answers for a while.
    """

    log = Logger()

    def __init__(self, *, settings: Settings, documents: Documents, clock: IReactorTime) -> None:
        self._settings = settings
        self._documents = documents
        self._clock = clock
        # Grants, and the reasons why there is none.
        self._known: Remembered[Grant | str] = Remembered(clock=clock)
        self._asking: Together[Grant | str] = Together()

    async def grant(self, token: str) -> Grant:
        """
        What a token allows.

        @raise TokenRefused: nothing.
        @raise ServerDown: nobody can say.
        """
        mark = self._known.mark(token)
        known = self._known.recall(mark)
        if known is None:
            if mark not in self._asking and len(self._asking) >= AT_ONCE:
                raise ServerDown(f"{AT_ONCE} questions are under way")
            known = await self._asking.call(mark, lambda: self._asked(token, mark))
        if isinstance(known, str):
            raise TokenRefused(known)
        return known

    async def _asked(self, token: str, mark: bytes) -> Grant | str:
        settings = self._settings
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            claims = await self._documents.post(settings.introspection or "", form, _authorization(settings))
        except ServerDown as down:
            self.log.warn("No access token can be introspected: {reason}", reason=str(down))
            raise
        now = self._clock.seconds()
        until = now + BELIEVED
        answer: Grant | str
        try:
            if claims.get("active") is not True:
                raise TokenRefused("isn't active: it has expired, or was taken back, or never was one")
            answer = grantOf(claims, settings, now, whole=False)
            if answer.until is not None:
                until = min(until, answer.until)
        except TokenRefused as refused:
            answer = str(refused)
        self._known.keep(mark, answer, until)
        return answer


def _authorization(settings: Settings) -> str:
    """
    The bridge's own credentials (RFC 6749, section 2.3.1).
    """
    secret = settings.clientSecret.reveal() if settings.clientSecret is not None else ""
    pair = f"{quote_plus(settings.clientId or '')}:{quote_plus(secret)}"
    return "Basic " + b64encode(pair.encode()).decode()
