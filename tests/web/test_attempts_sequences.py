"""
L{restbridge.web.attempts}, whatever happens in which order.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from restbridge.web.attempts import EVERY, TOKENS, Attempt, Attempts, TooManyAttempts

HOME = "192.0.2.1"
ALICE = "alice@example.com"
BOB = "bob@example.com"


class AnySequence(RuleBasedStateMachine):
    """
    Three addresses try two JIDs in any order, with any outcome, at any time.

    @ivar begun: by address, when the tries began that have failed.
    @ivar known: by address, when they were known to have failed.
    @ivar lockedOut: addresses refused without a failure on record.
    """

    ADDRESSES = ("192.0.2.1", "192.0.2.2", "2001:db8::1")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.attempts = Attempts(clock=self.clock)
        self.beginnings: list[Deferred[None]] = []
        self.underWay: list[tuple[str, float, Attempt]] = []
        self.begun: dict[str, list[float]] = {address: [] for address in self.ADDRESSES}
        self.known: dict[str, list[float]] = {address: [] for address in self.ADDRESSES}
        self.lockedOut: list[str] = []

    @rule(client=st.sampled_from(ADDRESSES), account=st.sampled_from([ALICE, BOB]), number=st.integers(1, 15))
    def begin(self, client: str, account: str, number: int) -> None:
        for _ in range(number):
            beginning = Deferred.fromCoroutine(self.attempts.begin(client, account))
            outcome = beginning.addCallbacks(
                self.through, self.refused, callbackArgs=(client,), errbackArgs=(client,)
            )
            self.beginnings.append(outcome)

    def through(self, attempt: Attempt, client: str) -> None:
        self.underWay.append((client, self.clock.seconds(), attempt))

    def refused(self, why: Failure, client: str) -> None:
        if not why.check(CancelledError):
            why.trap(TooManyAttempts)
            if not self.onRecord(client):
                self.lockedOut.append(client)

    def onRecord(self, client: str) -> bool:
        """
        Whether an address has failures whose tokens are not all back.
        """
        fullAt = 0.0
        for failure in self.known[client]:
            fullAt = max(fullAt, failure) + EVERY
        return fullAt > self.clock.seconds()

    @precondition(lambda self: self.underWay)
    @rule(which=st.integers(0), number=st.integers(1, 15))
    def fail(self, which: int, number: int) -> None:
        for _ in range(min(number, len(self.underWay))):
            client, begun, attempt = self.underWay.pop(which % len(self.underWay))
            self.begun[client].append(begun)
            self.known[client].append(self.clock.seconds())
            Deferred.fromCoroutine(attempt.failed())

    @precondition(lambda self: self.underWay)
    @rule(which=st.integers(0))
    def succeed(self, which: int) -> None:
        self.underWay.pop(which % len(self.underWay))[2].succeeded()

    @precondition(lambda self: self.waiting())
    @rule(which=st.integers(0))
    def leave(self, which: int) -> None:
        waiting = self.waiting()
        waiting[which % len(waiting)].cancel()

    # Halves and wholes are exact in floating point: the bound is tested to the point.
    @rule(seconds=st.integers(0, 16).map(lambda halves: halves / 2) | st.just(60.0))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def waiting(self) -> list[Deferred[None]]:
        return [outcome for outcome in self.beginnings if not outcome.called]

    @invariant()
    def failuresAreBounded(self) -> None:
        for times in (*self.begun.values(), *self.known.values()):
            ordered = sorted(times)
            for first, last in combinations_with_replacement(range(len(ordered)), 2):
                assert last - first + 1 <= TOKENS + (ordered[last] - ordered[first]) / EVERY, ordered

    @invariant()
    def nobodyIsForgotten(self) -> None:
        assert self.underWay or not self.waiting()

    @invariant()
    def nobodyIsLockedOut(self) -> None:
        assert not self.lockedOut

    def teardown(self) -> None:
        while self.underWay:
            self.succeed(0)
        self.nobodyIsForgotten()


class PropertyTests(SynchronousTestCase):
    def test_anySequence(self) -> None:
        """
        Whatever happens, at most 10 + t/6 tries of an address fail in any t seconds (counted when they
        began or when they ended), nobody waits for nothing, and no address without a failure is refused.
        """
        run_state_machine_as_test(AnySequence, settings=settings(deadline=None))

    def test_boundIsReached(self) -> None:
        """
        The bound is no smaller either: who fails as fast as possible fails 10 + t/6 times.
        """
        clock = Clock()
        attempts = Attempts(clock=clock)
        failed = 0
        for _ in range(121):
            for _ in range(20):
                beginning = Deferred.fromCoroutine(attempts.begin(HOME, ALICE))
                attempt = self.successResultOf(beginning.addErrback(lambda why: why.trap(TooManyAttempts)))
                if isinstance(attempt, Attempt):
                    Deferred.fromCoroutine(attempt.failed())
                    failed += 1
            clock.advance(0.5)
        self.assertEqual(failed, TOKENS + 60 / EVERY)
