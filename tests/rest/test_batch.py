"""
C{POST /rest} with many stanzas: each as if it came alone, and no other request waits for them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from twisted.words.xish.domish import Element

from restbridge.config import Rest
from restbridge.rest import batch as batchModule
from restbridge.rest.api import RestAPI
from restbridge.rest.batch import JSONL, MAX_STANZAS, NDJSON, SLICE
from restbridge.stanzas.errors import NoAnswer
from restbridge.stanzas.media import encode
from restbridge.stanzas.xml import parseDocument
from restbridge.web.quota import Quota
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from tests.rest.batches import ARCHIVE, PING, PONG, BatchTestCase, message, read, written
from tests.rest.case import FORM, JSON, TEXT, XML
from tests.web.client import Client, FakeUserLink, basic

RESULT = (
    "<message from='example.net' to='bot@bridge.localhost'>"
    "<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'/></result></message>"
)

WRONG: Sequence[Any] = (
    {"to": "a@b.example", "body": 5},
    {"to": "a@b.example", "body": "\x01"},
    {"to": "@b.example", "body": "x"},
    {"from": "clerk@bridge.localhost", "to": "a@b.example", "body": "x"},
    {"from": "bot@elsewhere.example", "to": "a@b.example", "body": "x"},
    {"kind": "riddle", "to": "a@b.example"},
    {"kind": "iq", "type": "result", "to": "a@b.example", "ping": True},
    {"kind": "iq", "type": "get", "to": "a@b.example"},
    {},
    5,
    "text",
    None,
    [],
)


class LineTests(BatchTestCase):
    def test_each(self) -> None:
        """
        Each line has its result, in their order, and one that is wrong fails alone.
        """
        self.link.answer = parseDocument(PONG.encode())
        reply = self.batch([message(1), b"nonsense", PING, {"body": 5}, message(2, colour="red")])
        taken, unreadable, answered, unmappable, ignored = read(reply)
        self.assertEqual((200, NDJSON), (reply.status, reply.type))
        self.assertEqual({"status": 202}, taken)
        self.assertEqual((400, "not-well-formed"), _refusal(unreadable))
        self.assertEqual((200, "result"), (answered["status"], answered["answer"]["type"]))
        self.assertEqual((422, "bad-request"), _refusal(unmappable))
        self.assertEqual({"status": 202, "ignored": ["colour"]}, ignored)
        self.assertEqual(["1", "2"], self.texts())

    def test_order(self) -> None:
        """
        What is written first stands first.
        """
        texts = [str(number) for number in range(MAX_STANZAS)]
        self.assertEqual([202] * MAX_STANZAS, self.statuses(self.batch([message(text) for text in texts])))
        self.assertEqual(texts, self.texts())

    def test_asAlone(self) -> None:
        """
        What would be refused alone is refused so.
        """
        results = read(self.batch(WRONG))
        alone = [self.post(json.dumps(each)) for each in WRONG[:-1]]
        self.assertEqual(
            [{"status": one.status, "error": one.json["error"]} for one in alone], results[: len(alone)]
        )
        self.assertEqual((400, "not-well-formed"), _refusal(results[-1]))
        self.assertEqual([], self.link.sent)

    def test_written(self) -> None:
        """
        What can't be written is refused as it is alone, too.
        """
        self.link.error = parseDocument(
            b"<message type='error' from='a@b.example' to='bot@bridge.localhost'/>"
        )
        (refused,) = read(self.batch([message("x")]))
        self.assertEqual((200, "error"), (refused["status"], refused["answer"]["type"]))

    def test_fault(self) -> None:
        """
        A fault of ours is 500 for the line, and in the log.
        """
        self.link.fault = RuntimeError("nobody thought of that")
        (refused,) = read(self.batch([message("x")]))
        self.assertEqual((500, "internal-server-error"), _refusal(refused))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_timeout(self) -> None:
        """
        Prosody-Rest-Timeout is for each IQ; where it is none, messages don't mind.
        """
        self.link.answer = parseDocument(PONG.encode())
        self.batch([PING, message("x"), PING], Prosody_Rest_Timeout="7")
        self.assertEqual([7, 7], self.link.timeouts)
        reply = self.batch([PING, message("x")], Prosody_Rest_Timeout="soon")
        self.assertEqual([400, 202], self.statuses(reply))

    def test_archive(self) -> None:
        """
        An archive's messages are the answer to the line that asked for them.
        """
        self.link.answer = parseDocument(PONG.encode())
        self.link.results = [parseDocument(RESULT.encode())]
        (found,) = read(self.batch([ARCHIVE]))
        self.assertEqual(200, found["status"])
        self.assertEqual(["message", "iq"], [each["kind"] for each in found["answer"]["xmpp"]])

    def test_user(self) -> None:
        """
        Users have batches, too.
        """
        self.users.link = link = FakeUserLink()
        reply = self.batch([message(1), message(2)], **basic("alice@example.com"))
        self.assertEqual([202, 202], self.statuses(reply))
        self.assertEqual(["alice@example.com/r"] * 2, [stanza["from"] for stanza in link.sent])


class FormTests(BatchTestCase):
    def test_forms(self) -> None:
        """
        Lines are answered in lines and an array in an array, unless Accept names the other.
        """
        for mediaType, accept, answered in (
            (NDJSON, "*/*", NDJSON),
            (JSONL, "*/*", JSONL),
            (JSON, "*/*", JSON),
            ("Application/JSON; charset=utf-8", "text/html", JSON),
            (NDJSON, JSON, JSON),
            (JSONL, JSON, JSON),
            (JSON, NDJSON, NDJSON),
            (JSON, JSONL, JSONL),
            (NDJSON, f"{JSON}, {NDJSON}", JSON),
        ):
            body = JSON if "json;" in mediaType.lower() else mediaType
            client = Client(self.site)
            headers = {**basic(), "Content-Type": mediaType, "Accept": accept}
            client.begin("POST", "/rest", headers, written([message(1), message(2)], body))
            self.turns.advance(0)
            (reply,) = client.read("POST")
            self.assertEqual((200, answered), (reply.status, reply.type))
            self.assertEqual([{"status": 202}] * 2, read(reply))

    def test_lines(self) -> None:
        """
        Empty lines are none, whatever ends them, and the last needs no end.
        """
        one = json.dumps(message("x")).encode()
        for body in (one, one + b"\n", b"\r\n" + one + b"\r\n \n\t", b"\n\n" + one):
            self.assertEqual([202], self.statuses(self.batch([body])))
        self.assertEqual(4, len(self.link.sent))

    def test_array(self) -> None:
        """
        An array may stand behind white space; one element of it that is no stanza fails alone.
        """
        given = {**basic(), "Content-Type": JSON}
        body = b" \r\n\t[" + json.dumps(message("x")).encode() + b' , 5, "\xff"]\n'
        self.client.begin("POST", "/rest", given, body)
        self.turns.advance(0)
        self.assertEqual([202, 400, 400], self.statuses(self.client.read("POST")[0]))
        self.assertEqual(["x"], self.texts())

    def test_unreadable(self) -> None:
        """
        What can't be split is refused as a whole, and nothing is sent.
        """
        whole = json.dumps(message("x")).encode()
        for mediaType, body in (
            (JSON, b"[" + whole),
            (JSON, b"[" + whole + b"}"),
            (JSON, b"[" + whole + b"] x"),
            (JSON, b"[" + whole + b", nul]"),
            (JSON, b"[]"),
            (NDJSON, b""),
            (NDJSON, b"\n \r\n"),
        ):
            self.assertRefused(self.post(body, mediaType), 400, "not-well-formed")

    def test_bottomless(self) -> None:
        """
        What is nested without end is refused: with all that stands beside it, where Python doesn't get past
        it (before 3.14), or alone.
        """
        deep = b"[%b, %b]" % (json.dumps(message("x")).encode(), b"[" * 10_000 + b"]" * 10_000)
        self.client.begin("POST", "/rest", {**basic(), "Content-Type": JSON, "Accept": JSON}, deep)
        self.turns.advance(0)
        reply = self.client.read("POST")[0]
        if sys.version_info >= (3, 14):
            self.assertEqual(([202, 400], ["x"]), (self.statuses(reply), self.texts()))
        else:
            self.assertRefused(reply, 400, "not-well-formed")
            self.assertEqual([], self.texts())

    def test_tooMany(self) -> None:
        """
        So is what holds too many stanzas.
        """
        for mediaType in (NDJSON, JSON):
            reply = self.post(written([message("x")] * (MAX_STANZAS + 1), mediaType), mediaType)
            self.assertIn("split it", self.assertRefused(reply, 413, "resource-constraint"))
            self.assertEqual({"size": 1001, "limit": 1000}, reply.json["error"]["context"])

    def test_refusals(self) -> None:
        """
        Whoever sends lines is refused in JSON, unless Accept names another form.
        """
        for accept, answered in (
            ("*/*", JSON),
            (NDJSON, JSON),
            (XML, XML),
            ("text/html", "text/html; charset=utf-8"),
        ):
            reply = self.post(b"", NDJSON, accept=accept)
            self.assertEqual((400, answered), (reply.status, reply.type))
        self.assertEqual(JSON, self.post(b"", NDJSON, accept="*/*", **basic("bot", "wrong")).type)

    def test_elsewhere(self) -> None:
        """
        A path is for one stanza, as other media types are, and what sends nothing.
        """
        for path in ("/rest/message/chat/a@b.example", "/rest/echo"):
            self.assertRefused(self.post(written([message("x")]), NDJSON, path), 415, "bad-format")
            self.assertRefused(self.post(written([message("x")], JSON), JSON, path), 400, "not-well-formed")
        for mediaType in (XML, "application/cbor"):
            self.assertRefused(self.post(written([message("x")], JSON), mediaType), 400, "not-well-formed")
        for mediaType in (TEXT, FORM):
            self.assertEqual(202, self.post(written([message("x")], JSON), mediaType).status)


class RequestTests(BatchTestCase):
    """
    IQs, at most three of an account at once.
    """

    def setUp(self) -> None:
        super().setUp()
        self.limit(3)

    def limit(self, most: int) -> None:
        api = RestAPI(
            guard=self.api.guard, settings=Rest(iqMaxPending=most), once=self.once(), clock=self.turns
        )
        self.site = BridgeSite(settings=self.site.settings, mounts={b"rest": Routed(api)})
        self.client = Client(self.site)

    def test_parallel(self) -> None:
        """
        They wait side by side, and however they are answered the results are in the order of the lines.
        """
        client = self.begin([PING, message("x"), PING, PING])
        self.turns.advance(0)
        self.assertEqual((4, b""), (len(self.link.sent), client.transport.value()))
        for number in (2, 0):
            self.link.awaited[number].callback(_answer(number))
        self.link.awaited[1].errback(NoAnswer(120))
        first, taken, second, third = read(client.read("POST")[0])
        self.assertEqual(["0", "2"], [one["answer"]["id"] for one in (first, third)])
        self.assertEqual((202, 504), (taken["status"], second["status"]))

    def test_pending(self) -> None:
        """
        One too many is refused, and not sent, wherever the others come from; it takes nobody's place.
        """
        self.begin([PING])
        client = self.begin([PING, PING, PING, message("x")])
        self.turns.advance(0)
        for awaited in self.link.awaited:
            awaited.callback(_answer(1))
        *answered, refused, taken = read(client.read("POST")[0])
        self.assertEqual([200, 200, 202], [one["status"] for one in (*answered, taken)])
        self.assertEqual((429, "resource-constraint"), _refusal(refused))
        self.assertEqual(4, len(self.link.sent))
        self.link.answer = _answer(1)
        self.assertEqual([200] * 3, self.statuses(self.batch([PING] * 3)))

    def test_left(self) -> None:
        """
        When the client leaves nobody waits for the answers.
        """
        client = self.begin([message("x"), PING, PING])
        self.turns.advance(0)
        client.leave()
        self.assertEqual(2, self.link.forgotten)
        self.assertEqual([], [line for line in self.logged if "could not" in line or "Unhandled" in line])
        self.begin([PING] * 3)
        self.turns.advance(0)
        self.assertEqual(6, len(self.link.sent))

    def test_room(self) -> None:
        """
        Answers that are too large in all are left out, each of which says so; what is sent is sent.
        """
        text = f"<query xmlns='jabber:iq:version'><name>{'x' * 200}</name></query>"
        large = parseDocument(PONG.replace("/>", f">{text}</iq>").encode())
        self.patch(batchModule, "MAX_ANSWERS", len(encode(JSON, large)) * 3 // 2)
        client = self.begin([PING, PING, message("x")])
        self.turns.advance(0)
        for awaited in self.link.awaited:
            awaited.callback(large)
        first, second, taken = read(client.read("POST")[0])
        self.assertEqual([200, 202], [first["status"], taken["status"]], first)
        self.assertEqual((413, "resource-constraint"), _refusal(second))
        self.assertEqual(3, len(self.link.sent))


class TurnTests(BatchTestCase):
    A_TURN = 5

    def setUp(self) -> None:
        super().setUp()
        # The fifth ends it.
        self.turns.pace = SLICE / 4.5

    def test_slices(self) -> None:
        """
        A batch lets others have their turn every 5 ms.
        """
        client = self.begin([message(number) for number in range(4 * self.A_TURN)])
        for turn in range(1, 4):
            self.turns.advance(0)
            self.assertEqual(turn * self.A_TURN, len(self.link.sent))
            self.assertEqual(b"", client.transport.value())
        self.assertEqual(202, self.post(json.dumps(message("between"))).status)
        self.turns.advance(0)
        self.turns.advance(0)
        self.assertEqual([202] * 4 * self.A_TURN, self.statuses(client.read("POST")[0]))
        self.assertEqual("between", self.texts()[3 * self.A_TURN])

    def test_several(self) -> None:
        """
        Several batches share these 5 ms, and none waits for the others' end.
        """
        clients = [self.begin([message(name)] * 2 * self.A_TURN) for name in "abc"]
        self.turns.advance(0)
        self.assertEqual(self.A_TURN, len(self.link.sent))
        self.assertEqual(set("abc"), set(self.texts()))
        for _ in range(6):
            self.turns.advance(0)
        for client in clients:
            self.assertEqual([202] * 2 * self.A_TURN, self.statuses(client.read("POST")[0]))

    def test_left(self) -> None:
        """
        What isn't sent when the client leaves is not sent.
        """
        client = self.begin([message(number) for number in range(2 * self.A_TURN)])
        self.turns.advance(0)
        client.leave()
        self.turns.advance(0)
        self.assertEqual(self.A_TURN, len(self.link.sent))
        self.assertEqual([], self.turns.getDelayedCalls())


class QuotaTests(BatchTestCase):
    """
    Ten requests at once.
    """

    def setUp(self) -> None:
        super().setUp()
        self.api.guard._quota = Quota(perMinute=60, burst=10, clock=self.turns)

    def test_counts(self) -> None:
        """
        Each stanza counts as a request; where they are too many none is sent.
        """
        self.assertEqual([202] * 6, self.statuses(self.batch([message("x")] * 6)))
        self.link.sent.clear()
        refused = self.batch([message("x")] * 6)
        self.assertRefused(refused, 429, "policy-violation")
        self.assertEqual("2", refused.headers["Retry-After"])
        self.assertEqual('"requests";r=4;t=2', refused.headers["RateLimit"])
        self.turns.advance(1)
        self.assertEqual(429, self.batch([message("x")] * 6).status)
        self.turns.advance(1)
        self.assertEqual([202] * 6, self.statuses(self.batch([message("x")] * 6)))

    def test_wrongOnes(self) -> None:
        """
        So do those that are wrong.
        """
        self.assertEqual([400] * 10, self.statuses(self.batch([b"x"] * 10)))
        self.assertRefused(self.batch([message("x")]), 429, "policy-violation")

    def test_never(self) -> None:
        """
        Where they will always be too many there is no time to wait for.
        """
        self.assertEqual([202] * 10, self.statuses(self.batch([message("x")] * 10)))
        self.link.sent.clear()
        self.turns.advance(60)
        reply = self.batch([message("x")] * 11)
        self.assertIn("11 requests; 10", self.assertRefused(reply, 429, "policy-violation"))
        self.assertEqual((None, "modify"), (reply.headers["Retry-After"], reply.json["error"]["type"]))


def _refusal(result: Any) -> tuple[int, str]:
    return result["status"], result["error"]["condition"]


def _answer(number: int) -> Element:
    return parseDocument(re.sub("id='.*?'", f"id='{number}'", PONG).encode())
