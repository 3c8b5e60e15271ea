"""
L{restbridge.xmpp.c2s}: one attempt to log in, with a server that the test plays.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from weakref import ref

from OpenSSL.SSL import Error as TLSError
from scramp import ScramClient
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionLost,
)
from twisted.words.protocols.jabber.client import NS_XMPP_BIND, NS_XMPP_SESSION

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.xmpp.userstream import UserStream
from tests.xmpp.fakes import ALICE, PASSWORD, stanza
from tests.xmpp.logins import BIND, OPTIONS, LoginCase


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
