"""
L{restbridge.xmpp.sasl.Authentication}: the step of a stream, with a server that the test plays.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramException
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.sasl import NS_XMPP_SASL
from twisted.words.protocols.jabber.xmlstream import (
    INIT_FAILED_EVENT,
    ConnectAuthenticator,
    XmlStreamFactory,
)
from twisted.words.xish.domish import Element

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.stanzas.xml import NS_CLIENT, XMLRefused, serialize
from restbridge.workers import Workers
from restbridge.xmpp.sasl import REFUSALS, SCRAM, Authentication
from restbridge.xmpp.stream import GuardedXmlStream
from tests.web.client import Threads
from tests.xmpp.fakes import PASSWORD, UserServer, stanza

TOKEN = "dG9rZW4.of-alice_~+/="


class AuthenticationTests(SynchronousTestCase):
    """
    The step of a stream, with a server that the test plays.
    """

    def setUp(self) -> None:
        self.threads = Threads()
        self.server = UserServer()
        self.failures: list[Failure] = []

    def start(self, *offered: str, secret: str = PASSWORD, token: bool = False) -> None:
        """
        Begin a stream and say what is offered on it.
        """
        self.server.mechanisms = offered or ("SCRAM-SHA-1",)
        authenticator = ConnectAuthenticator("localhost")
        authenticator.namespace = NS_CLIENT
        factory = XmlStreamFactory(authenticator)
        factory.protocol = GuardedXmlStream
        factory.addBootstrap(INIT_FAILED_EVENT, self.failures.append)
        stream = self.successResultOf(self.server.connect(factory))
        step = Authentication(
            stream, user="alice", credential=Credential(secret, token), workers=Workers(self.threads)
        )
        stream.initializers = [step]
        self.server.header()
        self.server.offerMechanisms()

    def say(self, name: str, text: str) -> None:
        """
        Send an element of SASL.
        """
        element = Element((NS_XMPP_SASL, name))
        element.addContent(text)
        self.server.write(serialize(element))

    def assertLetIn(self) -> None:
        """
        The client goes on with a new stream.
        """
        self.assertEqual(self.failures, [])
        self.assertTrue(self.server.read().startswith("<stream:stream "))

    def assertFailed(self, kind: type[Exception]) -> Any:
        """
        The step has failed, once, and nothing more is said.
        """
        (failure,) = self.failures
        self.assertIsInstance(failure.value, kind)
        self.assertEqual(self.server.read(), "")
        self.assertEqual(self.flushLoggedErrors(), [])
        return failure.value

    def test_scram(self) -> None:
        """
        The whole dialogue, by each kind of SCRAM.
        """
        for name in SCRAM:
            self.setUp()
            self.start(name)
            self.server.challenge()
            self.server.succeed()
            self.assertLetIn()

    def test_plain(self) -> None:
        """
        PLAIN says all at once, and nobody has to prove anything to it.
        """
        self.start("PLAIN")
        auth = stanza(self.server.read())
        self.assertEqual((auth.name, auth["mechanism"]), ("auth", "PLAIN"))
        self.assertEqual(str(auth), b64encode(f"\0alice\0{PASSWORD}".encode()).decode())
        self.server.succeed(b"")
        self.assertLetIn()

    def test_bearer(self) -> None:
        """
        A token that the server doesn't take: its error is answered with what says nothing, then it fails.
        """
        self.start("OAUTHBEARER", secret=TOKEN, token=True)
        self.assertIn(TOKEN.encode(), self.server.said())
        self.server.challenge(b'{"status": "invalid_token"}')
        self.assertEqual(self.server.said(), b"\1")
        self.server.fail("not-authorized")
        self.assertFailed(LoginRefused)

    def test_nothingOffered(self) -> None:
        """
        Without a way of logging in nothing is said.
        """
        self.start("DIGEST-MD5")
        self.assertFailed(LinkDown)

    def test_impossibleSecret(self) -> None:
        """
        Nor with a secret that no account can have.
        """
        self.start("PLAIN", secret="a\0alice")
        self.assertFailed(LoginRefused)

    def test_wrongPassword(self) -> None:
        """
        The server says that the password is wrong.
        """
        self.start(secret="wrong")
        self.server.challenge()
        self.assertRaises(ScramException, self.server.succeed)
        self.server.fail("not-authorized")
        self.assertEqual(self.assertFailed(LoginRefused).condition, "not-authorized")

    def test_conditions(self) -> None:
        """
        What a server says of the credential refuses it; what it says of itself doesn't (section 6.5).
        """
        refusing = {
            "account-disabled",
            "credentials-expired",
            "invalid-authzid",
            "malformed-request",
            "not-authorized",
        }
        self.assertEqual(refusing, REFUSALS)
        for condition in (
            *refusing,
            "aborted",
            "encryption-required",
            "incorrect-encoding",
            "invalid-mechanism",
            "mechanism-too-weak",
            "temporary-auth-failure",
            "a-condition-of-their-own",
        ):
            self.setUp()
            self.start("PLAIN")
            self.server.read()
            self.server.fail(condition)
            error = self.assertFailed(LoginRefused if condition in refusing else LinkDown)
            self.assertIn(condition, str(error))

    def test_failureWithoutCondition(self) -> None:
        """
        A failure for no reason says nothing about the credential.
        """
        for text in ("", "not-authorized"):
            self.setUp()
            self.start()
            self.server.read()
            self.say("failure", text)
            self.assertFailed(LinkDown)

    def test_noProof(self) -> None:
        """
        A server's yes counts only with its proof.
        """
        for proof in (b"", b"v=" + b64encode(bytes(20)), b"e=other-error"):
            self.setUp()
            self.start()
            self.server.challenge()
            self.server.read()
            self.server.succeed(proof)
            self.assertFailed(LinkDown)

    def test_successAtOnce(self) -> None:
        """
        A yes before anything was proven is not believed.
        """
        self.start()
        self.server.read()
        self.server.succeed(b"")
        self.assertFailed(LinkDown)

    def test_proofInChallenge(self) -> None:
        """
        A server may ask for an empty answer to its proof.
        """
        self.start()
        self.server.challenge()
        self.server.scram.set_client_final(self.server.said().decode())
        self.server.challenge(self.server.scram.get_server_final().encode())
        self.assertEqual(self.server.said(), b"")
        self.server.succeed(b"")
        self.assertLetIn()

    def test_emptyData(self) -> None:
        """
        "=" stands for data that is empty (section 6.4.2).
        """
        self.start("PLAIN")
        self.server.read()
        self.say("success", "=")
        self.assertLetIn()

    def test_notBase64(self) -> None:
        """
        Data that are not base64 end it.
        """
        for name in ("challenge", "success"):
            for text in ("?", "AA=A", "A", " dj1B", "\xfc", "dj1B\ndj1B"):
                self.setUp()
                self.start()
                self.server.read()
                self.say(name, text)
                self.assertFailed(LinkDown)

    def test_onlyOnce(self) -> None:
        """
        What follows a failure in the same bytes changes nothing, and is no error of the bridge's.
        """
        for answer in ("success", "failure", "challenge"):
            self.setUp()
            self.start("PLAIN")
            self.server.read()
            self.server.write(
                f"<failure xmlns='{NS_XMPP_SASL}'><not-authorized/></failure>"
                f"<{answer} xmlns='{NS_XMPP_SASL}'/>"
            )
            self.assertFailed(LoginRefused)

    def test_hashing(self) -> None:
        """
        Nothing is said while the hash is computed.
        """
        self.threads.hold = True
        self.start()
        self.server.challenge()
        self.assertEqual(self.server.read(), "")
        self.threads.finish()
        self.server.succeed()
        self.assertLetIn()

    def test_impatient(self) -> None:
        """
        A server that says more while the hash is computed doesn't keep to SCRAM.
        """
        for name in ("success", "challenge"):
            self.setUp()
            self.threads.hold = True
            self.start()
            self.server.challenge()
            self.say(name, b64encode(b"v=AAAA").decode())
            self.threads.finish()
            self.assertFailed(LinkDown)

    def test_impatientToTheMoment(self) -> None:
        """
        Nor one that does so when it has begun already.
        """
        compute = hashlib.pbkdf2_hmac
        for name in ("success", "challenge"):

            def meddled(*arguments: Any, name: str = name) -> bytes:
                self.say(name, b64encode(b"v=AAAA").decode())
                return compute(*arguments)

            self.setUp()
            self.threads.hold = True
            self.start()
            self.server.challenge()
            patch = self.patch(hashlib, "pbkdf2_hmac", meddled)
            self.threads.finish()
            patch.restore()
            self.assertFailed(LinkDown)

    def test_givenUp(self) -> None:
        """
        A server that says no while the hash is computed gets no answer.
        """
        self.threads.hold = True
        self.start()
        self.server.challenge()
        self.server.fail("temporary-auth-failure")
        self.threads.finish()
        self.assertFailed(LinkDown)

    def test_gone(self) -> None:
        """
        A stream that ends while the hash is computed is nobody's error.
        """
        self.threads.hold = True
        self.start()
        self.server.challenge()
        self.server.drop()
        self.threads.finish()
        self.assertEqual((self.failures, self.server.read()), ([], ""))

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(["challenge", "success"]),
        st.text() | st.binary().map(lambda b: b64encode(b).decode()),
    )
    def test_anything(self, name: str, text: str) -> None:
        """
        Whatever stands in a challenge or a success, it ends in L{LinkDown}.
        """
        self.setUp()
        self.start()
        self.server.read()
        try:
            self.say(name, text)
        except XMLRefused:
            return
        self.assertFailed(LinkDown)
