"""
How often a password may be tried: token buckets, of client addresses first, then of JIDs.

A try borrows a token of each. A success brings both back at once, so that a portal may log in hundreds
of users from one address; what a failure borrowed comes back with time only.

::

    begin -> a token of the address -> a token of the JID, or no failure of the address -> Attempt
             (none: wait for those under way, they may bring theirs back; none under way: TooManyAttempts)

    Attempt -> right, or nobody knows: tokens back
            -> wrong: tokens lost, the answer delayed

At most C{TOKENS + t / EVERY} tries from an address fail in any C{t} seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Network, ip_address
from math import ceil

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from restbridge.web.answer import Refusal

TOKENS = 10
"""Failures that a bucket bears at once."""

EVERY = 6.0
"""Seconds in which one lost token comes back."""

DELAYS = (0.0, 0.0, 0.0, 1.0, 2.0, 4.0)
"""Seconds that the answer to an address's first failure, its second, … is held back; then the last."""

KEPT = 10_000
"""Buckets of each kind that are kept."""


class TooManyAttempts(Exception):
    """
    Too many tries have failed of late.

    @ivar retryAfter: whole seconds until one more may be made.
    """

    def __init__(self, retryAfter: int) -> None:
        super().__init__(f"too many failed logins; try again in {retryAfter} s")
        self.retryAfter = retryAfter

    def refusal(self) -> Refusal:
        """
        What is said to whoever tries.
        """
        headers = (("Retry-After", str(self.retryAfter)),)
        return Refusal(429, "wait", "policy-violation", str(self), headers=headers)


class Attempts:
    """
    Who may try a password, and when.
    """

    def __init__(self, *, clock: IReactorTime) -> None:
        self._clock = clock
        self._addresses = _Buckets(clock)
        self._accounts = _Buckets(clock)

    @property
    def kept(self) -> tuple[int, int]:
        """
        How many buckets of addresses and of JIDs there are.
        """
        return len(self._addresses), len(self._accounts)

    async def begin(self, client: str, account: str) -> Attempt:
        """
        Wait for one's turn; the caller settles the attempt, however it ends.

        @param client: an IP address, or what stands for a peer without one.
        @param account: a bare JID, prepared, or the name of an account.
        @raise TooManyAttempts: see there.
        """
        address = self._addresses.of(network(client))
        await address.borrow()
        try:
            return Attempt(self._clock, [address, *await self._borrow(account, address)])
        except BaseException:
            address.giveBack()
            raise

    async def _borrow(self, account: str, address: _Bucket) -> list[_Bucket]:
        """
        The JID's bucket, a token of which was borrowed, or nothing, for an address without a failure:
        otherwise whoever has many addresses could lock the rightful user out.
        """
        jid = self._accounts.of(account)
        try:
            if address.owed or jid.lendsAtOnce():
                await jid.borrow()
                return [jid]
        except TooManyAttempts:
            # The failure that made it wait may be forgotten by now.
            if address.owed:
                raise
        return []


@attrs.define(eq=False)
class Attempt:
    """
    One try, under way. The first settlement counts; what comes after it does nothing.
    """

    _clock: IReactorTime
    _borrowed: list[_Bucket]

    def succeeded(self) -> None:
        """
        The password was right, or nobody will know: the server is down, the client has left.
        """
        # The JID's comes back first: who waits for the address may want it next.
        while self._borrowed:
            self._borrowed.pop().giveBack()

    async def failed(self) -> None:
        """
        The password was wrong: that counts at once; return when it may be said.
        """
        if not self._borrowed:
            return
        lost, self._borrowed = self._borrowed, []
        for bucket in lost:
            bucket.lose()
        failures = ceil(lost[0].owed / EVERY)
        delay = DELAYS[min(failures, len(DELAYS)) - 1]
        if delay:
            await deferLater(self._clock, delay)


@attrs.define(eq=False)
class _Bucket:
    """
    The tokens of one address or JID.

    @ivar lent: how many are under way; while none is, nobody waits.
    @ivar _owed: seconds, at the time C{_at}, until all that failures took is back.
    """

    _clock: IReactorTime
    lent: int = 0
    _owed: float = 0.0
    _at: float = 0.0
    _waiting: list[Deferred[None]] = attrs.Factory(list)
    _serving: bool = False

    @property
    def owed(self) -> float:
        now = self._clock.seconds()
        # The reactor's clock is the wall's: while it is set back, no time passes.
        self._owed = max(0.0, self._owed - max(0.0, now - self._at))
        self._at = now
        return self._owed

    def lendsAtOnce(self) -> bool:
        return not self._waiting and self._short() <= 0

    def borrow(self) -> Deferred[None]:
        """
        Get a token, in order of arrival; L{TooManyAttempts} if there is none and none may be brought back.
        """
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        self._serve()
        return waiter

    def giveBack(self) -> None:
        self.lent -= 1
        self._serve()

    def lose(self) -> None:
        self._owed = self.owed + EVERY
        self.giveBack()

    def _short(self) -> float:
        """
        Seconds until there is a token, should none be brought back; not positive if there is one.
        """
        return self.owed + (self.lent + 1 - TOKENS) * EVERY

    def _serve(self) -> None:
        # Who is served may settle at once: that is for the loop under way, not for one inside it.
        if self._serving:
            return
        self._serving = True
        while self._waiting:
            short = self._short()
            if short <= 0:
                self.lent += 1
                self._waiting.pop(0).callback(None)
            elif self.lent == 0:
                self._waiting.pop(0).errback(TooManyAttempts(ceil(short)))
            else:
                break
        self._serving = False


class _Buckets:
    """
    The buckets of one kind, the least recently used first. A full one is as good as none.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, key: str) -> _Bucket:
        if key not in self._kept:
            self._makeRoom()
            self._kept[key] = _Bucket(self._clock)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _makeRoom(self) -> None:
        while (oldest := self._oldestIdle()) is not None:
            if len(self._kept) < KEPT and self._kept[oldest].owed:
                break
            del self._kept[oldest]

    def _oldestIdle(self) -> str | None:
        return next((key for key, bucket in self._kept.items() if not bucket.lent), None)


def network(client: str) -> str:
    """
    Whom an address counts for: an IPv6 host has a whole /64 to choose from.
    """
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), 64), strict=False))
