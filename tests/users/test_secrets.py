"""
L{restbridge.users.sessions}: which secrets open a session, how often one may be tried, and that none is kept.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from secrets import token_hex
from types import FunctionType, ModuleType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.jid import JID
from restbridge.users import sessions as module
from restbridge.users.sessions import LOGIN_TIMEOUT, MAX_SECRETS, RECHECK
from restbridge.web.answer import Refusal
from restbridge.web.attempts import DELAYS, TOKENS
from tests.users.case import DOMAIN, HOME, PROMISED, SessionsCase
from tests.users.fakes import FakeStream
from tests.web.client import LoggingTestCase


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
