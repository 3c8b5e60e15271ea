"""
L{restbridge.web.guard}
"""

from __future__ import annotations

from base64 import b64encode

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.jid import JID
from restbridge.web.answer import Refusal
from restbridge.web.credentials import Credentials, tokenHash
from restbridge.web.guard import Guard, Principal
from tests.web.client import DOMAIN, Threads, account, basic


def encoded(data: bytes) -> str:
    """
    The header of HTTP Basic for any bytes.
    """
    return "Basic " + b64encode(data).decode()


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bot = account(tokens=(tokenHash("a token"),))
        self.guard = Guard(domain=DOMAIN, credentials=Credentials(accounts=[self.bot], threads=Threads()))

    def ask(self, authorization: str | None) -> Deferred[Principal]:
        return Deferred.fromCoroutine(self.guard.principal(authorization))

    def assertAccepted(self, authorization: str) -> None:
        principal = self.successResultOf(self.ask(authorization))
        self.assertEqual(principal, Principal(account=self.bot, address=JID("bot", DOMAIN, None)))

    def assertRefused(self, authorization: str) -> None:
        refusal = self.failureResultOf(self.ask(authorization), Refusal).value
        self.assertEqual((refusal.status, refusal.kind, refusal.condition), (403, "auth", "not-authorized"))

    def test_component(self) -> None:
        """
        Where it is configured, the domain and the component's secret act as the component; nowhere else.
        """
        header = f"Basic {b64encode(f'{DOMAIN}:the secret'.encode()).decode()}"
        self.assertRefused(header)
        credentials = Credentials(accounts=[self.bot], threads=Threads())
        self.guard = Guard(domain=DOMAIN, credentials=credentials, secret="the secret")
        principal = self.successResultOf(self.ask(header))
        self.assertEqual(principal.address, JID(None, DOMAIN, None))
        self.assertTrue(principal.maySendAs(JID.parse(f"anyone@{DOMAIN}/x")))
        self.assertFalse(principal.maySendAs(JID.parse("anyone@example.com")))
        self.assertRefused(f"Basic {b64encode(f'{DOMAIN}:another'.encode()).decode()}")
        self.assertAccepted(basic("bot")["Authorization"])

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


class PrincipalTests(SynchronousTestCase):
    def maySendAs(self, *globs: str) -> list[str]:
        """
        As whom somebody with these globs may send.
        """
        principal = Principal(account=account(sendAs=globs), address=JID("bot", DOMAIN, None))
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
