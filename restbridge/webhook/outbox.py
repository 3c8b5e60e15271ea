"""
The messages of one durable callback, on their way: each conversation in its order, several side by side.

::

    accept -> Conversations -> ready -> call -> delivered, refused        -> the next of the conversation
                                             -> failed, others came through -> postponed
                                             -> failed, nothing has since   -> waits for a probe, see Health
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import MAX_STANZA, StanzaTooLarge, XMLRefused, parseDocument, serialize
from restbridge.store.database import StoreFailed
from restbridge.store.journal import Entry, Journal, Message, Reply
from restbridge.webhook.conversations import Conversation, Conversations
from restbridge.webhook.health import Health
from restbridge.webhook.post import Response
from restbridge.webhook.signature import newWebhookId
from restbridge.webhook.verdict import (
    Delivered,
    Failed,
    Refused,
    Verdict,
    refusal,
    verdictOn,
    verdictOnFailure,
)

log = Logger()

AT_ONCE = 32
"""Calls under way."""

TICK = 1.0
"""Seconds after which a look is taken at what is due."""

Call = Callable[[Element, str], Coroutine[Any, Any, Response]]
"""Makes the call for a stanza, under a webhook id."""


class Outbox:
    """
    The queue of one callback.
    """

    def __init__(
        self,
        *,
        settings: Callback,
        call: Call,
        journal: Journal,
        replied: Callable[[], object],
        clock: IReactorTime,
    ) -> None:
        """
        @param replied: called when the journal has got a reply.
        """
        self.settings = settings
        self._call = call
        self._journal = journal
        self._replied = replied
        self._clock = clock
        self._conversations = Conversations(
            callback=settings.outbox, journal=journal, clock=clock, ready=self._offered
        )
        self._health = Health(first=settings.probes[0], longest=settings.probes[1])
        self._ready: deque[Conversation] = deque()
        self._waiting: dict[int, Conversation] = {}
        self._running: set[Conversation] = set()
        self._term = journal.term
        self._probe: IDelayedCall | None = None
        self._probing: Conversation | None = None
        self._stopped: Deferred[None] | None = None
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = clock

    def start(self) -> None:
        """
        Go on with what the journal has.
        """
        self._ticks.start(TICK)

    def stop(self) -> Deferred[None]:
        """
        Begin nothing more; fires when the calls that are under way have come to their end.
        """
        if self._ticks.running:
            self._ticks.stop()
        self._disarm()
        self._stopped = Deferred() if self._running else succeed(None)
        return self._stopped

    async def close(self) -> None:
        """
        Leave what waits to whoever has this callback next.

        @raise StoreFailed: that didn't work; it may be done again.
        """
        if self._stopped is None:
            await self.stop()
        await self._conversations.close()

    def change(self, settings: Callback, call: Call) -> None:
        """
        From now on this is the callback, of the same name. Nobody knows yet whether it works; that the one
        before failed is no message's fault.
        """
        self.settings = settings
        self._call = call
        self._health = Health(first=settings.probes[0], longest=settings.probes[1])
        self._disarm()
        waiting = sorted(self._waiting.values(), key=lambda conversation: conversation.turn)
        self._waiting.clear()
        for conversation in waiting:
            conversation.probes, conversation.suspect = 0, False
        self._ready.extendleft(reversed(waiting))
        self._pump()

    async def accept(self, stanza: Element) -> None:
        """
        Take a message or presence: it is in the journal afterwards.

        @raise JournalFull: it isn't.
        @raise StoreFailed: likewise.
        @raise XMLRefused: likewise; it could not be read again.
        """
        entry = Entry(
            callback=self.settings.outbox,
            sender=_bare(stanza["from"]),
            recipient=_bare(stanza["to"]),
            webhook=newWebhookId(),
            received=self._journal.now(),
            stanza=_readable(stanza),
        )
        await self._conversations.accept(entry, hold=self._ticks.running)

    @property
    def _works(self) -> bool:
        """
        Whether calls may be made: whether the conversations in memory are this bridge's, until it stops.
        """
        return self._journal.holds and self._journal.term == self._term and self._stopped is None

    def _tick(self) -> None:
        if self._term != self._journal.term:
            # Another bridge may have what was held here.
            self._term = self._journal.term
            self._conversations.forgetAll(self._running)
            self._ready.clear()
            self._waiting.clear()
        self._look()
        # What was ready before it was known to be held.
        self._pump()

    def _look(self) -> None:
        if self._stopped is None:
            Deferred.fromCoroutine(self._conversations.look()).addErrback(self._broken)

    def _offered(self, conversation: Conversation) -> None:
        self._ready.append(conversation)
        self._pump()

    def _pump(self) -> None:
        """
        Begin what may be begun.
        """
        while self._ready and len(self._running) < self._width():
            conversation = self._ready.popleft()
            self._begin(conversation, self._serve(conversation))
        if self._conversations.behind and len(self._ready) < self._width():
            self._look()

    def _width(self) -> int:
        return self._health.width(AT_ONCE, self._clock.seconds()) if self._works else 0

    def _mayCall(self, conversation: Conversation) -> bool:
        if conversation is self._probing:
            return self._works and not self._health.asks(self._clock.seconds())
        return self._width() > 0

    def _begin(self, conversation: Conversation, work: Coroutine[Any, Any, None]) -> None:
        self._running.add(conversation)
        running = Deferred.fromCoroutine(work)
        running.addErrback(self._lost, conversation).addBoth(self._ended, conversation)

    def _ended(self, _: object, conversation: Conversation) -> None:
        self._running.discard(conversation)
        if conversation is self._probing:
            self._probing = None
        if self._waiting.get(conversation.number) is not conversation:
            self._conversations.giveBack(conversation)
        if self._stopped is None:
            self._arm()
            self._pump()
        elif not self._running:
            self._stopped.callback(None)

    async def _serve(self, conversation: Conversation) -> None:
        """
        The whole way of a conversation's first message.
        """
        message = await self._conversations.first(conversation)
        if message is None or not self._mayCall(conversation):
            # Its turn comes again.
            return
        began = self._clock.seconds()
        stanza = parseDocument(message.stanza.encode())
        verdict = await self._called(message, stanza)
        if isinstance(verdict, Failed):
            await self._failed(conversation, message, verdict, began)
        else:
            self._passed()
            await self._over(conversation, message, stanza, verdict)

    async def _called(self, message: Message, stanza: Element) -> Verdict:
        try:
            response = await self._call(stanza, message.webhook)
        except Exception as problem:
            return verdictOnFailure(stanza, problem)
        return verdictOn(stanza, response, self._clock.seconds())

    async def _over(
        self, conversation: Conversation, message: Message, stanza: Element, verdict: Delivered | Refused
    ) -> None:
        """
        Whatever has become of a message, it waits no more.
        """
        conversation.loaded.popleft()
        conversation.probes, conversation.suspect = 0, False
        reply = _written(stanza, verdict.reply)
        if isinstance(verdict, Delivered):
            await self._journal.delivered(message, reply)
        else:
            log.warn(
                "A message from {sender} to {recipient} is a dead letter: {problem}",
                sender=stanza["from"],
                recipient=stanza["to"],
                problem=verdict.problem,
            )
            await self._journal.buried(message, verdict.problem, reply)
        if reply is not None:
            self._replied()

    async def _failed(
        self, conversation: Conversation, message: Message, verdict: Failed, began: float
    ) -> None:
        """
        A message could not be delivered: for its own sake, or like all others.
        """
        conversation.problem = verdict.problem
        isGeneral = self._isGeneral(conversation, message, verdict, began)
        if not conversation.held:
            return
        if not isGeneral:
            await self._postpone(conversation)
            return
        self._giveUpOld(verdict.problem)
        if self._isOld(message):
            await self._giveUp(conversation, verdict.problem)
            return
        self._note(message, verdict.problem)
        conversation.probes += 1
        self._waiting[conversation.number] = conversation

    def _isGeneral(self, conversation: Conversation, message: Message, verdict: Failed, began: float) -> bool:
        """
        Whether it may be the callback's fault, not the message's.
        """
        now = self._clock.seconds()
        again = conversation.suspect or message.failures > 0
        if verdict.after is not None:
            self._health.asked(conversation.number, now + verdict.after)
        elif again and not self._health.fails(now):
            # It failed before, and others came through.
            return False
        elif not self._health.failed(conversation.number, began, wholly=verdict.wholly):
            return False
        if self._probe is None:
            log.warn("The callback {name} fails: {why}", name=self.settings.label, why=verdict.problem)
        return True

    def _note(self, message: Message, problem: str) -> None:
        # For the operator alone: nothing waits for it.
        Deferred.fromCoroutine(self._journal.failed(message, problem)).addErrback(self._broken)

    async def _postpone(self, conversation: Conversation) -> None:
        """
        Have a conversation wait, though others go on.
        """
        message = conversation.loaded[0]
        if self._isOld(message):
            # Those behind it have not been tried.
            await self._bury(conversation, message, conversation.problem)
            return
        retries = self.settings.retries
        delay = retries[min(message.failures, len(retries) - 1)]
        await self._journal.postponed(message, conversation.problem, delay)
        # Not before: what comes meanwhile belongs behind it.
        self._conversations.forget(conversation)

    def _giveUpOld(self, problem: str) -> None:
        """
        Nothing comes through: what has waited for too long is given up with what was called for.
        """
        for conversation in [*self._waiting.values(), *self._ready]:
            if conversation.loaded and self._isOld(conversation.loaded[0]):
                self._takeOut(conversation)
                self._begin(conversation, self._giveUp(conversation, problem))

    async def _giveUp(self, conversation: Conversation, problem: str) -> None:
        while (message := await self._conversations.first(conversation)) and self._isOld(message):
            await self._bury(conversation, message, problem)

    async def _bury(self, conversation: Conversation, message: Message, problem: str) -> None:
        stanza = parseDocument(message.stanza.encode())
        refused = Refused(problem, refusal(stanza, "remote-server-timeout"))
        await self._over(conversation, message, stanza, refused)

    def _isOld(self, message: Message) -> bool:
        waited = self._journal.now() - message.received
        return waited >= int(self.settings.giveUp * 1000)

    def _passed(self) -> None:
        """
        The callback works; what has waited for that goes on.
        """
        now = self._clock.seconds()
        wasDown = self._health.isDown(now)
        self._health.passed(now)
        if self._health.asks(now):
            return
        self._disarm()
        waiting = sorted(self._waiting.values(), key=lambda conversation: conversation.turn)
        self._waiting.clear()
        for conversation in waiting:
            conversation.probes, conversation.suspect = 0, True
        if wasDown:
            self._ready.extendleft(reversed(waiting))
        else:
            # It was the message, not the callback.
            for conversation in waiting:
                self._begin(conversation, self._postpone(conversation))

    def _arm(self) -> None:
        """
        Have a probe made, while the callback fails and none is under way.
        """
        now = self._clock.seconds()
        if self._health.fails(now) and self._probe is None and self._probing is None:
            self._probe = self._clock.callLater(self._health.pause(now), self._probeNow)

    def _disarm(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
        self._probe = None

    def _probeNow(self) -> None:
        """
        Call for the oldest message, of those that were probed least.
        """
        self._probe = None
        candidates = [*self._waiting.values(), *self._ready]
        wait = self._health.asks(self._clock.seconds()) if self._works else TICK
        if wait:
            # The pause that was asked for has become longer, or it isn't known what is held.
            self._probe = self._clock.callLater(wait, self._probeNow)
        elif candidates:
            chosen = min(candidates, key=lambda conversation: conversation.turn)
            self._takeOut(chosen)
            self._probing = chosen
            self._begin(chosen, self._serve(chosen))
        else:
            # What failed has been given up since.
            self._health.forget()

    def _takeOut(self, conversation: Conversation) -> None:
        if self._waiting.pop(conversation.number, None) is None:
            self._ready.remove(conversation)

    def _lost(self, failure: Failure, conversation: Conversation) -> None:
        """
        The journal could not say what became of a message. It is called for again.
        """
        self._conversations.lose(conversation)
        self._broken(failure)

    def _broken(self, failure: Failure) -> None:
        if failure.check(StoreFailed):
            log.error("The journal failed: {reason}", reason=failure.getErrorMessage())
        else:
            log.failure("A durable callback failed", failure)


def _bare(address: str) -> str:
    """
    Of an address that is normalised, and need not be read again.
    """
    return address.partition("/")[0]


def _readable(stanza: Element) -> str:
    """
    A stanza in XML, as the journal keeps it.

    @raise XMLRefused: it has become too long: it might be written in fewer bytes than it is here.
    """
    text = serialize(stanza)
    size = len(text.encode())
    if size > MAX_STANZA:
        raise StanzaTooLarge(size, MAX_STANZA)
    return text


def _written(stanza: Element, reply: Element | None) -> Reply | None:
    """
    What goes back for a stanza, as the journal keeps it.
    """
    if reply is None:
        return None
    domain = JID.parse(stanza["to"]).domain
    # Whoever sends it knows it by that, also when what it answers has none.
    reply.attributes.setdefault("id", newId())
    try:
        return Reply(domain, serialize(reply))
    except XMLRefused as problem:
        log.warn("A callback's reply can't be sent: {problem}", problem=problem)
    error = refusal(stanza, "internal-server-error")
    return None if error is None else Reply(domain, serialize(error))
