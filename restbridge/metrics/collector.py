"""
The metrics: their names, what they mean, and where they come from.

All labels have few values, none of which a stranger can choose: the rule of a route, never a path; the
configuration's domains and callbacks, and callbacks that something waits for in the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

import attrs
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IReactorTime

from restbridge._version import __version__
from restbridge.tally import BOUNDS, Histogram, Requests
from restbridge.users.sessions import Sessions
from restbridge.web.serving import Connections
from restbridge.webhook.backlog import Backlog
from restbridge.webhook.outcomes import OUTCOMES
from restbridge.webhook.receiver import Receiver
from restbridge.xmpp.component import Component
from restbridge.xmpp.traffic import Traffic

_LEVELS = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


@attrs.frozen(kw_only=True)
class Watched:
    """
    What is told about.

    @ivar component: L{None} where there is none.
    @ivar receivers: the callbacks, as they are now.
    """

    requests: Requests
    connections: Connections
    users: Sessions
    component: Component | None
    receivers: Sequence[Receiver]
    backlog: Backlog


def registryOf(watched: Watched, clock: IReactorTime) -> CollectorRegistry:
    """
    All metrics, those of the process among them.
    """
    registry = CollectorRegistry()
    registry.register(BridgeCollector(watched, clock))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class BridgeCollector(Collector):
    """
    The bridge's own.
    """

    def __init__(self, watched: Watched, clock: IReactorTime) -> None:
        self._watched = watched
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """
        What there is now.
        """
        info = GaugeMetricFamily(
            "restbridge_build_info", "The bridge's version; always 1.", labels=["version"]
        )
        info.add_metric([__version__], 1)
        yield info
        yield from self._http()
        yield from self._xmpp()
        yield from self._webhooks()
        yield from self._waiting(self._watched.backlog)

    def _http(self) -> Iterator[Metric]:
        answered = self._watched.requests.answered
        requests = CounterMetricFamily(
            "restbridge_http_requests",
            "Requests that were answered.",
            labels=["api", "route", "method", "code"],
        )
        took: dict[tuple[str, ...], Histogram] = {}
        for (api, route, method, status), each in answered.items():
            name = method.decode()
            requests.add_metric([api, route, name, str(status)], sum(each.buckets))
            took.setdefault((api, route, name), Histogram()).join(each)
        yield requests
        yield _histogram(
            "restbridge_http_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["api", "route", "method"],
            took,
        )
        yield GaugeMetricFamily(
            "restbridge_http_connections",
            "Clients' connections that are open.",
            self._watched.connections.number,
        )

    def _xmpp(self) -> Iterator[Metric]:
        component, users = self._watched.component, self._watched.users
        if component is not None:
            up = GaugeMetricFamily(
                "restbridge_xmpp_component_up",
                "Whether the component's stream is up.",
                labels=["domain"],
            )
            up.add_metric([component.domain], float(component.whyDown() is None))
            yield up
        links = users.links
        logins = Counter(link.address.domain for link in links)
        yield _gauge(
            "restbridge_sessions",
            "Logins of XMPP users that are held.",
            "domain",
            {domain: logins[domain] for domain in users.traffic},
        )
        traffic = dict(users.traffic)
        pending, unconfirmed = Counter(dict.fromkeys(traffic, 0)), Counter(dict.fromkeys(traffic, 0))
        for link in links:
            pending[link.address.domain] += link.exchange.pending
            unconfirmed[link.address.domain] += link.confirmations.waiting
        if component is not None:
            traffic[component.domain] = component.traffic
            pending[component.domain] = component.exchange.pending
            unconfirmed[component.domain] = component.confirmations.waiting
        yield _gauge("restbridge_xmpp_pending_iqs", "IQs that await their answers.", "domain", pending)
        yield _gauge(
            "restbridge_xmpp_unconfirmed_stanzas",
            "Messages and presences that the server is not known to have taken.",
            "domain",
            unconfirmed,
        )
        yield from _traffic(traffic)

    def _webhooks(self) -> Iterator[Metric]:
        counts: dict[str, Counter[str]] = {}
        took: dict[tuple[str, ...], Histogram] = {}
        waiting: Counter[str] = Counter()
        for receiver in self._watched.receivers:
            # Two may be called alike.
            name = receiver.settings.label
            counts.setdefault(name, Counter()).update(receiver.outcomes.counts)
            took.setdefault((name,), Histogram()).join(receiver.outcomes.took)
            waiting[name] += receiver.waiting
        attempts = CounterMetricFamily(
            "restbridge_webhook_attempts",
            "Calls to callbacks, by how they ended; busy: none was made, as too many waited already.",
            labels=["callback", "outcome"],
        )
        for name, ended in counts.items():
            for outcome in OUTCOMES:
                attempts.add_metric([name, outcome], ended[outcome])
        yield attempts
        yield _histogram(
            "restbridge_webhook_attempt_duration_seconds",
            "Time that calls to callbacks took.",
            ["callback"],
            took,
        )
        yield _gauge(
            "restbridge_webhook_calls_in_progress",
            "Stanzas that are being delivered to a callback, or wait for that in memory.",
            "callback",
            waiting,
        )

    def _waiting(self, backlog: Backlog) -> Iterator[Metric]:
        now = self._clock.seconds()
        waiting: Counter[str] = Counter()
        dead: Counter[str] = Counter()
        age: dict[str, float] = {}
        for outbox, each in backlog.known.items():
            name = outbox.partition("?")[0]
            waiting[name] += each.messages
            dead[name] += each.dead
            waits = 0.0 if each.oldest is None else max(0.0, now - each.oldest / 1000)
            age[name] = max(age.get(name, 0.0), waits)
        yield GaugeMetricFamily(
            "restbridge_webhook_store_up",
            "Whether the store says what waits for durable callbacks; else it is as the last time.",
            float(backlog.works),
        )
        yield _gauge(
            "restbridge_webhook_pending_messages",
            "Messages that wait for a durable callback, in the store, from all bridges that share it.",
            "callback",
            waiting,
        )
        yield _gauge(
            "restbridge_webhook_oldest_message_age_seconds",
            "How long the oldest message that waits for a durable callback has waited; 0 for none.",
            "callback",
            age,
        )
        yield _gauge(
            "restbridge_webhook_dead_letters",
            "Messages that a durable callback has not taken, and that wait no more.",
            "callback",
            dead,
        )


def _traffic(traffic: Mapping[str, Traffic]) -> Iterator[Metric]:
    sent = CounterMetricFamily(
        "restbridge_xmpp_stanzas_sent",
        "Stanzas sent; iq: also those by which others are confirmed.",
        labels=["domain", "kind"],
    )
    received = CounterMetricFamily(
        "restbridge_xmpp_stanzas_received",
        "Stanzas received; iq: also those by which others are confirmed.",
        labels=["domain", "kind"],
    )
    streams = CounterMetricFamily(
        "restbridge_xmpp_streams",
        "Streams that came up: the component's first one and its reconnects, logins of users.",
        labels=["domain"],
    )
    spoofed = CounterMetricFamily(
        "restbridge_xmpp_spoofed_answers",
        "Answers that were dropped, since they came from somebody else than was asked.",
        labels=["domain"],
    )
    for domain, each in traffic.items():
        for family, kinds in ((sent, each.sent), (received, each.received)):
            for kind, count in kinds.items():
                family.add_metric([domain, kind], count)
        streams.add_metric([domain], each.streams)
        spoofed.add_metric([domain], each.impostors)
    yield from (sent, received, streams, spoofed)


def _gauge(name: str, means: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, means, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _histogram(
    name: str, means: str, labels: Sequence[str], took: Mapping[tuple[str, ...], Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, means, labels=labels)
    for values, each in took.items():
        family.add_metric(values, _cumulative(each.buckets), each.seconds)
    return family


def _cumulative(buckets: Iterable[int]) -> list[tuple[str, float]]:
    return list(zip(_LEVELS, accumulate(buckets), strict=True))
