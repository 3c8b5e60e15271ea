"""
What the tests of OAuth 2.0 stand on: an authorization server, and the bridge that asks it.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from restbridge.config import OAuth2 as Settings
from restbridge.web.answer import Refusal
from restbridge.web.grants import SEND, Grant, TokenRefused
from tests.web.client import (
    LoggingTestCase,
    Threads,
)
from tests.web.issuer import (
    NOW,
    Issuer,
    oauth2,
    settings,
)

JWKS = "/jwks.json"

INTROSPECT = "/introspect"


class OAuth2TestCase(LoggingTestCase):
    """
    A bridge's side, and an authorization server in memory.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.issuer = Issuer()
        self.threads = Threads()
        self.configure(settings())

    def configure(self, settings: Settings) -> None:
        self.oauth2 = oauth2(self.issuer, settings, self.clock, self.threads)

    def ask(self, token: str) -> Deferred[Grant | None]:
        return Deferred.fromCoroutine(self.oauth2.grant(token))

    def granted(self, token: str) -> Grant | None:
        return self.successResultOf(self.ask(token))

    def assertGood(self, token: str) -> None:
        grant = self.granted(token)
        assert grant is not None
        self.assertEqual((grant.name, grant.scopes), ("bot", {SEND}))

    def assertRefused(self, token: str, reason: str) -> None:
        refused = self.failureResultOf(self.ask(token), TokenRefused).value
        self.assertIn(reason, str(refused))

    def assertUnavailable(self, token: str) -> None:
        refusal = self.failureResultOf(self.ask(token), Refusal).value
        self.assertEqual(refusal.status, 503)
        self.assertIn("Retry-After", dict(refusal.headers))


def encoded(header: Mapping[str, Any]) -> str:
    """
    A part of a JWT.
    """
    return urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
