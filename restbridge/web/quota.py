"""
How much one caller may ask: requests a minute, by a token bucket each, and what may wait at once.

A bucket is one number, the time at which it will be full again: what a request costs is added to it, and a
request that would push it further than the whole bucket away is refused (ITU-T I.371's "virtual scheduling").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from twisted.internet.interfaces import IReactorTime

from restbridge.web.answer import Refusal

KEPT = 10_000
"""Callers whose buckets are kept; the one that asked least lately makes room."""


class Quota:
    """
    The requests of callers whose credentials were accepted.
    """

    def __init__(self, *, perMinute: int, burst: int, clock: IReactorTime) -> None:
        """
        @param perMinute: requests that come back in a minute; 0 for no limit.
        @param burst: requests that may come at once.
        """
        self._every = 60 / perMinute if perMinute else 0.0
        self._burst = burst
        self._whole = self._every * burst
        self._clock = clock
        # draft-ietf-httpapi-ratelimit-headers-10
        self._limit = ("RateLimit-Policy", f'"requests";q={burst};w={ceil(self._whole)}')
        self._full: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full)

    def take(self, caller: str) -> None:
        """
        Count a request.

        @param caller: a bare address.
        @raise Refusal: 429, there were too many.
        """
        self._take(caller, 1)

    def takeAs(self, caller: str, requests: int) -> None:
        """
        Count a request, that C{take} has counted already, as so many.

        @raise Refusal: 429, there were too many, or these alone are too many; then it counts as none.
        """
        if not self._every:
            return
        self._full[caller] = self._full.get(caller, 0.0) - self._every
        if requests > self._burst:
            text = f"this counts as {requests} requests; {self._burst} may come at once: split it"
            raise Refusal(429, "modify", "policy-violation", text, headers=(self._limit,))
        self._take(caller, requests)

    def _take(self, caller: str, requests: int) -> None:
        if not self._every:
            return
        now = self._clock.seconds()
        # The reactor's clock is the wall's: set back, it empties a bucket, and no more than that.
        full = min(max(self._full.get(caller, 0.0), now), now + self._whole)
        short = full + self._every * requests - now - self._whole
        # Sums of fractions are never exact: a millionth of a request is let pass.
        refused = short > self._every * 1e-6
        self._full[caller] = full if refused else full + self._every * requests
        self._full.move_to_end(caller)
        if len(self._full) > KEPT:
            self._full.popitem(last=False)
        if refused:
            left = int((now + self._whole - full) / self._every)
            raise self._refusal(ceil(short), left)

    def _refusal(self, seconds: int, left: int) -> Refusal:
        headers = (
            ("Retry-After", str(seconds)),
            self._limit,
            ("RateLimit", f'"requests";r={left};t={seconds}'),
        )
        text = f"too many requests; try again in {seconds} s"
        return Refusal(429, "wait", "policy-violation", text, headers=headers)


class Places:
    """
    What each caller has waiting at once, up to a limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """
        Hold a place while the block runs.

        @param caller: a bare address.
        @raise Refusal: 429, all are taken.
        """
        taken = self._taken.get(caller, 0)
        if taken >= self._most:
            text = f"{taken} IQs of {caller} await their answers already"
            context = {"limit": self._most}
            raise Refusal(429, "wait", "resource-constraint", text, context, (("Retry-After", "1"),))
        self._taken[caller] = taken + 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
