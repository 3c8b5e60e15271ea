"""
L{restbridge.web.credentials}
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import Account
from restbridge.web.credentials import Credentials, tokenHash
from restbridge.workers import AT_ONCE, Workers
from tests.web.client import HASH, HASHER, Threads, account


class CredentialsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.threads = Threads()
        self.bot = account(tokens=(tokenHash("a token"),))
        self.tokensOnly = account("hook", password=None, tokens=(tokenHash("another"),))
        self.credentials = Credentials(accounts=[self.bot, self.tokensOnly], workers=Workers(self.threads))

    def ask(self, name: str, password: str) -> Deferred[Account | None]:
        return Deferred.fromCoroutine(self.credentials.byPassword(name, password))

    def byPassword(self, name: str, password: str) -> Account | None:
        return self.successResultOf(self.ask(name, password))

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
        self.credentials = Credentials(accounts=[self.tokensOnly], workers=Workers(self.threads))
        self.assertIsNone(self.byPassword("hook", "secret"))
        self.assertEqual(self.threads.calls, 1)

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
        self.credentials = Credentials(accounts=[self.bot, twin], workers=Workers(self.threads))
        self.byPassword("bot", "secret")
        self.assertIs(self.byPassword("twin", "secret"), twin)
        self.assertEqual(self.threads.calls, 2)

    def test_brokenHash(self) -> None:
        """
        A hash that is none opens to nobody.
        """
        self.credentials = Credentials(accounts=[account(password="secret")], workers=Workers(self.threads))
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
