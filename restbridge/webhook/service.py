"""
The room's parts, put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
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


@attrs.define(slots=False)
class Webhooks(Service):
    """
    Probes the receivers at the start; at the end awaits their answers and closes the connections to them.
    """

    callbacks: Callbacks
    posters: Sequence[Poster]

    def startService(self) -> None:
        super().startService()
        self.callbacks.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.callbacks.finish().addBoth(lambda _: self._close())

    def _close(self) -> Deferred[Any]:
        return gatherResults([poster.close() for poster in self.posters], consumeErrors=True)


def webhooksOf(
    configuration: Configuration, *, component: Component, store: Store, reactor: Any
) -> tuple[Callbacks, list[Service]]:
    """
    Who takes what comes in, and what runs for that.
    """
    # What may not reach private addresses shares no connection with what may.
    posters = {allowed: Poster(reactor=reactor, allowPrivate=allowed) for allowed in (True, False)}

    def receiver(settings: Callback) -> Receiver:
        poster = posters[settings.allowPrivate]
        return Receiver(settings=settings, domain=component.domain, caller=poster, clock=reactor)

    receivers = [receiver(settings) for settings in configuration.callbacks]
    durable, outboxes = _durable(configuration, receivers, component, store, reactor)
    callbacks = Callbacks(receivers=receivers, send=component.send, outboxes=outboxes)
    return callbacks, [Webhooks(callbacks, [*posters.values()]), *durable]


def _durable(
    configuration: Configuration,
    receivers: Sequence[Receiver],
    component: Component,
    store: Store,
    reactor: Any,
) -> tuple[list[Service], dict[str, Outbox]]:
    """
    What runs the durable ones, if there are any, and their outboxes by their names.
    """
    most = configuration.store.maxPending
    journal = Journal(store=store, holder=component.domain, most=most, clock=reactor)
    replies = Replies(journal=journal, domain=component.domain, way=component)

    def outbox(receiver: Receiver) -> Outbox:
        return Outbox(
            settings=receiver.settings,
            call=receiver.call,
            journal=journal,
            replied=replies.wake,
            clock=reactor,
        )

    durable = [receiver for receiver in receivers if receiver.settings.delivery == "durable"]
    outboxes = {receiver.settings.outbox: outbox(receiver) for receiver in durable}
    service = Durable(journal=journal, outboxes=[*outboxes.values()], replies=replies, clock=reactor)
    return [service] if outboxes else [], outboxes
