"""
C{POST /rest} with many stanzas: each as if it came alone, and no other request waits for them.
"""

from __future__ import annotations

import json
import re
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
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials
from restbridge.web.guard import Accounts, Guard
from restbridge.web.idempotency import PATIENCE, Once
from restbridge.web.quota import Quota
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from restbridge.workers import Workers
from restbridge.xmpp.component import Component
from restbridge.xmpp.confirmations import UNDER_WAY
from restbridge.xmpp.entity import Entity
from tests.rest.case import BOT, FORM, JSON, TEXT, XML, RestTestCase
from tests.web.client import DOMAIN, Client, FakeUserLink, FakeUsers, Reply, Threads, account, basic
from tests.web.keys import MemoryStore, once
from tests.xmpp.fakes import Server

PING = {"kind": "iq", "type": "get", "to": "example.net", "ping": True}
PONG = "<iq type='result' from='example.net' to='bot@bridge.localhost' id='1'/>"
ARCHIVE = {"kind": "iq", "type": "set", "to": "example.net", "archive": True}
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


def message(text: object, **more: object) -> dict[str, Any]:
    """
    A message that may be sent.
    """
    return {"kind": "message", "to": "a@b.example", "body": str(text), **more}


def written(stanzas: Sequence[Any], mediaType: str = NDJSON) -> bytes:
    """
    A batch; bytes stand for themselves.
    """
    lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in stanzas]
    return b"[" + b", ".join(lines) + b"]" if mediaType == JSON else b"\n".join(lines)


def read(reply: Reply) -> list[Any]:
    """
    The results.
    """
    if reply.type == JSON:
        found: list[Any] = reply.json
        return found
    assert reply.body.endswith(b"\n")
    return [json.loads(line) for line in reply.body.splitlines()]


class BatchTestCase(RestTestCase):
    def begin(self, stanzas: Sequence[Any], mediaType: str = NDJSON, **headers: str) -> Client:
        """
        Post a batch, by a connection of its own.
        """
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        client = Client(self.site)
        given = {**basic(), "Content-Type": mediaType, **named}
        client.begin("POST", "/rest", given, written(stanzas, mediaType))
        return client

    def batch(self, stanzas: Sequence[Any], mediaType: str = NDJSON, **headers: str) -> Reply:
        """
        Post one that is answered at once.
        """
        client = self.begin(stanzas, mediaType, **headers)
        self.turns.advance(0)
        return client.read("POST")[0]

    def texts(self) -> list[str]:
        """
        Of the messages that were written.
        """
        return [str(stanza.body) for stanza in self.link.sent if stanza.name == "message"]

    def statuses(self, reply: Reply) -> list[int]:
        """
        Of the results.
        """
        self.assertEqual(200, reply.status, reply.body)
        return [result["status"] for result in read(reply)]


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
            (JSON, b"[" + whole + b", " + b"[" * 10_000 + b"]" * 10_000 + b"]"),
            (JSON, b"[]"),
            (NDJSON, b""),
            (NDJSON, b"\n \r\n"),
        ):
            self.assertRefused(self.post(body, mediaType), 400, "not-well-formed")

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


