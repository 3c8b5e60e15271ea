"""
L{restbridge.web.attempts}: guessing is slow, knowing is not.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.web import attempts as module
from restbridge.web.attempts import EVERY, KEPT, TOKENS, Attempt, Attempts, TooManyAttempts

HOME = "192.0.2.1"
ALICE = "alice@example.com"
BOB = "bob@example.com"
CAROL = "carol@example.com"


class AttemptsCase(SynchronousTestCase):
    """
    Begins and settles attempts, at a time that is no round number.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000.3)
        self.attempts = Attempts(clock=self.clock)

    def begin(self, client: str = HOME, account: str = ALICE) -> Deferred[Attempt]:
        return Deferred.fromCoroutine(self.attempts.begin(client, account))

    def begun(self, client: str = HOME, account: str = ALICE) -> Attempt:
        return self.successResultOf(self.begin(client, account))

    def wrong(self, attempt: Attempt) -> Deferred[None]:
        return Deferred.fromCoroutine(attempt.failed())

    def failures(self, number: int, client: str = HOME, account: str = ALICE) -> None:
        """
        As many failures, each known before the next try.
        """
        for _ in range(number):
            self.wrong(self.begun(client, account))

    def differentUsers(self, number: int, client: str = HOME) -> list[Deferred[Attempt]]:
        """
        As many users of one address begin at once.
        """
        return [self.begin(client, f"user{n}@example.com") for n in range(number)]

    def attack(self, account: str = ALICE) -> None:
        """
        Failures until the JID has no token left, each from an address of its own.
        """
        for n in range(TOKENS):
            self.failures(1, f"198.51.100.{n}", account)

    def assertRefused(self, beginning: Deferred[Attempt], retryAfter: int) -> None:
        self.assertEqual(self.failureResultOf(beginning, TooManyAttempts).value.retryAfter, retryAfter)


class AddressTests(AttemptsCase):
    def test_refused(self) -> None:
        """
        After ten failures from an address it is refused, whatever user it tries, and told when to come back.
        """
        self.failures(TOKENS)
        for account in (ALICE, BOB):
            self.assertRefused(self.begin(account=account), 6)

    def test_othersGoOn(self) -> None:
        """
        Another address is not concerned.
        """
        self.failures(TOKENS)
        self.begun("192.0.2.2", BOB)

    def test_refill(self) -> None:
        """
        One token comes back every six seconds; refusals don't put it off.
        """
        self.failures(TOKENS)
        for passed, left in ((0.5, 6), (0.6, 5), (3.8, 2), (1.0, 1)):
            self.clock.advance(passed)
            self.assertRefused(self.begin(account=BOB), left)
        self.clock.advance(0.2)
        self.failures(1, account=BOB)
        self.assertRefused(self.begin(account=BOB), 6)

    def test_retryAfterIsEnough(self) -> None:
        """
        Who waits as long as told gets through.
        """
        self.failures(4)
        self.clock.advance(2.7)
        self.failures(6)
        refused = self.failureResultOf(self.begin(account=BOB), TooManyAttempts).value
        self.clock.advance(refused.retryAfter)
        self.begun(account=BOB)

    def test_neverMoreThanFull(self) -> None:
        """
        However long ago the last failure was, ten is all that an address may fail at once.
        """
        self.failures(TOKENS)
        for rest in (TOKENS * EVERY, 86400.0):
            self.clock.advance(rest)
            self.failures(TOKENS)
            self.assertRefused(self.begin(), 6)

    def test_rightCostsNothing(self) -> None:
        """
        Who knows the password may log in as often as wanted, also between failures.
        """
        self.failures(TOKENS - 1)
        for _ in range(100):
            self.begun().succeeded()
        self.failures(1)
        self.assertRefused(self.begin(), 6)

    def test_clockSetBack(self) -> None:
        """
        A clock that is set back neither gives tokens nor stops their coming back.
        """
        self.failures(TOKENS)
        self.clock.advance(-3600)
        self.assertRefused(self.begin(account=BOB), 6)
        self.clock.advance(6)
        self.failures(1, account=BOB)
        self.assertRefused(self.begin(account=BOB), 6)

    def test_network(self) -> None:
        """
        An IPv6 host is known by its /64, an IPv4 host by its address, however written; others by their text.
        """
        for one, other in (
            ("2001:db8::1", "2001:DB8:0:0:ffff:ffff:ffff:ffff"),
            ("192.0.2.7", "::ffff:192.0.2.7"),
            ("fe80::1%eth0", "fe80::2%eth0"),
            ("-", "-"),
        ):
            self.failures(TOKENS, one, one)
            self.assertRefused(self.begin(other, BOB), 6)
        for stranger in ("2001:db8:0:1::1", "::ffff:192.0.2.8", "192.0.2.8", "::1", "", "unknown"):
            self.begun(stranger, BOB).succeeded()


