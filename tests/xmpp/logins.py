"""
Logins for tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.client import NS_XMPP_BIND

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown
from restbridge.workers import Workers
from restbridge.xmpp.c2s import Logins, Route
from restbridge.xmpp.userstream import UserStream
from tests.web.client import Threads
from tests.xmpp.fakes import ALICE, PASSWORD, UserServer

BIND = f"<bind xmlns='{NS_XMPP_BIND}'/>"

OPTIONS = optionsForClientTLS("localhost")


class LoginCase(SynchronousTestCase):
    """
    Logs in as alice.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.threads = Threads()
        self.server = UserServer()

    def login(
        self,
        credential: Credential | None = None,
        routes: Callable[[], Awaitable[Sequence[Route]]] | None = None,
    ) -> Deferred[UserStream]:
        logins = Logins(
            domain="localhost",
            routes=routes or self.server.routes,
            options=lambda: OPTIONS,
            workers=Workers(self.threads),
            clock=self.clock,
        )
        return logins.login(ALICE, credential or Credential(PASSWORD))

    def upTo(self, step: int, startTLS: bool = True) -> Deferred[UserStream]:
        """
        A login that has come so far, or as far from its end.
        """
        self.server = UserServer(startTLS=startTLS)
        login = self.login()
        for move in self.server.moves()[:step]:
            move()
        return login

    def assertEnded(self, login: Deferred[Any], kind: type[Exception] = LinkDown) -> str:
        """
        The login has failed, and nothing is left of it.

        @return: the reason.
        """
        error = self.failureResultOf(login, kind).value
        self.assertFalse(self.server.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
        return str(error)
