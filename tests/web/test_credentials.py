"""
L{restbridge.web.credentials}
"""

from __future__ import annotations

from itertools import count
from typing import Literal

from argon2 import PasswordHasher
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import Account
from restbridge.web import credentials as module
from restbridge.web.answer import Refusal
from restbridge.web.attempts import EVERY, TOKENS, Attempts
from restbridge.web.credentials import MAX_CHECKS, Credentials, tokenHash
from restbridge.workers import AT_ONCE, Workers
from tests.web.client import HASH, HASHER, Threads, account


class CredentialsCase(SynchronousTestCase):
    """
    Two accounts, one with a password.
    """

    def setUp(self) -> None:
        self.threads = Threads()
        self.bot = account(tokens=(tokenHash("a token"),))
        self.tokensOnly = account("hook", password=None, tokens=(tokenHash("another"),))
        self.clock = Clock()
        # Each from somewhere else, since failures count by address.
        self.clients = (f"192.0.2.{number}" for number in count(1))
        self.credentials = self.make(self.bot, self.tokensOnly)

    def make(self, *accounts: Account) -> Credentials:
        return Credentials(
            accounts=accounts, workers=Workers(self.threads), attempts=Attempts(clock=self.clock)
        )

    def ask(self, name: str, password: str, client: str | None = None) -> Deferred[Account | None]:
        asked = self.credentials.byPassword(name, password, client or next(self.clients))
        return Deferred.fromCoroutine(asked)

    def byPassword(self, name: str, password: str) -> Account | None:
        return self.successResultOf(self.ask(name, password))