class WaitingTests(AttemptsCase):
    def test_allRight(self) -> None:
        """
        Fifty right logins at once from one address all get through, ten at a time.
        """
        beginnings = self.differentUsers(50)
        while beginnings:
            now, beginnings = beginnings[:TOKENS], beginnings[TOKENS:]
            under = [self.successResultOf(beginning) for beginning in now]
            for beginning in beginnings:
                self.assertNoResult(beginning)
            for attempt in under:
                attempt.succeeded()

    def test_allRightForOne(self) -> None:
        """
        So do fifty of the same user, from wherever they come.
        """
        beginnings = [self.begin(f"192.0.2.{n % 3}") for n in range(50)]
        for beginning in beginnings:
            self.successResultOf(beginning).succeeded()

    def test_allWrong(self) -> None:
        """
        Fifty wrong logins at once from one address get ten answers and forty refusals.
        """
        beginnings = self.differentUsers(50)
        for beginning in beginnings[:TOKENS]:
            self.assertNoResult(beginnings[-1])
            self.wrong(self.successResultOf(beginning))
        for beginning in beginnings[TOKENS:]:
            self.assertRefused(beginning, 6)

    def test_mixed(self) -> None:
        """
        Each right login lets one that waits through, in order of arrival, a wrong one lets nobody
        through; who still waits when none is under way is refused.
        """
        beginnings = self.differentUsers(15)
        under, waiting = [self.successResultOf(b) for b in beginnings[:TOKENS]], beginnings[TOKENS:]
        for attempt in under[:4]:
            self.wrong(attempt)
        self.assertNoResult(waiting[0])
        under[9].succeeded()
        under[4].succeeded()
        under += [self.successResultOf(beginning) for beginning in waiting[:2]]
        self.assertNoResult(waiting[2])
        for attempt in (*under[5:9], under[10]):
            self.wrong(attempt)
        under[11].succeeded()
        under.append(self.successResultOf(waiting[2]))
        self.assertNoResult(waiting[3])
        self.wrong(under[12])
        self.assertRefused(waiting[3], 6)
        self.assertRefused(waiting[4], 6)

    def test_withFailuresOnRecord(self) -> None:
        """
        What earlier failures took is missing: fewer are under way at once.
        """
        self.failures(8)
        beginnings = self.differentUsers(4)
        first, second = (self.successResultOf(beginning) for beginning in beginnings[:2])
        self.assertNoResult(beginnings[2])
        self.wrong(second)
        self.assertNoResult(beginnings[2])
        first.succeeded()
        self.successResultOf(beginnings[2]).succeeded()
        self.successResultOf(beginnings[3])

    def test_noOvertaking(self) -> None:
        """
        A token that came back with time is for who waits longest, not for who comes last.
        """
        self.failures(9)
        under, waiting = self.begun(account=BOB), self.begin(account=BOB)
        self.clock.advance(EVERY)
        newcomer = self.begin(account=CAROL)
        self.successResultOf(waiting)
        self.assertNoResult(newcomer)
        under.succeeded()
        self.successResultOf(newcomer)

    def test_timePassed(self) -> None:
        """
        Who waited for a try that turns out wrong gets what has come back meanwhile.
        """
        self.failures(9)
        under, waiting = self.begun(account=BOB), self.begin(account=BOB)
        self.clock.advance(EVERY)
        self.wrong(under)
        self.successResultOf(waiting)

    def test_cancel(self) -> None:
        """
        Who leaves while waiting is passed over, and takes no token along.
        """
        beginnings = self.differentUsers(13)
        under = [self.successResultOf(beginning) for beginning in beginnings[:TOKENS]]
        leaving, waiting, last = beginnings[TOKENS:]
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.assertNoResult(waiting)
        last.cancel()
        self.failureResultOf(last, CancelledError)
        under.pop().succeeded()
        under.append(self.successResultOf(waiting))
        for attempt in under:
            attempt.succeeded()
        self.failures(TOKENS)
        self.assertRefused(self.begin(), 6)

    def test_settledWhileServed(self) -> None:
        """
        Thousands that wait may each end the moment that they are let through.
        """
        under = [self.begun() for _ in range(TOKENS)]
        waiting = [self.begin().addCallback(Attempt.succeeded) for _ in range(5000)]
        under[0].succeeded()
        for beginning in waiting:
            self.successResultOf(beginning)

    def test_refusedWhileServed(self) -> None:
        """
        Thousands that wait may be refused at the same time.
        """
        under = [self.begun() for _ in range(TOKENS)]
        waiting = [self.begin() for _ in range(5000)]
        for attempt in under:
            self.wrong(attempt)
        for beginning in waiting:
            self.assertRefused(beginning, 6)

    def test_firstSettlementCounts(self) -> None:
        """
        An attempt that was settled stays so: a failure is not taken back, nor a success spoilt.
        """
        for _ in range(3):
            attempt = self.begun()
            attempt.succeeded()
            attempt.succeeded()
            self.successResultOf(self.wrong(attempt))
        for _ in range(TOKENS):
            attempt = self.begun()
            self.wrong(attempt)
            self.wrong(attempt)
            attempt.succeeded()
        self.assertRefused(self.begin(), 6)


