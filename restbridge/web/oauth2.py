"""
OAuth 2.0: access tokens into what they allow.

::

    token -> a JWT of the issuer          -> accesstokens  -> Grant, or refused
          -> another, with introspection  -> introspection -> Grant, or refused
          -> another, without             -> None: the XMPP server's to judge, as without [oauth2]
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.logger import Logger

from restbridge.config import OAuth2 as Settings
from restbridge.web.answer import Refusal, unavailable
from restbridge.web.documents import Documents, ServerDown, client
from restbridge.web.grants import Grant, TokenRefused
from restbridge.web.introspection import Introspection
from restbridge.workers import Workers

MAX_TOKEN = 8 * 1024
"""Characters."""


class Judge(Protocol):
    """
    Somebody who may know a token.
    """

    async def grant(self, token: str) -> Grant | None:
        """
        What the token allows; L{None} where it is somebody else's to judge.

        @raise TokenRefused: nothing.
        @raise ServerDown: nobody can say now.
        """


class OAuth2:
    """
    Asks one after the other.
    """

    log = Logger()

    def __init__(self, *judges: Judge) -> None:
        self._judges = judges

    async def grant(self, token: str) -> Grant | None:
        """
        What a token allows; L{None} where the authorization server has nothing to say about it.

        @raise TokenRefused: nothing.
        @raise Refusal: 503, nobody can say now.
        """
        try:
            return await self._granted(token)
        except TokenRefused as refused:
            self.log.info("An access token is refused: it {reason}", reason=str(refused))
            raise
        except ServerDown:
            raise unavailable("the authorization server can't be asked now") from None

    async def _granted(self, token: str) -> Grant | None:
        if len(token) > MAX_TOKEN:
            raise TokenRefused(f"has more than {MAX_TOKEN} characters")
        for judge in self._judges:
            grant = await judge.grant(token)
            if grant is not None:
                return grant
        return None


def oauth2Of(settings: Settings, *, reactor: Any, workers: Workers) -> OAuth2:
    """
    Those who know the tokens of the authorization server that is configured.
    """
    documents = Documents(client=client(reactor, settings.caFile), clock=reactor)
    judges: list[Judge] = []
    if settings.issuer is not None:
        # Its library is an extra.
        from restbridge.web.accesstokens import AccessTokens

        tokens = AccessTokens(settings=settings, documents=documents, workers=workers, clock=reactor)
        judges.append(tokens)
    if settings.introspection is not None:
        judges.append(Introspection(settings=settings, documents=documents, clock=reactor))
    return OAuth2(*judges)


def invalidToken(status: int, text: str | None = None) -> Refusal:
    """
    The refusal of a Bearer token (RFC 6750, section 3.1).
    """
    challenge = 'Bearer realm="restbridge", error="invalid_token"'
    return Refusal(status, "auth", "not-authorized", text, headers=(("WWW-Authenticate", challenge),))


def insufficientScope(scope: str) -> Refusal:
    """
    The refusal of what a token that is good doesn't allow (RFC 6750, section 3.1).
    """
    challenge = f'Bearer realm="restbridge", error="insufficient_scope", scope="{scope}"'
    text = f"Not allowed by the access token: it needs the scope {scope}"
    headers = (("WWW-Authenticate", challenge),)
    return Refusal(403, "auth", "forbidden", text, {"scope": scope}, headers)