class CredentialsTests(CredentialsCase):
    def test_right(self) -> None:
        """
        The right password opens its account.
        """
        self.assertIs(self.byPassword("bot", "secret"), self.bot)

    def test_wrong(self) -> None:
        """
        Another password doesn't.
        """
        self.assertIsNone(self.byPassword("bot", "Secret"))
        self.assertIsNone(self.byPassword("bot", ""))

    def test_unknown(self) -> None:
        """
        An unknown name takes the work of a wrong password, so that no clock tells which names exist.
        """
        self.assertIsNone(self.byPassword("nobody", "secret"))
        self.assertEqual(self.threads.calls, 1)

    def test_noPassword(self) -> None:
        """
        An account that only tokens open takes no password, after the same work.
        """
        for password in ("", "secret", "another"):
            self.assertIsNone(self.byPassword("hook", password))
        self.assertEqual(self.threads.calls, 3)

    def test_noPasswordAnywhere(self) -> None:
        """
        Where no account has a password, asking for one costs what it costs elsewhere.
        """
        self.credentials = self.make(self.tokensOnly)
        self.assertIsNone(self.byPassword("hook", "secret"))
        self.assertEqual(self.threads.calls, 1)

    def test_decoys(self) -> None:
        """
        Unknown names take the hashes of all accounts, one name always the same: nor does a clock tell them
        apart where hashes differ in what they cost.
        """
        verified: list[str] = []

        class Noting(PasswordHasher):
            def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
                verified.append(str(hash))
                return super().verify(hash, password)

        self.patch(module, "PasswordHasher", Noting)
        hashes = {HASH, HASHER.hash("another")}
        self.credentials = self.make(*(account(f"a{n}", password=each) for n, each in enumerate(hashes)))
        names = [f"nobody-{number}" for number in range(40)]
        for name in names * 2:
            self.assertIsNone(self.byPassword(name, "guess"))
        self.assertEqual((set(verified), verified[:40]), (hashes, verified[40:]))

    def test_namesake(self) -> None:
        """
        The right password of an account opens no other name, and is a failure there like any.
        """
        for _ in range(2):
            self.assertIsNone(self.byPassword("nobody", "secret"))
        self.assertEqual(self.threads.calls, 2)

    def test_remembered(self) -> None:
        """
        What was verified once costs no thread again; another password for the same account does.
        """
        for _ in range(3):
            self.assertIs(self.byPassword("bot", "secret"), self.bot)
        self.assertEqual(self.threads.calls, 1)
        self.assertIsNone(self.byPassword("bot", "wrong"))
        self.assertIs(self.byPassword("bot", "secret"), self.bot)
        self.assertEqual(self.threads.calls, 2)

    def test_failureForgotten(self) -> None:
        """
        A failure is never remembered.
        """
        for _ in range(3):
            self.assertIsNone(self.byPassword("bot", "wrong"))
        self.assertEqual(self.threads.calls, 3)

    def test_notRemembered(self) -> None:
        """
        An account of the same password isn't opened by the other's memory.
        """
        twin = account("twin", password=HASHER.hash("secret"))
        self.credentials = self.make(self.bot, twin)
        self.byPassword("bot", "secret")
        self.assertIs(self.byPassword("twin", "secret"), twin)
        self.assertEqual(self.threads.calls, 2)

    def test_brokenHash(self) -> None:
        """
        A hash that is none opens to nobody.
        """
        self.credentials = self.make(account(password="secret"))
        self.assertIsNone(self.byPassword("bot", "secret"))

    def test_surrogates(self) -> None:
        """
        A password that isn't UTF-8 is a wrong one.
        """
        self.assertIsNone(self.byPassword("bot", "\udcff"))
        self.assertIsNone(self.credentials.byToken("\udcff"))

    def test_token(self) -> None:
        """
        A token opens the account that it is configured for, and no prefix of it does.
        """
        self.assertIs(self.credentials.byToken("a token"), self.bot)
        self.assertIs(self.credentials.byToken("another"), self.tokensOnly)
        for token in ("", "a toke", "A TOKEN", tokenHash("a token"), HASH):
            self.assertIsNone(self.credentials.byToken(token))

    def test_atOnce(self) -> None:
        """
        Only a few verifications run at the same time; the others wait for their end.
        """
        self.threads.hold = True
        asked = [self.ask("bot", "secret") for _ in range(AT_ONCE + 1)]
        self.assertEqual(self.threads.calls, AT_ONCE)
        self.threads.finish()
        self.assertIs(self.successResultOf(asked[0]), self.bot)
        self.assertEqual(self.threads.calls, AT_ONCE + 1)

    def test_left(self) -> None:
        """
        A client that leaves frees no thread: those that leave at once can't make more of them run.
        """
        self.threads.hold = True
        asked = [self.ask("bot", "wrong") for _ in range(AT_ONCE)]
        for each in asked:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        waiting = self.ask("bot", "secret")
        self.assertEqual(self.threads.calls, AT_ONCE)
        for _ in range(AT_ONCE):
            self.threads.finish()
        self.threads.finish()
        self.assertIs(self.successResultOf(waiting), self.bot)

    def test_leftInLine(self) -> None:
        """
        A client that leaves before its turn costs no thread at all.
        """
        self.threads.hold = True
        asked = [self.ask("bot", "wrong") for _ in range(AT_ONCE + 1)]
        asked[-1].cancel()
        self.failureResultOf(asked[-1], CancelledError)
        for _ in range(AT_ONCE):
            self.threads.finish()
        self.assertEqual(self.threads.calls, AT_ONCE)
        for each in asked[:-1]:
            self.assertIsNone(self.successResultOf(each))