class AccountTests(AttemptsCase):
    def test_refused(self) -> None:
        """
        After ten failures for a JID, from wherever, an address with a failure on record is refused it.
        """
        self.attack()
        self.failures(1, account=BOB)
        self.clock.advance(2)
        self.assertRefused(self.begin(), 4)
        self.begun(account=BOB)

    def test_refill(self) -> None:
        """
        A JID's token comes back every six seconds, and is there for one try.
        """
        self.attack()
        self.failures(3, account=BOB)
        self.clock.advance(EVERY)
        self.failures(1)
        self.assertRefused(self.begin(), 6)

    def test_rightfulUser(self) -> None:
        """
        An address without a failure on record may always try: nobody locks its user out.
        """
        self.attack()
        for _ in range(100):
            self.begun().succeeded()

    def test_rightfulUserMistaken(self) -> None:
        """
        A failure then is on that address's record, until its token is back; the JID's tokens come back
        as if it had not been.
        """
        self.attack()
        self.failures(1)
        self.assertRefused(self.begin(), 6)
        self.clock.advance(5)
        self.assertRefused(self.begin(), 1)
        self.clock.advance(1)
        self.failures(1, account=BOB)
        self.failures(1)
        self.assertRefused(self.begin(), 6)

    def test_rightfulUserNeedNotWait(self) -> None:
        """
        Nor is such an address kept waiting by tries of others for the JID, or by those who wait for them.
        """
        for n in range(TOKENS + 3):
            self.failures(1, f"198.51.100.{n}", f"decoy{n}@example.com")
        others = [self.begin(f"198.51.100.{n}") for n in range(TOKENS + 3)]
        self.assertNoResult(others[TOKENS])
        self.begun()
        self.wrong(self.successResultOf(others[0]))
        self.clock.advance(EVERY)
        self.begun("192.0.2.2")
        self.assertNoResult(others[TOKENS])

    def test_recordClearedWhileWaiting(self) -> None:
        """
        An address whose failure is forgotten while it waits for others is such an address.
        """
        under = [self.begun("198.51.100.1") for _ in range(TOKENS)]
        self.failures(1, account=BOB)
        waiting = self.begin()
        self.clock.advance(EVERY)
        for attempt in under:
            self.assertNoResult(waiting)
            self.wrong(attempt)
        self.wrong(self.successResultOf(waiting))
        self.assertRefused(self.begin(), 6)

    def test_exceptionOnlyWithoutToken(self) -> None:
        """
        Where the JID has a token, such an address borrows it as others do, also if it had to wait.
        """
        under, waiting = [self.begun() for _ in range(TOKENS)], self.begin()
        under[0].succeeded()
        self.wrong(self.successResultOf(waiting))
        for attempt in under[1:]:
            attempt.succeeded()
        self.failures(1, "192.0.2.2", BOB)
        self.failures(TOKENS - 1, "192.0.2.2")
        self.assertRefused(self.begin(), 6)

    def test_rightfulUserBehindPortal(self) -> None:
        """
        Tries under way are not on the record: a busy portal's users aren't locked out either.
        """
        self.attack()
        self.begun(account=BOB)
        self.begun(account=CAROL)
        self.begun()

    def test_wait(self) -> None:
        """
        Tries under way for the JID are waited for, by addresses with a failure on record.
        """
        under = [self.begun("198.51.100.1") for _ in range(TOKENS)]
        self.failures(1, "192.0.2.2", BOB)
        self.failures(1, "192.0.2.3", BOB)
        self.failures(1, "192.0.2.4", BOB)
        waiting = [self.begin(client) for client in ("192.0.2.2", "192.0.2.3", "192.0.2.4")]
        for beginning in waiting:
            self.assertNoResult(beginning)
        under[0].succeeded()
        under[0] = self.successResultOf(waiting[0])
        for attempt in under:
            self.assertNoResult(waiting[1])
            self.wrong(attempt)
        for beginning in waiting[1:]:
            self.assertRefused(beginning, 6)

    def test_refusalIsNoFailure(self) -> None:
        """
        Being refused a JID costs the address nothing.
        """
        self.attack()
        self.failures(1, account=BOB)
        for _ in range(50):
            self.assertRefused(self.begin(), 6)
        self.failures(TOKENS - 1, account=BOB)

    def test_refusedTogether(self) -> None:
        """
        Who waits for an address's token gets it when the one before is refused the JID, and so on.
        """
        self.attack()
        self.failures(9, account=BOB)
        under = self.begun(account=CAROL)
        waiting = [self.begin() for _ in range(50)]
        under.succeeded()
        for beginning in waiting:
            self.assertRefused(beginning, 6)

    def test_cancel(self) -> None:
        """
        Who leaves while waiting for a JID's token brings the address's token back.
        """
        under = [self.begun("198.51.100.1") for _ in range(TOKENS)]
        self.failures(1, account=BOB)
        for _ in range(3):
            leaving = [self.begin() for _ in range(20)]
            for beginning in leaving:
                self.assertNoResult(beginning)
            for beginning in leaving:
                beginning.cancel()
                self.failureResultOf(beginning, CancelledError)
        self.failures(TOKENS - 1, account=BOB)
        for attempt in under:
            attempt.succeeded()
        self.assertRefused(self.begin(), 6)


