"""
L{restbridge.xmpp.c2s}: one attempt to log in, with a server that the test plays.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from weakref import ref

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.SSL import Error as TLSError
from scramp import ScramClient
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.client import NS_XMPP_BIND, NS_XMPP_SESSION
from zope.interface import implementer

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.workers import Workers
from restbridge.xmpp.c2s import Logins, Route
from restbridge.xmpp.userstream import UserStream
from tests.web.client import Threads
from tests.xmpp.fakes import ALICE, PASSWORD, UserServer, stanza

OPTIONS = optionsForClientTLS("localhost")

STEPS = len(UserServer(startTLS=True).moves())

BIND = f"<bind xmlns='{NS_XMPP_BIND}'/>"


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


class CourseTests(LoginCase):
    """
    Logins that come to their end.
    """

    def test_plain(self) -> None:
        """
        A login without STARTTLS: header, SASL, a new stream, a resource that nobody can guess, a session.
        """
        login = self.login()
        header = self.server.read()
        self.assertTrue(header.startswith("<stream:stream "))
        for attribute in ("xmlns='jabber:client'", "to='localhost'", "version='1.0'"):
            self.assertIn(attribute, header)
        self.assertNotIn("from=", header)
        for move in self.server.moves()[:4]:
            move()
        self.assertEqual(self.server.read(), header)
        self.server.header()
        self.server.offerFeatures()
        iq = stanza(self.server.read())
        self.assertEqual((iq["type"], iq.bind.uri), ("set", NS_XMPP_BIND))
        resource = str(iq.bind.resource)
        self.assertGreater(len(resource.removeprefix("restbridge-")), 7)
        jid = f"alice@localhost/{resource}"
        self.server.answer(iq, f"<bind xmlns='{NS_XMPP_BIND}'><jid>{jid}</jid></bind>")
        iq = stanza(self.server.read())
        self.assertEqual((iq["type"], iq.session.uri), ("set", NS_XMPP_SESSION))
        self.assertNoResult(login)
        self.server.answer(iq)
        link = self.successResultOf(login)
        self.assertEqual((link.address.full, link.whyDown()), (jid, None))
        self.assertEqual(self.server.read(), "")

    def test_resource(self) -> None:
        """
        Two logins have two resources.
        """
        addresses = set()
        for _ in range(2):
            login = self.login()
            self.server.accept()
            addresses.add(self.successResultOf(login).address.full)
        self.assertEqual(len(addresses), 2)

    def test_address(self) -> None:
        """
        The address is what the server has bound, prepared, also where it chooses the resource itself.
        """
        login = self.upTo(-2)
        payload = f"<bind xmlns='{NS_XMPP_BIND}'><jid>Alice@LOCALHOST/Its Own</jid></bind>"
        self.server.answer(stanza(self.server.read()), payload)
        self.server.establish()
        self.assertEqual(self.successResultOf(login).address.full, "alice@localhost/Its Own")

    def test_session(self) -> None:
        """
        The session IQ is for servers that need it (RFC 3921); not where it is optional or not offered.
        """
        for session in ("", f"<session xmlns='{NS_XMPP_SESSION}'><optional/></session>"):
            self.setUp()
            self.server.features = BIND + session
            login = self.login()
            for move in self.server.moves()[:-1]:
                move()
            self.successResultOf(login)
            self.assertEqual(self.server.read(), "")

    def test_startTLS(self) -> None:
        """
        With STARTTLS, what is secret comes after it; the certificate must be the domain's.
        """
        login = self.upTo(3)
        self.assertNotIn("<auth", self.server.heard)
        self.assertIs(self.server.tls, OPTIONS)
        for move in self.server.moves()[3:]:
            move()
        self.successResultOf(login)

    def test_plainInTLS(self) -> None:
        """
        PLAIN is for servers that have nothing else.
        """
        login = self.upTo(4)
        self.server.mechanisms = ("PLAIN",)
        self.server.offerMechanisms()
        self.assertEqual(self.server.said(), f"\0alice\0{PASSWORD}".encode())
        self.server.succeed(b"")
        for move in self.server.moves()[-4:]:
            move()
        self.successResultOf(login)

    def test_token(self) -> None:
        """
        A token logs in whose it is.
        """
        login = self.login(Credential("a.token", isToken=True))
        self.server.mechanisms = ("OAUTHBEARER", "SCRAM-SHA-1")
        self.server.header()
        self.server.offerMechanisms()
        self.assertIn(b"a.token", self.server.said())
        self.server.succeed(b"")
        for move in self.server.moves()[-4:]:
            move()
        self.assertEqual(self.successResultOf(login).address.bare, ALICE.bare)

    def test_anyName(self) -> None:
        """
        A server may call itself what it likes, or nothing: that is for its certificate to say.
        """
        for name in ("@", "", "other.example", "x" * 5000):
            self.setUp()
            self.server.name = name
            login = self.login()
            self.server.accept()
            self.successResultOf(login)
            self.assertNotIn("other", self.server.heard)


class CredentialTests(LoginCase):
    """
    What proves who somebody is, is used and forgotten.
    """

    secret = "nobody else's password"

    def setUp(self) -> None:
        super().setUp()
        self.server.passwords["alice"] = self.secret

    def begin(self) -> Deferred[UserStream]:
        """
        A login by a credential that only the login knows.
        """
        credential = Credential(self.secret)
        self.credential = ref(credential)
        return self.login(credential)

    def assertForgotten(self) -> None:
        gc.collect()
        self.assertIsNone(self.credential())
        clients = [found for found in gc.get_objects() if type(found) is ScramClient]
        self.assertNotIn(self.secret.encode(), [bytes(client.password) for client in clients])

    def test_afterSuccess(self) -> None:
        """
        A link knows no secret.
        """
        login = self.begin()
        self.server.accept()
        link = self.successResultOf(login)
        self.assertForgotten()
        self.assertIsNone(link.whyDown())

    def test_meanwhile(self) -> None:
        """
        Only the login itself knows it. (Otherwise these tests would see nothing.)
        """
        login = self.begin()
        for move in self.server.moves()[:3]:
            move()
        self.assertIsNotNone(self.credential())
        self.assertRaises(self.failureException, self.assertForgotten)
        login.cancel()
        self.failureResultOf(login, CancelledError)
        self.assertForgotten()

    def test_afterRefusal(self) -> None:
        """
        Nobody keeps a wrong one.
        """
        login = self.begin()
        for move in self.server.moves()[:2]:
            move()
        self.server.fail("not-authorized")
        self.failureResultOf(login, LoginRefused)
        del login
        self.assertForgotten()

    def test_afterFailure(self) -> None:
        """
        However a login ends, and when.
        """
        endings: Sequence[Callable[[Deferred[UserStream]], object]] = (
            lambda login: login.cancel(),
            lambda login: self.server.drop(ConnectionLost()),
            lambda login: self.server.error("internal-server-error"),
        )
        for step in range(len(self.server.moves())):
            for end in endings:
                self.setUp()
                login = self.begin()
                for move in self.server.moves()[:step]:
                    move()
                end(login)
                self.failureResultOf(login, LinkDown, CancelledError)
                del login
                self.assertForgotten()

    def test_whereNothingAnswers(self) -> None:
        """
        Also where there is no connection.
        """
        self.server.refuses = True
        login = self.begin()
        self.failureResultOf(login, LinkDown)
        del login
        self.assertForgotten()


class RefusalTests(LoginCase):
    """
    Servers that don't let somebody in.
    """

    def test_wrongPassword(self) -> None:
        """
        A wrong password is the user's fault, not the server's.
        """
        login = self.login(Credential("a wrong one"))
        for move in self.server.moves()[:3]:
            move()
        self.server.fail("not-authorized")
        self.assertNotIn("a wrong one", self.assertEnded(login, LoginRefused))

    def test_impossibleSecret(self) -> None:
        """
        A secret that no account can have is refused before a word of SASL.
        """
        login = self.login(Credential("\0"))
        self.server.header()
        self.server.offerMechanisms()
        self.assertEnded(login, LoginRefused)
        self.assertNotIn("<auth", self.server.heard)

    def test_othersAccount(self) -> None:
        """
        A credential that turns out to be another account's opens nothing.
        """
        for account in ("bob@localhost", "alice@localhost.example", "localhost"):
            login = self.upTo(-2)
            self.server.bind(account)
            self.assertEnded(login, LoginRefused)

    def test_nothingBound(self) -> None:
        """
        Without an address of its own there is no session.
        """
        for payload in (
            "",
            BIND,
            f"<bind xmlns='{NS_XMPP_BIND}'><jid/></bind>",
            f"<bind xmlns='{NS_XMPP_BIND}'><jid>@localhost/x</jid></bind>",
            f"<bind xmlns='{NS_XMPP_BIND}'><jid>alice@localhost</jid></bind>",
            "<bind xmlns='other'><jid>alice@localhost/x</jid></bind>",
        ):
            login = self.upTo(-2)
            self.server.answer(stanza(self.server.read()), payload)
            self.assertIn("bound no address", self.assertEnded(login))

    def test_bindError(self) -> None:
        """
        A server may refuse to bind a resource, or to establish the session.
        """
        error = (
            "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        )
        for step in (-2, -1):
            login = self.upTo(step)
            self.server.answer(stanza(self.server.read()), error, kind="error")
            self.assertIn("resource-constraint", self.assertEnded(login))

    def test_noBind(self) -> None:
        """
        Who is let in and offered no resource can't go on.
        """
        login = self.upTo(-3)
        self.server.offer("")
        self.assertEnded(login)

    def test_noMechanisms(self) -> None:
        """
        A server without SASL lets nobody log in.
        """
        login = self.upTo(4)
        self.server.offer("")
        self.assertIn("lets nobody log in", self.assertEnded(login))

    def test_oldVersion(self) -> None:
        """
        A server from before XMPP 1.0 knows neither TLS nor SASL.
        """
        for version in ("", " version='0.9'", " version='x'"):
            self.setUp()
            login = self.login()
            self.server.write(
                "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1'"
                f"{version}>"
            )
            self.assertEnded(login)


class TLSTests(LoginCase):
    """
    Nothing secret goes out in the clear.
    """

    def test_notOffered(self) -> None:
        """
        Where TLS is required and not offered, nothing of SASL is said.
        """
        login = self.upTo(1)
        self.server.offerMechanisms()
        self.assertIn("STARTTLS", self.assertEnded(login))
        self.assertNotIn("<auth", self.server.heard + self.server.read())

    def test_refused(self) -> None:
        """
        Nor where the server then doesn't want it.
        """
        login = self.upTo(2)
        self.server.write("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")
        self.assertEnded(login)
        self.assertIsNone(self.server.tls)
        self.assertNotIn("<auth", self.server.heard + self.server.read())

    def test_injected(self) -> None:
        """
        What came behind <proceed/> in the same bytes came in the clear: none of it is believed.
        """
        injected = (
            "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>",
            "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
            "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            f"<x>{'<y>' * 200}{'</y>' * 200}</x>",
            "</stream:stream>",
        )
        for xml in (*injected, "".join(injected)):
            login = self.upTo(2)
            self.server.read()
            self.server.write(f"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{xml}")
            self.assertTrue(self.server.read().startswith("<stream:stream "))
            self.assertEqual(self.server.read(), "")
            for move in self.server.moves()[3:]:
                move()
            self.successResultOf(login)

    def test_injectedBefore(self) -> None:
        """
        Nor is what came in the clear before it.
        """
        login = self.upTo(2)
        self.server.offerMechanisms()
        self.server.write("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.assertEqual(self.server.read(), "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.server.proceed()
        self.server.header()
        self.assertNotIn("<auth", self.server.heard + self.server.read())
        for move in self.server.moves()[4:]:
            move()
        self.successResultOf(login)

    def test_certificate(self) -> None:
        """
        A certificate that isn't trusted, or for another name, is told from a server that breaks off.
        """
        unknown = TLSError([("SSL routines", "", "certificate verify failed")])
        another = VerificationError(errors=[])
        for error, words in (
            (unknown, "not one that is trusted"),
            (another, "for another name"),
            (TLSError([("SSL routines", "", "tlsv1 alert handshake failure")]), "handshake failure"),
            (TLSError([]), "closed the connection"),
            (TLSError(), "closed the connection"),
            (TLSError(-1, "Unexpected EOF"), "closed the connection"),
        ):
            login = self.upTo(3)
            self.server.drop(error)
            self.assertIn(words, self.assertEnded(login))


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