class LimitTests(CredentialsCase):
    def status(self, name: str, password: str, client: str | None = None) -> Deferred[tuple[int, str | None]]:
        """
        What becomes of a request, and when it may be made again: 403 for the wrong password, 0 for nothing.
        """
        return self.ask(name, password, client).addCallbacks(
            lambda account: (403 if account is None else 200, None), _status
        )

    def guess(
        self, times: int, client: str | None = None, name: str = "bot"
    ) -> list[Deferred[tuple[int, str | None]]]:
        """
        As many wrong passwords at once.
        """
        return [self.status(name, f"guess {number}", client) for number in range(times)]

    def finish(self) -> None:
        """
        All that runs, and what it made wait, comes to its end.
        """
        while self.threads.held:
            self.threads.finish()
        self.clock.advance(60)

    def test_address(self) -> None:
        """
        After ten failures an address gets 429 for every password that isn't known, without any work, and the
        seconds to wait; then one more is tried. It makes no difference whether the account exists.
        """
        for client, name in (("198.51.100.1", "bot"), ("198.51.100.2", "nobody")):
            self.threads.calls = 0
            guesses = self.guess(TOKENS + 3, client, name)
            self.assertEqual(self.threads.calls, TOKENS)
            for late in (*guesses[TOKENS:], self.status("bot", "secret", client)):
                self.assertEqual(self.successResultOf(late), (429, str(int(EVERY))))
            self.clock.advance(EVERY)
            for guess in guesses[:TOKENS]:
                self.assertEqual(self.successResultOf(guess), (403, None))
            _, late = self.guess(2, client, name)
            self.assertEqual(self.successResultOf(late), (429, str(int(EVERY))))
            self.assertEqual(self.threads.calls, TOKENS + 1)
            self.clock.advance(60)

    def test_slower(self) -> None:
        """
        The answers to an address that fails come later and later; those to the others don't.
        """
        guesses = self.guess(5, "198.51.100.1")
        self.assertEqual([guess.called for guess in guesses], [True] * 3 + [False] * 2)
        self.assertIs(self.byPassword("bot", "secret"), self.bot)
        self.clock.advance(4)
        self.assertEqual([guess.called for guess in guesses], [True] * 5)

    def test_lockOut(self) -> None:
        """
        Nobody locks the rightful owner out: not where the password was used before, were it from the
        guesser's own address; nor where it wasn't, from an address without failures.
        """
        twin = account("twin", password=HASHER.hash("secret"))
        self.credentials = self.make(self.bot, twin)
        self.assertIs(self.byPassword("bot", "secret"), self.bot)
        for number in range(5):
            for name in ("bot", "twin"):
                self.guess(2 * TOKENS, f"198.51.100.{number}", name)
        self.assertEqual(self.successResultOf(self.status("bot", "secret", "198.51.100.1")), (200, None))
        self.assertIs(self.byPassword("twin", "secret"), twin)
        self.finish()

    def test_right(self) -> None:
        """
        Right passwords cost an address nothing, however many come at once, and most of them no work.
        """
        self.threads.hold = True
        asked = [self.status("bot", "secret", "198.51.100.1") for _ in range(10 * TOKENS)]
        self.finish()
        for each in asked:
            self.assertEqual(self.successResultOf(each), (200, None))
        self.assertLessEqual(self.threads.calls, TOKENS)

    def test_line(self) -> None:
        """
        So many wait for their check, from wherever; who comes then is told to try again, and has failed at
        nothing. A password that is known needs no check.
        """
        self.assertIs(self.byPassword("bot", "secret"), self.bot)
        self.threads.calls, self.threads.hold = 0, True
        waiting = self.guess(MAX_CHECKS)
        for late in self.guess(2 * TOKENS, "198.51.100.1"):
            self.assertEqual(self.successResultOf(late), (503, "1"))
        self.assertIs(self.byPassword("bot", "secret"), self.bot)
        waiting.pop().cancel()
        (another,) = self.guess(1, "198.51.100.1")
        self.finish()
        for each in (*waiting, another):
            self.assertEqual(self.successResultOf(each), (403, None))
        self.assertEqual(self.threads.calls, MAX_CHECKS)

    def test_share(self) -> None:
        """
        One address takes no more than ten places in that line.
        """
        self.threads.hold = True
        guesses = self.guess(MAX_CHECKS, "198.51.100.1")
        self.assertFalse(any(guess.called for guess in guesses))
        others = self.guess(MAX_CHECKS - TOKENS + 1)
        self.assertEqual([other.called for other in others], [False] * (MAX_CHECKS - TOKENS) + [True])
        self.finish()
        self.assertEqual(self.threads.calls, MAX_CHECKS)

    def test_left(self) -> None:
        """
        A client that leaves gives its place back.
        """
        self.threads.hold = True
        for _ in range(3):
            for guess in self.guess(MAX_CHECKS, "198.51.100.1"):
                guess.cancel()
        asked = self.status("bot", "secret", "198.51.100.1")
        self.finish()
        self.assertEqual(self.successResultOf(asked), (200, None))


