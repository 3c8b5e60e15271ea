"""
L{restbridge.web.idempotency}, through an API of the test's own.
"""

from __future__ import annotations

from collections.abc import Callable

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from restbridge.config import HTTP
from restbridge.store.answers import HELD
from restbridge.web.answer import Answer, Refusal, refusalAnswer, refusalFor
from restbridge.web.idempotency import MAX_BODY, MAX_KEY, PATIENCE, RENEW, Keyed, Once
from restbridge.web.routes import Routed, route
from restbridge.web.site import BridgeRequest, BridgeSite
from tests.web.client import Client, LoggingTestCase, Reply
from tests.web.keys import MemoryStore, once

DAY = 24 * 3600
REPLAYED = "Idempotent-Replayed"


class API:
    """
    Answers what it is told to, and counts.

    @ivar asked: with which keys it was asked to do something.
    @ivar says: the answer, a failure, or who waits for one of them.
    """

    app = Klein()

    def __init__(self, once: Once) -> None:
        self.asked: list[Keyed | None] = []
        self.says: Answer | Exception | Deferred[Answer] = Answer(200, b"done", "text/plain")
        self._once = once

    @route(app, "/do", branch=True)
    async def do(self, request: BridgeRequest) -> Answer:
        """
        Do it once, for whom the header X-Caller names.
        """
        caller = request.getHeader("x-caller") or "bot@bridge.localhost"
        return await self._once.answer(request, caller, self._done, self._refused(request))

    async def _done(self, keyed: Keyed | None) -> Answer:
        self.asked.append(keyed)
        if isinstance(self.says, Exception):
            raise self.says
        return await self.says if isinstance(self.says, Deferred) else self.says

    def _refused(self, request: BridgeRequest) -> Callable[[Failure], Answer]:
        return lambda failure: self.refuse(request, failure)

    def refuse(self, request: BridgeRequest, failure: Failure) -> Answer:
        return refusalAnswer(refusalFor(request, failure), request.accept)


