"""
L{restbridge.xmpp.c2s}: logins that break, or find no way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.xmpp.c2s import Route
from restbridge.xmpp.userstream import UserStream
from tests.xmpp.fakes import UserServer
from tests.xmpp.logins import BIND, LoginCase

STEPS = len(UserServer(startTLS=True).moves())


@implementer(IStreamClientEndpoint)
class Nowhere:
    """
    An endpoint that fails in its own way.

    @ivar connecting: waits for a connection.
    """

    def __init__(self, error: Exception, *, whenCancelled: bool = False) -> None:
        """
        @param whenCancelled: whether it fails only then.
        """
        self.connecting: Deferred[Any] = Deferred(lambda connecting: connecting.errback(error))
        if not whenCancelled:
            self.connecting.errback(error)

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        return self.connecting


class BrokenTests(LoginCase):
    """
    Logins that end on the way: at each step of the usual course.
    """

    def test_closed(self) -> None:
        """
        A connection that the server closes, or that breaks.
        """
        for step in range(STEPS):
            for reason in (ConnectionDone(), ConnectionLost()):
                login = self.upTo(step)
                self.server.drop(reason)
                self.assertIn("closed the connection", self.assertEnded(login))

    def test_streamClosed(self) -> None:
        """
        A stream that the server closes.
        """
        for step in range(STEPS):
            login = self.upTo(step)
            if not self.server.opened:
                self.server.header()
            self.server.write("</stream:stream>")
            self.assertEnded(login)

    def test_streamError(self) -> None:
        """
        A stream error; its condition is said.
        """
        for step in range(STEPS):
            login = self.upTo(step)
            self.server.error("system-shutdown")
            self.assertIn("system-shutdown", self.assertEnded(login))

    def test_malformed(self) -> None:
        """
        What is no XML.
        """
        for step in range(STEPS):
            login = self.upTo(step)
            words = "does not speak XMPP" if self.server.opened else ""
            self.server.write("<message></iq>")
            self.assertIn(words, self.assertEnded(login))

    def test_lingering(self) -> None:
        """
        A server that ends the stream with an error, but not the connection, is left at once.
        """
        for end in ("<stream:error/>", "<message></iq>"):
            login = self.upTo(1)
            self.server.lingers = True
            self.server.write(end)
            self.assertTrue(self.server.aborted)
            self.assertEnded(login)

    def test_givenUp(self) -> None:
        """
        A login that is cancelled: whatever it waits for, its connection is gone at once.
        """
        for step in range(STEPS):
            login = self.upTo(step)
            self.assertNoResult(login)
            self.assertTrue(self.server.connected)
            login.cancel()
            self.assertTrue(self.server.aborted)
            self.assertEnded(login, CancelledError)

    def test_givenUpHashing(self) -> None:
        """
        A hash that is computed still is for nobody then.
        """
        self.threads.hold = True
        login = self.upTo(6)
        self.server.read()
        login.cancel()
        self.assertEnded(login, CancelledError)
        self.threads.finish()
        self.assertEqual(self.server.read(), "")
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=300, deadline=None)
    @given(
        st.integers(0, STEPS - 2),
        st.lists(
            st.sampled_from(
                [
                    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
                    "<success/>",
                    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
                    "<failure/>",
                    "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
                    "<challenge>dj1B</challenge>",
                    "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
                    "<stream:features/>",
                    f"<stream:features>{BIND}</stream:features>",
                    "<iq type='result'/>",
                    "<iq type='result' id='H_0'/>",
                    "<iq type='error' id='H_0'/>",
                    "<iq type='error' id='H_0'><error/></iq>",
                    "<iq type='error' id='H_0'><error code='409'/></iq>",
                    "<iq type='get' id='H_0'><query xmlns='x'/></iq>",
                    "<message><body>Hi</body></message>",
                    "<stream:error/>",
                    "</stream:stream>",
                    "\n",
                    "\0",
                ]
            ),
            max_size=4,
        ),
    )
    def test_anything(self, step: int, said: list[str]) -> None:
        """
        Whatever a server says before the last step, a login doesn't succeed by it, nor fail as a fault here.
        """
        self.setUp()
        login = self.upTo(step)
        if not self.server.opened:
            self.server.header()
        asked = re.search("H_[0-9]+", self.server.read())
        self.server.write("".join(said).replace("H_0", asked.group() if asked else "none"))
        login.cancel()
        self.failureResultOf(login, LinkDown, LoginRefused, CancelledError)
        self.assertFalse(self.server.connected)
        self.assertEqual(self.flushLoggedErrors(), [])


class RouteTests(LoginCase):
    """
    The ways to a domain's servers.
    """

    def setUp(self) -> None:
        super().setUp()
        self.second = UserServer()

    def loginBy(self, *endpoints: IStreamClientEndpoint) -> Deferred[UserStream]:
        async def routes() -> Sequence[Route]:
            return [Route(endpoint=endpoint, startTLS=False) for endpoint in endpoints]

        return self.login(routes=routes)

    def test_unreachable(self) -> None:
        """
        A server that can't be reached is not the only one.
        """
        self.server.refuses = True
        login = self.loginBy(self.server, Nowhere(DNSLookupError()), Nowhere(TCPTimedOutError()), self.second)
        self.assertEqual(self.server.attempts, 1)
        self.second.accept()
        self.successResultOf(login)

    def test_answered(self) -> None:
        """
        A server that answered has spoken for its domain, whatever it said.
        """
        endings: Sequence[Callable[[], object]] = (
            lambda: self.server.drop(ConnectionDone()),
            lambda: self.server.drop(ConnectionLost()),
            lambda: self.server.drop(TLSError([("", "", "certificate verify failed")])),
            lambda: self.server.error("host-unknown"),
            lambda: self.server.write("<message></iq>"),
        )
        for end in endings:
            self.setUp()
            login = self.loginBy(self.server, self.second)
            end()
            self.assertEnded(login)
            self.assertEqual(self.second.attempts, 0)

    def test_allUnreachable(self) -> None:
        """
        Where none can be reached, it is said why; the last counts.
        """
        login = self.loginBy(Nowhere(DNSLookupError("a")), Nowhere(ConnectError(string="no route")))
        self.assertIn("can't connect: ", reason := self.assertEnded(login))
        self.assertIn("no route", reason)
        login = self.loginBy(Nowhere(DNSLookupError("no such name")))
        self.assertIn("no such name", self.assertEnded(login))

    def test_otherProblems(self) -> None:
        """
        What goes wrong in a way that nobody thought of says nothing about the password; the log says it.
        """
        login = self.loginBy(Nowhere(ZeroDivisionError()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("the log says why", self.assertEnded(login))

    def test_none(self) -> None:
        """
        A domain may have no server.
        """
        self.assertIn("no server of localhost", self.assertEnded(self.loginBy()))

        async def refuse() -> Sequence[Route]:
            raise LinkDown("not here")

        self.assertEqual(self.assertEnded(self.login(routes=refuse)), "not here")

    def test_givenUpOnTheWay(self) -> None:
        """
        Looking for servers and connecting can be given up, too.
        """
        lookup: Deferred[Sequence[Route]] = Deferred()

        async def routes() -> Sequence[Route]:
            return await lookup

        login = self.login(routes=routes)
        login.cancel()
        self.assertEnded(login, CancelledError)
        self.assertTrue(lookup.called)

    def test_givenUpConnecting(self) -> None:
        """
        Whatever an endpoint then says, no other is tried.
        """
        for error in (CancelledError(), DNSLookupError(), TCPTimedOutError()):
            silent = Nowhere(error, whenCancelled=True)
            login = self.loginBy(silent, self.second)
            login.cancel()
            self.assertEnded(login, CancelledError)
            self.assertTrue(silent.connecting.called)
            self.assertEqual(self.second.attempts, 0)
