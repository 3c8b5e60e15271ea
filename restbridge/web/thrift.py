"""
What spares work: answers that are remembered for a while, and calls that all share who want the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from secrets import token_bytes
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

MAX_REMEMBERED = 10_000


class Remembered(Generic[T]):
    """
    What is known of secrets, each until a time of its own; the secrets themselves aren't kept, only keyed
    hashes. The one that was used least lately makes room.
    """

    def __init__(self, *, clock: IReactorTime, most: int = MAX_REMEMBERED) -> None:
        self._clock = clock
        self._most = most
        self._key = token_bytes(32)
        self._known: OrderedDict[bytes, tuple[T, float]] = OrderedDict()

    def mark(self, secret: str) -> bytes:
        """
        What stands for a secret in this memory, and nowhere else.
        """
        return blake2b(secret.encode("utf-8", "surrogateescape"), key=self._key).digest()

    def recall(self, mark: bytes) -> T | None:
        """
        What is known.
        """
        known, until = self._known.get(mark, (None, 0.0))
        if known is None:
            return None
        if until <= self._clock.seconds():
            del self._known[mark]
            return None
        self._known.move_to_end(mark)
        return known

    def keep(self, mark: bytes, known: T, until: float) -> None:
        """
        Remember something.

        @param until: seconds since the epoch.
        """
        self._known[mark] = (known, until)
        self._known.move_to_end(mark)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """
        Forget everything.
        """
        self._known.clear()


class Together(Generic[T]):
    """
    Calls under way, each shared by all who want the same. Whoever leaves doesn't end it for the others.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[Deferred[T]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: bytes) -> bool:
        return key in self._waiting

    async def call(self, key: bytes, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """
        What the call of that name returns, or raises; it is begun unless it is under way.
        """
        waiter: Deferred[T] = Deferred()
        waiters = self._waiting.setdefault(key, [])
        waiters.append(waiter)
        if len(waiters) == 1:
            Deferred.fromCoroutine(begin()).addBoth(self._settle, key)
        return await waiter

    def _settle(self, result: T | Failure, key: bytes) -> None:
        for waiter in self._waiting.pop(key):
            waiter.callback(result)