class DelayTests(AttemptsCase):
    def delays(self, attempts: list[Attempt]) -> list[float]:
        """
        Seconds that each answer takes, of failures at the same time.
        """
        start = self.clock.seconds()
        taken: list[float] = []
        for attempt in attempts:
            self.wrong(attempt).addCallback(lambda _: taken.append(self.clock.seconds() - start))
        for _ in range(40):
            self.clock.advance(0.25)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return [round(seconds, 3) for seconds in taken]

    def test_grow(self) -> None:
        """
        The first three failures of an address are answered at once, the next ones later and later.
        """
        attempts = [self.begun() for _ in range(TOKENS)]
        self.assertEqual(self.delays(attempts), [0, 0, 0, 1, 2, 4, 4, 4, 4, 4])

    def test_shrink(self) -> None:
        """
        A failure whose token is back no longer counts; one of whose token a part is back does.
        """
        self.failures(4)
        self.clock.advance(11)
        self.assertEqual(self.delays([self.begun()]), [1])
        self.clock.advance(3)
        self.assertEqual(self.delays([self.begun()]), [0])

    def test_undecided(self) -> None:
        """
        Tries under way don't count, nor does what others failed for the same JID.
        """
        self.failures(6, "198.51.100.1")
        under = [self.begun(account=BOB) for _ in range(6)]
        self.assertEqual(self.delays([self.begun()]), [0])
        for attempt in under:
            attempt.succeeded()

    def test_countsAtOnce(self) -> None:
        """
        The failure counts before it is answered: answers held back let nobody through.
        """
        answers = [self.wrong(self.begun()) for _ in range(TOKENS)]
        self.assertNoResult(answers[-1])
        self.assertRefused(self.begin(account=BOB), 6)
        self.clock.advance(4)
        self.successResultOf(answers[-1])
        self.assertRefused(self.begin(account=BOB), 2)

    def test_cancel(self) -> None:
        """
        Who doesn't wait for the answer has failed all the same, and leaves nothing behind.
        """
        self.failures(3)
        attempt = self.begun()
        answer = self.wrong(attempt)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        attempt.succeeded()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.failures(6)
        self.assertRefused(self.begin(), 6)