class StreamTestCase(BatchTestCase):
    """
    Batches over a component's stream, to a server that the test plays.
    """

    def setUp(self) -> None:
        super().setUp()
        self.server = Server()
        self.component = Component(
            domain=DOMAIN,
            secret="secret",
            confirm=True,
            entity=Entity(domain=DOMAIN, accounts={}),
            endpoint=self.server,
            clock=self.turns,
        )
        credentials = Credentials(
            accounts=[account()], workers=Workers(Threads()), attempts=Attempts(clock=self.turns)
        )
        accounts = Accounts(domain=DOMAIN, credentials=credentials, link=self.component)
        guard = Guard(accounts=accounts, users=FakeUsers())
        api = RestAPI(guard=guard, settings=Rest(), once=self.once(), clock=self.turns)
        self.site = BridgeSite(settings=self.site.settings, mounts={b"rest": Routed(api)})
        self.component.startService()
        self.server.accept()

    def once(self) -> Once:
        return once(MemoryStore(), self.turns)

    def take(self) -> list[Element]:
        """
        The stanzas that have come; the server gives back the barriers among them.
        """
        self.turns.advance(0)
        found = self.seen()
        for stanza in [each for each in found if _isBarrier(each)]:
            self.server.write(stanza.toXml())
        return [stanza for stanza in found if not _isBarrier(stanza)]

    def sending(self) -> list[Element]:
        """
        The stanzas that come in one turn, and nothing comes of them.
        """
        self.turns.advance(0)
        return [stanza for stanza in self.seen() if not _isBarrier(stanza)]

    def seen(self) -> list[Element]:
        """
        All that has come.
        """
        return list(parseDocument(f"<all>{self.server.read()}</all>".encode()).elements())

    def takeAll(self) -> list[Element]:
        """
        Likewise, until no more come.
        """
        found: list[Element] = []
        while more := self.take():
            found += more
        self.take()
        return found

    def restore(self) -> None:
        """
        The server is there again.
        """
        self.turns.advance(1)
        self.server.accept()


class BarrierTests(StreamTestCase):
    def test_one(self) -> None:
        """
        What is confirmed together costs a few round trips at once, not one for each stanza.
        """
        client = self.begin([message(number) for number in range(MAX_STANZAS)])
        barriers = 0
        while not client.transport.value():
            self.turns.advance(0)
            for stanza in self.seen():
                if _isBarrier(stanza):
                    barriers += 1
                    self.server.write(stanza.toXml())
            self.assertLessEqual(barriers, UNDER_WAY + 1)
        self.assertEqual([202] * MAX_STANZAS, self.statuses(client.read("POST")[0]))

    def test_refused(self) -> None:
        """
        What the server refuses before it takes the rest is the answer to its line.
        """
        client = self.begin([message(number, id=f"m{number}") for number in range(3)])
        self.turns.advance(0)
        self.server.write(f"<message type='error' from='a@b.example' to='{BOT}' id='m1'/>")
        self.assertEqual(["m0", "m1", "m2"], [stanza["id"] for stanza in self.takeAll()])
        self.assertEqual([202, 200, 202], self.statuses(client.read("POST")[0]))

    def test_tooLarge(self) -> None:
        """
        A stanza that grows too large as XML is refused, the others are sent.
        """
        client = self.begin([message("x"), message("&" * 60_000), message("y")])
        self.assertEqual(["x", "y"], [str(stanza.body) for stanza in self.takeAll()])
        self.assertEqual([202, 413, 202], self.statuses(client.read("POST")[0]))

    def test_down(self) -> None:
        """
        While the stream is down the whole is 503.
        """
        self.server.drop()
        for headers in ({}, {"Idempotency_Key": "k"}):
            reply = self.batch([message("x")], **headers)
            self.assertEqual((503, "1"), (reply.status, reply.headers["Retry-After"]))

    def test_break(self) -> None:
        """
        When it breaks meanwhile, those that aren't known to be taken are 503, and not sent again.
        """
        client = self.begin([message(number) for number in range(3)])
        self.turns.advance(0)
        self.seen()
        self.server.drop()
        self.assertEqual([503] * 3, self.statuses(client.read("POST")[0]))
        self.restore()
        self.assertEqual([], self.takeAll())


