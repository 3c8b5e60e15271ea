"""
The room's parts, put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults

from restbridge.config import Callback, Configuration
from restbridge.store.database import Store
from restbridge.store.journal import Journal
from restbridge.webhook.callbacks import Callbacks
from restbridge.webhook.durable import Durable
from restbridge.webhook.outbox import Outbox
from restbridge.webhook.post import Poster
from restbridge.webhook.receiver import Receiver
from restbridge.webhook.replies import Replies
from restbridge.xmpp.component import Component


class Webhooks(Service):
    """
    Probes the receivers at the start; at the end awaits their answers and closes the connections to them.
    """

    def __init__(
        self,
        *,
        settings: Sequence[Callback],
        component: Component,
        journal: Journal,
        reactor: Any,
    ) -> None:
        # What may not reach private addresses shares no connection with what may.
        self._posters = {allowed: Poster(reactor=reactor, allowPrivate=allowed) for allowed in (True, False)}
        self._component = component
        self._journal = journal
        self._reactor = reactor
        self._outboxes: dict[str, Outbox] = {}
        self._replies = Replies(journal=journal, domain=component.domain, way=component)
        self.callbacks = Callbacks(receivers=(), send=component.send)
        self.durable = Durable(journal=journal, outboxes=(), replies=self._replies, clock=reactor)
        self.change(settings)

    def startService(self) -> None:
        super().startService()
        self.callbacks.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.callbacks.finish().addBoth(lambda _: self._close())

    def change(self, settings: Sequence[Callback]) -> None:
        """
        From now on these are the callbacks. One that is as it was goes on; so does the outbox of one that has
        kept its name.
        """
        before = [*self.callbacks.receivers]
        receivers = [self._receiver(each) for each in settings]
        durable = [receiver for receiver in receivers if receiver.settings.delivery == "durable"]
        self._outboxes = {receiver.settings.outbox: self._outbox(receiver) for receiver in durable}
        self.callbacks.change(receivers, self._outboxes)
        self.durable.change([*self._outboxes.values()])
        if self.running:
            self.callbacks.probe([receiver for receiver in receivers if receiver not in before])

    def _receiver(self, settings: Callback) -> Receiver:
        for known in self.callbacks.receivers:
            if known.settings == settings:
                return known
        poster = self._posters[settings.allowPrivate]
        domain = self._component.domain
        return Receiver(settings=settings, domain=domain, caller=poster, clock=self._reactor)

    def _outbox(self, receiver: Receiver) -> Outbox:
        known = self._outboxes.get(receiver.settings.outbox)
        if known is not None:
            if known.settings != receiver.settings:
                known.change(receiver.settings, receiver.call)
            return known
        return Outbox(
            settings=receiver.settings,
            call=receiver.call,
            journal=self._journal,
            replied=self._replies.wake,
            clock=self._reactor,
        )

    def _close(self) -> Deferred[Any]:
        return gatherResults([poster.close() for poster in self._posters.values()], consumeErrors=True)


def webhooksOf(
    configuration: Configuration, *, component: Component, store: Store, holder: str, reactor: Any
) -> Webhooks:
    """
    What takes what comes in; its part C{durable} is a service of its own, that is started behind it.

    @param holder: this bridge, among those that share the store.
    """
    most = configuration.store.maxPending
    journal = Journal(store=store, holder=holder, most=most, clock=reactor)
    return Webhooks(settings=configuration.callbacks, component=component, journal=journal, reactor=reactor)
