"""
L{restbridge.metrics}: what Prometheus is told, and what of it the dashboard and the alerts ask for.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as readOpenMetrics
from prometheus_client.parser import text_string_to_metric_families as readText
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import parse
from restbridge.metrics.collector import Watched, registryOf
from restbridge.metrics.page import siteOf
from restbridge.parts import Parts
from restbridge.store.journal import Entry, Journal
from restbridge.tally import BOUNDS, Histogram, Requests
from restbridge.tap import assemble, bridge
from restbridge.web.serving import Serving
from restbridge.webhook.backlog import Backlog
from tests.store.fakes import FakeStore
from tests.web.client import Client, LoggingTestCase, Reply

ETC = Path(__file__).resolve().parents[1] / "etc"
NOW = 1_800_000_000
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
CONFIGURATION = """
[component]
domain = "rest.example.com"
secret = "change-me"
[metrics]
listen = "tcp:9117:interface=127.0.0.1"
[users."example.com"]
[[callbacks]]
url = "https://h.example.com/direct?key=hunter2"
to = ["direct@rest.example.com"]
[[callbacks]]
url = "https://h.example.com/direct?key=hunter3"
to = ["other@rest.example.com"]
[[callbacks]]
url = "https://h.example.com/durable"
name = "events"
delivery = "durable"
"""


def assembled(reactor: MemoryReactorClock, text: str = CONFIGURATION) -> Parts:
    return assemble(parse(text, Path(), {}), reactor)


class MetricsTestCase(LoggingTestCase):
    """
    @ivar api: a connection to the bridge, and C{port} one to its metrics.
    """

    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.parts = assembled(self.reactor)
        assert self.parts.metrics is not None
        self.api, self.port = Client(self.parts.site), Client(self.parts.metrics)

    def asked(self, accept: str = "", path: str = "/metrics", method: str = "GET") -> Reply:
        reply = self.port.request(method, path, {"Accept": accept})
        self.port = Client(self.parts.metrics or self.parts.site)
        return reply

    def told(self) -> dict[str, Metric]:
        """
        The metrics by their names.
        """
        return {metric.name: metric for metric in readText(self.asked().body.decode())}

    def value(self, name: str, **labels: str) -> float:
        """
        That of the one sample with these labels.
        """
        samples = [sample for metric in self.told().values() for sample in metric.samples]
        (found,) = (each for each in samples if each.name == name and labels.items() <= each.labels.items())
        return found.value


class PageTests(MetricsTestCase):
    def test_forms(self) -> None:
        """
        A scraper has the form that it asks for, and can read it.
        """
        plain, openMetrics = self.asked(), self.asked(OPENMETRICS)
        self.assertTrue(plain.type.startswith("text/plain; version=0.0.4"), plain.type)
        self.assertTrue(openMetrics.type.startswith("application/openmetrics-text; version=1.0.0"))
        names = {metric.name for metric in readText(plain.body.decode())}
        self.assertIn("restbridge_http_requests", names)
        self.assertIn("process_cpu_seconds", names)
        self.assertLessEqual(names, {metric.name for metric in readOpenMetrics(openMetrics.body.decode())})

    def test_nothingElse(self) -> None:
        """
        Nothing else is there but a way to it, and no method but those that read.
        """
        self.assertIn(b"href='/metrics'", self.asked(path="/").body)
        self.assertEqual((200, b""), (self.asked(method="HEAD").status, self.asked(method="HEAD").body))
        for method, path in (
            *(("GET", path) for path in ("/rest", "/healthz", "/metrics/", "/metrics/x", "//", "/docs/")),
            *((method, path) for method in ("POST", "DELETE", "OPTIONS") for path in ("/", "/metrics")),
        ):
            self.assertEqual(404, self.asked(path=path, method=method).status, (method, path))

    def test_quiet(self) -> None:
        """
        That it was asked for goes without saying, in the log and in the metrics.
        """
        self.logged.clear()
        self.asked()
        self.assertEqual([], [line for line in self.logged if "GET" in line])
        self.assertEqual([], self.told()["restbridge_http_requests"].samples)

    def test_off(self) -> None:
        """
        Without the section nothing listens, and nothing is counted.
        """
        parts = assembled(self.reactor, CONFIGURATION.replace("[metrics]", "[http]"))
        self.assertEqual((None, None), (parts.metrics, parts.site._tally))

    def test_listens(self) -> None:
        """
        They have ports of their own, which are closed when nearly all else is.
        """
        services = list(bridge(parse(CONFIGURATION, Path(), {}), self.reactor))
        ports = [number for number, service in enumerate(services) if isinstance(service, Serving)]
        self.assertEqual([1, len(services) - 1], ports)

    def test_import(self) -> None:
        """
        The library brings neither a reactor nor threads along.
        """
        said = (
            "import restbridge.metrics.page, sys, threading;"
            "sys.exit('twisted.internet.reactor' in sys.modules or threading.active_count() > 1)"
        )
        ran = subprocess.run([sys.executable, "-c", said], cwd=ETC.parent, check=False)
        self.assertEqual(0, ran.returncode)


class ValueTests(MetricsTestCase):
    def test_requests(self) -> None:
        """
        Requests are counted by API, route, method and status, and timed.
        """
        for _ in range(3):
            self.api.request("POST", "/rest")
        self.api.request("GET", "/healthz")
        labels = {"api": "rest", "route": "/rest", "method": "POST"}
        self.assertEqual(3, self.value("restbridge_http_requests_total", code="401", **labels))
        self.assertEqual(3, self.value("restbridge_http_request_duration_seconds_count", **labels))
        self.assertEqual(1, self.value("restbridge_http_requests_total", route="/healthz", code="200"))

    def test_bounded(self) -> None:
        """
        Whatever strangers ask for, there are no more series.
        """
        before = None
        for number in range(5):
            for path in (f"/{number}", f"/rest/ping/{number}", f"/api/rooms/{number}", f"/docs/{number}"):
                for method in ("GET", f"BREW{number}"):
                    Client(self.parts.site).begin(method, path)
            series = sum(len(metric.samples) for metric in self.told().values())
            self.assertIn(before, (None, series))
            before = series

    def test_stream(self) -> None:
        """
        A component that isn't attached is told to be down, and what is counted begins with nothing.
        """
        self.assertEqual(0, self.value("restbridge_xmpp_component_up", domain="rest.example.com"))
        for name in ("restbridge_xmpp_streams_total", "restbridge_xmpp_spoofed_answers_total"):
            self.assertEqual(
                [0, 0], [self.value(name, domain=f"{each}example.com") for each in ("rest.", "")]
            )
        self.assertEqual(0, self.value("restbridge_xmpp_stanzas_sent_total", domain="example.com", kind="iq"))
        self.assertEqual(0, self.value("restbridge_sessions", domain="example.com"))
        self.assertEqual(0, self.value("restbridge_xmpp_pending_iqs", domain="rest.example.com"))

    def test_callbacks(self) -> None:
        """
        Callbacks are told apart by their names, or by their URLs without the query, which may hold a secret;
        those that look the same are counted as one.
        """
        body = self.asked().body.decode()
        self.assertNotIn("hunter", body)
        for callback in ("events", "https://h.example.com/direct"):
            labels = {"callback": callback, "outcome": "5xx"}
            self.assertEqual(0, self.value("restbridge_webhook_attempts_total", **labels))
        samples = re.findall(r"^(\w+\{.*\}) ", body, re.MULTILINE)
        self.assertEqual(len(samples), len(set(samples)))

    def test_noStore(self) -> None:
        """
        A store that can't be asked keeps nobody from the rest.
        """
        self.assertEqual(0, self.value("restbridge_webhook_store_up"))

    def test_backlog(self) -> None:
        """
        What waits for durable callbacks is told as the store has it, and how long the oldest has waited.
        """
        self.reactor.advance(NOW)
        store = FakeStore()
        journal = Journal(store=store, holder="x", most=10, clock=self.reactor)
        entry = Entry(
            callback="https://h/?key=hunter2",
            sender="a@b",
            recipient="c@d",
            webhook="w",
            received=(NOW - 60) * 1000,
            stanza="<message/>",
        )
        self.successResultOf(Deferred.fromCoroutine(journal.accept(entry, hold=True)))
        watched = Watched(
            requests=Requests(),
            connections=self.parts.site.connections,
            users=self.users(),
            component=None,
            receivers=(),
            backlog=Backlog(store=store, callbacks=lambda: ["idle"], clock=self.reactor),
        )
        self.port = Client(siteOf(watched, self.reactor))
        body = self.port.request("GET", "/metrics").body.decode()
        for line in (
            "restbridge_webhook_store_up 1.0",
            'restbridge_webhook_pending_messages{callback="https://h/"} 1.0',
            'restbridge_webhook_oldest_message_age_seconds{callback="https://h/"} 60.0',
            'restbridge_webhook_oldest_message_age_seconds{callback="idle"} 0.0',
            'restbridge_webhook_dead_letters{callback="idle"} 0.0',
        ):
            self.assertIn(line, body.splitlines())

    def test_histogram(self) -> None:
        """
        A bucket has all that took at most so long; the last one has all.
        """
        took = Histogram()
        for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1], BOUNDS[-1] + 1):
            took.add(seconds)
        self.assertEqual((2, 1, 1, 1), (took.buckets[0], took.buckets[1], *took.buckets[-2:]))
        for _ in range(2):
            self.api.request("GET", "/healthz")
        (metric,) = (m for m in self.told().values() if m.name == "restbridge_http_request_duration_seconds")
        counts = [each.value for each in metric.samples if each.name.endswith("_bucket")]
        self.assertEqual((sorted(counts), 2.0), (counts, counts[-1]))

    def users(self) -> Any:
        (users,) = (each for each in self.parts.services if type(each).__name__ == "Sessions")
        return users


class LintTests(MetricsTestCase):
    """
    What C{promtool check metrics} looks at.
    """

    def test_names(self) -> None:
        """
        Names say what they count, in base units, and by their ends what they are.
        """
        for metric in self.told().values():
            self.assertRegex(metric.name, r"\A(restbridge|process|python)(_[a-z]+)+\Z")
            self.assertNotRegex(metric.name, r"(milliseconds?|_ms|minutes|hours|_kb|percent|ratio)\b")
            self.assertNotRegex(
                metric.name, "_(gauge|counter|histogram|summary|info_total|count|sum|bucket)$"
            )
            self.assertTrue(metric.documentation, metric.name)
            for sample in metric.samples:
                self.assertEqual(metric.type == "counter", sample.name.endswith("_total"), sample.name)
                for label in sample.labels:
                    self.assertRegex(label, r"\A[a-z]+\Z")
            if metric.type == "histogram":
                self.assertTrue(metric.name.endswith("_seconds"), metric.name)

    def test_help(self) -> None:
        """
        Each of the bridge's own is explained in a sentence.
        """
        for metric in self.told().values():
            if metric.name.startswith("restbridge_"):
                self.assertRegex(metric.documentation, r"\A[A-Z].{10,}\.\Z")


class QueryTests(MetricsTestCase):
    """
    Dashboard and alerts.
    """

    def known(self) -> tuple[set[str], set[str]]:
        """
        All names of samples, and all labels.
        """
        self.api.request("GET", "/healthz")
        registry = registryOf(self.watched(), self.reactor)
        metrics = list(registry.collect())
        samples = [sample for metric in metrics for sample in metric.samples]
        ends = ("", "_total", "_bucket", "_sum", "_count")
        names = {sample.name for sample in samples}
        # A family without samples is none that could be asked for.
        self.assertLessEqual(
            {metric.name for metric in metrics}, {n.removesuffix(e) for n in names for e in ends}
        )
        return names, {label for sample in samples for label in sample.labels}

    def watched(self) -> Watched:
        """
        All that there may be.
        """
        requests = Requests()
        requests.count("rest", "/rest", b"POST", 202, 0.1)
        store = FakeStore()
        backlog = Backlog(store=store, callbacks=lambda: ["events"], clock=self.reactor)
        self.successResultOf(Deferred.fromCoroutine(backlog.look()))
        parts = {type(each).__name__: each for each in self.parts.services}
        webhooks: Any = parts["Webhooks"]
        users: Any = parts["Sessions"]
        component: Any = parts["Component"]
        return Watched(
            requests=requests,
            connections=self.parts.site.connections,
            users=users,
            component=component,
            receivers=webhooks.callbacks.receivers,
            backlog=backlog,
        )

    def dashboard(self) -> Iterator[str]:
        document = json.loads((ETC / "grafana" / "restbridge.json").read_text("utf-8"))
        for panel in document["panels"]:
            yield from (target["expr"] for target in panel.get("targets", ()))
        for variable in document["templating"]["list"]:
            query = variable["query"]
            if isinstance(query, dict):
                self.assertRegex(query["query"], r"\Alabel_values\(restbridge_build_info(\{.*\})?, \w+\)\Z")

    def alerts(self) -> Iterator[str]:
        document = yaml.safe_load((ETC / "prometheus" / "alerts.yml").read_text("utf-8"))
        for group in document["groups"]:
            yield from (rule["expr"] for rule in group["rules"])

    def test_exist(self) -> None:
        """
        All that the dashboard and the alerts ask for exists, and so do the labels by which they do.
        """
        names, labels = self.known()
        for queries in (list(self.dashboard()), list(self.alerts())):
            self.assertGreater(len(queries), 10)
            for query in queries:
                asked = set(namesIn(query))
                self.assertTrue(asked, query)
                self.assertLessEqual(asked, names | {"up"}, query)
                self.assertLessEqual(set(labelsIn(query)), labels | {"instance", "job", "le"}, query)

    def test_all(self) -> None:
        """
        The dashboard shows each of the bridge's own.
        """
        names, _ = self.known()
        shown = {name for query in self.dashboard() for name in namesIn(query)}
        families = {
            re.sub("_(bucket|sum|count)$", "", name) for name in names if name.startswith("restbridge_")
        }
        self.assertEqual(
            families, {re.sub("_(bucket|sum|count)$", "", n) for n in shown if "restbridge_" in n}
        )

    def test_reader(self) -> None:
        """
        What reads the queries here would see a mistake.
        """
        query = 'sum by (a, b) (rate(x_total{c="d_e", f=~"g"}[5m])) / on (h) y > 1e3 and z'
        self.assertEqual(["x_total", "y", "z"], list(namesIn(query)))
        self.assertEqual({"a", "b", "c", "f", "h"}, set(labelsIn(query)))


_STRING = re.compile(r'"[^"]*"')
_LABELS = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)|\{([^}]*)\}")
_WORDS = ("and", "or", "unless", "bool", "offset")


def namesIn(query: str) -> Iterator[str]:
    """
    The metrics that a PromQL query names.
    """
    bare = re.sub(r"\[[^\]]*\]", "", _LABELS.sub("", _STRING.sub("", query)))
    for found in re.finditer(r"(?<![\w.])[a-zA-Z_]\w*(?!\w)(?!\s*\()", bare):
        if found.group() not in (*_WORDS, "by", "on"):
            yield found.group()


def labelsIn(query: str) -> Iterator[str]:
    """
    The labels that it names.
    """
    for group, selector in _LABELS.findall(_STRING.sub('""', query)):
        yield from re.findall(r"\w+", group)
        yield from re.findall(r"(\w+)\s*[=!]", selector)


class StartTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """
        A port that is none ends the start.
        """
        for listen in ('"tcp:nonsense"', '"udp:9117"', "9117", "[]"):
            text = CONFIGURATION.replace('"tcp:9117:interface=127.0.0.1"', listen)
            with self.assertRaises(Exception) as caught:
                parse(text, Path(), {})
            self.assertIn("metrics.listen", str(caught.exception))
