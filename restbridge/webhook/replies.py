"""
What goes back for messages to durable callbacks: out of the journal, in order, to the server.

::

    journal -> up to AT_ONCE -> link.confirm -> taken -> gone from the journal
                                             -> link down: again, when it is up
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.xml import parseDocument
from restbridge.store.database import StoreFailed
from restbridge.store.journal import Journal

AT_ONCE = 100


class Way(Protocol):
    """
    The component's stream; see L{restbridge.xmpp.component.Component}.
    """

    def whenUp(self) -> Deferred[None]:
        """
        Fires as soon as stanzas can be sent.
        """

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        """
        See L{restbridge.boundaries.Link}.
        """


class Replies:
    """
    Sends what the journal has for one domain.
    """

    log = Logger()

    def __init__(self, *, journal: Journal, domain: str, way: Way) -> None:
        self.domain = domain
        self._journal = journal
        self._way = way
        self._sending: Deferred[None] | None = None
        self._again = False
        self._stopped = False

    def wake(self) -> None:
        """
        There may be something to send.
        """
        self._again = True
        if self._sending is None and not self._stopped:
            self._sending = Deferred.fromCoroutine(self._send())
            self._sending.addErrback(self._failed).addBoth(self._rest)

    def stop(self) -> None:
        """
        Send no more; what is left is sent after the next start.
        """
        self._stopped = True
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self) -> None:
        while self._again and not self._stopped:
            self._again = False
            await self._way.whenUp()
            while not self._stopped and (found := await self._journal.replies(self.domain, AT_ONCE)):
                results = await DeferredList([self._sent(stanza) for _, stanza in found])
                done = [number for (number, _), (_, taken) in zip(found, results, strict=True) if taken]
                await self._journal.sent(done)
                await self._way.whenUp()

    def _sent(self, stanza: str) -> Deferred[bool]:
        """
        Fires with whether it need not be sent again.
        """
        return Deferred.fromCoroutine(self._confirmed(stanza))

    async def _confirmed(self, stanza: str) -> bool:
        try:
            await self._way.confirm(parseDocument(stanza.encode()))
        except (LinkDown, CancelledError):
            return False
        except Exception as problem:
            # The next time would be no better.
            self.log.warn("A callback's reply can't be sent: {problem}", problem=repr(problem))
        return True

    def _failed(self, failure: Failure) -> None:
        if self._stopped:
            return
        if failure.check(StoreFailed):
            self.log.error("Replies wait for the store: {reason}", reason=failure.getErrorMessage())
        else:
            self.log.failure("Replies could not be sent", failure)

    def _rest(self, _: object) -> None:
        self._sending = None