class MemoryTests(AttemptsCase):
    def test_full(self) -> None:
        """
        Nothing is kept of those who owe nothing, once another comes.
        """
        for n in range(100):
            self.begun(f"192.0.2.{n}", f"user{n}@example.com").succeeded()
        self.assertEqual(self.attempts.kept, (1, 1))
        self.failures(4)
        self.begun("192.0.2.2", BOB).succeeded()
        self.assertEqual(self.attempts.kept, (2, 2))
        self.clock.advance(4 * EVERY)
        self.begun("192.0.2.3", CAROL).succeeded()
        self.assertEqual(self.attempts.kept, (1, 1))

    def test_bound(self) -> None:
        """
        However many addresses and JIDs fail, no more than so many are remembered.
        """
        for n in range(KEPT + 10):
            self.failures(1, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"user{n}@example.com")
        self.assertEqual(self.attempts.kept, (KEPT, KEPT))

    def test_refusedAddress(self) -> None:
        """
        An address that is refused leaves no trace of the JIDs that it asks for.
        """
        self.failures(TOKENS)
        before = self.attempts.kept
        for beginning in self.differentUsers(50):
            self.assertRefused(beginning, 6)
        self.assertEqual(self.attempts.kept, before)

    def test_leastRecentlyUsed(self) -> None:
        """
        Past that, the one goes that wasn't used for longest; being refused is use.
        """
        self.patch(module, "KEPT", 3)
        for client in ("192.0.2.2", HOME, "192.0.2.3"):
            self.failures(TOKENS, client, f"{client}@example.com")
        self.assertRefused(self.begin("192.0.2.2", BOB), 6)
        self.failures(1, "192.0.2.4", BOB)
        self.assertEqual(self.attempts.kept, (3, 3))
        self.assertRefused(self.begin("192.0.2.2", BOB), 6)
        self.assertRefused(self.begin("192.0.2.3", BOB), 6)
        self.begun(HOME, BOB)

    def test_underWay(self) -> None:
        """
        Where tries are under way or waited for, nothing is forgotten, also if that is more than so many.
        """
        self.patch(module, "KEPT", 3)
        self.failures(9)
        under, waiting = self.begun(), self.begin(account=BOB)
        others = [self.begun(f"192.0.2.{n}", f"user{n}@example.com") for n in range(2, 8)]
        self.assertEqual(self.attempts.kept, (7, 7))
        self.assertNoResult(waiting)
        self.wrong(under)
        self.assertRefused(waiting, 6)
        for attempt in others:
            attempt.succeeded()
        self.begun("192.0.2.9", CAROL)
        self.assertEqual(self.attempts.kept, (1, 1))
