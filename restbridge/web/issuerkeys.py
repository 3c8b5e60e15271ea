"""
The public keys of an issuer (JWKS, RFC 7517).

::

    jwks, or the issuer's metadata -> jwks_uri -> keys -> kept for an hour, then fetched again beside the
                                                          requests; in use for a day while that fails
    a token names a key that isn't there       -> fetched again, once a minute at most
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from joserfc.jwk import JWKRegistry, Key, RSAKey
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from restbridge.config import OAuth2 as Settings
from restbridge.web.documents import Documents, ServerDown
from restbridge.web.thrift import Together

FRESH = 3600.0
"""Seconds after which the keys are fetched again."""

STALE = 24 * 3600.0
"""Seconds for which keys are believed while their issuer can't be asked."""

PAUSE = 60.0
"""Seconds between two fetches, so that tokens with invented key names cost the issuer nothing."""

PAUSE_AFTER_FAILURE = 5.0
"""Seconds until an issuer that could not be asked is tried again."""

MAX_KEYS = 32

LEAST_RSA = 2048
"""Bits (RFC 7518, section 3.3)."""

_ASYMMETRIC = ("RSA", "EC", "OKP")


class Keys:
    """
    Fetches them when they are first needed.
    """

    log = Logger()

    def __init__(
        self,
        *,
        settings: Settings,
        documents: Documents,
        clock: IReactorTime,
        changed: Callable[[], object],
    ) -> None:
        """
        @param changed: called when there are other keys than before.
        """
        self._issuer = settings.issuer or ""
        self._url = settings.jwks
        self._documents = documents
        self._clock = clock
        self._changed = changed
        self._keys: tuple[Key, ...] = ()
        self._fetched = float("-inf")
        self._notBefore = float("-inf")
        self._failed = True
        self._fetching: Together[None] = Together()

    async def named(self, name: str | None) -> Sequence[Key]:
        """
        The keys of that name; all of them without one.

        @raise ServerDown: nobody can say.
        """
        age = self._clock.seconds() - self._fetched
        found = self._found(name) if age < STALE else []
        if found:
            if age > FRESH:
                Deferred.fromCoroutine(self._refreshed()).addErrback(_notNow)
            return found
        await self._refreshed()
        return self._found(name)

    def _found(self, name: str | None) -> list[Key]:
        return [key for key in self._keys if name is None or key.get("kid") == name]

    async def _refreshed(self) -> None:
        """
        Fetch them again, unless that was done just before.
        """
        if b"" in self._fetching or self._clock.seconds() >= self._notBefore:
            await self._fetching.call(b"", self._fetch)
        elif self._failed:
            raise ServerDown("it could not be asked a moment ago")

    async def _fetch(self) -> None:
        try:
            keys = usable((await self._documents.get(await self._address())).get("keys"))
            if not keys:
                raise ServerDown("among its keys is none that can be used")
        except ServerDown as down:
            reason = str(down)
            self.log.warn("The keys of {issuer} can't be had: {reason}", issuer=self._issuer, reason=reason)
            self._failed, self._notBefore = True, self._clock.seconds() + PAUSE_AFTER_FAILURE
            raise
        self._fetched = self._clock.seconds()
        self._failed, self._notBefore = False, self._fetched + PAUSE
        if keys != self._keys:
            self._keys = keys
            self._changed()

    async def _address(self) -> str:
        """
        Where the keys are.

        @raise ServerDown: nobody says.
        """
        if self._url is not None:
            return self._url
        problems = []
        for url in metadataURLs(self._issuer):
            try:
                return self._keysIn(await self._documents.get(url))
            except ServerDown as down:
                problems.append(str(down))
        raise ServerDown("; ".join(problems))

    def _keysIn(self, metadata: dict[str, Any]) -> str:
        if metadata.get("issuer") != self._issuer:
            # RFC 8414, section 3.3
            raise ServerDown("the metadata there is another issuer's")
        address = metadata.get("jwks_uri")
        if not isinstance(address, str):
            raise ServerDown("the metadata names no jwks_uri")
        return address


def _notNow(failure: Any) -> None:
    # It is in the log already, and the keys that are there are good still.
    failure.trap(ServerDown)


def metadataURLs(issuer: str) -> tuple[str, str]:
    """
    Where an issuer says where its keys are: RFC 8414, section 3, then OpenID Connect Discovery, section 4.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oauth = parts._replace(path=f"/.well-known/oauth-authorization-server{path}")
    openID = parts._replace(path=f"{path}/.well-known/openid-configuration")
    return oauth.geturl(), openID.geturl()


def usable(documents: object) -> tuple[Key, ...]:
    """
    Those of an array of keys that can be read and may verify a signature.
    """
    if not isinstance(documents, list):
        return ()
    keys = [_key(each) for each in documents[:MAX_KEYS]]
    return tuple(key for key in keys if key is not None)


def _key(document: object) -> Key | None:
    if not isinstance(document, dict) or document.get("kty") not in _ASYMMETRIC:
        return None
    try:
        key = JWKRegistry.import_key(document)
        key.check_use("sig")
        public: Any = key.public_key
    except Exception:
        # Remote text, and each type of key fails over it in its own way.
        return None
    return None if isinstance(key, RSAKey) and public.key_size < LEAST_RSA else key
