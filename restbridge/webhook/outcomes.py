"""
How the calls to one callback ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout

from restbridge.tally import Histogram
from restbridge.webhook.post import Response

BUSY = "busy"
"""No call was made: too many wait already."""

OUTCOMES = ("2xx", "3xx", "4xx", "5xx", "timeout", "unreachable", "cancelled", "failed", BUSY)


class Outcomes:
    """
    What is counted of the calls.

    @ivar counts: how many there were of each of L{OUTCOMES}.
    @ivar took: how long the calls took.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        @param seconds: the time.
        """
        self.counts: Counter[str] = Counter()
        self.took = Histogram()
        self._seconds = seconds

    async def counted(self, call: Awaitable[Response]) -> Response:
        """
        What a call comes to.
        """
        began = self._seconds()
        outcome = "failed"
        try:
            response = await call
            outcome = f"{response.status // 100}xx"
        except BaseException as problem:
            outcome = _inAWord(problem)
            raise
        finally:
            self.counts[outcome if outcome in OUTCOMES else "failed"] += 1
            self.took.add(self._seconds() - began)
        return response


def _inAWord(problem: BaseException) -> str:
    if isinstance(problem, (DeferredTimeout, ConnectTimeout)):
        return "timeout"
    if isinstance(problem, (ConnectError, DNSLookupError)):
        return "unreachable"
    return "cancelled" if isinstance(problem, (CancelledError, GeneratorExit)) else "failed"
