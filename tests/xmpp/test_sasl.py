"""
L{restbridge.xmpp.sasl}: who says what to prove it. The other half of SCRAM is scramp's own server.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramException, ScramMechanism
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.workers import Workers
from restbridge.xmpp.sasl import MAX_ITERATIONS, SCRAM, Mechanism, mechanismFor
from tests.web.client import Threads
from tests.xmpp.fakes import PASSWORD

TOKEN = "dG9rZW4.of-alice_~+/="


def kept(prepared: str) -> tuple[bytes, bytes, bytes, int]:
    """
    What a server keeps of a password (RFC 5802, section 3); scramp's own doesn't know newer characters.
    """
    salt, rounds = bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha1", prepared.encode(), salt, rounds)
    clientKey = hmac.digest(salted, b"Client Key", "sha1")
    return salt, hashlib.sha1(clientKey).digest(), hmac.digest(salted, b"Server Key", "sha1"), rounds


class MechanismCase(SynchronousTestCase):
    """
    Chooses mechanisms and hears what they say.
    """

    def setUp(self) -> None:
        self.threads = Threads()

    def choose(self, *offered: str, secret: str = PASSWORD, token: bool = False, user: str = "alice") -> Any:
        return mechanismFor(offered, user, Credential(secret, token), Workers(self.threads))

    def answering(self, mechanism: Mechanism, challenge: bytes) -> Deferred[bytes]:
        return Deferred.fromCoroutine(mechanism.answer(challenge))

    def answer(self, mechanism: Mechanism, challenge: bytes) -> bytes:
        return self.successResultOf(self.answering(mechanism, challenge))

    def assertUnbelieved(self, mechanism: Mechanism, challenge: bytes) -> None:
        self.failureResultOf(self.answering(mechanism, challenge), LinkDown)


class ChoiceTests(MechanismCase):
    def test_strongest(self) -> None:
        """
        The strongest SCRAM that is offered, whatever the order and whatever else is; else PLAIN.
        """
        for offered, chosen in (
            (("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-512", "SCRAM-SHA-256"), "SCRAM-SHA-512"),
            (("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"), "SCRAM-SHA-256"),
            (("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"), "SCRAM-SHA-1"),
            (("SCRAM-SHA3-512", "SCRAM-SHA-1"), "SCRAM-SHA-1"),
            (("X-OAUTH2", "OAUTHBEARER", "DIGEST-MD5", "PLAIN", "EXTERNAL"), "PLAIN"),
        ):
            self.assertEqual(self.choose(*offered).name, chosen)

    def test_plain(self) -> None:
        """
        PLAIN is user and password behind an empty authorization identity, in UTF-8 (RFC 4616).
        """
        plain = self.choose("PLAIN", user="jürgen", secret="密码")
        self.assertEqual(plain.getInitialResponse(), "\0jürgen\0密码".encode())
        self.assertEqual(self.answer(plain, b"?"), b"")
        plain.finish(b"whatever")

    def test_noDowngrade(self) -> None:
        """
        Who offers any SCRAM, be it one that is not spoken here, doesn't get to see the password.
        """
        for scram in ("SCRAM-SHA3-512", "SCRAM-SHA-256-PLUS", "SCRAM-MD5"):
            self.assertRaises(LinkDown, self.choose, scram, "PLAIN")

    def test_nothingUsable(self) -> None:
        """
        What a server does offer is named to the operator, within limits; it says nothing about the user.
        """
        error = self.assertRaises(LinkDown, self.choose, "DIGEST-MD5", "EXTERNAL")
        self.assertIn("DIGEST-MD5, EXTERNAL", str(error))
        error = self.assertRaises(LinkDown, self.choose, *["X" * 100] * 100)
        self.assertLess(len(str(error)), 400)
        self.assertRaises(LinkDown, self.choose)

    def test_token(self) -> None:
        """
        A token goes by OAUTHBEARER (RFC 7628, section 3.1), else by ejabberd's X-OAUTH2.
        """
        bearer = self.choose("X-OAUTH2", "PLAIN", "OAUTHBEARER", "SCRAM-SHA-1", secret=TOKEN, token=True)
        self.assertEqual(bearer.name, "OAUTHBEARER")
        self.assertEqual(bearer.getInitialResponse(), f"n,,\1auth=Bearer {TOKEN}\1\1".encode())
        oauth2 = self.choose("SCRAM-SHA-1", "X-OAUTH2", "PLAIN", secret=TOKEN, token=True)
        self.assertEqual(oauth2.name, "X-OAUTH2")
        self.assertEqual(oauth2.getInitialResponse(), f"\0alice\0{TOKEN}".encode())
        oauth2.finish(b"")

    def test_tokenIsNoPassword(self) -> None:
        """
        A token is never tried as a password, nor a password as a token.
        """
        self.assertRaises(LoginRefused, self.choose, "SCRAM-SHA-1", "PLAIN", secret=TOKEN, token=True)
        self.assertRaises(LinkDown, self.choose, "OAUTHBEARER", "X-OAUTH2")

    def test_tokenOfFields(self) -> None:
        """
        A token can't end the field that it stands in.
        """
        self.assertRaises(LoginRefused, self.choose, "OAUTHBEARER", secret="a\1auth=Bearer b", token=True)

    def test_bearerError(self) -> None:
        """
        After an error the server waits for a message that says nothing, and then fails (RFC 7628, 3.2.3).
        """
        bearer = self.choose("OAUTHBEARER", secret=TOKEN, token=True)
        self.assertEqual(self.answer(bearer, b'{"status": "invalid_token"}'), b"\1")

    def test_impossibleSecrets(self) -> None:
        """
        What no account can have is refused without a word to the server: nothing, NUL, half a character.
        """
        for secret in ("", "\0", "a\0b", "\ud800", "a\udc80"):
            for token in (False, True):
                for offered in (*SCRAM, "PLAIN", "OAUTHBEARER", "X-OAUTH2", "EXTERNAL"):
                    self.assertRaises(LoginRefused, self.choose, offered, secret=secret, token=token)

    def test_unprepared(self) -> None:
        """
        So is what no SCRAM takes as password or as user (RFC 4013): controls, both directions in one.
        """
        for text in ("a\x07", "a\ue000", "ab\u05d0c"):
            self.assertRaises(LoginRefused, self.choose, "SCRAM-SHA-1", secret=text)
            self.assertRaises(LoginRefused, self.choose, "SCRAM-SHA-1", user=text)
        self.assertRaises(LoginRefused, self.choose, "SCRAM-SHA-1", user="")

    def test_secretsAreNotSaid(self) -> None:
        """
        No problem with a secret repeats it.
        """
        for secret, token in (("sEcReT\0", False), ("sEcReT\ud800", False), ("sEcReT\1", True)):
            error = self.assertRaises(LoginRefused, self.choose, "OAUTHBEARER", secret=secret, token=token)
            self.assertNotIn("sEcReT", repr(error))
        error = self.assertRaises(LinkDown, self.choose, "OAUTHBEARER", secret="sEcReT")
        self.assertNotIn("sEcReT", repr(error))


class ScramTests(MechanismCase):
    """
    SCRAM without a stream.
    """

    def server(self, name: str = "SCRAM-SHA-1", user: str = "alice", password: str = PASSWORD) -> Any:
        mechanism = ScramMechanism(name)
        return mechanism.make_server({user: mechanism.make_auth_info(password)}.__getitem__)

    def first(self, scram: Mechanism, server: Any) -> bytes:
        """
        The server's first message.
        """
        server.set_client_first(scram.getInitialResponse().decode())
        return str(server.get_server_first()).encode()

    def proven(self, scram: Mechanism, server: Any) -> bytes:
        """
        The server's last message, about the proof that it has got.
        """
        server.set_client_final(self.answer(scram, self.first(scram, server)).decode())
        return str(server.get_server_final()).encode()

    def test_dialogue(self) -> None:
        """
        Each kind of SCRAM proves the password to the server, and believes the server's own proof.
        """
        for name in SCRAM:
            for user, password in (
                ("alice", PASSWORD),
                ("a=li,ce=2C", PASSWORD),
                ("jürgen", "größer, höher=weiter"),
                ("小明", "密码 пароль"),
            ):
                scram = self.choose(name, user=user, secret=password)
                scram.finish(self.proven(scram, self.server(name, user, password)))

    def test_escaped(self) -> None:
        """
        "=" and "," of a local part are escaped (RFC 5802, section 5.1).
        """
        first = self.choose("SCRAM-SHA-1", user="a=b,c").getInitialResponse()
        self.assertTrue(first.startswith(b"n,,n=a=3Db=2Cc,r="), first)

    def test_prepared(self) -> None:
        """
        A password is the same however it is typed in (RFC 4013).
        """
        for typed, stored in (
            ("u\u0308ber", "\xfcber"),
            ("\u2168", "IX"),
            ("a\u00a0b", "a b"),
            ("a\u1680b", "a b"),
            ("a\u00adb", "ab"),
        ):
            scram = self.choose("SCRAM-SHA-1", secret=typed)
            scram.finish(self.proven(scram, self.server(password=stored)))

    def test_preparedByNewer(self) -> None:
        """
        What Unicode has assigned since RFC 4013, as emoji, is prepared as servers do it: mapped and composed.
        """
        for typed, stored in (
            ("a\U0001f600", "a\U0001f600"),
            ("u\u0308\U0001f600\u3000", "\xfc\U0001f600 "),
            ("\U0001f469\u200d\U0001f4bb", "\U0001f469\U0001f4bb"),
            ("a\u00ad\U0001f600", "a\U0001f600"),
        ):
            scram = self.choose("SCRAM-SHA-1", secret=typed)
            server = ScramMechanism("SCRAM-SHA-1").make_server({"alice": kept(stored)}.__getitem__)
            scram.finish(self.proven(scram, server))

    def test_wrongPassword(self) -> None:
        """
        A wrong password doesn't pass; and leaves no trace of itself in what is sent.
        """
        scram, server = self.choose("SCRAM-SHA-256", secret="wrong"), self.server("SCRAM-SHA-256")
        self.assertRaises(ScramException, self.proven, scram, server)
        self.assertRaises(LinkDown, scram.finish, str(server.get_server_final()).encode())

    def test_proofInChallenge(self) -> None:
        """
        A proof that comes as a challenge gets an empty answer, after which success may be silent.
        """
        scram = self.choose("SCRAM-SHA-1")
        self.assertEqual(self.answer(scram, self.proven(scram, self.server())), b"")
        scram.finish(b"")

    def test_noProof(self) -> None:
        """
        A server that can't prove that it knows the account is not believed, whatever it says and when.
        """
        other = b"v=" + b64encode(bytes(20))
        for proof in (b"", other, b"v=", b"e=other-error", b"v=AAAA", b"x", b"\xff"):
            scram = self.choose("SCRAM-SHA-1")
            self.proven(scram, self.server())
            self.assertRaises(LinkDown, scram.finish, proof)
            scram = self.choose("SCRAM-SHA-1")
            self.proven(scram, self.server())
            self.assertUnbelieved(scram, proof)
            scram = self.choose("SCRAM-SHA-1")
            scram.getInitialResponse()
            self.assertRaises(LinkDown, scram.finish, proof)

    def test_onlyOneProof(self) -> None:
        """
        Nothing is left to say after the proof.
        """
        scram = self.choose("SCRAM-SHA-1")
        proof = self.proven(scram, self.server())
        self.answer(scram, proof)
        self.assertUnbelieved(scram, proof)

    def test_tampered(self) -> None:
        """
        A first message that is not an answer to one's own is not answered with a proof.
        """
        scram, server = self.choose("SCRAM-SHA-1"), self.server()
        nonce, salt, iterations = self.first(scram, server).split(b",")
        for tampered in (
            (b"r=x" + nonce[2:], salt, iterations),
            (nonce[:10], salt, iterations),
            (b"r=", salt, iterations),
            (nonce, b"s=", iterations),
            (nonce, b"s=AAAA", iterations),
            (nonce, b"s=" + b"?" * 16, iterations),
            (salt, nonce, iterations),
            (nonce, salt),
            (b"m=x", nonce, salt, iterations),
            (b"e=unknown-user",),
            (b"e=an-error-of-their-own",),
        ):
            scram = self.choose("SCRAM-SHA-1")
            own = scram.getInitialResponse().rpartition(b"r=")[2]
            message = b",".join(tampered).replace(nonce[2:66], own)
            self.assertUnbelieved(scram, message)
        self.assertEqual(self.threads.calls, 0)

    def test_iterations(self) -> None:
        """
        Nobody may have the bridge work for long, nor make guessing easy (RFC 7677, section 4).
        """
        salt = b64encode(bytes(16)).decode()
        for iterations in (
            MAX_ITERATIONS + 1,
            10**8,
            "1" + "0" * 5000,
            4095,
            1,
            0,
            -4096,
            "04096",
            "4096.0",
            "x",
        ):
            scram = self.choose("SCRAM-SHA-1")
            nonce = scram.getInitialResponse().decode().rpartition("r=")[2]
            self.assertUnbelieved(scram, f"r={nonce}x,s={salt},i={iterations}".encode())
        self.assertEqual(self.threads.calls, 0)

    def test_onAThread(self) -> None:
        """
        The hash is computed on a thread; the answer waits for it.
        """
        self.threads.hold = True
        scram, server = self.choose("SCRAM-SHA-1"), self.server()
        answering = self.answering(scram, self.first(scram, server))
        self.assertNoResult(answering)
        self.threads.finish()
        server.set_client_final(self.successResultOf(answering).decode())
        scram.finish(str(server.get_server_final()).encode())

    def test_tooEarly(self) -> None:
        """
        Nothing counts as a proof before the answer has been given: not while the hash waits for its thread,
        nor while it is computed there.
        """
        compute = hashlib.pbkdf2_hmac

        def meddled(*arguments: Any) -> bytes:
            self.assertRaises(LinkDown, scram.finish, b"v=AAAA")
            self.assertUnbelieved(scram, b"v=AAAA")
            return compute(*arguments)

        self.threads.hold = True
        scram = self.choose("SCRAM-SHA-1")
        self.answering(scram, self.first(scram, self.server()))
        self.assertRaises(LinkDown, scram.finish, b"v=AAAA")
        self.patch(hashlib, "pbkdf2_hmac", meddled)
        self.threads.finish()

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.binary(), max_size=3), st.binary())
    def test_anyBytes(self, challenges: list[bytes], success: bytes) -> None:
        """
        Whatever bytes a server sends end in L{LinkDown}.
        """
        scram = self.choose("SCRAM-SHA-256")
        scram.getInitialResponse()
        for challenge in challenges:
            self.assertUnbelieved(scram, challenge)
            scram = self.choose("SCRAM-SHA-256")
            scram.getInitialResponse()
        self.assertRaises(LinkDown, scram.finish, success)

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from("rsivemxa1ü") | st.characters(),
                st.sampled_from(["=", "==", ""]),
                st.sampled_from(["nonce", "4096", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", "other-error"])
                | st.text(),
            ),
            max_size=5,
        ),
        st.permutations(["r=", "s=", "i="]),
    )
    def test_anyFields(self, fields: list[tuple[str, str, str]], usual: list[str]) -> None:
        """
        So do fields of any name and content in any order, or they are what they should be.
        """
        scram = self.choose("SCRAM-SHA-256")
        nonce = scram.getInitialResponse().decode().rpartition("r=")[2]
        right = {"r=": f"{nonce}x", "s=": "AAAAAAAAAAAAAAAAAAAAAA==", "i=": "4096"}
        message = ",".join([*(name + right[name] for name in usual), *map("".join, fields)])
        data = message.replace("nonce", nonce).encode("utf-8", "surrogatepass")
        answering = self.answering(scram, data)
        answering.addErrback(lambda failure: failure.trap(LinkDown) and None)
        self.successResultOf(answering)
        self.assertRaises(LinkDown, scram.finish, data)
