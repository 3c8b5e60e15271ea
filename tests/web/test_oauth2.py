"""
L{restbridge.web.oauth2}: JWTs of an issuer, introspection, and what they let their bearers do.
"""

from __future__ import annotations

import hmac
import json
import warnings
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.web.iweb import IAgent
from zope.interface import implementer

from restbridge.config import OAuth2 as Settings
from restbridge.stanzas.jid import JID
from restbridge.tap import assemble
from restbridge.web.answer import Refusal
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials
from restbridge.web.documents import Documents, ServerDown
from restbridge.web.grants import ADMIN, QUERY, SEND, Grant, TokenRefused, grantOf
from restbridge.web.guard import AccountPrincipal, Accounts, Guard, Presented, Principal, UserPrincipal
from restbridge.web.introspection import AT_ONCE
from restbridge.web.issuerkeys import metadataURLs, usable
from restbridge.web.oauth2 import MAX_TOKEN
from restbridge.web.thrift import Remembered
from restbridge.workers import Workers
from tests.config.written import Written
from tests.live.servers import writeCertificate
from tests.web.client import (
    DOMAIN,
    FakeLink,
    FakeUserLink,
    FakeUsers,
    LoggingTestCase,
    Threads,
    account,
)
from tests.web.issuer import (
    AUDIENCE,
    EC,
    ISSUER,
    NOW,
    OTHER,
    RSA,
    Issuer,
    claims,
    introspecting,
    keySet,
    oauth2,
    settings,
    signed,
    token,
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


class JWTTests(OAuth2TestCase):
    def test_good(self) -> None:
        """
        A token of the issuer is believed, by any algorithm that is configured.
        """
        self.assertGood(token())
        self.assertGood(token(EC))

    def test_claims(self) -> None:
        """
        It is refused for any claim that is missing, wrong or of another type, and the reason says which.
        """
        another, audience = "another issuer", "another audience"
        never, nobody = "doesn't say when it expires", "names nobody"
        for changed, reason in (
            ({"aud": None}, audience),
            ({"aud": "https://other.example.com"}, audience),
            ({"aud": AUDIENCE + "/"}, audience),
            ({"aud": ["https://other.example.com"]}, audience),
            ({"aud": {AUDIENCE: 1}}, audience),
            ({"aud": [[AUDIENCE]]}, audience),
            ({"exp": None}, never),
            ({"exp": NOW - 61}, "has expired"),
            ({"exp": str(NOW + 600)}, 'no time in its claim "exp"'),
            ({"exp": True}, 'no time in its claim "exp"'),
            ({"exp": [NOW]}, 'no time in its claim "exp"'),
            ({"exp": -1}, 'no time in its claim "exp"'),
            ({"exp": 10**400}, 'no time in its claim "exp"'),
            ({"nbf": NOW + 61}, "isn't valid yet"),
            ({"nbf": "now"}, 'no time in its claim "nbf"'),
            ({"sub": None}, nobody),
            ({"sub": ""}, nobody),
            ({"sub": ["bot"]}, nobody),
            ({"sub": {"": "bot"}}, nobody),
            ({"sub": "b" * 3072}, nobody),
        ):
            self.assertRefused(token(**changed), reason)
        # None of them has cost a signature.
        self.assertEqual(self.threads.calls, 0)
        whole = claims(iss="https://other.example.com")
        refused = self.assertRaises(TokenRefused, grantOf, whole, settings(), NOW, whole=True)
        self.assertIn(another, str(refused))

    def test_audiences(self) -> None:
        """
        The bridge may be one of several audiences.
        """
        self.assertGood(token(aud=["https://other.example.com", AUDIENCE, 1]))

    def test_skew(self) -> None:
        """
        Clocks may differ by a minute, in both directions.
        """
        self.assertGood(token(exp=NOW - 59))
        self.assertGood(token(nbf=NOW + 59))
        self.assertGood(token(exp=NOW + 0.5))

    def test_scopes(self) -> None:
        """
        Scopes are a text with spaces, or an array; what isn't the bridge's means nothing.
        """
        for scope, expected in (
            ("openid restbridge:send restbridge:query", {SEND, QUERY}),
            (["restbridge:admin", 1, "email"], {ADMIN}),
            ("Restbridge:send", set()),
            ("restbridge:send\trestbridge:query", set()),
            ({"restbridge:send": 1}, set()),
            (1, set()),
            (None, set()),
        ):
            grant = self.granted(token(scope=scope))
            assert grant is not None
            self.assertEqual(grant.scopes, expected)

    def test_type(self) -> None:
        """
        An ID token is no access token: only the types that are configured are taken.
        """
        _, payload, signature = token().split(".")
        for kind in ("JWT", None, "id_token+jwt", 1, ["at+jwt"], "application/application/at+jwt"):
            header = _encoded({"typ": kind, "alg": "RS256", "kid": "rsa"})
            self.assertRefused(f"{header}.{payload}.{signature}", "another type")
        self.assertRefused(token(header={"typ": None}), "another type")
        for kind in ("AT+JWT", "application/at+jwt"):
            self.assertGood(token(header={"typ": kind}))
        self.configure(settings(types=("at+jwt", "jwt")))
        self.assertGood(token(header={"typ": "JWT"}))

    def test_none(self) -> None:
        """
        C{alg: none} is no signature, however it is spelt.
        """
        payload = token().split(".")[1]
        for name in ("none", "None", "NONE", "nOnE", "", None, 0, ["RS256"]):
            header = _encoded({"typ": "at+jwt", "alg": name, "kid": "rsa"})
            for signature in ("", "c2ln"):
                self.assertRefused(f"{header}.{payload}.{signature}", "algorithm")

    def test_confusion(self) -> None:
        """
        The issuer's public key is nobody's HMAC secret, even where the configuration could ask for that.
        """
        native: Any = RSA.public_key
        secrets = [
            native.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            native.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(RSA.as_dict(private=False)).encode(),
        ]
        for secret in secrets:
            header = _encoded({"typ": "at+jwt", "alg": "HS256", "kid": "rsa"})
            content = f"{header}.{token().split('.')[1]}"
            forged = urlsafe_b64encode(hmac.digest(secret, content.encode(), "sha256")).decode().rstrip("=")
            self.configure(settings())
            self.assertRefused(f"{content}.{forged}", "algorithm")
            self.configure(settings(algorithms=("HS256", "RS256")))
            self.assertRefused(f"{content}.{forged}", "none of its issuer's keys")

    def test_pinned(self) -> None:
        """
        An algorithm that isn't configured isn't taken, though the key is the issuer's; nor one that isn't
        for its type of key.
        """
        self.assertRefused(token(header={"alg": "RS512"}), "algorithm")
        self.assertRefused(token(header={"alg": "PS256"}), "algorithm")
        _, payload, signature = token(EC).split(".")
        crossed = _encoded({"typ": "at+jwt", "alg": "RS256", "kid": "ec"})
        self.assertRefused(f"{crossed}.{payload}.{signature}", "none of its issuer's keys")
        self.configure(settings(algorithms=("PS256",)))
        self.assertGood(token(header={"alg": "PS256"}))
        self.assertRefused(token(), "algorithm")

    def test_curve(self) -> None:
        """
        ES256 is P-256's alone.
        """
        large = ECKey.generate_key("P-384", {"kid": "large"})
        self.issuer.documents[JWKS] = keySet(large)
        self.configure(settings(algorithms=("ES256", "ES384")))
        good = token(large, {"alg": "ES384"})
        self.assertGood(good)
        _, payload, signature = good.split(".")
        crossed = _encoded({"typ": "at+jwt", "alg": "ES256", "kid": "large"})
        self.assertRefused(f"{crossed}.{payload}.{signature}", "none of its issuer's keys")

    def test_ed25519(self) -> None:
        """
        Edwards curves are taken where they are configured.
        """
        key = OKPKey.generate_key("Ed25519", {"kid": "ed"})
        self.issuer.documents[JWKS] = keySet(key)
        self.configure(settings(algorithms=("Ed25519",)))
        self.assertGood(token(key, {"alg": "Ed25519"}))

    def test_critical(self) -> None:
        """
        A token that needs an extension is refused: none is understood.
        """
        _, payload, signature = token().split(".")
        for extension in (["exp"], ["b64"], [], "exp", None):
            header = {"typ": "at+jwt", "alg": "RS256", "kid": "rsa", "crit": extension, "b64": False}
            critical = _encoded(header)
            self.assertRefused(f"{critical}.{payload}.{signature}", "extension")

    def test_ownKeys(self) -> None:
        """
        No key is taken from the token itself, or from where it says.
        """
        forger = RSAKey.generate_key(2048, {"kid": "rsa"})
        public = forger.as_dict(private=False)
        evil = "https://evil.example.com/jwks.json"
        for header in ({"jwk": public}, {"jku": evil}, {"x5u": evil}, {"x5c": ["MIIB"]}):
            self.assertRefused(token(forger, header), "none of its issuer's keys")
        self.assertEqual(set(self.issuer.asked), {JWKS})

    def test_keyNames(self) -> None:
        """
        A key's name is compared, never looked up anywhere; and only a text is one.
        """
        for name in ("../../jwks.json", "https://evil.example.com/", "' OR 1=1 --", "\0", "", "a" * 1000):
            self.assertRefused(token(OTHER, {"kid": name}), "none of its issuer's keys")
        for strange in (1, ["rsa"], {"rsa": 1}, True):
            header, payload, signature = token().split(".")
            header = _encoded({"typ": "at+jwt", "alg": "RS256", "kid": strange})
            self.assertRefused(f"{header}.{payload}.{signature}", "no text")
        self.assertEqual(self.issuer.asked, [JWKS])

    def test_noKeyName(self) -> None:
        """
        Without a name any of the issuer's keys may have signed it, and nobody else's.
        """
        for key in (RSA, EC):
            self.assertGood(token(key, {"kid": None}))
        self.assertRefused(token(OTHER, {"kid": None}), "none of its issuer's keys")

    def test_tampered(self) -> None:
        """
        A signature holds for what was signed alone.
        """
        header, payload, signature = token().split(".")
        other = token(scope="restbridge:admin").split(".")[1]
        for forged in (
            f"{header}.{other}.{signature}",
            f"{header}.{payload}.",
            f"{header}.{payload}.{signature[:-4]}",
            f"{header}.{payload}.{signature}=",
            f"{header}.{payload}.!{signature}",
            f"{header}.{payload}.\udcff{signature}",
            f"{header}=.{payload}.{signature}",
        ):
            self.assertRefused(forged, "none of its issuer's keys")

    def test_size(self) -> None:
        """
        What is too large isn't looked at.
        """
        large = token(pad="x" * MAX_TOKEN)
        self.assertRefused(large, "more than 8192 characters")
        self.assertRefused(token(header={"pad": "x" * 2048}), "none of its issuer's keys")
        self.assertRefused("x" * (MAX_TOKEN + 1), "more than 8192 characters")

    def test_foreign(self) -> None:
        """
        What isn't of the issuer, or no JWT, is the XMPP server's to judge.
        """
        deep = "[" * 4000
        for text in (
            *("", "opaque", "a.b", "a.b.c", "a.b.c.d.e", "..", "\udcff.\udcff.\udcff", "é.é.é"),
            *("bnVsbA.bnVsbA.", "W10.W10."),
            token(iss="https://other.example.com"),
            token(iss=ISSUER + "/"),
            token(iss=[ISSUER]),
            token(iss=None),
            f"e30.{urlsafe_b64encode(deep.encode()).decode().rstrip('=')}.c2ln",
            signed('{"iss": "' + ISSUER + '"'),
        ):
            self.assertIsNone(self.granted(text))
        self.assertEqual(self.issuer.asked, [])

    @given(
        st.dictionaries(
            st.sampled_from(["aud", "exp", "nbf", "iat", "sub", "scope", "jti"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
                ),
                max_leaves=8,
            ),
        )
    )
    def test_anyClaims(self, odd: dict[str, Any]) -> None:
        """
        Whatever claims the issuer signs, they are read or refused.
        """
        try:
            grant = grantOf({**claims(), **odd}, settings(), NOW, whole=True)
        except TokenRefused:
            return
        self.assertIsInstance(grant.name, str)
        self.assertLessEqual(grant.scopes, {SEND, QUERY, ADMIN})

    def test_remembered(self) -> None:
        """
        A token is verified once, until it expires.
        """
        good = token(exp=NOW + 10)
        for _ in range(3):
            self.assertGood(good)
        self.assertEqual(self.threads.calls, 1)
        self.clock.advance(69)
        self.assertGood(good)
        self.assertEqual(self.threads.calls, 1)
        self.clock.advance(1)
        self.assertRefused(good, "has expired")

    def test_secret(self) -> None:
        """
        No token gets into the log, nor what is in it.
        """
        for bad in (token(sub=["hidden"]), token(exp=1), token(OTHER), "x" * (MAX_TOKEN + 1)):
            self.failureResultOf(self.ask(bad), TokenRefused)
            lines = "\n".join(self.logged)
            self.assertIn("refused", lines)
            for part in (*bad.split("."), "hidden"):
                self.assertNotIn(part, lines)


class KeysTests(OAuth2TestCase):
    def test_rotation(self) -> None:
        """
        A key that is new is fetched when the first token names it.
        """
        self.assertGood(token())
        self.clock.advance(60)
        self.issuer.documents[JWKS] = keySet(OTHER)
        self.assertGood(token(OTHER))
        self.assertEqual(self.issuer.asked, [JWKS] * 2)

    def test_takenBack(self) -> None:
        """
        With a key go the tokens that it has signed, those too that were verified before.
        """
        old = token()
        self.assertGood(old)
        self.clock.advance(60)
        self.issuer.documents[JWKS] = keySet(OTHER)
        self.assertGood(token(OTHER))
        self.assertRefused(old, "none of its issuer's keys")

    def test_hourly(self) -> None:
        """
        Keys are fetched again after an hour, also if only known tokens come; nobody waits for that.
        """
        good = token(exp=NOW + 10**6)
        self.assertGood(good)
        self.clock.advance(3601)
        self.issuer.holds = True
        self.issuer.documents[JWKS] = keySet(OTHER)
        self.assertGood(good)
        self.issuer.release()
        self.assertEqual(self.issuer.asked, [JWKS] * 2)
        self.assertRefused(good, "none of its issuer's keys")

    def test_unknownNames(self) -> None:
        """
        Invented names of keys make the bridge ask once a minute at most.
        """
        for number in range(20):
            self.assertRefused(token(OTHER, {"kid": f"invented{number}"}), "none of its issuer's keys")
        self.assertEqual(self.issuer.asked, [JWKS])
        self.clock.advance(60)
        for number in range(20):
            self.assertRefused(token(OTHER, {"kid": f"another{number}"}), "none of its issuer's keys")
        self.assertEqual(self.issuer.asked, [JWKS] * 2)

    def test_together(self) -> None:
        """
        Requests that wait for the keys share one fetch, also when the first of them leaves.
        """
        self.issuer.holds = True
        first, *others = [self.ask(token(jti=str(number))) for number in range(5)]
        first.cancel()
        self.issuer.release()
        for other in others:
            self.assertIsNotNone(self.successResultOf(other))
        self.failureResultOf(first)
        self.assertEqual(self.issuer.asked, [JWKS])

    def test_down(self) -> None:
        """
        While the keys can't be had nobody is refused; the next try comes soon.
        """
        self.issuer.documents["/moved"] = good = self.issuer.documents[JWKS]
        wrong: object
        for wrong in (
            {**good, "pad": "x" * 200_000},
            500,
            302,
            b"",
            b"[]",
            b"\xff",
            b"[" * 5000,
            b"x" * 200_000,
            {},
            {"keys": []},
            {"keys": 1},
        ):
            self.issuer.documents[JWKS] = wrong
            self.assertUnavailable(token())
            asked = len(self.issuer.asked)
            self.assertUnavailable(token())
            self.assertEqual(len(self.issuer.asked), asked)
            self.clock.advance(5)
        self.issuer.documents[JWKS] = good
        self.assertGood(token())

    def test_silent(self) -> None:
        """
        An issuer that doesn't answer is given up after seconds.
        """
        self.issuer.holds = True
        asked = self.ask(token())
        self.assertNoResult(asked)
        self.clock.advance(5)
        self.assertEqual(self.failureResultOf(asked, Refusal).value.status, 503)

    def test_unreachable(self) -> None:
        """
        A server that can't be reached is one that can't be asked; what its client says of that is cut short.
        """

        @implementer(IAgent)
        class Failing:
            def request(self, *_: object, **__: object) -> Deferred[Any]:
                return fail(ConnectionRefusedError("no route, " * 1000))

        client = HTTPClient(Failing())
        documents = Documents(client=client, clock=self.clock)
        failure = self.failureResultOf(Deferred.fromCoroutine(documents.get(ISSUER)), ServerDown)
        self.assertIn("ConnectionRefusedError", str(failure.value))
        self.assertLess(len(str(failure.value)), 600)

    def test_downLater(self) -> None:
        """
        Keys that are there stay in use for a day while their issuer is down; then nobody can say.
        """
        lasting = NOW + 10**6
        self.assertGood(token(exp=lasting))
        self.issuer.documents[JWKS] = 503
        self.clock.advance(23 * 3600)
        self.assertGood(token(exp=lasting, jti="2"))
        # A key that isn't known may be new.
        self.assertUnavailable(token(OTHER, exp=lasting))
        self.clock.advance(3600)
        self.assertUnavailable(token(exp=lasting, jti="3"))

    def test_unusable(self) -> None:
        """
        Keys that can't be read, are too weak, symmetric or for something else are left out; the rest serves.
        """
        good = RSA.as_dict(private=False)
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore", SecurityWarning)
        weak = keySet(RSAKey.generate_key(1024))["keys"][0]
        bad = [
            *(
                None,
                1,
                "key",
                [],
                {},
                {"kty": "RSA"},
                {"kty": ["RSA"]},
                {"kty": "magic"},
                {"kty": "oct", "k": "c2Vj"},
            ),
            {**good, "use": "enc"},
            {**good, "n": "!"},
            {**good, "n": 1},
            {**good, "e": "AA"},
            {**good, "kid": 1},
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
            {"kty": "EC", "crv": "P-257", "x": "AA", "y": "AA"},
            {"kty": "OKP", "crv": "X", "x": "AA"},
            weak,
        ]
        self.assertEqual(usable(bad), ())
        self.issuer.documents[JWKS] = {"keys": [*bad, good]}
        self.assertGood(token())
        self.assertEqual(len(usable([good] * 100)), 32)

    def test_metadata(self) -> None:
        """
        Without a URL the issuer's metadata says where its keys are: as RFC 8414 has it, or OpenID.
        """
        document = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}{JWKS}"}
        oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
        for path in (oauth, openID):
            self.issuer.documents[path] = document
            self.configure(settings(jwks=None))
            self.assertGood(token())
            del self.issuer.documents[path]
        self.assertEqual(self.issuer.asked, [oauth, JWKS, oauth, openID, JWKS])

    def test_wrongMetadata(self) -> None:
        """
        Another issuer's metadata is not believed, nor keys that anybody could change on their way.
        """
        good = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}{JWKS}"}
        for wrong in (
            {**good, "issuer": ISSUER + "/"},
            {**good, "issuer": None},
            {**good, "jwks_uri": "http://auth.example.com/jwks.json"},
            {**good, "jwks_uri": "file:///etc/passwd"},
            {**good, "jwks_uri": "https://a@auth.example.com/jwks.json"},
            {**good, "jwks_uri": "https://[/"},
            {**good, "jwks_uri": 1},
            {"issuer": ISSUER},
        ):
            self.issuer.documents["/.well-known/oauth-authorization-server"] = wrong
            self.configure(settings(jwks=None))
            self.assertUnavailable(token())
            self.assertNotIn(JWKS, self.issuer.asked)

    def test_metadataPath(self) -> None:
        """
        An issuer with a path has its metadata in two places, before it and behind it.
        """
        self.assertEqual(
            metadataURLs("https://auth.example.com/realms/a/"),
            (
                "https://auth.example.com/.well-known/oauth-authorization-server/realms/a",
                "https://auth.example.com/realms/a/.well-known/openid-configuration",
            ),
        )

    def test_overloaded(self) -> None:
        """
        Signatures are verified on threads: nothing else waits for them.
        """
        self.threads.hold = True
        asked = self.ask(token())
        self.assertNoResult(asked)
        self.threads.finish()
        self.assertIsNotNone(self.successResultOf(asked))


