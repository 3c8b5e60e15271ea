"""
L{restbridge.web.accesstokens}, and the claims of L{restbridge.web.grants}
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from restbridge.web.grants import ADMIN, QUERY, SEND, TokenRefused, grantOf
from restbridge.web.oauth2 import MAX_TOKEN
from tests.web.issuer import (
    AUDIENCE,
    EC,
    ISSUER,
    NOW,
    OTHER,
    RSA,
    claims,
    keySet,
    settings,
    signed,
    token,
)
from tests.web.oauth2case import JWKS, OAuth2TestCase, encoded


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
            header = encoded({"typ": kind, "alg": "RS256", "kid": "rsa"})
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
            header = encoded({"typ": "at+jwt", "alg": name, "kid": "rsa"})
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
            header = encoded({"typ": "at+jwt", "alg": "HS256", "kid": "rsa"})
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
        crossed = encoded({"typ": "at+jwt", "alg": "RS256", "kid": "ec"})
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
        crossed = encoded({"typ": "at+jwt", "alg": "ES256", "kid": "large"})
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
            critical = encoded(header)
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
            header = encoded({"typ": "at+jwt", "alg": "RS256", "kid": strange})
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
