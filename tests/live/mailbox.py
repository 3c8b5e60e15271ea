"""
Where things that arrive in another thread wait for the test that expects them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.live.process import NotInTime

T = TypeVar("T")


class Mailbox(Generic[T]):
    """
    What has arrived, in order; each is taken once.
    """

    def __init__(self, what: str) -> None:
        """
        @param what: what arrives here, for messages to people.
        """
        self._what = what
        self._waiting: list[T] = []
        self._arrival = threading.Condition()

    def put(self, arrived: T) -> None:
        """
        From any thread.
        """
        with self._arrival:
            self._waiting.append(arrived)
            self._arrival.notify_all()

    def expect(self, predicate: Callable[[T], bool], timeout: float = 10.0) -> T:
        """
        Take the oldest that fits; wait for it if need be.

        @raise NotInTime: none came; tells what did.
        """
        deadline = time.monotonic() + timeout
        with self._arrival:
            while True:
                for place, each in enumerate(self._waiting):
                    if predicate(each):
                        return self._waiting.pop(place)
                if not self._arrival.wait(deadline - time.monotonic()):
                    raise NotInTime(
                        f"{self._what} that fits did not come in {timeout} s; there are: {self._tell()}"
                    )

    def all(self, predicate: Callable[[T], bool]) -> list[T]:
        """
        Those that are here and fit; they stay.
        """
        with self._arrival:
            return [each for each in self._waiting if predicate(each)]

    def clear(self) -> None:
        """
        Forget what is here.
        """
        with self._arrival:
            self._waiting.clear()

    def _tell(self) -> str:
        """
        The last few, shortened.
        """
        return "; ".join(_describe(each)[:400] for each in self._waiting[-5:]) or "none"


def _describe(thing: object) -> str:
    """
    XML as XML, anything else as it shows itself.
    """
    from xml.etree.ElementTree import Element, tostring

    return tostring(thing, "unicode") if isinstance(thing, Element) else repr(thing)
