"""
How much waits for durable callbacks, and for how long, as their database tells it: once for all who ask
within a while, and never so often that it is kept from its work.

::

    look -> known lately, or nobody knows within PATIENCE -> what was known the last time
         -> the database -> what it says, known for FRESH, or for longer if that took long
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from restbridge.store.database import Store, StoreFailed, Transaction

FRESH = 5.0
"""Seconds for which what is known is new enough, at least."""

SHARE = 100
"""The least ratio of that time to the one that it took to ask."""

LONGEST = 300.0
"""Seconds for which it is new enough at most: the store may have been busy with something else."""

PATIENCE = 2.0
"""Seconds that who asks waits at most."""

# By the index alone: the messages themselves would take five times as long. What was a dead letter has its
# old number still, though it waits anew.
_WAITING = """
    SELECT w.callback, w.messages, m.received FROM (
        SELECT c.callback AS callback, count(*) AS messages, min(m.number) AS oldest
        FROM conversations c JOIN messages m ON m.conversation = c.number GROUP BY c.callback
    ) w JOIN messages m ON m.number = w.oldest
"""
_DEAD = "SELECT callback, count(*) FROM dead_letters GROUP BY callback"


@attrs.define
class Waiting:
    """
    What there is of one callback.

    @ivar messages: how many wait.
    @ivar oldest: since when the first of these waits, in milliseconds since 1970; L{None} where there are
        none.
    @ivar dead: dead letters.
    """

    messages: int = 0
    oldest: int | None = None
    dead: int = 0


class Backlog:
    """
    What waits for the callbacks that share a database.

    @ivar known: what there was the last time, by the callbacks' names.
    @ivar works: whether the database has told it, then.
    """

    log = Logger()

    def __init__(self, *, store: Store, callbacks: Callable[[], Sequence[str]], clock: IReactorTime) -> None:
        """
        @param callbacks: the names of the durable ones, as they are now; without any nobody is asked.
        """
        self.known: Mapping[str, Waiting] = MappingProxyType({})
        self.works = True
        self._store = store
        self._callbacks = callbacks
        self._clock = clock
        self._until = float("-inf")
        self._asking = False
        self._awaiting: list[Deferred[None]] = []

    async def look(self) -> None:
        """
        See to it that what is known is new, if that can be.
        """
        if self._clock.seconds() < self._until or not self._callbacks():
            return
        if not self._asking:
            self._asking = True
            Deferred.fromCoroutine(self._ask()).addErrback(self._broken).addCallback(self._told)
        if self._asking:
            waiting: Deferred[None] = Deferred()
            self._awaiting.append(waiting)
            await waiting.addTimeout(PATIENCE, self._clock, lambda *_: self._late())

    async def _ask(self) -> None:
        began = self._clock.seconds()
        try:
            self.known = await self._store.run(partial(_read, self._callbacks()))
            self.works = True
        except StoreFailed:
            # Whoever needs it for more than a number says so in the log.
            self.works = False
            self._until = self._clock.seconds() + FRESH
        else:
            took = self._clock.seconds() - began
            self._until = began + min(max(FRESH, SHARE * took), LONGEST)

    def _told(self, _: object) -> None:
        self._asking = False
        awaiting, self._awaiting = self._awaiting, []
        for waiting in awaiting:
            waiting.callback(None)

    def _late(self) -> None:
        self.works = False

    def _broken(self, failure: Failure) -> None:
        self.works = False
        self.log.failure("What waits for callbacks could not be counted", failure)


def _read(callbacks: Sequence[str], transaction: Transaction) -> dict[str, Waiting]:
    known = {callback: Waiting() for callback in callbacks}
    for callback, messages, oldest in transaction.execute(_WAITING):
        known[callback] = Waiting(messages, oldest)
    for callback, dead in transaction.execute(_DEAD):
        known.setdefault(callback, Waiting()).dead = dead
    return known