class IntrospectionTests(OAuth2TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.configure(introspecting(audience=AUDIENCE))
        self.answer(**claims())

    def answer(self, *, active: object = True, **claims: Any) -> None:
        self.issuer.documents[INTROSPECT] = {"active": active, **claims}

    def test_asked(self) -> None:
        """
        The server is told the token, and who asks, as RFC 6749 encodes a name and a secret.
        """
        self.assertGood("opaque\udcff&token")
        ((form, authorization),) = self.issuer.forms
        self.assertEqual(form["token_type_hint"], "access_token")
        self.assertTrue(form["token"].startswith("opaque"))
        self.assertEqual(b64decode(authorization.removeprefix("Basic ")), b"bridge:s3cret%3A")

    def test_inactive(self) -> None:
        """
        What isn't active in so many words is refused.
        """
        for active in (False, None, 1, "true", [True]):
            self.answer(active=active, **claims())
            self.assertRefused(f"opaque {active}", "isn't active")

    def test_claims(self) -> None:
        """
        What the answer says of the token is checked; only the audience has to be there.
        """
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({"aud": None}, "another audience"),
            ({"aud": "other"}, "another audience"),
            ({"exp": NOW - 61}, "has expired"),
            ({"nbf": NOW + 61}, "isn't valid yet"),
            ({"sub": None}, "names nobody"),
        )
        for number, (changed, reason) in enumerate(wrong):
            self.answer(**claims(**changed))
            self.assertRefused(str(number), reason)
        self.answer(**claims(exp=None, iss=None))
        self.assertGood("good")
        self.configure(introspecting(issuer=ISSUER, audience=AUDIENCE))
        self.answer(**claims(iss="https://other.example.com"))
        self.assertRefused("another", "another issuer")

    def test_anyAudience(self) -> None:
        """
        Where no audience is configured the server alone decides.
        """
        self.configure(introspecting())
        self.answer(**claims(aud=None))
        self.assertGood("opaque")

    def test_claim(self) -> None:
        """
        Another claim may name the account.
        """
        self.configure(introspecting(accountClaim="username"))
        self.answer(**claims(sub="1234", username="bot"))
        self.assertGood("opaque")

    def test_remembered(self) -> None:
        """
        An answer is believed for a minute, a good one and a bad one.
        """
        for active in (True, False):
            self.answer(active=active, **claims())
            self.issuer.asked.clear()
            name = f"opaque {active}"
            for _ in range(3):
                self.failureResultOf(self.ask(name)) if not active else self.assertGood(name)
            self.clock.advance(59)
            self.failureResultOf(self.ask(name)) if not active else self.assertGood(name)
            self.assertEqual(len(self.issuer.asked), 1)
            self.clock.advance(1)
            self.ask(name).addErrback(lambda _: None)
            self.assertEqual(len(self.issuer.asked), 2)

    def test_expires(self) -> None:
        """
        But never past the token's end.
        """
        self.answer(**claims(exp=NOW + 10))
        self.assertGood("opaque")
        self.clock.advance(10)
        self.answer(active=False)
        self.assertRefused("opaque", "isn't active")

    def test_together(self) -> None:
        """
        Requests with one token share one question, also when one of them leaves.
        """
        self.issuer.holds = True
        first, *others = [self.ask("opaque") for _ in range(5)]
        another = self.ask("another")
        first.cancel()
        self.issuer.release()
        for asked in (*others, another):
            self.assertIsNotNone(self.successResultOf(asked))
        self.failureResultOf(first)
        self.assertEqual(len(self.issuer.asked), 2)

    def test_flood(self) -> None:
        """
        Invented tokens keep the server busy with so many questions at once, and no more.
        """
        self.issuer.holds = True
        asked = [self.ask(f"invented{number}") for number in range(AT_ONCE)]
        self.assertUnavailable("one more")
        self.assertEqual(len(self.issuer.asked), AT_ONCE)
        # Nobody waits in vain whose question is under way.
        asked.append(self.ask("invented1"))
        self.issuer.release()
        for each in asked:
            self.assertIsNotNone(self.successResultOf(each))

    def test_down(self) -> None:
        """
        While the server can't say nobody is refused; nor when it doesn't let the bridge ask.
        """
        for wrong in (500, 401, 403, 302, 404, b"", b"[]", b"no", b"x" * 200_000):
            self.issuer.documents[INTROSPECT] = wrong
            self.assertUnavailable("opaque")
        self.answer(**claims())
        self.assertGood("opaque")

    def test_secret(self) -> None:
        """
        Neither the token nor the secret gets into the log.
        """
        self.issuer.documents[INTROSPECT] = 401
        self.assertUnavailable("hidden")
        self.answer(active=False)
        self.assertRefused("hidden", "isn't active")
        lines = "\n".join(self.logged)
        self.assertIn("401", lines)
        for secret in ("hidden", "s3cret"):
            self.assertNotIn(secret, lines)

    def test_both(self) -> None:
        """
        With an issuer its JWTs are verified here, and all else is asked about.
        """
        self.configure(introspecting(issuer=ISSUER, audience=AUDIENCE, jwks=f"{ISSUER}{JWKS}"))
        self.assertGood(token())
        self.assertEqual(self.issuer.asked, [JWKS])
        self.assertRefused(token(exp=1), "has expired")
        self.assertGood(token(iss="https://other.example.com"))
        self.assertGood("opaque")
        self.assertEqual(self.issuer.asked[1:], [INTROSPECT] * 2)


