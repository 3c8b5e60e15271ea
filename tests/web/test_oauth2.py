"""
L{restbridge.web.oauth2}, as it is put together, and as the guard asks it.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from restbridge.stanzas.jid import JID
from restbridge.tap import assemble
from restbridge.web.answer import Refusal
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials
from restbridge.web.grants import QUERY, SEND
from restbridge.web.guard import AccountPrincipal, Accounts, Guard, Presented, Principal, UserPrincipal
from restbridge.workers import Workers
from tests.config.written import Written
from tests.live.servers import writeCertificate
from tests.web.client import (
    DOMAIN,
    FakeLink,
    FakeUserLink,
    FakeUsers,
    account,
)
from tests.web.issuer import (
    AUDIENCE,
    ISSUER,
    OTHER,
    introspecting,
    token,
)
from tests.web.oauth2case import INTROSPECT, OAuth2TestCase


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