class KeyTests(StreamTestCase):
    TEXTS = ("0", "1", "2", "3")

    def begun(self, key: str = "k", texts: Sequence[str] = TEXTS) -> Client:
        return self.begin([message(text) for text in texts], Idempotency_Key=key)

    def ids(self, stanzas: Sequence[Element]) -> list[tuple[str, str]]:
        """
        Texts and ids.
        """
        return [(str(stanza.body), stanza["id"]) for stanza in stanzas]

    def assertAll(self, client: Client) -> None:
        """
        It is answered: all were taken.
        """
        self.assertEqual([202] * len(self.TEXTS), self.statuses(client.read("POST")[0]))

    def test_once(self) -> None:
        """
        It is done once, and its answer kept.
        """
        client = self.begun()
        sent = self.ids(self.takeAll())
        self.assertEqual(list(self.TEXTS), [text for text, _ in sent])
        self.assertEqual(4, len({id_ for _, id_ in sent}))
        (first,) = client.read("POST")
        again = self.begun()
        self.assertEqual([], self.takeAll())
        (second,) = again.read("POST")
        self.assertEqual((first.body, "true"), (second.body, second.headers["Idempotent-Replayed"]))

    def test_own(self) -> None:
        """
        Ids that the client gives stay; those of another key are others.
        """
        self.begun("a")
        first = self.ids(self.takeAll())
        self.begun("b")
        self.assertEqual(set(), set(first) & set(self.ids(self.takeAll())))
        self.begin([message("x", id="own")], Idempotency_Key="c")
        self.assertEqual([("x", "own")], self.ids(self.takeAll()))

    def test_break(self) -> None:
        """
        What wasn't confirmed when the stream broke is sent again as it was, in its order, and nothing else.
        """
        self.turns.pace = SLICE / 2
        client = self.begun()
        sent: list[Element] = []
        while not any(map(_isBarrier, sent)):
            self.turns.advance(0)
            sent += self.seen()
        barrier = next(filter(_isBarrier, sent))
        self.server.write(barrier.toXml())
        taken = self.ids(sent[: sent.index(barrier)])
        self.assertTrue(0 < len(taken) < len(self.TEXTS), taken)
        self.turns.pump([0] * len(self.TEXTS))
        self.turns.pace = 0
        whole = self.ids([stanza for stanza in sent + self.seen() if not _isBarrier(stanza)])
        self.server.drop()
        self.assertEqual(b"", client.transport.value())
        self.restore()
        self.assertEqual(taken + self.ids(self.takeAll()), whole)
        self.assertAll(client)

    def test_kinds(self) -> None:
        """
        Messages and IQs are sent again in the order of their lines.
        """
        client = self.begin([message(1), PING, message(2), ARCHIVE, message(3)], Idempotency_Key="k")
        sent = [stanza["id"] for stanza in self.sending()]
        self.server.drop()
        self.restore()
        self.assertEqual(sent, [stanza["id"] for stanza in self.takeAll()])
        for id_ in (sent[1], sent[3]):
            self.server.write(PONG.replace("id='1'", f"id='{id_}'"))
        self.assertEqual([202, 200, 202, 200, 202], self.statuses(client.read("POST")[0]))

    def test_behind(self) -> None:
        """
        What wasn't sent yet when it broke waits as well, behind what is sent again.
        """
        self.turns.pace = SLICE / 2
        client = self.begun()
        sent = self.sending()
        self.assertTrue(0 < len(sent) < len(self.TEXTS), sent)
        self.server.drop()
        for _ in self.TEXTS:
            self.turns.advance(0)
        self.turns.pace = 0
        self.restore()
        again = self.ids(self.takeAll())
        self.assertEqual(list(self.TEXTS), [text for text, _ in again])
        self.assertEqual(self.ids(sent), again[: len(sent)])
        self.assertAll(client)

    def test_gone(self) -> None:
        """
        A stream that doesn't come back makes the whole 503; the same again is sent with the same ids.
        """
        client = self.begun()
        sent = self.ids(self.sending())
        self.server.refuses = True
        self.server.drop()
        self.turns.advance(PATIENCE + 1)
        (reply,) = client.read("POST")
        self.assertEqual((503, "1"), (reply.status, reply.headers["Retry-After"]))
        self.server.refuses = False
        self.turns.pump([1] * 60)
        self.server.accept()
        client = self.begun()
        self.assertEqual(sent, self.ids(self.takeAll()))
        self.assertAll(client)

    def test_left(self) -> None:
        """
        Whoever leaves doesn't end it.
        """
        self.begun().leave()
        self.assertEqual(len(self.TEXTS), len(self.takeAll()))
        self.assertAll(self.begun())


def _refusal(result: Any) -> tuple[int, str]:
    return result["status"], result["error"]["condition"]


def _answer(number: int) -> Element:
    return parseDocument(re.sub("id='.*?'", f"id='{number}'", PONG).encode())


def _isBarrier(stanza: Element) -> bool:
    return bool(stanza["id"].startswith("barrier-"))
