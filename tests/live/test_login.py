"""
How users are logged in: which mechanism, by what kind of TLS, and what is said when it doesn't work.
"""

from __future__ import annotations

import base64
import socket
import unittest
from typing import Any

from tests.live.bridge import Bridge, componentTable, usersTable
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import body, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, freePorts
from tests.live.prosody import Prosody
from tests.live.receiver import JSON
from tests.live.relay import Wiretap
from tests.live.servers import passwordOf
from tests.live.stripper import Stripper
from tests.live.web import Answer, ask, asUser

ALICE = asUser("alice")
PING = "/rest/ping/localhost"
DEADLINE = 5.0
"""Seconds within which it must be said that a server can't be reached."""


def plain(account: str, secret: str) -> str:
    """
    What the mechanisms PLAIN (RFC 4616) and X-OAUTH2 say.
    """
    return base64.b64encode(f"\0{account}\0{secret}".encode()).decode()


def appearances(account: str, secret: str) -> list[str]:
    """
    The forms in which a secret could be seen.
    """
    return [secret, plain(account, secret), asUser(account, secret).removeprefix("Basic ")]


class Logins(Promises):
    """
    A bridge for users alone, in each test.
    """

    needsBridge = False

    def serve(self, port: int, **more: Any) -> Bridge:
        """
        A bridge whose users log in at this port. Its log must not hold a password.
        """
        bridge = self.startBridge(None, users={"localhost": usersTable(port, **more)})
        self.addCleanup(self.assertKeepsQuiet, bridge, "alice", passwordOf("alice"))
        return bridge

    def serveVerified(self, port: int, tls: str = "required") -> Bridge:
        """
        A bridge whose users log in inside TLS, and who trusts the server's certificate.
        """
        return self.serve(port, tls=tls, ca_file=str(self.server.certificate))

    def assertKeepsQuiet(self, bridge: Bridge, account: str, secret: str) -> None:
        """
        The log doesn't hold a secret.
        """
        for form in appearances(account, secret):
            self.assertNotIn(form, bridge.process.log())

    def assertOpens(self, bridge: Bridge, auth: str = ALICE, account: str = "alice", **headers: str) -> str:
        """
        A request goes out by a login of the user's own.

        @return: the session's full address.
        """
        before = self.server.logins(account)
        answer = request(bridge, auth, **headers)
        self.assertEqual(200, answer.status, answer.text())
        result = answer.json()
        self.assertEqual(("iq", "result", "localhost"), (result["kind"], result["type"], result["from"]))
        self.assertEqual(f"{account}@localhost", result["to"].partition("/")[0])
        self.assertEqual(1, self.server.logins(account) - before, "logins")
        return str(result["to"])

    def assertServes(self, bridge: Bridge, auth: str = ALICE, account: str = "alice", **headers: str) -> None:
        """
        A request and then a message go out by one login of the user's own.
        """
        address = self.assertOpens(bridge, auth, account, **headers)
        receiver = self.login("bob")
        logins = self.server.logins(account)
        message = '{"kind": "message", "type": "chat", "to": "bob@localhost", "body": "hello"}'
        sent = bridge.post("/rest", message, auth=auth, headers=named(headers))
        self.assertEqual((202, b""), (sent.status, sent.body), sent.text())
        came = receiver.expect(lambda one: kind(one) == "message" and one.get("from") == address)
        self.assertEqual("hello", body(came))
        self.assertEqual(logins, self.server.logins(account))

    def assertRefuses(self, bridge: Bridge, auth: str, **headers: str) -> Answer:
        """
        The server doesn't accept the credentials.
        """
        answer = request(bridge, auth, **headers)
        self.assertEqual((403, JSON), (answer.status, answer.type), answer.text())
        self.assertEqual(403, answer.json()["code"])
        return answer

    def assertCannot(self, bridge: Bridge, *words: str) -> None:
        """
        Nobody is logged in, for a reason that is not the user's; the answer and the log tell the operator.
        """
        before = self.server.logins("alice")
        since = bridge.process.logSize()
        answer = request(bridge, ALICE)
        assertUnavailable(self, answer)
        for word in words:
            self.assertRegex(answer.text(), f"(?i){word}")
            self.assertRegex(bridge.process.log(since), f"(?i){word}")
        self.assertLess(answer.seconds, DEADLINE)
        self.assertEqual(before, self.server.logins("alice"))


def request(bridge: Bridge, auth: str, **headers: str) -> Answer:
    """
    Ping the server; C{X_XMPP_JID} is the header C{X-XMPP-JID}.
    """
    return ask(bridge.port, "GET", PING, headers={"Accept": JSON, "Authorization": auth, **named(headers)})


