"""
L{restbridge.web.issuerkeys}
"""

from __future__ import annotations

import warnings
from typing import Any

from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail
from twisted.web.iweb import IAgent
from zope.interface import implementer

from restbridge.web.answer import Refusal
from restbridge.web.documents import Documents, ServerDown
from restbridge.web.issuerkeys import metadataURLs, usable
from tests.web.issuer import (
    ISSUER,
    NOW,
    OTHER,
    RSA,
    keySet,
    settings,
    token,
)
from tests.web.oauth2case import JWKS, OAuth2TestCase


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
