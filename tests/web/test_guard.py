"""
L{restbridge.web.guard}
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.jid import JID
from restbridge.web.answer import Refusal
from restbridge.web.attempts import TOKENS, Attempts
from restbridge.web.credentials import Credentials, tokenHash
from restbridge.web.guard import (
    AccountPrincipal,
    Accounts,
    Guard,
    Presented,
    Principal,
    UserPrincipal,
)
from restbridge.workers import Workers
from tests.web.client import DOMAIN, FakeLink, FakeUserLink, FakeUsers, Threads, account, basic


def encoded(data: bytes) -> str:
    """
    The header of HTTP Basic for any bytes.
    """
    return "Basic " + b64encode(data).decode()


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bot = account(tokens=(tokenHash("a token"),))
        self.link = FakeLink()
        self.clock = Clock()
        # Each from somewhere else, since failures count by address.
        self.clients = (f"192.0.2.{number}" for number in count(1))
        self.guard = self.makeGuard()

    def makeGuard(self, secret: str | None = None) -> Guard:
        credentials = Credentials(
            accounts=[self.bot], workers=Workers(Threads()), attempts=Attempts(clock=self.clock)
        )
        accounts = Accounts(domain=DOMAIN, credentials=credentials, link=self.link, secret=secret)
        return Guard(accounts=accounts, users=FakeUsers())

    def ask(self, authorization: str | None, client: str | None = None) -> Deferred[Principal]:
        presented = Presented(authorization=authorization, client=client or next(self.clients))
        return Deferred.fromCoroutine(self.guard.principal(presented))

    def assertAccepted(self, authorization: str) -> None:
        principal = self.successResultOf(self.ask(authorization))
        address = JID("bot", DOMAIN, None)
        self.assertEqual(principal, AccountPrincipal(account=self.bot, address=address, link=self.link))

    def assertRefused(self, authorization: str) -> None:
        refusal = self.failureResultOf(self.ask(authorization), Refusal).value
        self.assertEqual((refusal.status, refusal.kind, refusal.condition), (403, "auth", "not-authorized"))

    def test_component(self) -> None:
        """
        Where it is configured, the domain and the component's secret act as the component; nowhere else.
        """
        header = f"Basic {b64encode(f'{DOMAIN}:the secret'.encode()).decode()}"
        self.assertRefused(header)
        self.guard = self.makeGuard(secret="the secret")
        principal = self.successResultOf(self.ask(header))
        self.assertEqual(principal.address, JID(None, DOMAIN, None))
        self.assertTrue(principal.maySendAs(JID.parse(f"anyone@{DOMAIN}/x")))
        self.assertFalse(principal.maySendAs(JID.parse("anyone@example.com")))
        self.assertRefused(f"Basic {b64encode(f'{DOMAIN}:another'.encode()).decode()}")
        self.assertAccepted(basic("bot")["Authorization"])

    def test_guessing(self) -> None:
        """
        The component's secret can't be guessed any faster than a password: 429, with the seconds to wait. Who
        has shown the right one before is let in all the same.
        """
        self.guard = self.makeGuard(secret="the secret")
        for user, right in ((DOMAIN, "the secret"), ("bot", "secret")):
            client = next(self.clients)
            header = basic(user, right)["Authorization"]
            self.successResultOf(self.ask(header, client))
            guesses = [
                self.ask(basic(user, f"guess {number}")["Authorization"], client)
                for number in range(TOKENS + 1)
            ]
            refusal = self.failureResultOf(guesses.pop(), Refusal).value
            self.assertEqual((refusal.status, refusal.condition), (429, "policy-violation"))
            self.assertEqual([name for name, _ in refusal.headers], ["Retry-After"])
            self.successResultOf(self.ask(header, client))
            self.clock.advance(60)
            self.assertEqual({self.failureResultOf(guess, Refusal).value.status for guess in guesses}, {403})

    def test_localPart(self) -> None:
        """
        The user-id may be the account's local part.
        """
        self.assertAccepted(basic("bot")["Authorization"])

    def test_bareAddress(self) -> None:
        """
        Or its whole bare address.
        """
        self.assertAccepted(basic(f"bot@{DOMAIN}")["Authorization"])

    def test_normalised(self) -> None:
        """
        Either is normalised as an address is.
        """
        self.assertAccepted(basic("BOT")["Authorization"])
        self.assertAccepted(basic(f"Bot@{DOMAIN.upper()}")["Authorization"])

    def test_otherUsers(self) -> None:
        """
        Nobody else is let in: not a namesake elsewhere, nor an address of another form.
        """
        names = (
            "",
            "@",
            "bot@",
            f"@{DOMAIN}",
            DOMAIN,
            "bot@example.com",
            f"bot@{DOMAIN}/r",
            "bot/r",
            "a@b@c",
            "b\0t",
        )
        for name in names:
            self.assertRefused(basic(name)["Authorization"])

    def test_colonInPassword(self) -> None:
        """
        Only the first colon ends the user-id (RFC 7617, section 2).
        """
        self.assertRefused(encoded(b"bot:sec:ret"))

    def test_garbage(self) -> None:
        """
        What is no Basic or Bearer credential is refused, not failed over.
        """
        for header in (
            "",
            "Basic",
            "Basic ",
            "Basic !!!",
            "Basic \udcff",
            "Basic Ym90OnNlY3JldA=",
            encoded(b"no colon"),
            encoded(b"\xff\xfe:secret"),
            encoded(b""),
            "Bearer",
            "Bearer \udcff",
            "Digest username=bot",
            "a token",
        ):
            self.assertRefused(header)

    def test_bearer(self) -> None:
        """
        A token is enough.
        """
        self.assertAccepted("Bearer a token")
        self.assertRefused("Bearer another")

    def test_scheme(self) -> None:
        """
        The scheme's name is case-insensitive (RFC 9110, section 11.1).
        """
        for scheme in ("basic", "BASIC"):
            self.assertAccepted(basic()["Authorization"].replace("Basic", scheme))
        for scheme in ("bearer", "BEARER"):
            self.assertAccepted(f"{scheme} a token")

    def test_challenges(self) -> None:
        """
        Who has no credentials is told which ones are taken.
        """
        refusal = self.failureResultOf(self.ask(None), Refusal).value
        self.assertEqual((refusal.status, refusal.condition), (401, "not-authorized"))
        schemes = [value.partition(" ")[0] for name, value in refusal.headers if name == "WWW-Authenticate"]
        self.assertEqual(schemes, ["Basic", "Bearer"])


class UserTests(SynchronousTestCase):
    """
    XMPP users of C{example.com}.
    """

    def setUp(self) -> None:
        self.link = FakeUserLink()
        self.users = FakeUsers(self.link)
        self.guard = Guard(accounts=None, users=self.users)

    def ask(self, authorization: str, user: str | None = None) -> Deferred[Principal]:
        presented = Presented(authorization=authorization, user=user, client="192.0.2.7")
        return Deferred.fromCoroutine(self.guard.principal(presented))

    def assertAccepted(self, authorization: str, user: str | None = None) -> None:
        principal = self.successResultOf(self.ask(authorization, user))
        self.assertEqual(principal, UserPrincipal(self.link))

    def assertRefused(self, authorization: str, user: str | None = None) -> None:
        refusal = self.failureResultOf(self.ask(authorization, user), Refusal).value
        self.assertEqual((refusal.status, refusal.kind, refusal.condition), (403, "auth", "not-authorized"))

    def test_password(self) -> None:
        """
        A bare address and the XMPP password let a user in, over a link of their own.
        """
        self.assertAccepted(basic("alice@example.com")["Authorization"])
        self.assertEqual(self.users.asked, [("alice@example.com", "secret", False, "192.0.2.7")])

    def test_normalised(self) -> None:
        """
        The address is normalised, and a resource in it makes no login of its own.
        """
        for name in ("ALICE@Example.COM", "alice@example.com/phone"):
            self.assertAccepted(basic(name)["Authorization"])
        self.assertEqual({user for user, *_ in self.users.asked}, {"alice@example.com"})

    def test_wrong(self) -> None:
        """
        What the server refuses is refused.
        """
        self.assertRefused(basic("alice@example.com", "wrong")["Authorization"])

    def test_notAsked(self) -> None:
        """
        No server is asked about a name that can't be a user's of a domain that is served.
        """
        for name in (
            "alice",
            "example.com",
            "alice@elsewhere.example",
            "@example.com",
            "a@b@example.com",
            "",
        ):
            self.assertRefused(basic(name)["Authorization"])
            self.assertRefused("Bearer token", name)
        self.assertEqual(self.users.asked, [])

    def test_token(self) -> None:
        """
        A token comes with the name of its user in a header.
        """
        self.assertAccepted("Bearer token", "Alice@example.com")
        self.assertEqual(self.users.asked, [("alice@example.com", "token", True, "192.0.2.7")])
        self.assertRefused("Bearer other", "alice@example.com")

    def test_subject(self) -> None:
        """
        Or it names the user itself, as a JWT does; the server says whether that is so.
        """
        token = jwt(b'{"sub": "alice@example.com", "exp": 1}')
        self.assertRefused(f"Bearer {token}")
        self.assertEqual(self.users.asked, [("alice@example.com", token, True, "192.0.2.7")])

    def test_noSubject(self) -> None:
        """
        A token that names nobody, in whatever way, is nobody's.
        """
        garbage = (b"", b"{}", b"[]", b'{"sub": 1}', b'{"sub": "a"}', b"\xff", b'{"sub": "alice@example.com"')
        for token in ("", "a.b", "a.b.c.d", "a.!.c", "a.\udcff.c", *map(jwt, garbage)):
            self.assertRefused(f"Bearer {token}")
        self.assertEqual(self.users.asked, [])

    def test_accountsFirst(self) -> None:
        """
        An account's token is the account's, whatever name comes with it.
        """
        bot = account(tokens=(tokenHash("a token"),))
        credentials = Credentials(
            accounts=[bot], workers=Workers(Threads()), attempts=Attempts(clock=Clock())
        )
        accounts = Accounts(domain=DOMAIN, credentials=credentials, link=FakeLink())
        self.guard = Guard(accounts=accounts, users=self.users)
        principal = self.successResultOf(self.ask("Bearer a token", "alice@example.com"))
        self.assertIsInstance(principal, AccountPrincipal)
        self.assertAccepted(basic("alice@example.com")["Authorization"])

    def test_sendsAs(self) -> None:
        """
        A user sends from the login's own resource, or the bare address; from nowhere else.
        """
        principal = UserPrincipal(self.link)
        self.assertEqual(principal.address, self.link.address)
        for sender in ("alice@example.com", "alice@example.com/r"):
            self.assertTrue(principal.maySendAs(JID.parse(sender)))
        for sender in ("alice@example.com/other", "bob@example.com", "bob@example.com/r", "example.com"):
            self.assertFalse(principal.maySendAs(JID.parse(sender)))

    def test_rule(self) -> None:
        """
        A refusal can say who was refused, and as whom that user may send.
        """
        principal = UserPrincipal(self.link)
        self.assertEqual(principal.name, "user alice@example.com")
        self.assertIn("sends as alice@example.com/r", principal.rule)


def jwt(payload: bytes) -> str:
    """
    A token of that payload, with nonsense for a header and a signature.
    """
    return f"e30.{urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


class AccountPrincipalTests(SynchronousTestCase):
    def maySendAs(self, *globs: str) -> list[str]:
        """
        As whom somebody with these globs may send.
        """
        principal = AccountPrincipal(
            account=account(sendAs=globs), address=JID("bot", DOMAIN, None), link=FakeLink()
        )
        senders = [
            f"bot@{DOMAIN}/r",
            f"a1@{DOMAIN}",
            f"b@{DOMAIN}",
            DOMAIN,
            "a1@example.com",
            "a1@x." + DOMAIN,
        ]
        return [sender for sender in senders if principal.maySendAs(JID.parse(sender))]

    def test_own(self) -> None:
        """
        One's own address is always allowed, with any resource.
        """
        self.assertEqual(self.maySendAs(f"b@{DOMAIN}"), [f"bot@{DOMAIN}/r", f"b@{DOMAIN}"])

    def test_globs(self) -> None:
        """
        Globs allow others.
        """
        self.assertEqual(self.maySendAs(f"a?@{DOMAIN}"), [f"bot@{DOMAIN}/r", f"a1@{DOMAIN}"])

    def test_domain(self) -> None:
        """
        The bare domain needs a glob that it fits.
        """
        self.assertIn(DOMAIN, self.maySendAs(DOMAIN))
        self.assertNotIn(DOMAIN, self.maySendAs(f"*@{DOMAIN}"))

    def test_otherDomain(self) -> None:
        """
        No glob allows another domain.
        """
        self.assertEqual(self.maySendAs("*"), [f"bot@{DOMAIN}/r", f"a1@{DOMAIN}", f"b@{DOMAIN}", DOMAIN])