class ChangeTests(CredentialsCase):
    def test_accounts(self) -> None:
        """
        Other accounts count at once: a new one opens, a removed one doesn't, whatever was remembered.
        """
        self.assertIs(self.byPassword("bot", "secret"), self.bot)
        new = account("new", tokens=(tokenHash("a token"),))
        self.credentials.change([new])
        self.assertIsNone(self.byPassword("bot", "secret"))
        self.assertIs(self.byPassword("new", "secret"), new)
        self.assertEqual((new, None), (self.credentials.byToken("a token"), self.credentials.named("bot")))
        self.assertIsNone(self.credentials.byToken("another"))

    def test_takenAway(self) -> None:
        """
        A password that is taken away while it is checked opens nothing, then or later.
        """
        self.credentials = self.make(self.bot)
        self.threads.hold = True
        asked = self.ask("bot", "secret")
        self.credentials.change([account("bot", password=None, tokens=(tokenHash("a token"),))])
        for work, outcome in self.threads.held:
            outcome.callback(work())
        self.threads.hold = False
        self.assertIsNone(self.successResultOf(asked))
        self.assertIsNone(self.byPassword("bot", "secret"))

    def test_remembered(self) -> None:
        """
        What was verified needs no check again, however else the account has changed; of one that was removed
        nothing is remembered.
        """
        self.byPassword("bot", "secret")
        self.credentials.change([account(), self.tokensOnly])
        self.assertIsNotNone(self.byPassword("bot", "secret"))
        self.assertEqual(self.threads.calls, 1)
        for accounts in ([], [self.bot]):
            self.credentials.change(accounts)
        self.assertIsNotNone(self.byPassword("bot", "secret"))
        self.assertEqual(self.threads.calls, 2)

    def test_password(self) -> None:
        """
        Another password is needed at once.
        """
        self.byPassword("bot", "secret")
        changed = account(password=HASHER.hash("other"))
        self.credentials.change([changed])
        self.assertIsNone(self.byPassword("bot", "secret"))
        self.assertIs(self.byPassword("bot", "other"), changed)

    def test_meanwhile(self) -> None:
        """
        Whose password is being checked meanwhile is not let in as somebody who isn't there any more, or by a
        password that was another; where that is as it was, with what the account may now.
        """
        right = account(tokens=())
        for accounts, expected in (
            ((), None),
            ((account(password=HASHER.hash("x")),), None),
            ((right,), right),
        ):
            self.credentials = self.make(self.bot)
            self.threads.hold = True
            asked = self.ask("bot", "secret")
            self.credentials.change(accounts)
            self.threads.finish()
            self.assertIs(self.successResultOf(asked), expected)
            self.threads.hold = False
            self.assertIs(self.byPassword("bot", "secret"), expected)

    def test_decoys(self) -> None:
        """
        Where nobody has a password any more, asking for one costs what it did; none is hashed for that while
        others wait.
        """

        class Verifying(PasswordHasher):
            def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
                raise AssertionError("it holds the reactor up")

        self.patch(module, "PasswordHasher", Verifying)
        self.credentials.change([])
        self.threads.calls = 0
        self.assertIsNone(self.byPassword("bot", "secret"))
        self.assertEqual(self.threads.calls, 1)


def _status(failure: Failure) -> tuple[int, str | None]:
    failure.trap(Refusal, CancelledError)
    refusal = failure.value
    if not isinstance(refusal, Refusal):
        return 0, None
    return refusal.status, dict(refusal.headers)["Retry-After"]
