"""
An authorization server in memory: keys, the tokens that they sign, and the documents that it serves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs
from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey
from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from restbridge.config import OAuth2 as Settings
from restbridge.config import Secret
from restbridge.web.accesstokens import AccessTokens
from restbridge.web.documents import Documents
from restbridge.web.introspection import Introspection
from restbridge.web.oauth2 import OAuth2
from restbridge.workers import Workers
from tests.web.client import Threads

ISSUER = "https://auth.example.com"
AUDIENCE = "https://rest.example.com"
NOW = 1_800_000_000

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER = RSAKey.generate_key(2048, {"kid": "other"})

RULES = jws.JWSRegistry(algorithms=list(jws.JWSRegistry.algorithms), strict_check_header=False)
RULES.max_header_length = 100_000
"""An attacker signs anything by anything."""


def settings(**changed: Any) -> Settings:
    """
    What is configured: the issuer's JWTs, unless told otherwise.
    """
    return attrs.evolve(Settings(issuer=ISSUER, audience=AUDIENCE, jwks=f"{ISSUER}/jwks.json"), **changed)


def introspecting(**changed: Any) -> Settings:
    """
    What is configured: introspection alone, unless told otherwise.
    """
    asked = {"introspection": f"{ISSUER}/introspect", "clientId": "bridge", "clientSecret": Secret("s3cret:")}
    return Settings(**{**asked, **changed})


def claims(**changed: Any) -> dict[str, Any]:
    """
    Those of a token that is good; L{None} takes one out.
    """
    good: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "bot",
        "client_id": "app",
        "iat": NOW,
        "exp": NOW + 600,
        "jti": "1",
        "scope": "restbridge:send",
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def token(key: Key = RSA, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
    """
    A signed token.

    @param header: over what a good one has; L{None} takes a parameter out.
    @param changed: see L{claims}.
    """
    return signed(json.dumps(claims(**changed)), key, header)


def signed(payload: str, key: Key = RSA, header: Mapping[str, Any] | None = None) -> str:
    """
    Any text, signed.
    """
    algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
    whole = {"typ": "at+jwt", "alg": algorithm, "kid": key.get("kid"), **(header or {})}
    kept = {name: value for name, value in whole.items() if value is not None}
    return jws.serialize_compact(kept, payload, key, registry=RULES)


def keySet(*keys: Key) -> dict[str, Any]:
    """
    The document with their public halves.
    """
    return {"keys": [key.as_dict(private=False) for key in keys]}


@implementer(IBodyProducer)
class _Body:
    """
    A body that is written at once.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Any:
        consumer.write(self._data)
        return succeed(None)

    def stopProducing(self) -> None:
        """
        It has stopped already, as for the other two.
        """

    pauseProducing = resumeProducing = stopProducing


class Issuer(Resource):
    """
    Serves documents.

    @ivar documents: by path: a value for JSON, bytes as they are, or a status.
    @ivar asked: the paths that were asked for.
    @ivar forms: what was posted, with the Authorization header.
    @ivar holds: whether it takes its time.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, Any] = {"/jwks.json": keySet(RSA, EC)}
        self.asked: list[str] = []
        self.forms: list[tuple[dict[str, str], str]] = []
        self.holds = False
        self._held: list[Request] = []
        self._agent = RequestTraversalAgent(self)

    def client(self) -> HTTPClient:
        """
        A client that reaches nobody else.
        """
        return HTTPClient(self._agent, data_to_body_producer=_Body)

    def render(self, request: Request) -> Any:
        self.asked.append(request.path.decode())
        if request.method == b"POST":
            assert request.content is not None
            form = dict(parse_qsl(request.content.read().decode()))
            self.forms.append((form, request.getHeader("authorization") or ""))
        if self.holds:
            self._held.append(request)
            return NOT_DONE_YET
        return self._body(request)

    def release(self) -> None:
        """
        Answer all that wait.
        """
        self.holds = False
        held, self._held = self._held, []
        for request in held:
            request.write(self._body(request))
            request.finish()
        self._agent.flush()

    def _body(self, request: Request) -> bytes:
        document = self.documents.get(request.path.decode(), 404)
        if isinstance(document, int):
            request.setResponseCode(document)
            request.setHeader("location", f"{ISSUER}/moved")
            return b"{}"
        return document if isinstance(document, bytes) else json.dumps(document).encode()


def oauth2(issuer: Issuer, settings: Settings, clock: Clock, threads: Threads | None = None) -> OAuth2:
    """
    What the bridge makes of these settings.
    """
    documents = Documents(client=issuer.client(), clock=clock)
    judges: list[Any] = []
    if settings.issuer is not None:
        workers = Workers(threads or Threads())
        judges.append(AccessTokens(settings=settings, documents=documents, workers=workers, clock=clock))
    if settings.introspection is not None:
        judges.append(Introspection(settings=settings, documents=documents, clock=clock))
    return OAuth2(*judges)
