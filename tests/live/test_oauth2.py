"""
Access tokens of a real authorization server: who gets one there may call the bridge, as far as its scopes go.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tests.live.authlibserver import AUDIENCE
from tests.live.authorization import Authorization
from tests.live.bridge import BEARER, Bridge, componentTable, usersTable
from tests.live.case import LiveCase
from tests.live.client import body
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.servers import Server
from tests.live.web import Answer, ask

PING = "/rest/ping/localhost"
MESSAGE = json.dumps({"kind": "message", "to": "alice@localhost", "body": "by a token"})


class TokenProsody(Prosody):
    """
    Takes OAUTHBEARER, by the tokens that it is told.
    """

    tokens = True

    def take(self, token: str, name: str) -> None:
        """
        Let a token in, as a server would that asks the same authorization server.
        """
        with self._tokens.open("a") as tokens:
            tokens.write(f"{token} {name}\n")


class OAuth2Case(LiveCase):
    """
    A bridge and an authorization server.
    """

    makeServer: ClassVar[type[Server]] = Prosody
    needsBridge = False

    def setUp(self) -> None:
        super().setUp()
        self.authorization = Authorization()
        self.addCleanup(self.authorization.close)
        self.authorization.start()

    def serve(self, **more: Any) -> Bridge:
        """
        Start the bridge with these settings in C{[oauth2]}.
        """
        return self.startBridge(componentTable(self.relay.target), accounts=self.accounts(), oauth2=more)

    def accounts(self) -> dict[str, Any]:
        """
        An account with nothing to log in by but access tokens.
        """
        return {"bot": {}}

    def issuer(self) -> dict[str, Any]:
        """
        The settings for the JWTs; the metadata says where the keys are.
        """
        return {"issuer": self.authorization.url, "audience": AUDIENCE}

    def introspection(self) -> dict[str, Any]:
        """
        The settings for opaque tokens.
        """
        asked = f"{self.authorization.url}/introspect"
        own = {"client_id": "restbridge", "client_secret": "secret"}
        return {"introspection": asked, **own, "account_claim": "username", "audience": AUDIENCE}

    def send(self, bridge: Bridge, token: str) -> Answer:
        return bridge.post("/rest", MESSAGE, auth=f"Bearer {token}")

    def ask(self, bridge: Bridge, token: str) -> Answer:
        return bridge.get(PING, auth=f"Bearer {token}")

    def assertInvalid(self, answer: Answer, reason: str) -> None:
        self.assertEqual(403, answer.status)
        self.assertIn('error="invalid_token"', answer.headers["www-authenticate"])
        self.assertIn(reason, answer.json()["error"]["text"])

    def assertInsufficient(self, answer: Answer, scope: str) -> None:
        self.assertEqual(403, answer.status)
        challenge = answer.headers["www-authenticate"]
        self.assertIn(f'error="insufficient_scope", scope="{scope}"', challenge)
        self.assertIn(scope, answer.json()["error"]["text"])

    def assertQuiet(self, bridge: Bridge, *secrets: str) -> None:
        """
        No secret is in the bridge's log, nor any part of one.
        """
        log = bridge.process.log()
        for secret in secrets:
            for part in secret.split("."):
                self.assertNotIn(part, log)


class JWTsOnProsody(OAuth2Case):
    def testSend(self) -> None:
        """
        A client gets a token by its credentials, and sends by it as the account that it names.
        """
        bridge = self.serve(**self.issuer())
        alice = self.login("alice")
        token = self.authorization.token()
        self.assertEqual(202, self.send(bridge, token).status)
        came = alice.expect(lambda stanza: body(stanza) == "by a token")
        self.assertEqual("bot@bridge.localhost", came.get("from"))
        self.assertEqual(200, self.ask(bridge, token).status)
        self.assertQuiet(bridge, token)

    def testScopes(self) -> None:
        """
        A token does what its scopes say: send, ask, or both; without any it does nothing.
        """
        bridge = self.serve(**self.issuer())
        send, query, admin = (
            self.authorization.token(scope=f"restbridge:{scope}") for scope in ("send", "query", "admin")
        )
        self.assertEqual(202, self.send(bridge, send).status)
        self.assertInsufficient(self.ask(bridge, send), "restbridge:query")
        self.assertEqual(200, self.ask(bridge, query).status)
        self.assertInsufficient(self.send(bridge, query), "restbridge:send")
        self.assertEqual([202, 200], [self.send(bridge, admin).status, self.ask(bridge, admin).status])
        self.assertInsufficient(self.send(bridge, self.authorization.token(scope="email")), "restbridge:send")

    def testRefused(self) -> None:
        """
        Tokens for others, old ones, altered ones, and those that name nobody here are refused, each with its
        reason.
        """
        bridge = self.serve(**self.issuer())
        good = self.authorization.token()
        head, payload, signature = good.split(".")
        elsewhere, late = self.authorization.token("elsewhere"), self.authorization.token("late")
        altered = f"{head}.{payload}.{signature[::-1]}"
        self.assertInvalid(self.send(bridge, elsewhere), "is for another audience")
        self.assertInvalid(self.send(bridge, late), "has expired")
        self.assertInvalid(self.send(bridge, altered), "is signed by none of its issuer's keys")
        self.assertInvalid(self.send(bridge, self.authorization.token("clerk")), "names no account")
        self.assertInvalid(self.send(bridge, "x" * 9000), "more than 8192 characters")
        self.assertInvalid(self.send(bridge, "opaque"), "not accepted")
        self.assertEqual(202, self.send(bridge, good).status)
        self.assertQuiet(bridge, good, elsewhere, late)

    def testRotation(self) -> None:
        """
        The server takes another key while the bridge runs: new tokens are good within a minute, and those of
        the old key are not any more.
        """
        bridge = self.serve(**self.issuer())
        old = self.authorization.token()
        self.assertEqual(202, self.send(bridge, old).status)
        self.authorization.rotate()
        new = self.authorization.token()
        self.assertInvalid(self.send(bridge, new), "none of its issuer's keys")
        eventually(lambda: self.send(bridge, new).status == 202, "the new key to be known", 75, pause=1)
        self.assertInvalid(self.send(bridge, old), "none of its issuer's keys")
        # Once for either key, and once before the program served.
        self.assertEqual(3, self.authorization.asked("/jwks.json"))

    def testDown(self) -> None:
        """
        While the keys can't be had the answer is "not now", and soon after they can be had it is another;
        from then on the bridge needs the server no more.
        """
        bridge = self.serve(**self.issuer())
        token = self.authorization.token()
        self.authorization.process.kill()
        answer = self.send(bridge, token)
        self.assertEqual((503, True), (answer.status, "retry-after" in answer.headers))
        self.authorization.start()
        token, later = self.authorization.token(), self.authorization.token()
        eventually(lambda: self.send(bridge, token).status == 202, "the keys to be known", 15, pause=0.5)
        self.authorization.process.kill()
        self.assertEqual(202, self.send(bridge, later).status)

    def testTLS(self) -> None:
        """
        The server has to prove who it is, to the system's roots or to those that are configured.
        """
        self.authorization = Authorization(tls=True)
        self.addCleanup(self.authorization.close)
        token = self.authorization.start().token()
        bridge = self.serve(**self.issuer())
        self.assertEqual(503, self.send(bridge, token).status)
        self.assertIn("certificate verify failed", bridge.process.log())
        bridge.close()
        bridge = self.serve(**self.issuer(), ca_file=str(self.authorization.roots))
        self.assertEqual(202, self.send(bridge, token).status)

    def testStaticToken(self) -> None:
        """
        An account's own token does everything still.
        """
        table = componentTable(self.relay.target)
        bridge = self.startBridge(table, oauth2=self.issuer())
        self.assertEqual(200, bridge.get(PING, auth=BEARER).status)


class IntrospectionOnProsody(OAuth2Case):
    def testOpaque(self) -> None:
        """
        A token that only the server can read does what the server says, until it takes it back; the bridge
        asks once a minute.
        """
        bridge = self.serve(**self.introspection())
        good = self.authorization.token("opaque", scope="restbridge:send")
        for _ in range(3):
            self.assertEqual(202, self.send(bridge, good).status)
        self.assertInsufficient(self.ask(bridge, good), "restbridge:query")
        self.assertEqual(1, self.authorization.asked("/introspect"))
        revoked = self.authorization.token("opaque")
        self.authorization.revoke(revoked)
        self.assertInvalid(self.send(bridge, revoked), "isn't active")
        self.assertInvalid(self.send(bridge, "invented"), "isn't active")
        self.assertQuiet(bridge, good, revoked)

    def testBoth(self) -> None:
        """
        JWTs are verified here, and the server is asked about the others alone.
        """
        bridge = self.serve(**{**self.introspection(), **self.issuer(), "account_claim": "client_id"})
        self.assertEqual(202, self.send(bridge, self.authorization.token()).status)
        self.assertEqual(0, self.authorization.asked("/introspect"))
        opaque = self.authorization.token("opaque")
        self.assertInvalid(self.send(bridge, opaque), "names no account")
        self.assertEqual(1, self.authorization.asked("/introspect"))

    def testDown(self) -> None:
        """
        While the server is down the answer is "not now"; it is refused nobody.
        """
        bridge = self.serve(**self.introspection())
        token = self.authorization.token("opaque")
        self.authorization.process.kill()
        answer = self.send(bridge, token)
        self.assertEqual((503, True), (answer.status, "retry-after" in answer.headers))
        self.assertEqual(503, self.send(bridge, token).status)

    def testWrongSecret(self) -> None:
        """
        A bridge that may not ask refuses nobody either; its log says why.
        """
        bridge = self.serve(**{**self.introspection(), "client_secret": "wrong secret"})
        answer = self.send(bridge, self.authorization.token("opaque"))
        self.assertEqual(503, answer.status)
        self.assertIn("401", bridge.process.log())
        self.assertQuiet(bridge, "wrong secret")


class UsersOnProsody(OAuth2Case):
    """
    Users whose server takes the same tokens.
    """

    makeServer = TokenProsody

    def testUser(self) -> None:
        """
        The token that names a user opens the user's login, as far as its scopes go; on C{/api}, too.
        """
        users = {"localhost": usersTable(self.server.c2sPort)}
        bridge = self.startBridge(None, users=users, oauth2=self.issuer())
        assert isinstance(self.server, TokenProsody)
        query = self.authorization.token("alice@localhost", scope="restbridge:query")
        both = self.authorization.token("alice@localhost")
        for token in (query, both):
            self.assertEqual(403, self.ask(bridge, token).status)
            self.server.take(token, "alice")
        self.assertEqual(200, self.ask(bridge, query).status)
        self.assertInsufficient(self.send(bridge, query), "restbridge:send")
        self.assertEqual(202, self.send(bridge, both).status)
        self.assertEqual(200, self.client(bridge, "GET", query).status)
        refused = self.client(bridge, "POST", query)
        self.assertEqual(403, refused.status)
        self.assertIn("restbridge:send", refused.json())
        self.assertEqual(200, self.client(bridge, "POST", both).status)
        # What the header says is nothing against the token.
        self.assertEqual(401, self.client(bridge, "GET", self.authorization.token("late")).status)
        self.assertQuiet(bridge, query, both)

    def client(self, bridge: Bridge, method: str, token: str) -> Answer:
        """
        Call C{/api/messages}.
        """
        headers = {"Authorization": f"Bearer {token}", "X-XMPP-JID": "alice@localhost"}
        message = json.dumps({"to": "bob@localhost", "body": "hello"}).encode() if method == "POST" else b""
        headers |= {"Content-Type": "application/json"} if message else {}
        return ask(bridge.port, method, "/api/messages", message, headers)