def named(headers: dict[str, str]) -> dict[str, str]:
    """
    Keywords as headers.
    """
    return {name.replace("_", "-"): value for name, value in headers.items()}


def assertUnavailable(test: unittest.TestCase, answer: Answer) -> None:
    """
    503, with the time after which to try again.
    """
    test.assertEqual((503, JSON), (answer.status, answer.type), answer.text())
    test.assertEqual(503, answer.json()["code"])
    test.assertRegex(answer.headers.get("retry-after", ""), r"^\d+$")


class Everyday(Logins):
    """
    A server as it comes, which offers SCRAM and PLAIN, with a self-signed certificate.
    """

    def testTrusted(self) -> None:
        """
        A self-signed certificate is accepted where C{ca_file} names it; STARTTLS and the login follow.
        """
        self.assertServes(self.serveVerified(self.server.tlsPort))

    def testDirectTLS(self) -> None:
        """
        C{tls = "direct"} speaks TLS from the first byte.
        """
        self.assertServes(self.serveVerified(self.server.directTlsPort, "direct"))

    def testWithoutTLS(self) -> None:
        """
        C{tls = "off"} logs in on a loopback address in the clear.
        """
        self.assertServes(self.serve(self.server.c2sPort))

    def testNoPLAIN(self) -> None:
        """
        A server that offers SCRAM gets no password, whatever else it offers.
        """
        wiretap = Wiretap(self.server.c2sPort)
        self.addCleanup(wiretap.close)
        bridge = self.serve(wiretap.port)
        self.assertServes(bridge)
        self.assertRefuses(bridge, asUser("alice", "wr0ng"))
        self.assertRegex(wiretap.sent(), rb"<auth\b[^>]*\bmechanism=.SCRAM-SHA-(256|512)\b")
        self.assertNotIn(b"PLAIN", wiretap.sent())
        for secret in (passwordOf("alice"), "wr0ng"):
            for form in appearances("alice", secret):
                self.assertNotIn(form.encode(), wiretap.sent())

    def testSelfSigned(self) -> None:
        """
        A self-signed certificate is refused without C{ca_file}, and it is said that it is the certificate.
        """
        for port, tls in ((self.server.tlsPort, "required"), (self.server.directTlsPort, "direct")):
            with self.part(tls):
                self.assertCannot(self.serve(port, tls=tls), "certificate")

    def testStripped(self) -> None:
        """
        Where the offer of STARTTLS is missing, nothing secret is said: a man in the middle may have taken it.
        """
        for port in (self.server.tlsPort, self.server.c2sPort):
            stripper = Stripper(port)
            self.addCleanup(stripper.close)
            self.assertCannot(self.serveVerified(stripper.port), "TLS")
            said = stripper.sent().decode()
            self.assertIn("<stream:stream", said)
            for form in ("<auth", *appearances("alice", passwordOf("alice"))):
                self.assertNotIn(form, said)

    def testNoTLS(self) -> None:
        """
        A port that speaks no TLS, where TLS was to be spoken from the first byte, gets nothing secret.
        """
        wiretap = Wiretap(self.server.c2sPort)
        self.addCleanup(wiretap.close)
        self.assertCannot(self.serveVerified(wiretap.port, "direct"), "TLS")
        self.assertNotIn(b"<auth", wiretap.sent())

    def testWrongPassword(self) -> None:
        """
        A wrong password and an unknown user get the same answer, which does not tell which it was.
        """
        bridge = self.serve(self.server.c2sPort)
        wrong = self.assertRefuses(bridge, asUser("alice", "wr0ng"))
        self.assertKeepsQuiet(bridge, "alice", "wr0ng")
        unknown = self.assertRefuses(bridge, asUser("nobody", "wr0ng"))
        self.assertEqual(lasting(wrong), lasting(unknown))
        self.assertEqual(0, self.server.logins("nobody"))

    def testAfterWrongPassword(self) -> None:
        """
        A wrong password doesn't keep the right one out, nor does the right one let the wrong one in.
        """
        bridge = self.serve(self.server.c2sPort)
        self.assertRefuses(bridge, asUser("alice", "wr0ng"))
        self.assertServes(bridge)
        self.assertRefuses(bridge, asUser("alice", "wr0ng"))
        self.assertEqual(200, request(bridge, ALICE).status)

    def testNoCredentials(self) -> None:
        """
        Who says nothing is asked for a password or a token.
        """
        answer = self.serve(self.server.c2sPort).get(PING, auth=None)
        self.assertEqual(401, answer.status)
        self.assertRegex(answer.headers["www-authenticate"], "Basic .*Bearer ")

    def testNotServed(self) -> None:
        """
        Users of another domain are refused, and their passwords are told to nobody.
        """
        wiretap = Wiretap(self.server.c2sPort)
        self.addCleanup(wiretap.close)
        bridge = self.serve(wiretap.port)
        for user in ("alice@elsewhere.example", "alice", "localhost", "@localhost"):
            secret = base64.b64encode(f"{user}:{passwordOf('alice')}".encode()).decode()
            self.assertRefuses(bridge, f"Basic {secret}")
        self.assertEqual(0, wiretap.connections)

    def testBesideAccounts(self) -> None:
        """
        Users and the component's accounts are served by the same bridge, each from an address of their own.
        """
        component = componentTable(self.server.componentPort(BRIDGE))
        bridge = self.startBridge(component, users={"localhost": usersTable(self.server.c2sPort)})
        self.assertServes(bridge)
        self.assertEqual(f"bot@{BRIDGE}", bridge.get(PING).json()["to"])


