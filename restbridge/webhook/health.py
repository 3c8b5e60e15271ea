"""
Whether a callback works, as far as the last calls tell.

::

    fine      all may be called
    doubtful  calls for one conversation failed, none has come through since: the others one at a time, to see
              whether it is the message or the callback
    down      nobody is there, or calls for two conversations failed, none has come through since, or the
              callback has asked for a pause: nothing but a probe, after 1, 2, 4 ... seconds

One call that comes through, and all is fine; a pause that was asked for is kept all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from random import uniform

import attrs

JITTER = 0.2
"""How much a pause may be longer or shorter, so that many bridges don't come back at once."""


def _jitter() -> float:
    return uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # spreads load, guards nothing


@attrs.define(kw_only=True)
class Health:
    """
    Times are in seconds.

    @ivar first: until the first probe, and C{longest} between two.
    @ivar jitter: by what a pause is multiplied.
    @ivar failing: the conversations whose calls have failed since the last call that came through.
    """

    first: float
    longest: float
    jitter: Callable[[], float] = _jitter
    failing: set[int] = attrs.field(factory=set, init=False)
    _pause: float = attrs.field(init=False)
    _passed: float = attrs.field(init=False, default=float("-inf"))
    _absent: bool = attrs.field(init=False, default=False)
    _until: float = attrs.field(init=False, default=float("-inf"))

    def __attrs_post_init__(self) -> None:
        self._pause = self.first

    def asks(self, now: float) -> float:
        """
        For how much longer the callback has asked for a pause.
        """
        return max(0.0, self._until - now)

    def isDown(self, now: float) -> bool:
        """
        Whether nothing but a probe may be called.
        """
        return self._absent or len(self.failing) > 1 or self.asks(now) > 0

    def fails(self, now: float) -> bool:
        """
        Whether a probe is due, sooner or later.
        """
        return bool(self.failing) or self.isDown(now)

    def width(self, most: int, now: float) -> int:
        """
        How many calls may be under way.
        """
        if self.isDown(now):
            return 0
        return 1 if self.failing else most

    def passed(self, now: float) -> None:
        """
        A call came through, be it that its message was refused.
        """
        self._passed = now
        if not self.asks(now):
            self._pause = self.first
            self.forget()

    def forget(self) -> None:
        """
        Nothing is there any more that has failed.
        """
        self._absent = False
        self.failing.clear()

    def failed(self, conversation: int, began: float, *, wholly: bool = False) -> bool:
        """
        A call failed.

        @param began: when it began.
        @param wholly: whether it can't be the message's fault.
        @return: whether nothing has come through since then: whether it may be the callback's fault.
        """
        if self._passed >= began:
            return False
        self.failing.add(conversation)
        self._absent = self._absent or wholly
        return True

    def asked(self, conversation: int, until: float) -> None:
        """
        The callback has asked for a pause.
        """
        self.failing.add(conversation)
        self._absent = True
        self._until = max(self._until, until)

    def pause(self, now: float) -> float:
        """
        How long to wait until the next probe; for the one after that it is longer.
        """
        pause, self._pause = self._pause, min(self._pause * 2, self.longest)
        return max(pause * self.jitter(), self.asks(now))
