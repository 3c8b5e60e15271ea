"""
L{restbridge.users.sessions}: one login for each user, opened, shared, let go.
"""

from __future__ import annotations

import gc
from typing import Any, cast

from twisted.internet.defer import AlreadyCalledError, CancelledError, Deferred

from restbridge.stanzas.errors import LinkDown
from restbridge.web.answer import Refusal
from restbridge.web.attempts import TOKENS
from tests.users.case import DOMAIN, ELSEWHERE, IDLE, SessionsCase


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


class KeptTests(SessionsCase):
    """
    A session whose connection broke, and which the server keeps.
    """

    def setUp(self) -> None:
        super().setUp()
        self.sessions = self.makeSessions(idle=300, most=1)
        self.stream = self.opened()
        self.stream.lose()

    def test_resumed(self) -> None:
        """
        The next request logs in again and goes on with it, as do those behind it.
        """
        openings = [self.assertAsks(), self.open()]
        self.assertIs(self.logins.underWay[0].broken, self.stream)
        self.logins.resume()
        for opening in openings:
            self.assertIs(self.successResultOf(opening), self.stream)
        self.assertShared(self.stream)

    def test_place(self) -> None:
        """
        It has one place, broken, resumed or not.
        """
        for _ in range(3):
            self.assertRefused(self.open(user="bob"), 503)
            self.assertAsks()
            self.logins.resume()
            self.assertRefused(self.open(user="bob"), 503)
            self.stream.lose()
        self.stream.close()
        self.opened(user="bob")

    def test_up(self) -> None:
        """
        A secret that is checked beside a session whose connection stands is no reason to touch that.
        """
        self.assertAsks()
        self.logins.resume()
        self.assertAsks("token", isToken=True)
        self.assertIsNone(self.logins.underWay[0].broken)

    def test_otherSecrets(self) -> None:
        """
        What else was known of it still is.
        """
        self.assertAsks("token", isToken=True)
        self.logins.resume()
        self.assertShared(self.stream)
        self.assertShared(self.stream, "token", isToken=True)

    def test_notKept(self) -> None:
        """
        Where the server doesn't go on with it there is a new one, and nothing is left of the old.
        """
        ends: list[str] = []
        self.stream.whenEnded(ends.append)
        opening = self.assertAsks()
        fresh = self.logins.accept()
        self.assertIs(self.successResultOf(opening), fresh)
        self.assertIsNot(fresh, self.stream)
        self.assertEqual(len(ends), 1)
        self.assertShared(fresh)
        self.clock.advance(300)
        self.assertClosed(fresh)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        fresh.end()
        self.opened(user="bob")

    def test_expired(self) -> None:
        """
        Likewise when it has ended meanwhile.
        """
        self.stream.close()
        opening = self.assertAsks()
        self.assertIsNone(self.logins.underWay[0].broken)
        fresh = self.logins.accept()
        self.assertIs(self.successResultOf(opening), fresh)

    def test_refused(self) -> None:
        """
        A wrong secret changes nothing for it; the right one, once refused, ends it.
        """
        self.assertIsNone(self.successResultOf(self.wrong()))
        self.assertAsks()
        self.logins.resume()
        self.stream.lose()
        self.assertIsNone(self.successResultOf(self.wrong("right")))
        self.assertAsks()
        self.assertIsNone(self.logins.underWay[0].broken)

    def test_together(self) -> None:
        """
        Of two logins with different secrets one goes on with it; the other's is surplus.
        """
        byPassword, byToken = self.open(), self.open("token", isToken=True)
        self.assertNoResult(byToken)
        self.logins.resume()
        surplus = self.logins.accept()
        self.assertIs(self.successResultOf(byPassword), self.stream)
        self.assertIs(self.successResultOf(byToken), self.stream)
        self.assertClosed(surplus)
        self.assertUp(self.stream)

    def test_idle(self) -> None:
        """
        It ends when nobody has used it for long, as any other.
        """
        self.clock.advance(300)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.opened(user="bob")

    def test_stop(self) -> None:
        """
        The end of the bridge doesn't wait for it.
        """
        self.successResultOf(self.sessions.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])


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
