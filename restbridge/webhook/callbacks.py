"""
A stanza to its callback, and the reply back: the table of contents of this room.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown, StanzaError, errorReply, takesError
from restbridge.stanzas.xml import XMLRefused
from restbridge.store.database import StoreFailed
from restbridge.store.journal import JournalFull
from restbridge.webhook.filter import Filter
from restbridge.webhook.outbox import Outbox
from restbridge.webhook.receiver import Busy, Receiver
from restbridge.webhook.reply import replyTo


class Stopping(Exception):
    """
    Nothing more is delivered.
    """


class Callbacks:
    """
    Takes what one of the receivers wants; the first that fits gets it.

    @ivar receivers: in their order.
    """

    log = Logger()

    def __init__(
        self,
        *,
        receivers: Sequence[Receiver],
        send: Callable[[Element], object],
        outboxes: Mapping[str, Outbox] = MappingProxyType({}),
    ) -> None:
        """
        @param send: writes a stanza; may raise L{LinkDown} or L{XMLRefused}.
        @param outboxes: of the durable ones, by their names.
        """
        self.receivers: list[Receiver] = []
        self._send = send
        self._underWay: set[Deferred[None]] = set()
        self._finished: Deferred[None] | None = None
        self.change(receivers, outboxes)

    def change(self, receivers: Sequence[Receiver], outboxes: Mapping[str, Outbox]) -> None:
        """
        From now on these are the receivers, and the outboxes of the durable ones by their names. Calls to
        others that are under way come to their end.
        """
        # The list stays the same one, for those who look at it.
        self.receivers[:] = receivers
        self._filter = Filter([receiver.settings for receiver in receivers])
        self._outboxes = outboxes

    def start(self) -> None:
        """
        Probe the receivers; see L{Receiver.probe}.
        """
        self.probe(self.receivers)

    def probe(self, receivers: Sequence[Receiver]) -> None:
        """
        Probe some of them.
        """
        for receiver in receivers:
            Deferred.fromCoroutine(receiver.probe()).addErrback(self._broken)

    def take(self, stanza: Element) -> bool:
        """
        See L{restbridge.boundaries.Taker}.
        """
        number = self._filter.first(stanza)
        if number is None:
            return False
        delivery = Deferred.fromCoroutine(self._way(stanza, self.receivers[number]))
        self._underWay.add(delivery)
        delivery.addErrback(self._failed, stanza).addBoth(self._done, delivery)
        return True

    def finish(self) -> Deferred[None]:
        """
        Deliver nothing more: who sends something now is told to try again later. Fires when all that was
        under way is done; cancelled, gives that up, and tells its senders.
        """
        self._finished = Deferred(lambda _: self._giveUp())
        self._fireIfDone()
        return self._finished

    def _giveUp(self) -> None:
        for delivery in list(self._underWay):
            delivery.cancel()

    def _done(self, _: object, delivery: Deferred[None]) -> None:
        self._underWay.discard(delivery)
        self._fireIfDone()

    def _fireIfDone(self) -> None:
        if self._finished is not None and not self._finished.called and not self._underWay:
            self._finished.callback(None)

    def _way(self, stanza: Element, receiver: Receiver) -> Coroutine[Any, Any, None]:
        """
        An IQ is called for while its sender waits, whatever the callback.
        """
        if stanza.name != "iq" and receiver.settings.delivery == "durable":
            return self._keep(stanza, receiver)
        return self._deliver(stanza, receiver)

    async def _keep(self, stanza: Element, receiver: Receiver) -> None:
        """
        Leave a stanza to the outbox, which answers it when it is delivered.
        """
        try:
            await self._outboxes[receiver.settings.outbox].accept(stanza)
        except (JournalFull, StoreFailed, XMLRefused, CancelledError) as problem:
            reply = self._undelivered(stanza, receiver, problem)
            if reply is not None:
                self._sendReply(stanza, reply)

    async def _deliver(self, stanza: Element, receiver: Receiver) -> None:
        """
        The whole way of a stanza.
        """
        try:
            if self._finished is not None:
                raise Stopping("restbridge is stopping")
            response = await receiver.call(stanza)
        except Exception as problem:
            reply = self._undelivered(stanza, receiver, problem)
        else:
            reply = replyTo(stanza, response)
        if reply is not None:
            self._sendReply(stanza, reply)

    def _undelivered(self, stanza: Element, receiver: Receiver, problem: Exception) -> Element | None:
        self.log.warn(
            "A {kind} could not be delivered to {url}: {problem}",
            kind=stanza.name,
            url=receiver.settings.label,
            problem=repr(problem),
        )
        return errorReply(stanza, _error(problem)) if takesError(stanza) else None

    def _sendReply(self, stanza: Element, reply: Element) -> None:
        if not self._wrote(reply) and takesError(stanza):
            self._wrote(errorReply(stanza, StanzaError.of("internal-server-error")))

    def _wrote(self, reply: Element) -> bool:
        """
        @return: whether it could be written as XML, be it that there was no link to write to.
        """
        try:
            self._send(reply)
        except XMLRefused as problem:
            self.log.warn("A callback's reply can't be sent: {problem}", problem=problem)
            return False
        except LinkDown as down:
            self.log.warn("A callback's reply was lost: {reason}", reason=down)
        return True

    def _failed(self, failure: Failure, stanza: Element) -> None:
        self._broken(failure)
        if takesError(stanza):
            self._wrote(errorReply(stanza, StanzaError.of("internal-server-error")))

    def _broken(self, failure: Failure) -> None:
        self.log.failure("A callback failed", failure)


def _error(problem: Exception) -> StanzaError:
    if isinstance(problem, (Busy, JournalFull, StoreFailed)):
        return StanzaError.of("resource-constraint")
    if isinstance(problem, XMLRefused):
        return StanzaError.of("policy-violation", str(problem))
    if isinstance(problem, (DeferredTimeout, ConnectTimeout)):
        return StanzaError.of("remote-server-timeout")
    return StanzaError.of("recipient-unavailable")
