"""
Sessions for tests: two domains, whose logins the test settles.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.boundaries import Credential
from restbridge.config import UserDomain
from restbridge.stanzas.jid import JID
from restbridge.users.sessions import RECHECK, Served, Sessions
from restbridge.web.answer import Refusal
from restbridge.web.attempts import Attempts
from restbridge.xmpp.c2s import Logins
from tests.users.fakes import CLOSED, FakeLogins, FakeStream

HOME = "192.0.2.1"
DOMAIN = "example.com"
ELSEWHERE = "example.org"
IDLE = 4 * RECHECK
"""Seconds, unless a test is about them: so many that a session outlives what its secrets are believed."""

PROMISED = 5.0
"""Seconds within which a server that can't be reached is 503."""


class SessionsCase(SynchronousTestCase):
    """
    Opens sessions at a time that is no round number.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1_700_000_000.3)
        self.logins = FakeLogins()
        self.sessions = self.makeSessions()

    def makeSessions(self, *, idle: float = IDLE, most: int = 1000) -> Sessions:
        """
        Two domains with the same settings.
        """
        served = {
            domain: Served(
                settings=UserDomain(domain=domain, idle=idle, maxSessions=most),
                logins=cast(Logins, self.logins),
            )
            for domain in (DOMAIN, ELSEWHERE)
        }
        sessions = Sessions(served=served, attempts=Attempts(clock=self.clock), clock=self.clock)
        sessions.startService()
        return sessions

    def open(
        self,
        secret: str = "right",
        *,
        isToken: bool = False,
        user: str = "alice",
        domain: str = DOMAIN,
        client: str = HOME,
    ) -> Deferred[Any]:
        credential = Credential(secret, isToken=isToken)
        return Deferred.fromCoroutine(self.sessions.open(JID(user, domain, None), credential, client))

    def opened(self, secret: str = "right", **request: Any) -> FakeStream:
        """
        The stream that a request gets by a login of its own.
        """
        opening = self.open(secret, **request)
        self.assertNoResult(opening)
        self.logins.accept()
        stream: FakeStream = self.successResultOf(opening)
        return stream

    def wrong(self, secret: str = "wrong", **request: Any) -> Deferred[Any]:
        """
        A request whose credential the server refuses.
        """
        opening = self.open(secret, **request)
        self.logins.refuse()
        return opening

    def failures(self, number: int, **request: Any) -> None:
        """
        As many different wrong passwords, one after the other.
        """
        for n in range(number):
            self.wrong(f"wrong {n}", **request)

    def assertShared(self, stream: FakeStream, secret: str = "right", **request: Any) -> None:
        """
        The next request gets the stream, without a login.
        """
        made = len(self.logins.made)
        self.assertIs(self.successResultOf(self.open(secret, **request)), stream)
        self.assertEqual(len(self.logins.made), made)

    def assertAsks(self, secret: str = "right", **request: Any) -> Deferred[Any]:
        """
        The next request waits for a login.
        """
        made = len(self.logins.made)
        opening = self.open(secret, **request)
        self.assertNoResult(opening)
        self.assertEqual(len(self.logins.made), made + 1)
        return opening

    def assertUp(self, stream: FakeStream) -> None:
        self.assertIsNone(stream.whyDown())

    def assertClosed(self, stream: FakeStream) -> None:
        self.assertEqual(stream.whyDown(), CLOSED)

    def assertRefused(self, opening: Deferred[Any], status: int, retryAfter: int = 1) -> Refusal:
        """
        The request is refused, and told when to try again.
        """
        refusal = self.failureResultOf(opening, Refusal).value
        self.assertEqual(refusal.status, status)
        self.assertEqual(refusal.headers, (("Retry-After", str(retryAfter)),))
        return cast(Refusal, refusal)