def lasting(answer: Answer) -> tuple[bytes, dict[str, str]]:
    """
    An answer, without what differs each time.
    """
    passing = ("date", "x-request-id")
    return answer.body, {name: value for name, value in answer.headers.items() if name not in passing}


class EverydayOnProsody(Everyday, LiveCase):
    """
    Prosody as it comes.
    """

    makeServer = Prosody


class EverydayOnEjabberd(Everyday, LiveCase):
    """
    ejabberd as it comes.
    """

    makeServer = Ejabberd


class InTLS(Logins):
    """
    A server that offers one mechanism inside TLS, and perhaps nothing outside.
    """

    def testInTLS(self) -> None:
        """
        Inside TLS it opens the account, and a wrong password is refused.
        """
        bridge = self.serveVerified(self.server.tlsPort)
        self.assertOpens(bridge)
        self.assertRefuses(bridge, asUser("alice", "wr0ng"))


class OneMechanism(InTLS):
    """
    A server that offers one mechanism, inside TLS or not.
    """

    def testOnLoopback(self) -> None:
        """
        On a loopback address with C{tls = "off"} it does so in the clear.
        """
        bridge = self.serve(self.server.c2sPort)
        self.assertServes(bridge)
        self.assertRefuses(bridge, asUser("alice", "wr0ng"))


class HashedProsody(Prosody):
    """
    Has stored hashes for SCRAM-SHA-1, and offers nothing else.
    """

    mechanisms = ("SCRAM-SHA-1",)
    hashed = True


class HashedEjabberd(Ejabberd):
    """
    Has stored hashes for SCRAM-SHA-1, and offers nothing else.
    """

    mechanisms = ("SCRAM-SHA-1",)
    hashed = True


class SCRAM256Prosody(Prosody):
    """
    Offers SCRAM-SHA-256 alone.
    """

    mechanisms = ("SCRAM-SHA-256",)


class SCRAM256Ejabberd(Ejabberd):
    """
    Offers SCRAM-SHA-256 alone.
    """

    mechanisms = ("SCRAM-SHA-256",)


class PLAINProsody(Prosody):
    """
    Offers PLAIN alone.
    """

    mechanisms = ("PLAIN",)


class PLAINEjabberd(Ejabberd):
    """
    Offers PLAIN alone; on the port for STARTTLS, only inside TLS.
    """

    mechanisms = ("PLAIN",)


class CautiousProsody(Prosody):
    """
    Offers PLAIN alone, and only inside TLS.
    """

    mechanisms = ("PLAIN",)
    demandsTLS = True


class SCRAM1OnProsody(OneMechanism, LiveCase):
    """
    SCRAM-SHA-1 on Prosody.
    """

    makeServer = HashedProsody


class SCRAM1OnEjabberd(OneMechanism, LiveCase):
    """
    SCRAM-SHA-1 on ejabberd.
    """

    makeServer = HashedEjabberd


class SCRAM256OnProsody(OneMechanism, LiveCase):
    """
    SCRAM-SHA-256 on Prosody.
    """

    makeServer = SCRAM256Prosody


class SCRAM256OnEjabberd(OneMechanism, LiveCase):
    """
    SCRAM-SHA-256 on ejabberd.
    """

    makeServer = SCRAM256Ejabberd


class PLAINOnProsody(OneMechanism, LiveCase):
    """
    PLAIN on Prosody.
    """

    makeServer = PLAINProsody


class PLAINOnEjabberd(OneMechanism, LiveCase):
    """
    PLAIN on ejabberd.
    """

    makeServer = PLAINEjabberd


class CautiousOnProsody(InTLS, LiveCase):
    """
    PLAIN on a Prosody that offers it only inside TLS.
    """

    makeServer = CautiousProsody


