"""
What is counted of requests, as cheaply as it can be: a look-up and three additions each.
"""

from __future__ import annotations

from bisect import bisect_left

BOUNDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
"""Seconds: the buckets' upper bounds; the last bucket has none."""

NOWHERE = "none"
"""The route of a request that has none."""

OTHER = b"other"
"""Any method that HTTP's own RFCs don't know."""

_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))


class Histogram:
    """
    How long things took.

    @ivar buckets: how many took at most as long as the bound of the same number, and longer than the last.
    @ivar seconds: of all together.
    """

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """
        Count one.
        """
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def join(self, other: Histogram) -> None:
        """
        Count what another one has.
        """
        self.buckets = [mine + others for mine, others in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds


Key = tuple[str, str, bytes, int]
"""API, route, method and status."""


class Requests:
    """
    The requests that were answered.

    @ivar answered: how long they took, by what is told of them; none of it can be a client's invention.
    """

    def __init__(self) -> None:
        self.answered: dict[Key, Histogram] = {}

    def count(self, api: str, route: str, method: bytes, status: int, seconds: float) -> None:
        """
        Count one.

        @param api: the mount that it is for, or L{NOWHERE}.
        @param route: the rule that has taken it, or L{NOWHERE}.
        """
        key = (api, route, method if method in _METHODS else OTHER, status)
        took = self.answered.get(key)
        if took is None:
            took = self.answered[key] = Histogram()
        took.add(seconds)
