"""
The conversations of one durable callback that this bridge holds, as far as they are in memory.

::

    accept -> journal -> (held, room in memory) -> ready
                      -> (else)                 -> claimed, when there is room, it is due, or its holder died
    first  -> in memory, or the next page of the journal
    look   -> what is empty is forgotten, what is due is claimed

No more than C{MAX_HELD} are in memory, with C{PAGE} messages each. The journal works in the order in which it
is asked, so what it says of a conversation is never older than what is known of it here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container

import attrs
from twisted.internet.interfaces import IReactorTime

from restbridge.store.journal import PAGE, Entry, Journal, Message

MAX_HELD = 1000
"""Conversations in memory."""

CLAIMED = 100
"""Conversations that are taken from the journal at once."""

FRESH = 10.0
"""Seconds after which a message is read again before it is called for: an operator may have dropped it."""


@attrs.define(eq=False)
class Conversation:
    """
    @ivar loaded: its first messages.
    @ivar more: whether the journal has others behind them.
    @ivar reading: whether they are being read.
    @ivar busy: whether somebody has been told that it is ready, and has not given it back.
    @ivar held: whether this bridge has it.
    @ivar asOf: when its first message was known to be there, in seconds.
    @ivar probes: how often it has failed since the callback worked.
    @ivar problem: why it failed the last time.
    @ivar suspect: whether others have come through since.
    """

    number: int
    loaded: deque[Message] = attrs.field(factory=deque)
    more: bool = False
    reading: bool = False
    busy: bool = False
    held: bool = True
    asOf: float = 0.0
    probes: int = 0
    problem: str = ""
    suspect: bool = False

    @property
    def turn(self) -> tuple[int, int]:
        """
        In this order conversations are probed: the oldest first, and then the others.
        """
        return self.probes, self.loaded[0].number if self.loaded else 0


class Conversations:
    """
    The journal's conversations of a callback, in memory.

    @ivar behind: whether the journal has conversations that there was no room for.
    """

    def __init__(
        self, *, callback: str, journal: Journal, clock: IReactorTime, ready: Callable[[Conversation], object]
    ) -> None:
        """
        @param callback: its name.
        @param ready: called with a conversation that has something, once until it is given back.
        """
        self._callback = callback
        self._journal = journal
        self._clock = clock
        self._ready = ready
        self._held: dict[int, Conversation] = {}
        self._empty: dict[int, Conversation] = {}
        self._lost: set[int] = set()
        self._claiming = 0
        self._looking = False
        self._closed = False
        self.behind = False

    async def accept(self, entry: Entry, *, hold: bool = True) -> None:
        """
        Write a message down.

        @param hold: whether this bridge may have its conversation.
        @raise StoreFailed: it isn't.
        """
        accepted = await self._journal.accept(entry, hold=hold and self._room > 0)
        number = accepted.message.conversation
        if accepted.held and accepted.opened and self._room > 0:
            self._held[number] = Conversation(number)
        conversation = self._held.get(number)
        if accepted.held and conversation is not None:
            self._add(conversation, accepted.message)
            return
        # It is claimed in its turn.
        self.behind = True
        if accepted.held:
            # Others were faster, and there is no room left.
            self._lost.add(number)

    @property
    def _room(self) -> int:
        return 0 if self._closed else MAX_HELD - len(self._held) - self._claiming

    def _add(self, conversation: Conversation, message: Message) -> None:
        if conversation.reading or conversation.more or len(conversation.loaded) >= PAGE:
            # It is read in its turn.
            conversation.more = True
        else:
            if not conversation.loaded:
                conversation.asOf = self._clock.seconds()
            conversation.loaded.append(message)
            self._offer(conversation)

    async def first(self, conversation: Conversation) -> Message | None:
        """
        The first message of a conversation; L{None} where there is none any more.

        @raise StoreFailed: it can't be read.
        """
        fresh = self._clock.seconds() - conversation.asOf < FRESH
        if conversation.loaded and not fresh:
            conversation.more = True
        if conversation.more and not (conversation.loaded and fresh):
            await self._read(conversation)
        return conversation.loaded[0] if conversation.loaded and conversation.held else None

    async def _read(self, conversation: Conversation) -> None:
        conversation.reading, conversation.more = True, False
        try:
            page = await self._journal.page(conversation.number)
        except BaseException:
            conversation.more = True
            raise
        finally:
            conversation.reading = False
        conversation.loaded = deque(page)
        conversation.more = conversation.more or len(page) == PAGE
        conversation.asOf = self._clock.seconds()

    def giveBack(self, conversation: Conversation) -> None:
        """
        Have a conversation said to be ready again, if there is something.
        """
        conversation.busy = False
        if not conversation.held:
            self.forget(conversation)
        elif conversation.loaded or conversation.more:
            self._offer(conversation)
        else:
            self._empty[conversation.number] = conversation

    def forget(self, conversation: Conversation) -> None:
        """
        This bridge holds it no more.
        """
        conversation.held = False
        # What has been claimed since is another one.
        if self._held.get(conversation.number) is conversation:
            del self._held[conversation.number]
            self._empty.pop(conversation.number, None)

    def lose(self, conversation: Conversation) -> None:
        """
        Nobody knows any more what the journal has of it: it is to be claimed anew.
        """
        self.forget(conversation)
        self._lost.add(conversation.number)

    def forgetAll(self, underWay: Container[Conversation]) -> None:
        """
        This bridge could not say in time that it holds them: another one may.

        @param underWay: those with a call that isn't over: there is no other one until they are given back.
        """
        # Some may have been opened since.
        self._lost.update(self._held)
        for conversation in self._held.values():
            conversation.held = False
        self._held = {number: each for number, each in self._held.items() if each in underWay}
        self._empty.clear()

    async def close(self) -> None:
        """
        Hold nothing any more.

        @raise StoreFailed: that isn't sure.
        """
        self._closed = True
        # What it was asked for before is known when the journal has answered once more.
        for _ in range(2):
            self.forgetAll(())
            await self._letGo(set(self._lost))

    async def look(self) -> None:
        """
        Forget what is empty, and claim what is due.

        @raise StoreFailed: it is as it was.
        """
        if self._looking:
            return
        self._looking = True
        try:
            # More may be lost meanwhile.
            if lost := set(self._lost):
                await self._letGo(lost)
            await self._finish()
            await self._claim()
        finally:
            self._looking = False

    async def _letGo(self, lost: set[int]) -> None:
        await self._journal.letGo(lost)
        self._lost -= lost

    def _offer(self, conversation: Conversation) -> None:
        self._empty.pop(conversation.number, None)
        if not conversation.busy:
            conversation.busy = True
            self._ready(conversation)

    async def _finish(self) -> None:
        empty = dict(self._empty)
        left = await self._journal.finish(empty) if empty else ()
        for number, conversation in empty.items():
            if number not in left:
                # What has been written since is another conversation.
                self.forget(conversation)
            elif conversation.held and not conversation.loaded:
                conversation.more = True
                self._offer(conversation)

    async def _claim(self) -> None:
        self._claiming = min(CLAIMED, max(0, self._room))
        limit = self._claiming
        try:
            claimed = await self._journal.claim(self._callback, limit) if limit else {}
        finally:
            self._claiming = 0
        for number, page in claimed.items():
            self._claimed(number, page)
        self.behind = len(claimed) == limit

    def _claimed(self, number: int, page: list[Message]) -> None:
        conversation = self._held.get(number)
        if conversation is not None:
            # Its lease was over, while it was on its way; somebody else may have had it since.
            conversation.held = conversation.more = True
            conversation.asOf = float("-inf")
            return
        conversation = self._held[number] = Conversation(number)
        conversation.loaded.extend(page)
        conversation.more = len(page) == PAGE
        conversation.asOf = self._clock.seconds()
        self._offer(conversation)
