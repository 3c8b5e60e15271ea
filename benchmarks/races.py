"""
All races, by the names that they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks import batches, clientapi, rest, webhooks
from benchmarks.contestants import calling, confirming
from benchmarks.growth import overConnections, pending
from benchmarks.race import Race
from benchmarks.stage import Stage

RACES: Mapping[str, Callable[[Stage], Race]] = {
    "post-json": rest.postJSON,
    "post-xml": rest.postXML,
    "ping": rest.ping,
    "webhook": webhooks.direct,
    "durable": webhooks.durable,
    "api-post": clientapi.post,
    "api-post-hashed": clientapi.postHashed,
    "history": clientapi.history,
    "history-prosody": clientapi.historyOnProsody,
    "events": clientapi.events,
    "batch": batches.batchOnEjabberd,
    "batch-prosody": batches.batchOnProsody,
    "post-json-growth": overConnections(
        "post-json", lambda stage, number: rest.both(stage, rest.IN_JSON, number), confirming, "mod_rest"
    ),
    "post-xml-growth": overConnections(
        "post-xml", lambda stage, number: rest.both(stage, rest.IN_XML, number), confirming, "mod_rest"
    ),
    "ping-growth": overConnections(
        "ping", lambda stage, number: rest.both(stage, rest.PING, number), confirming, "mod_rest"
    ),
    "webhook-growth": overConnections(
        "webhook", webhooks.directly, lambda stage: calling(stage, "calling"), "mod_rest"
    ),
    "durable-growth": overConnections(
        "durable", webhooks.durably, lambda stage: calling(stage, "keeping", delivery="durable"), "mod_rest"
    ),
    "api-post-growth": overConnections("api-post", clientapi.posts, clientapi.onEjabberd, "send_message"),
    "history-growth": overConnections("history", clientapi.pages, clientapi.onEjabberd),
    "pending": pending,
    "sessions": clientapi.sessions,
    "callbacks": webhooks.callbacks,
}