class AssemblyTests(Written):
    def test_built(self) -> None:
        """
        The program has what the section asks for, and asks nobody before the first token comes.
        """
        writeCertificate(self.folder / "ca.pem", "auth.example.com")
        own = 'client_id = "bridge"\nclient_secret = "s"\nca_file = "ca.pem"\n'
        asked = f'introspection = "{ISSUER}/introspect"\n{own}'
        for section in (f'issuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n', asked):
            reactor = MemoryReactorClock()
            assemble(self.read(f'[users."example.com"]\n[oauth2]\n{section}'), reactor)
            self.assertEqual((reactor.tcpClients, reactor.sslClients), ([], []))


class RememberedTests(LoggingTestCase):
    def test_bounded(self) -> None:
        """
        Who was asked for least lately makes room.
        """
        known: Remembered[int] = Remembered(clock=Clock(), most=2)
        a, b, c = map(known.mark, "abc")
        known.keep(a, 1, 10)
        known.keep(b, 2, 10)
        known.recall(a)
        known.keep(c, 3, 10)
        self.assertEqual([known.recall(mark) for mark in (a, b, c)], [1, None, 3])


class GuardTests(OAuth2TestCase):
    """
    Whom a token lets in.
    """

    def setUp(self) -> None:
        super().setUp()
        self.link, self.userLink = FakeLink(), FakeUserLink()
        self.users = FakeUsers(self.userLink)
        self.bot = account(password=None)
        self.guard = self.makeGuard()

    def makeGuard(self) -> Guard:
        credentials = Credentials(
            accounts=[self.bot], workers=Workers(self.threads), attempts=Attempts(clock=self.clock)
        )
        accounts = Accounts(domain=DOMAIN, credentials=credentials, link=self.link)
        return Guard(accounts=accounts, users=self.users, oauth2=self.oauth2)

    def enter(self, token: str, user: str | None = None) -> Deferred[Principal]:
        presented = Presented(authorization=f"Bearer {token}", user=user, client="192.0.2.7")
        return Deferred.fromCoroutine(self.guard.principal(presented))

    def enterAsUser(self, token: str, user: str | None = None) -> Deferred[UserPrincipal | None]:
        presented = Presented(authorization=f"Bearer {token}", user=user, client="192.0.2.7")
        return Deferred.fromCoroutine(self.guard.user(presented))

    def assertOut(self, token: str, reason: str, user: str | None = None) -> None:
        refusal = self.failureResultOf(self.enter(token, user), Refusal).value
        self.assertEqual((refusal.status, refusal.condition), (403, "not-authorized"))
        self.assertIn(reason, refusal.text or "")
        self.assertIn('error="invalid_token"', dict(refusal.headers)["WWW-Authenticate"])

    def test_account(self) -> None:
        """
        The claim names an account by its local part or its address, and C{send_as} holds for it.
        """
        for name in ("bot", f"bot@{DOMAIN}"):
            principal = self.successResultOf(self.enter(token(sub=name)))
            expected = AccountPrincipal(
                account=self.bot, address=JID("bot", DOMAIN, None), link=self.link, scopes=frozenset({SEND})
            )
            self.assertEqual(principal, expected)
            self.assertFalse(principal.maySendAs(JID.parse(f"other@{DOMAIN}")))

    def test_otherNames(self) -> None:
        """
        Nothing else is taken for an account: case matters, where another server gives the names.
        """
        for name in (
            "BOT",
            "Bot@" + DOMAIN,
            f"bot@{DOMAIN}/r",
            f"bot@{DOMAIN}@{DOMAIN}",
            "b\0t",
            DOMAIN,
            f"@{DOMAIN}",
        ):
            self.assertOut(token(sub=name), "names no account")

    def test_user(self) -> None:
        """
        A user's address opens the user's login with the token itself; the header says nothing then.
        """
        self.users.link = self.userLink
        mine = token(sub="Alice@example.com")
        refused = self.failureResultOf(self.enter(mine, "bob@example.com"), Refusal).value
        self.assertEqual(refused.status, 403)
        self.assertEqual(self.users.asked, [("alice@example.com", mine, True, "192.0.2.7")])

    def test_userLetIn(self) -> None:
        """
        The user gets the token's scopes, by either way in.
        """
        self.configure(introspecting())
        self.issuer.documents[INTROSPECT] = {"active": True, "sub": "alice@example.com", "scope": QUERY}
        self.guard = self.makeGuard()
        expected = UserPrincipal(self.userLink, frozenset({QUERY}))
        self.assertEqual(self.successResultOf(self.enter("token")), expected)
        self.assertEqual(self.successResultOf(self.enterAsUser("token")), expected)

    def test_invalid(self) -> None:
        """
        A token of the issuer that isn't good is nobody's, also if the XMPP server would take it.
        """
        for bad, reason in (
            (token(exp=1, sub="alice@example.com"), "the access token has expired"),
            (token(OTHER), "the access token is signed by none of its issuer's keys"),
            (token(sub="alice@elsewhere.example"), "the access token names no account"),
        ):
            self.assertOut(bad, reason, "alice@example.com")
            refusal = self.failureResultOf(self.enterAsUser(bad, "alice@example.com"), Refusal).value
            self.assertEqual(refusal.status, 401)
            self.assertIn('error="invalid_token"', dict(refusal.headers)["WWW-Authenticate"])
        self.assertEqual(self.users.asked, [])

    def test_foreign(self) -> None:
        """
        A token of the XMPP server's own goes on to it, as without an authorization server.
        """
        self.assertIsInstance(self.successResultOf(self.enter("token", "alice@example.com")), UserPrincipal)
        self.assertIsInstance(
            self.successResultOf(self.enterAsUser("token", "alice@example.com")), UserPrincipal
        )
        self.assertOut("opaque", "Credentials not accepted", "alice@example.com")

    def test_deep(self) -> None:
        """
        A token that is nested deeply is nobody's, with an authorization server and without.
        """
        for text in (
            '{"a":' + "[" * 5000,
            '{"a":' + "[" * 2000 + "]" * 2000 + ', "sub": "alice@example.com"}',
        ):
            deep = f"e30.{urlsafe_b64encode(text.encode()).decode().rstrip('=')}.c2ln"
            self.assertOut(deep, "not accepted")
            self.guard = Guard(accounts=None, users=self.users)
            self.assertOut(deep, "not accepted")

    def test_accountsAlone(self) -> None:
        """
        The API of the users is for users.
        """
        refusal = self.failureResultOf(self.enterAsUser(token()), Refusal).value
        self.assertEqual(refusal.status, 401)

    def test_usersAlone(self) -> None:
        """
        Without a component a token names users.
        """
        self.guard = Guard(accounts=None, users=self.users, oauth2=self.oauth2)
        self.assertOut(token(), "names no account")


def _encoded(header: Mapping[str, Any]) -> str:
    """
    A part of a JWT.
    """
    return urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
