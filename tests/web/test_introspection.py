"""
L{restbridge.web.introspection}
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from restbridge.web.introspection import AT_ONCE
from tests.web.issuer import (
    AUDIENCE,
    ISSUER,
    NOW,
    claims,
    introspecting,
    token,
)
from tests.web.oauth2case import INTROSPECT, JWKS, OAuth2TestCase


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