class IdempotencyTestCase(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.store = MemoryStore()
        self.start()

    def start(self, holder: str = "this") -> API:
        """
        Start a bridge, with nothing of what another may have known but the store.
        """
        self.api = API(once(self.store, self.clock, holder))
        self.site = BridgeSite(settings=HTTP(), mounts={b"do": Routed(self.api)})
        return self.api

    def post(
        self, key: str | None = "k1", body: str = "x", path: str = "/do", method: str = "POST", **headers: str
    ) -> Reply:
        """
        @param headers: C{_} stands for C{-}.
        """
        client = self.begin(key, body, path, method, **headers)
        return client.read(method)[0]

    def begin(
        self, key: str | None = "k1", body: str = "x", path: str = "/do", method: str = "POST", **headers: str
    ) -> Client:
        """
        Ask, over a connection of its own.
        """
        given = {
            "Accept": "application/json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        if key is not None:
            given["Idempotency-Key"] = key
        client = Client(self.site)
        client.begin(method, path, given, body)
        return client

    def assertReplayed(self, reply: Reply, *, count: int = 1) -> None:
        """
        It is the kept answer, and nothing was done for it.
        """
        self.assertEqual(("true", count), (reply.headers[REPLAYED], len(self.api.asked)), reply.body)

    def assertDone(self, reply: Reply, *, count: int) -> None:
        """
        It is an answer of its own.
        """
        self.assertEqual((None, count), (reply.headers[REPLAYED], len(self.api.asked)), reply.body)

    def assertRefused(self, reply: Reply, status: int, words: str, *, count: int = 1) -> None:
        """
        It is a refusal, and nothing was done for it.
        """
        self.assertEqual((status, count), (reply.status, len(self.api.asked)), reply.body)
        self.assertIn(words, reply.json["error"]["text"])


class KeyTests(IdempotencyTestCase):
    def test_none(self) -> None:
        """
        A request without a key is done as often as it comes, and costs the store nothing.
        """
        for count in (1, 2):
            self.assertDone(self.post(None), count=count)
        self.assertEqual((0, [None, None]), (self.store.runs, self.api.asked))

    def test_otherMethods(self) -> None:
        """
        So is one of another method, whatever its header.
        """
        for count, method in enumerate(("GET", "PUT", "DELETE"), 1):
            self.assertDone(self.post("k1" if count == 1 else '"""', method=method), count=count)
        self.assertEqual(0, self.store.runs)

    def test_writings(self) -> None:
        """
        A key may stand in quotes, as the draft has it, or without.
        """
        self.post('"k1"')
        self.assertReplayed(self.post("k1"))
        self.assertReplayed(self.post('  "k1" '))
        self.post(r'"a\"b\\c"')
        self.assertReplayed(self.post(r'"a\"b\\c"'), count=2)
        self.assertDone(self.post('"8e03978e-40d5-43dd-bc93-6894a57f9324"'), count=3)
        self.assertReplayed(self.post("8e03978e-40d5-43dd-bc93-6894a57f9324"), count=3)
        self.assertDone(self.post("~" * MAX_KEY), count=4)
        self.assertDone(self.post(f'"{"!" * MAX_KEY}"'), count=5)

    def test_refused(self) -> None:
        """
        What is no key is refused in words, and costs the store nothing.
        """
        for wrong in (
            *(
                "",
                '""',
                '"',
                '"a',
                'a"',
                '"a"b"',
                "a b",
                '"a b"',
                "a,b",
                '"a", "b"',
                "a;b",
                '"a";b=1',
                "a\\b",
            ),
            *(r'"a\b"', "ä", '"ä"', "a\tb", "a" * (MAX_KEY + 1), f'"{"a" * (MAX_KEY + 1)}"'),
        ):
            reply = self.post(wrong)
            self.assertRefused(reply, 400, "Idempotency-Key must be one string in quotes", count=0)
        self.assertEqual(0, self.store.runs)

    def test_two(self) -> None:
        """
        So are two headers, also of the same key.
        """
        client = Client(self.site)
        header = b"Idempotency-Key: k1\r\n"
        client.send(b"POST /do HTTP/1.1\r\nAccept: application/json\r\n" + 2 * header + b"\r\n")
        self.assertRefused(client.read("POST")[0], 400, "one string", count=0)


class AnswerTests(IdempotencyTestCase):
    def test_replayed(self) -> None:
        """
        The same request with the same key gets the same answer, and a header that says so.
        """
        self.api.says = Answer(201, b"\x00done", "application/x", (("X-Own", "1"), ("X-Own", "2")))
        first, second = self.post(), self.post()
        self.assertDone(first, count=1)
        self.assertReplayed(second)
        self.assertEqual((201, b"\x00done", "application/x"), (second.status, second.body, second.type))
        self.assertEqual((first.status, first.body, first.type), (second.status, second.body, second.type))
        self.assertEqual(["1", "2"], second.headers.get_all("X-Own"))

    def test_empty(self) -> None:
        """
        So does one whose answer has no body.
        """
        self.api.says = Answer(204)
        self.post()
        reply = self.post()
        self.assertReplayed(reply)
        self.assertEqual((204, b"", None), (reply.status, reply.body, reply.headers["Content-Type"]))

    def test_otherRequest(self) -> None:
        """
        Another request with the same key is refused: another body, path, query or media type.
        """
        self.post()
        for other in (
            {"body": "y"},
            {"path": "/do/it"},
            {"path": "/do?it"},
            {"Content_Type": "text/plain"},
            {"Accept": "text/html, application/json;q=0.9"},
        ):
            reply = self.post("k1", **{"Accept": "application/json", **other})
            self.assertEqual((422, 1), (reply.status, len(self.api.asked)), other)
        self.assertRefused(self.post(body="y"), 422, "was used for another request")
        self.assertReplayed(self.post())

    def test_parts(self) -> None:
        """
        What one part has more than the other doesn't add up to the same request.
        """
        self.post(body="ab", Content_Type="text/x")
        self.assertEqual(422, self.post(body="b", Content_Type="text/xa").status)

    def test_callers(self) -> None:
        """
        A key of somebody else is another key.
        """
        self.post()
        self.assertDone(self.post(X_Caller="clerk@bridge.localhost"), count=2)

    def test_day(self) -> None:
        """
        An answer is kept for a day, across a restart.
        """
        self.post()
        self.clock.advance(DAY - 1)
        self.start()
        self.assertReplayed(self.post(), count=0)
        self.clock.advance(1)
        self.assertDone(self.post(body="y"), count=1)

    def test_held(self) -> None:
        """
        While the first is under way the second is refused, with the time after which to try again.
        """
        waiting = self.api.says = Deferred()
        client = self.begin()
        reply = self.post()
        self.assertRefused(reply, 409, "still under way")
        self.assertEqual("1", reply.headers["Retry-After"])
        self.assertRefused(self.post(body="y"), 422, "another request")
        waiting.callback(Answer(202))
        self.assertEqual(202, client.read("POST")[0].status)
        self.assertReplayed(self.post())

    def test_heldElsewhere(self) -> None:
        """
        So is it while the first is under way in another bridge on the same store.
        """
        self.api.says = Deferred()
        self.begin()
        first = self.api
        self.start("another")
        self.assertRefused(self.post(), 409, "still under way", count=0)
        self.assertRefused(self.post(body="y"), 422, "another request", count=0)
        assert isinstance(first.says, Deferred)
        first.says.callback(Answer(202))
        self.assertReplayed(self.post(), count=0)

    def test_heldForLong(self) -> None:
        """
        However long that takes, as long as the other bridge lives.
        """
        waiting = self.api.says = Deferred()
        client = self.begin()
        self.start("another")
        self.clock.pump([1] * 600)
        self.assertRefused(self.post(), 409, "still under way", count=0)
        waiting.callback(Answer(202))
        self.assertEqual(202, client.read("POST")[0].status)
        self.assertReplayed(self.post(), count=0)
        self.clock.pump([1] * 60)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_diedElsewhere(self) -> None:
        """
        Of a bridge that dies another one does it again half a minute later, under the same id.
        """
        self.api.says = Deferred()
        self.begin()
        ((first,), self.clock) = (self.api.asked, Clock())
        self.clock.advance(1_800_000_000 + HELD / 1000 - 1)
        self.start("another")
        self.assertRefused(self.post(), 409, "still under way", count=0)
        self.clock.advance(1)
        self.assertDone(self.post(), count=1)
        (second,) = self.api.asked
        assert first is not None
        assert second is not None
        self.assertEqual(first.id, second.id)

    def test_renewalFails(self) -> None:
        """
        A store that is down for a moment costs nothing.
        """
        # Held, or what it has begun ends with it.
        first = self.api
        first.says = Deferred()
        self.begin()
        self.start("another")
        self.store.fails = True
        self.clock.pump([1] * int(RENEW + 1))
        self.assertTrue(any("could not be renewed" in line for line in self.logged))
        self.store.fails = False
        self.clock.pump([1] * 60)
        self.assertRefused(self.post(), 409, "still under way", count=0)
        self.assertIsNot(first, self.api)

    def test_renewedInTime(self) -> None:
        """
        What has only just begun needs no renewal yet.
        """
        early = self.api.says = Deferred()
        self.begin("k1")
        self.clock.advance(RENEW - 1)
        self.api.says = Deferred()
        self.begin("k2")
        early.callback(Answer(202))
        self.store.fails = True
        self.clock.advance(1)
        self.assertFalse(any("could not be renewed" in line for line in self.logged))
        self.clock.advance(RENEW)
        self.assertTrue(any("could not be renewed" in line for line in self.logged))

    def test_left(self) -> None:
        """
        A client that leaves in the middle finds its answer when it comes again.
        """
        waiting = self.api.says = Deferred()
        self.begin().leave()
        self.assertRefused(self.post(), 409, "still under way")
        waiting.callback(Answer(202))
        reply = self.post()
        self.assertReplayed(reply)
        self.assertEqual(202, reply.status)

    def test_leftAndFailed(self) -> None:
        """
        Or none, if it came to nothing.
        """
        waiting = self.api.says = Deferred()
        self.begin().leave()
        waiting.errback(Refusal(503, text="down"))
        self.api.says = Answer(202)
        self.assertDone(self.post(), count=2)


class RefusalTests(IdempotencyTestCase):
    def test_kept(self) -> None:
        """
        A refusal that will hold is kept as it was said.
        """
        for status in (400, 403, 404, 413, 415, 422):
            self.api.asked.clear()
            self.api.says = Refusal(status, "modify", "bad-request", "wrong", headers=(("X-Own", "1"),))
            first, second = self.post(f"k{status}"), self.post(f"k{status}")
            self.assertDone(first, count=1)
            self.assertReplayed(second)
            self.assertEqual((status, first.body, first.type), (second.status, second.body, second.type))
            self.assertEqual("1", second.headers["X-Own"])

    def test_passing(self) -> None:
        """
        One that will not hold is forgotten: the same key may try again, also with another request.
        """
        for status in (401, 408, 409, 429, 500, 501, 503, 504):
            self.api.asked.clear()
            self.api.says = Refusal(status, "wait", "service-unavailable", "not now")
            self.assertDone(self.post(f"k{status}"), count=1)
            self.api.says = Answer(202)
            self.assertDone(self.post(f"k{status}", body="y"), count=2)
            self.assertReplayed(self.post(f"k{status}", body="y"), count=2)

    def test_large(self) -> None:
        """
        So is an answer that is too large to keep.
        """
        for size, count in ((MAX_BODY, 1), (MAX_BODY + 1, 2)):
            self.api.asked.clear()
            self.api.says = Answer(200, b"x" * size, "text/plain")
            self.post(f"k{size}")
            self.assertEqual(200, self.post(f"k{size}").status)
            self.assertEqual(count, len(self.api.asked))

    def test_fault(self) -> None:
        """
        A fault of ours is logged as any other, and forgotten.
        """
        self.api.says = RuntimeError("a fault")
        self.assertEqual(500, self.post().status)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.api.says = Answer(202)
        self.assertDone(self.post(), count=2)


class StoreTests(IdempotencyTestCase):
    def test_order(self) -> None:
        """
        Nothing is done before it is noted that it will be, and nothing is answered before the answer is kept.
        """
        self.store.holds = True
        client = self.begin()
        self.assertEqual((1, []), (self.store.runs, self.api.asked))
        self.assertRefused(self.post(), 409, "still under way", count=0)
        self.store.held[0].callback(None)
        self.assertEqual((2, 1), (self.store.runs, len(self.api.asked)))
        self.assertEqual(b"", client.transport.value())
        self.store.held[1].callback(None)
        self.assertDone(client.read("POST")[0], count=1)

    def test_down(self) -> None:
        """
        While the store can't be used nothing is done; the log says why, the caller does not hear it.
        """
        self.store.fails = True
        self.assertRefused(self.post(), 503, "its log says why", count=0)
        self.assertTrue(any("disk I/O error" in line for line in self.logged))
        self.store.fails = False
        self.assertDone(self.post(), count=1)

    def test_downAfterLeaving(self) -> None:
        """
        That it fails after the client has left is nobody's to hear, and no fault of ours.
        """
        self.store.holds = True
        self.begin().leave()
        self.store.fails = True
        self.store.held[0].callback(None)
        self.assertEqual((0, []), (len(self.api.asked), self.flushLoggedErrors()))
        self.store.holds = self.store.fails = False
        self.assertDone(self.post(), count=1)

    def test_downMeanwhile(self) -> None:
        """
        What was done before the store failed is answered, and the log says that nobody will remember.
        """
        waiting = self.api.says = Deferred()
        client = self.begin()
        self.store.fails = True
        waiting.callback(Answer(202))
        self.assertEqual(202, client.read("POST")[0].status)
        said = [line for line in self.logged if "is not kept" in line]
        self.assertEqual(1, len(said))
        self.assertIn("bot@bridge.localhost", said[0])
        self.store.fails = False
        self.api.says = Answer(202)
        self.assertDone(self.post(), count=2)


class KeyedTests(IdempotencyTestCase):
    def ids(self) -> list[str]:
        """
        The ids of what was done.
        """
        return [str(keyed.id) for keyed in self.api.asked if keyed is not None]

    def test_again(self) -> None:
        """
        What is done again after a crash has the id that it had.
        """
        self.api.says = Deferred()
        self.begin()
        (first,) = self.ids()
        self.start()
        self.assertDone(self.post(), count=1)
        self.assertEqual([first], self.ids())

    def test_ids(self) -> None:
        """
        Other callers, keys and requests have other ids.
        """
        self.api.says = Refusal(503, text="down")
        self.post()
        self.post("k2")
        self.post(body="y")
        self.post(X_Caller="clerk@bridge.localhost")
        self.assertEqual(4, len(set(self.ids())))
        self.post()
        self.assertEqual(4, len(set(self.ids())))

    def test_patience(self) -> None:
        """
        A request has a certain time to try.
        """
        self.api.says = Deferred()
        self.begin()
        (keyed,) = self.api.asked
        assert keyed is not None
        self.clock.advance(1)
        self.assertEqual(PATIENCE - 1, keyed.remaining())
        self.clock.advance(2 * PATIENCE)
        self.assertEqual(0, keyed.remaining())
