"""
Access tokens that are JWTs (RFC 9068): verified here, by the public keys of their issuer.

::

    token -> no JWT of the issuer         -> None: somebody else's to judge
          -> known                        -> its grant
          -> type, algorithm, claims      -> refused
          -> key -> signature (a thread)  -> the claims that were signed -> its grant, known until it expires
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry, deserialize_compact
from twisted.internet.interfaces import IReactorTime

from restbridge.config import OAuth2 as Settings
from restbridge.web.documents import Documents, asObject
from restbridge.web.grants import LEEWAY, Grant, TokenRefused, grantOf
from restbridge.web.issuerkeys import FRESH, Keys
from restbridge.web.thrift import Remembered
from restbridge.workers import Workers

MAX_HEADER = 2048
"""Bytes of a JWT's header, as it is encoded."""


class AccessTokens:
    """
    Those of one issuer.
    """

    def __init__(
        self, *, settings: Settings, documents: Documents, workers: Workers, clock: IReactorTime
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._clock = clock
        self._known: Remembered[Grant] = Remembered(clock=clock)
        # A key that its issuer takes back takes the tokens with it that it has signed.
        self._keys = Keys(settings=settings, documents=documents, clock=clock, changed=self._known.clear)
        # All headers may be there; those that matter are checked here.
        self._rules = JWSRegistry(algorithms=settings.algorithms, strict_check_header=False)
        self._rules.max_header_length = MAX_HEADER

    async def grant(self, token: str) -> Grant | None:
        """
        What a token allows; L{None} where it is no JWT of the issuer.

        @raise TokenRefused: nothing.
        @raise restbridge.web.documents.ServerDown: the issuer's keys can't be had.
        """
        mark = self._known.mark(token)
        known = self._known.recall(mark)
        if known is not None:
            return known
        header, claims = _part(token, 0), _part(token, 1)
        if header is None or claims is None or claims.get("iss") != self._settings.issuer:
            return None
        self._checkHeader(header)
        # What the caller can mend is said first, whoever has signed it.
        self._granted(claims)
        keys = await self._keys.named(header.get("kid"))
        signed = await self._workers.run(lambda: self._signed(token, keys))
        grant = self._granted(asObject(signed) or {})
        # Not for longer than keys are believed unasked: a key may have been taken back.
        until = min((grant.until or 0) + LEEWAY, self._clock.seconds() + FRESH)
        self._known.keep(mark, grant, until)
        return grant

    def _granted(self, claims: dict[str, Any]) -> Grant:
        return grantOf(claims, self._settings, self._clock.seconds(), whole=True)

    def _checkHeader(self, header: dict[str, Any]) -> None:
        kind = header.get("typ", "")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in self._settings.types:
            raise TokenRefused("has another type than those that are configured")
        if header.get("alg") not in self._settings.algorithms:
            raise TokenRefused("is signed by an algorithm that isn't configured")
        if "crit" in header:
            # No extension is understood here (RFC 7515, section 4.1.11).
            raise TokenRefused("needs an extension that isn't known here")
        if not isinstance(header.get("kid", ""), str):
            raise TokenRefused("names its key by something that is no text")

    def _signed(self, token: str, keys: Sequence[Key]) -> bytes:
        """
        What one of these keys has signed.
        """
        for key in keys:
            try:
                return deserialize_compact(token, key, registry=self._rules).payload
            except (JoseError, ValueError, RecursionError):
                # Another key's, or nobody's.
                continue
        raise TokenRefused("is signed by none of its issuer's keys")


def _part(token: str, number: int) -> dict[str, Any] | None:
    """
    The header (0) or the claims (1) of a JWT, which nobody has verified.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        return asObject(urlsafe_b64decode(parts[number] + "=="))
    except ValueError:
        return None