class Elsewhere(Logins):
    """
    A server whose certificate can be trusted, but is for another host.
    """

    def testWrongHost(self) -> None:
        """
        It is refused, and the answer says that the certificate is for somebody else than the domain.
        """
        for port, tls in ((self.server.tlsPort, "required"), (self.server.directTlsPort, "direct")):
            with self.part(tls):
                self.assertCannot(self.serveVerified(port, tls), r"certificate\b.*\b(another|not for)\b")


class ElsewhereProsody(Prosody):
    """
    Shows the certificate of another host.
    """

    certificateName = "elsewhere.example"


class ElsewhereEjabberd(Ejabberd):
    """
    Shows the certificate of another host.
    """

    certificateName = "elsewhere.example"


class ElsewhereOnProsody(Elsewhere, LiveCase):
    """
    Another host's certificate on Prosody.
    """

    makeServer = ElsewhereProsody


class ElsewhereOnEjabberd(Elsewhere, LiveCase):
    """
    Another host's certificate on ejabberd.
    """

    makeServer = ElsewhereEjabberd


class Tokens(Logins):
    """
    A server that takes OAuth tokens in SASL.
    """

    def testToken(self) -> None:
        """
        A bearer token of a user, who is named by C{X-XMPP-JID}, opens the account, and no log holds it.
        """
        bridge = self.serveVerified(self.server.tlsPort)
        token = self.server.token("alice")
        self.assertServes(bridge, f"Bearer {token}", X_XMPP_JID="alice@localhost")
        self.assertKeepsQuiet(bridge, "alice", token)

    def testWrongToken(self) -> None:
        """
        A token that the server doesn't know is refused, and so is another user's.
        """
        bridge = self.serveVerified(self.server.tlsPort)
        before = self.server.logins("alice")
        self.assertRefuses(bridge, "Bearer wr0ng", X_XMPP_JID="alice@localhost")
        bobs = f"Bearer {self.server.token('bob')}"
        self.assertRefuses(bridge, bobs, X_XMPP_JID="alice@localhost")
        self.assertServes(bridge, bobs, "bob", X_XMPP_JID="bob@localhost")
        self.assertEqual(before, self.server.logins("alice"))

    def testNobodysToken(self) -> None:
        """
        A token that comes without a name is refused, unless it tells whose it is.
        """
        bridge = self.serveVerified(self.server.tlsPort)
        self.assertRefuses(bridge, "Bearer wr0ng")
        self.assertRefuses(
            bridge, f"Bearer {self.server.token('alice')}", X_XMPP_JID="alice@elsewhere.example"
        )

    def testPassword(self) -> None:
        """
        The password opens the account beside a token, and a token is no password.
        """
        bridge = self.serveVerified(self.server.tlsPort)
        token = self.server.token("kate")
        self.assertRefuses(bridge, asUser("kate", token))
        self.assertRefuses(bridge, f"Bearer {passwordOf('kate')}", X_XMPP_JID="kate@localhost")
        self.assertServes(bridge, asUser("kate"), "kate")
        self.assertRefuses(bridge, "Bearer wr0ng", X_XMPP_JID="kate@localhost")


class TokenProsody(Prosody):
    """
    Takes OAUTHBEARER.
    """

    tokens = True


class TokenEjabberd(Ejabberd):
    """
    Takes X-OAUTH2.
    """

    tokens = True


class TokensOnProsody(Tokens, LiveCase):
    """
    OAUTHBEARER, which our own module has taught Prosody.
    """

    makeServer = TokenProsody

    def testSubject(self) -> None:
        """
        A JWT says itself whose it is.
        """
        self.assertServes(self.serveVerified(self.server.tlsPort), f"Bearer {self.server.token('alice')}")


class TokensOnEjabberd(Tokens, LiveCase):
    """
    X-OAUTH2 on ejabberd.
    """

    makeServer = TokenEjabberd


class Unreachable(unittest.TestCase):
    """
    Domains without a server that could be asked.
    """

    def testInTime(self) -> None:
        """
        Who can't be asked within 5 seconds costs a 503, whether they refuse to talk or say nothing.
        """
        (closed,) = freePorts(1)
        silent = socket.create_server((LOOPBACK, 0))
        self.addCleanup(silent.close)
        ports = {"closed": closed, "silent": silent.getsockname()[1]}
        users = {
            f"{name}.{tls}.example": usersTable(port, tls=tls)
            for name, port in ports.items()
            for tls in ("off", "required", "direct")
        }
        bridge = Bridge(None, users=users)
        self.addCleanup(bridge.close)
        bridge.start()
        for domain in users:
            credentials = base64.b64encode(f"alice@{domain}:alicepw".encode()).decode()
            answer = request(bridge, f"Basic {credentials}")
            assertUnavailable(self, answer)
            self.assertLess(answer.seconds, DEADLINE, domain)
        self.assertEqual([], bridge.faults())
