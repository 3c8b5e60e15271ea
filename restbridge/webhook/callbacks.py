"""
A stanza to its callback, and the reply back: the table of contents of this room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown, StanzaError, errorReply
from restbridge.stanzas.replies import takesReply
from restbridge.stanzas.xml import XMLRefused
from restbridge.webhook.filter import fits
from restbridge.webhook.receiver import Busy, Receiver
from restbridge.webhook.reply import replyTo


class Callbacks:
    """
    Takes what one of the receivers wants; the first that fits gets it.
    """

    log = Logger()

    def __init__(self, *, receivers: Sequence[Receiver], send: Callable[[Element], object]) -> None:
        """
        @param send: writes a stanza; may raise L{LinkDown} or L{XMLRefused}.
        """
        self._receivers = receivers
        self._send = send

    def start(self) -> None:
        """
        Probe the receivers; see L{Receiver.probe}.
        """
        for receiver in self._receivers:
            Deferred.fromCoroutine(receiver.probe()).addErrback(self._broken)

    def take(self, stanza: Element) -> bool:
        """
        See L{restbridge.boundaries.Taker}.
        """
        for receiver in self._receivers:
            if fits(receiver.settings, stanza):
                Deferred.fromCoroutine(self._deliver(stanza, receiver)).addErrback(self._failed, stanza)
                return True
        return False

    async def _deliver(self, stanza: Element, receiver: Receiver) -> None:
        """
        The whole way of a stanza.
        """
        try:
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
            url=receiver.settings.url,
            problem=repr(problem),
        )
        if not takesReply(stanza):
            return None
        return errorReply(stanza, _error(problem))

    def _sendReply(self, stanza: Element, reply: Element) -> None:
        if not self._wrote(reply):
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
        if takesReply(stanza):
            self._wrote(errorReply(stanza, StanzaError.of("internal-server-error")))

    def _broken(self, failure: Failure) -> None:
        self.log.failure("A callback failed", failure)


def _error(problem: Exception) -> StanzaError:
    if isinstance(problem, Busy):
        return StanzaError.of("resource-constraint")
    if isinstance(problem, (DeferredTimeout, ConnectTimeout)):
        return StanzaError.of("remote-server-timeout")
    return StanzaError.of("recipient-unavailable")
