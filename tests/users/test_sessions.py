"""
L{restbridge.users.sessions}: one login for each user, shared, re-checked, let go; and nothing kept of it
that would open another.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from secrets import token_hex
from types import FunctionType, ModuleType
from typing import Any, cast

from twisted.internet.defer import AlreadyCalledError, CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.boundaries import Credential
from restbridge.config import UserDomain
from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.jid import JID
from restbridge.users import sessions as module
from restbridge.users.attempts import DELAYS, TOKENS, Attempts
from restbridge.users.sessions import LOGIN_TIMEOUT, MAX_SECRETS, RECHECK, Served, Sessions
from restbridge.web.answer import Refusal
from restbridge.xmpp.c2s import Logins
from tests.users.fakes import CLOSED, FakeLogins, FakeStream
from tests.web.client import LoggingTestCase

HOME = "192.0.2.1"
DOMAIN = "example.com"
ELSEWHERE = "example.org"
IDLE = 4 * RECHECK
"""Seconds, unless a test is about them: so many that a session outlives what its secrets are believed."""

PROMISED = 5.0
"""Seconds within which a server that can't be reached is 503."""


class SessionsCase(SynchronousTestCase):
    """
    Opens sessions at a time that is no round number.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1_700_000_000.3)
        self.logins = FakeLogins()
        self.sessions = self.makeSessions()

    def makeSessions(self, *, idle: float = IDLE, most: int = 1000) -> Sessions:
        """
        Two domains with the same settings.
        """
        served = {
            domain: Served(
                settings=UserDomain(domain=domain, idle=idle, maxSessions=most),
                logins=cast(Logins, self.logins),
            )
            for domain in (DOMAIN, ELSEWHERE)
        }
        sessions = Sessions(served=served, attempts=Attempts(clock=self.clock), clock=self.clock)
        sessions.startService()
        return sessions

    def open(
        self,
        secret: str = "right",
        *,
        isToken: bool = False,
        user: str = "alice",
        domain: str = DOMAIN,
        client: str = HOME,
    ) -> Deferred[Any]:
        credential = Credential(secret, isToken=isToken)
        return Deferred.fromCoroutine(self.sessions.open(JID(user, domain, None), credential, client))

    def opened(self, secret: str = "right", **request: Any) -> FakeStream:
        """
        The stream that a request gets by a login of its own.
        """
        opening = self.open(secret, **request)
        self.assertNoResult(opening)
        self.logins.accept()
        stream: FakeStream = self.successResultOf(opening)
        return stream

    def wrong(self, secret: str = "wrong", **request: Any) -> Deferred[Any]:
        """
        A request whose credential the server refuses.
        """
        opening = self.open(secret, **request)
        self.logins.refuse()
        return opening

    def failures(self, number: int, **request: Any) -> None:
        """
        As many different wrong passwords, one after the other.
        """
        for n in range(number):
            self.wrong(f"wrong {n}", **request)

    def assertShared(self, stream: FakeStream, secret: str = "right", **request: Any) -> None:
        """
        The next request gets the stream, without a login.
        """
        made = len(self.logins.made)
        self.assertIs(self.successResultOf(self.open(secret, **request)), stream)
        self.assertEqual(len(self.logins.made), made)

    def assertAsks(self, secret: str = "right", **request: Any) -> Deferred[Any]:
        """
        The next request waits for a login.
        """
        made = len(self.logins.made)
        opening = self.open(secret, **request)
        self.assertNoResult(opening)
        self.assertEqual(len(self.logins.made), made + 1)
        return opening

    def assertUp(self, stream: FakeStream) -> None:
        self.assertIsNone(stream.whyDown())

    def assertClosed(self, stream: FakeStream) -> None:
        self.assertEqual(stream.whyDown(), CLOSED)

    def assertRefused(self, opening: Deferred[Any], status: int, retryAfter: int = 1) -> Refusal:
        """
        The request is refused, and told when to try again.
        """
        refusal = self.failureResultOf(opening, Refusal).value
        self.assertEqual(refusal.status, status)
        self.assertEqual(refusal.headers, (("Retry-After", str(retryAfter)),))
        return cast(Refusal, refusal)


class SharedTests(SessionsCase):
    """
    One login for as many requests as there are.
    """

    def test_serves(self) -> None:
        """
        Domains that are configured are served, others aren't.
        """
        self.assertTrue(self.sessions.serves(ELSEWHERE))
        self.assertFalse(self.sessions.serves("example.net"))

    def test_second(self) -> None:
        """
        The second request makes no login.
        """
        stream = self.opened()
        self.assertEqual(stream.address.bare, "alice@example.com")
        self.assertShared(stream)
        self.assertShared(stream, client="192.0.2.2")

    def test_together(self) -> None:
        """
        Fifty first requests with the same secret make one login.
        """
        openings = [self.open() for _ in range(50)]
        stream = self.logins.accept()
        for opening in openings:
            self.assertIs(self.successResultOf(opening), stream)
        self.assertEqual(self.logins.made, ["alice@example.com"])

    def test_ofEachUser(self) -> None:
        """
        Users have a login each, whatever their secrets; namesakes of two domains are two users.
        """
        users = [("alice", DOMAIN), ("bob", DOMAIN), ("alice", ELSEWHERE)]
        openings = [self.open(user=user, domain=domain) for user, domain in users]
        for (user, domain), opening in zip(users, openings, strict=True):
            stream = self.logins.accept()
            self.assertIs(self.successResultOf(opening), stream)
            self.assertEqual(stream.address.bare, f"{user}@{domain}")
            self.assertShared(stream, user=user, domain=domain)

    def test_differentSecrets(self) -> None:
        """
        First requests with different secrets make a login each. Where both succeed one stream is enough,
        and both secrets are known.
        """
        byPassword, byToken = self.open(), self.open("token", isToken=True)
        self.assertNoResult(byPassword)
        kept, surplus = self.logins.accept(), self.logins.accept()
        self.assertIs(self.successResultOf(byPassword), kept)
        self.assertIs(self.successResultOf(byToken), kept)
        self.assertUp(kept)
        self.assertClosed(surplus)
        surplus.end()
        self.assertShared(kept)
        self.assertShared(kept, "token", isToken=True)

    def test_oneOfThemRight(self) -> None:
        """
        Of different secrets at once the right one gets in, the wrong one doesn't, whichever comes first.
        """
        for user, rightFirst in (("alice", True), ("bob", False)):
            wrong, right = self.open("wrong", user=user), self.open(user=user)
            if rightFirst:
                stream = self.logins.accept(1)
                self.logins.refuse()
            else:
                self.logins.refuse()
                stream = self.logins.accept()
            self.assertIsNone(self.successResultOf(wrong))
            self.assertIs(self.successResultOf(right), stream)
            self.assertUp(stream)

    def test_refusedTogether(self) -> None:
        """
        Requests with the same wrong secret are refused together, which counts as one failure.
        """
        openings = [self.open("wrong") for _ in range(3 * TOKENS)]
        self.logins.refuse()
        for opening in openings:
            self.assertIsNone(self.successResultOf(opening))
        self.assertEqual(len(self.logins.made), 1)
        self.assertAsks()

    def test_downTogether(self) -> None:
        """
        When nobody can say they are all told so; the next request asks again.
        """
        openings = [self.open() for _ in range(3)]
        self.logins.fail(LinkDown("can't connect"))
        for opening in openings:
            self.assertEqual(self.assertRefused(opening, 503).text, "example.com: can't connect")
        self.assertAsks()


class LeavingTests(SessionsCase):
    """
    Requests whose client doesn't wait for the answer.
    """

    def leave(self, opening: Deferred[Any]) -> None:
        opening.cancel()
        self.failureResultOf(opening, CancelledError)

    def test_first(self) -> None:
        """
        When the request leaves that the login began with, others still get it, those that come later too.
        """
        first, second = self.open(), self.open()
        self.leave(first)
        third = self.open()
        stream = self.logins.accept()
        self.assertIs(self.successResultOf(second), stream)
        self.assertIs(self.successResultOf(third), stream)
        self.assertEqual(len(self.logins.made), 1)

    def test_another(self) -> None:
        """
        Nor does it matter to them when another leaves.
        """
        first, second = self.open(), self.open()
        self.leave(second)
        stream = self.logins.accept()
        self.assertIs(self.successResultOf(first), stream)

    def test_all(self) -> None:
        """
        When all leave, the login goes on: it serves the next request.
        """
        for opening in [self.open(), self.open()]:
            self.leave(opening)
        self.assertShared(self.logins.accept())

    def test_allRefused(self) -> None:
        """
        A refusal counts also if nobody waits for it.
        """
        for n in range(TOKENS):
            self.leave(self.open(f"wrong {n}"))
            self.logins.refuse()
        self.assertRefused(self.open(), 429, 6)

    def test_byAnother(self) -> None:
        """
        A request that leaves on account of another's answer leaves the rest of them unharmed.
        """
        first, second, third = self.open(), self.open(), self.open()
        first.addCallback(lambda _: second.cancel())
        stream = self.logins.accept()
        self.failureResultOf(second, CancelledError)
        gc.collect()
        self.flushLoggedErrors(AlreadyCalledError)
        self.assertIs(self.successResultOf(third), stream)


class SecretsTests(SessionsCase):
    """
    Which secrets open a session that is there.
    """

    def token(self, name: str) -> FakeStream:
        """
        The stream by which the server accepts one more token, while there is a session.
        """
        opening = self.assertAsks(name, isToken=True)
        surplus = self.logins.accept()
        self.successResultOf(opening)
        surplus.end()
        return surplus

    def test_wrong(self) -> None:
        """
        A wrong password beside an open session is asked about, refused, and changes nothing.
        """
        stream = self.opened()
        opening = self.assertAsks("wrong")
        self.logins.refuse()
        self.assertIsNone(self.successResultOf(opening))
        self.assertUp(stream)
        self.assertShared(stream)
        self.assertAsks("wrong")

    def test_similar(self) -> None:
        """
        Secrets are the same only to the letter; a password is no token, nor another user's password.
        """
        self.opened()
        for secret in ("Right", "right ", "righ", "", "right\0", "r\u0131ght"):
            self.assertAsks(secret)
        self.assertAsks(isToken=True)
        self.assertAsks(user="bob")

    def test_anyBytes(self) -> None:
        """
        A token may be of any bytes, as headers are.
        """
        stream = self.opened("\udcff", isToken=True)
        self.assertShared(stream, "\udcff", isToken=True)

    def test_newPassword(self) -> None:
        """
        When another password is accepted, the session goes on with it; the old one is known no more.
        """
        stream = self.opened()
        opening = self.assertAsks("new")
        surplus = self.logins.accept()
        self.assertIs(self.successResultOf(opening), stream)
        self.assertClosed(surplus)
        self.assertShared(stream, "new")
        old = self.assertAsks()
        self.logins.refuse()
        self.assertIsNone(self.successResultOf(old))
        self.assertUp(stream)
        self.assertShared(stream, "new")

    def test_tokenBesidePassword(self) -> None:
        """
        A token opens the session beside the password; so do several, and a new password leaves them be.
        """
        stream = self.opened()
        self.token("one")
        self.token("two")
        self.assertShared(stream)
        self.assertAsks("new")
        self.logins.accept()
        for name in ("one", "two"):
            self.assertShared(stream, name, isToken=True)

    def test_passwordBesideToken(self) -> None:
        """
        And the password beside a token.
        """
        stream = self.opened("one", isToken=True)
        self.assertAsks()
        self.logins.accept()
        self.assertShared(stream)
        self.assertShared(stream, "one", isToken=True)

    def test_manyTokens(self) -> None:
        """
        Of more secrets than are kept, those that were checked last are known, and it stays one session.
        """
        stream = self.opened("token 0", isToken=True)
        for n in range(1, MAX_SECRETS):
            self.assertClosed(self.token(f"token {n}"))
        for n in range(MAX_SECRETS):
            self.assertShared(stream, f"token {n}", isToken=True)
        self.token("one more")
        for n in range(1, MAX_SECRETS):
            self.assertShared(stream, f"token {n}", isToken=True)
        self.assertAsks("token 0", isToken=True)
        self.assertUp(stream)


class RecheckTests(SessionsCase):
    """
    Secrets are believed for some time, and then asked about.
    """

    def test_believed(self) -> None:
        """
        Until then there is no login, however often the secret is used.
        """
        stream = self.opened()
        for _ in range(9):
            self.clock.advance(RECHECK / 10)
            self.assertShared(stream)
        self.clock.advance(RECHECK / 10)
        self.assertAsks()

    def test_accepted(self) -> None:
        """
        Many requests share one login then; the session stays, and the secret is believed as long again.
        """
        stream = self.opened()
        self.clock.advance(RECHECK)
        openings = [self.open() for _ in range(50)]
        self.assertEqual(len(self.logins.made), 2)
        surplus = self.logins.accept()
        for opening in openings:
            self.assertIs(self.successResultOf(opening), stream)
        self.assertUp(stream)
        self.assertClosed(surplus)
        self.clock.advance(RECHECK - 1)
        self.assertShared(stream)
        self.clock.advance(1)
        self.assertAsks()

    def test_refused(self) -> None:
        """
        When the server refuses it the session is closed, since nobody else knows how to use it.
        """
        stream = self.opened()
        self.clock.advance(RECHECK)
        openings = [self.open() for _ in range(3)]
        self.logins.refuse()
        for opening in openings:
            self.assertIsNone(self.successResultOf(opening))
        self.assertClosed(stream)
        self.assertAsks()

    def test_refusedOneOfTwo(self) -> None:
        """
        A token that has expired is known no more; the session stays for the password.
        """
        stream = self.opened()
        self.clock.advance(1)
        self.assertAsks("token", isToken=True)
        self.logins.accept()
        self.clock.advance(RECHECK - 1)
        self.assertAsks()
        self.logins.accept()
        self.clock.advance(1)
        expired = self.assertAsks("token", isToken=True)
        self.logins.refuse()
        self.assertIsNone(self.successResultOf(expired))
        self.assertShared(stream)

    def test_apart(self) -> None:
        """
        Who uses a secret that was checked lately doesn't wait while another is.
        """
        stream = self.opened()
        self.clock.advance(1)
        self.assertAsks("token", isToken=True)
        self.logins.accept()
        self.clock.advance(RECHECK - 1)
        self.assertAsks()
        self.assertShared(stream, "token", isToken=True)

    def test_down(self) -> None:
        """
        When nobody can say it is 503, and the session lives: the next request asks again.
        """
        stream = self.opened()
        self.clock.advance(RECHECK)
        opening = self.assertAsks()
        self.logins.fail(LinkDown("can't connect"))
        self.assertRefused(opening, 503)
        self.assertUp(stream)
        again = self.assertAsks()
        self.logins.accept()
        self.assertIs(self.successResultOf(again), stream)

    def test_endedMeanwhile(self) -> None:
        """
        When the session ends meanwhile, the login that was to check it takes its place.
        """
        stream = self.opened()
        self.clock.advance(RECHECK)
        opening = self.assertAsks()
        stream.end()
        fresh = self.logins.accept()
        self.assertIs(self.successResultOf(opening), fresh)
        self.assertUp(fresh)
        self.assertShared(fresh)


class EndTests(SessionsCase):
    """
    What ends a session, and what comes after.
    """

    def setUp(self) -> None:
        super().setUp()
        self.sessions = self.makeSessions(idle=300)

    def test_ended(self) -> None:
        """
        After the server has ended a session the next request logs in again; no timer is left of the old.
        """
        self.opened().end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertShared(self.opened())

    def test_deleted(self) -> None:
        """
        If the account is gone, that request is refused.
        """
        self.opened().end()
        opening = self.assertAsks()
        self.logins.refuse()
        self.assertIsNone(self.successResultOf(opening))

    def test_stillClosing(self) -> None:
        """
        A session that is being closed is used no more, and its end is not that of the next one.
        """
        old = self.opened()
        self.clock.advance(300)
        fresh = self.opened()
        self.assertIsNot(fresh, old)
        old.end()
        self.assertShared(fresh)
        self.clock.advance(299)
        self.assertUp(fresh)
        self.clock.advance(1)
        self.assertClosed(fresh)

    def test_idle(self) -> None:
        """
        A session that nobody uses is closed after exactly so many seconds.
        """
        stream = self.opened()
        self.clock.advance(299.75)
        self.assertUp(stream)
        self.clock.advance(0.25)
        self.assertClosed(stream)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_used(self) -> None:
        """
        Each use puts that off, as long as the session is used.
        """
        stream = self.opened()
        for _ in range(3):
            self.clock.advance(200)
            self.assertShared(stream)
        self.clock.advance(299.75)
        self.assertUp(stream)
        self.clock.advance(0.25)
        self.assertClosed(stream)

    def test_anotherSecret(self) -> None:
        """
        A secret that the server has just accepted is a use, too.
        """
        stream = self.opened()
        self.clock.advance(200)
        self.assertAsks("token", isToken=True)
        self.logins.accept()
        self.clock.advance(299)
        self.assertUp(stream)

    def test_wrong(self) -> None:
        """
        A wrong password is no use: nobody keeps another's session open.
        """
        stream = self.opened()
        self.clock.advance(200)
        self.wrong()
        self.clock.advance(100)
        self.assertClosed(stream)

    def test_busy(self) -> None:
        """
        A session is not closed while somebody waits for an answer by it, but when it was idle long enough
        after that.
        """
        stream = self.opened()
        stream.busy = True
        self.clock.pump([300.0] * 10)
        self.assertUp(stream)
        self.clock.advance(150)
        stream.busy = False
        self.clock.advance(149)
        self.assertUp(stream)
        self.clock.advance(301)
        self.assertClosed(stream)

    def test_nobodyWaited(self) -> None:
        """
        A login that nobody waited for any more is let go like any other.
        """
        self.open().addErrback(lambda why: why.trap(CancelledError)).cancel()
        stream = self.logins.accept()
        self.clock.advance(300)
        self.assertClosed(stream)


class PlacesTests(SessionsCase):
    """
    How many sessions a domain has at most: two, here.
    """

    def setUp(self) -> None:
        super().setUp()
        self.sessions = self.makeSessions(most=2)

    def assertFull(self, **request: Any) -> None:
        """
        A newcomer is told so, without a login.
        """
        made = len(self.logins.made)
        refusal = self.assertRefused(self.open(**{"user": "newcomer", **request}), 503)
        self.assertIn("2", cast(str, refusal.text))
        self.assertEqual(len(self.logins.made), made)

    def test_full(self) -> None:
        """
        Beyond it a newcomer gets 503; those who have a session go on.
        """
        streams = {user: self.opened(user=user) for user in ("alice", "bob")}
        self.assertFull()
        for user, stream in streams.items():
            self.assertShared(stream, user=user)

    def test_ofEachDomain(self) -> None:
        """
        Another domain has places of its own.
        """
        for user in ("alice", "bob"):
            self.opened(user=user)
            self.opened(user=user, domain=ELSEWHERE)
        self.assertFull()
        self.assertFull(domain=ELSEWHERE)

    def test_underWay(self) -> None:
        """
        Logins under way count.
        """
        self.opened()
        self.open(user="bob")
        self.assertFull()

    def test_failed(self) -> None:
        """
        When one of them comes to nothing, however it does, there is a place again.
        """
        self.opened()
        for error in (LinkDown("can't connect"), ZeroDivisionError()):
            bob = self.open(user="bob")
            self.assertFull()
            self.logins.fail(error)
            self.failureResultOf(bob)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertIsNone(self.successResultOf(self.wrong(user="bob")))
        self.assertShared(self.opened(user="newcomer"), user="newcomer")

    def test_ended(self) -> None:
        """
        So there is when a session has ended: one that is being closed still has its place.
        """
        stream = self.opened()
        self.clock.advance(1)
        self.opened(user="bob")
        self.clock.advance(IDLE - 1)
        self.assertClosed(stream)
        self.assertFull()
        stream.end()
        self.opened(user="newcomer")
        self.assertFull(user="alice")

    def test_surplus(self) -> None:
        """
        What is checked beside a session needs no free place, and takes one no longer than it lasts.
        """
        stream = self.opened()
        self.opened(user="bob")
        opening = self.assertAsks("token", isToken=True)
        surplus = self.logins.accept()
        self.assertIs(self.successResultOf(opening), stream)
        stream.end()
        self.assertFull()
        surplus.end()
        self.opened(user="newcomer")


class AttemptsTests(SessionsCase):
    """
    Wrong passwords make their sender wait, and nobody else.
    """

    def test_usedUp(self) -> None:
        """
        After too many failures a try is 429, with the time after which to try again, and no login.
        """
        self.failures(TOKENS)
        made = len(self.logins.made)
        refusal = self.assertRefused(self.open(user="bob"), 429, 6)
        self.assertEqual((refusal.kind, refusal.condition), ("wait", "policy-violation"))
        self.assertEqual(len(self.logins.made), made)
        self.clock.advance(6)
        self.opened(user="bob")

    def test_whose(self) -> None:
        """
        Failures are those of an address, and, where it has any, of a user.
        """
        for n in range(TOKENS):
            self.wrong(f"wrong {n}", client=f"198.51.100.{n}")
        self.wrong(user="bob")
        self.assertRefused(self.open(), 429, 6)
        self.opened(user="bob")
        self.opened(client="192.0.2.2")

    def test_whatIsNoFailure(self) -> None:
        """
        Neither a right secret counts, nor what nobody can say anything about.
        """
        self.sessions = self.makeSessions(most=1)
        for _ in range(2 * TOKENS):
            self.assertRefused(self.down(), 503)
            stream = self.opened()
            self.assertRefused(self.open(user="newcomer"), 503)
            stream.end()

    def down(self) -> Deferred[Any]:
        opening = self.open()
        self.logins.fail(LinkDown("can't connect"))
        return opening

    def test_openSession(self) -> None:
        """
        Who has a session doesn't notice the failures of others at the same address.
        """
        stream = self.opened()
        self.failures(TOKENS)
        self.assertShared(stream)

    def test_remembered(self) -> None:
        """
        Nor does a secret that the server has accepted before, when its session is gone or it is due to be
        checked.
        """
        stream = self.opened()
        self.failures(TOKENS)
        stream.end()
        stream = self.opened()
        self.clock.advance(RECHECK)
        self.failures(TOKENS)
        opening = self.assertAsks()
        self.logins.accept()
        self.assertIs(self.successResultOf(opening), stream)

    def test_rememberedWhileDown(self) -> None:
        """
        Not even if nobody could say meanwhile.
        """
        self.opened().end()
        self.failures(TOKENS)
        self.assertRefused(self.down(), 503)
        self.opened()

    def test_rememberedNoMore(self) -> None:
        """
        After the server has refused it, it is held up like any other.
        """
        self.opened().end()
        self.failures(TOKENS)
        opening = self.assertAsks()
        self.logins.refuse()
        self.assertIsNone(self.successResultOf(opening))
        self.assertRefused(self.open(), 429, 6)

    def test_rememberedBounded(self) -> None:
        """
        Of too many secrets those are remembered that were accepted last.
        """
        self.patch(module, "MAX_REMEMBERED", 2)
        for user in ("alice", "bob", "alice", "carol"):
            self.opened(user=user).end()
        self.failures(TOKENS, user="mallory")
        self.opened(user="alice")
        self.opened(user="carol")
        self.assertRefused(self.open(user="bob"), 429, 6)

    def test_delayed(self) -> None:
        """
        The answer to a failure is held back as it is for such a number of failures.
        """
        for number, delay in enumerate(DELAYS):
            refused = self.wrong(f"wrong {number}")
            if delay:
                self.clock.advance(delay - 0.25)
                self.assertNoResult(refused)
                self.clock.advance(0.25)
            self.assertIsNone(self.successResultOf(refused))

    def test_delayedTogether(self) -> None:
        """
        Who comes with the same wrong secret meanwhile waits along, and the right one doesn't wait.
        """
        self.failures(3)
        first = self.wrong()
        second = self.open("wrong")
        stream = self.opened()
        self.assertUp(stream)
        self.clock.advance(0.75)
        for refused in (first, second):
            self.assertNoResult(refused)
        self.clock.advance(0.25)
        for refused in (first, second):
            self.assertIsNone(self.successResultOf(refused))
        self.assertEqual(len(self.logins.made), 5)

    def test_manyUsers(self) -> None:
        """
        Fifty users of one address who come at once all get in.
        """
        openings = [self.open(user=f"user{n}") for n in range(50)]
        while self.logins.underWay:
            self.assertLessEqual(len(self.logins.underWay), TOKENS)
            self.logins.accept()
        for opening in openings:
            self.assertUp(self.successResultOf(opening))

    def test_manyUsersOfASilentServer(self) -> None:
        """
        If the server says nothing, all of them are told so in time, not one batch after the other.
        """
        openings = [self.open(user=f"user{n}") for n in range(3 * TOKENS)]
        self.clock.advance(LOGIN_TIMEOUT)
        for _ in list(self.logins.underWay):
            self.logins.fail(LinkDown("no login in time"))
        self.clock.advance(PROMISED - LOGIN_TIMEOUT)
        for opening in openings:
            self.assertRefused(opening, 503)


class StopTests(SessionsCase):
    """
    The end of the bridge.
    """

    def test_stop(self) -> None:
        """
        All sessions are closed; it is over when all connections are gone.
        """
        alice, bob = self.opened(), self.opened(user="bob")
        elsewhere = self.opened(domain=ELSEWHERE)
        stopped = self.sessions.stopService()
        for stream in (alice, bob, elsewhere):
            self.assertClosed(stream)
            self.assertNoResult(stopped)
            stream.end()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothingOpen(self) -> None:
        """
        Without sessions it is over at once.
        """
        self.successResultOf(self.sessions.stopService())

    def test_underWay(self) -> None:
        """
        A login that finishes afterwards is closed, and whoever waits for it gets 503.
        """
        opening = self.open()
        self.successResultOf(self.sessions.stopService())
        stream = self.logins.accept()
        self.assertClosed(stream)
        self.assertRefused(opening, 503)
        stream.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_afterwards(self) -> None:
        """
        Afterwards a request is 503 without a login.
        """
        stream = self.opened()
        self.sessions.stopService()
        for secret in ("right", "another"):
            self.assertRefused(self.open(secret), 503)
        stream.end()
        self.assertRefused(self.open(), 503)
        self.assertEqual(len(self.logins.made), 1)

    def test_startedAgain(self) -> None:
        """
        What is started again serves again.
        """
        self.successResultOf(self.sessions.stopService())
        self.sessions.startService()
        self.opened()


class FaultTests(SessionsCase):
    """
    What nobody has thought of.
    """

    def test_unexpected(self) -> None:
        """
        It reaches all who wait and the log, and the next request tries again.
        """
        openings = [self.open() for _ in range(3)]
        self.logins.fail(ZeroDivisionError())
        for opening in openings:
            self.assertEqual(self.failureResultOf(opening, Refusal).value.status, 500)
        self.assertNotEqual(self.flushLoggedErrors(ZeroDivisionError), [])
        self.opened()

    def test_nobodyWaits(self) -> None:
        """
        It reaches the log also if nobody waits.
        """
        self.open().addErrback(lambda why: why.trap(CancelledError)).cancel()
        self.logins.fail(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_besideSession(self) -> None:
        """
        The session lives on.
        """
        stream = self.opened()
        opening = self.assertAsks("another")
        self.logins.fail(ZeroDivisionError())
        self.failureResultOf(opening, Refusal)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertShared(stream)

    def test_noFailure(self) -> None:
        """
        It is not held against whoever asked.
        """
        for n in range(2 * TOKENS):
            self.failureResultOf(self.faulty(f"secret {n}"), Refusal)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertAsks()

    def faulty(self, secret: str) -> Deferred[Any]:
        opening = self.open(secret)
        self.logins.fail(ZeroDivisionError())
        return opening


def texts(root: object) -> Iterator[str | bytes]:
    """
    All texts that are reachable from an object: by attributes, containers, closures, suspended coroutines.
    """
    seen: dict[int, object] = {}
    left = [root]
    while left:
        found = left.pop()
        if isinstance(found, str | bytes):
            yield found
        elif id(found) not in seen and not isinstance(found, ModuleType | type):
            seen[id(found)] = found
            if isinstance(found, FunctionType):
                # Not by its globals: they lead everywhere.
                left += [found.__closure__, found.__defaults__, found.__kwdefaults__]
            else:
                left += gc.get_referents(found)


class ForgottenTests(SessionsCase, LoggingTestCase):
    """
    A secret is used and forgotten.
    """

    def holds(self, secret: str) -> bool:
        """
        Whether a secret is somewhere in the sessions, or below.
        """
        return any(
            secret in text if isinstance(text, str) else secret.encode() in text
            for text in texts(self.sessions)
        )

    def assertForgotten(self, secret: str, credential: weakref.ref[Credential]) -> None:
        gc.collect()
        self.assertIsNone(credential())
        self.assertFalse(self.holds(secret))
        self.assertNotIn(secret, "\n".join(self.logged))

    def use(self, *, isToken: bool) -> tuple[str, weakref.ref[Credential], Deferred[Any]]:
        """
        A request with a secret that nobody else has.
        """
        credential = Credential(token_hex(16), isToken=isToken)
        opening = Deferred.fromCoroutine(self.sessions.open(JID("alice", DOMAIN, None), credential, HOME))
        return credential.secret, weakref.ref(credential), opening

    def test_underWay(self) -> None:
        """
        It is there while the login is under way (or these tests would prove nothing).
        """
        secret, credential, opening = self.use(isToken=False)
        gc.collect()
        self.assertIsNotNone(credential())
        self.assertTrue(self.holds(secret))
        self.assertNoResult(opening)

    def test_outcomes(self) -> None:
        """
        Nothing is left of it when the login is over, however it ends, neither in memory nor in the log.
        """
        for isToken in (False, True):
            for settle in (self.logins.accept, self.logins.refuse, self.down):
                secret, credential, opening = self.use(isToken=isToken)
                settle()
                self.assertTrue(opening.called)
                opening.addErrback(lambda why: why.trap(Refusal) and None)
                self.assertForgotten(secret, credential)

    def down(self) -> None:
        self.logins.fail(LinkDown("can't connect"))

    def test_unexpected(self) -> None:
        """
        Nor after a fault.
        """
        secret, credential, opening = self.use(isToken=False)
        self.logins.fail(ZeroDivisionError())
        opening.addErrback(lambda why: why.trap(Refusal) and None)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertForgotten(secret, credential)

    def test_left(self) -> None:
        """
        Nor when nobody waited for it.
        """
        secret, credential, opening = self.use(isToken=False)
        opening.addErrback(lambda why: why.trap(CancelledError) and None).cancel()
        self.logins.accept()
        self.assertForgotten(secret, credential)

    def test_shared(self) -> None:
        """
        Nor of one that opened a session that was there already.
        """
        secret, _, _ = self.use(isToken=False)
        stream = self.logins.accept()
        credential = Credential(secret)
        self.assertIs(
            self.successResultOf(
                Deferred.fromCoroutine(self.sessions.open(JID("alice", DOMAIN, None), credential, HOME))
            ),
            stream,
        )
        reference = weakref.ref(credential)
        del credential
        self.assertForgotten(secret, reference)

    def test_tooMany(self) -> None:
        """
        Nor of one that could not be tried.
        """
        self.failures(TOKENS)
        self.clock.advance(4)
        secret, credential, opening = self.use(isToken=False)
        opening.addErrback(lambda why: why.trap(Refusal) and None)
        self.assertForgotten(secret, credential)
