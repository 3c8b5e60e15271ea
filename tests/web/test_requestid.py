"""
Requests by their ids: in the header X-Request-ID, and on the lines of the log.
"""

from __future__ import annotations

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from restbridge import logs
from restbridge.config import HTTP
from restbridge.logs import JSON, Levels, requestId
from restbridge.tally import NOWHERE, Requests
from restbridge.web import site as siteModule
from restbridge.web.answer import Answer, refusalAnswer, refusalFor
from restbridge.web.routes import Routed, route
from restbridge.web.site import BridgeRequest, BridgeSite, Health
from tests.web.client import Client

PAGE = "https://app.example.com"
NAME = "X-Request-ID"
NEW = r"\A[0-9a-f]+-[0-9a-f]+\Z"
LIMIT = 20


class API:
    """
    Answers when it is told to, and logs before and afterwards.

    @ivar waiting: what the requests wait for.
    """

    app = Klein()
    log = Logger()

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []

    @route(app, "/do/<what>", methods=["POST"])
    async def do(self, request: BridgeRequest, what: str) -> Answer:
        self.log.info("begins {what}", what=what)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        await waiting
        self.log.info("ends {what}", what=what)
        if what == "fail":
            raise RuntimeError(what)
        return Answer(200, what.encode(), "text/plain")

    def refuse(self, request: BridgeRequest, failure: Failure) -> Answer:
        return refusalAnswer(refusalFor(request, failure), request.accept)


@implementer(ILogObserver)
class Observer:
    """
    Reads the log as L{restbridge.logs.JSON} tells it.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str | None, str]] = []

    def __call__(self, event: LogEvent) -> None:
        about = event.get("request")
        self.lines.append((about if isinstance(about, str) else requestId.get(), formatEvent(event)))


class RequestIdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = API()
        settings = HTTP(maxBody=LIMIT, corsOrigins=(PAGE,))
        mounts = {b"do": Routed(self.api), b"healthz": Health(lambda: None)}
        self.tally = Requests()
        self.site = BridgeSite(settings=settings, mounts=mounts, tally=self.tally)
        self.client = Client(self.site)
        self.observer = Observer()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)

    def given(self, name: str) -> str:
        return str(self.client.request("GET", "/healthz", {NAME: name}).headers[NAME])

    def test_taken(self) -> None:
        """
        The id that a request comes with is its own.
        """
        for name in ("a", "0af7651916cd43dd-8448eb211c80319c", "A-Za.z0_9~+/=", "x" * 128):
            self.assertEqual(name, self.given(name))

    def test_refused(self) -> None:
        """
        What might be mistaken for something else is not taken.
        """
        hostile = (
            "",
            "x" * 129,
            "a b",
            "a,b",
            "a;b",
            'a"b',
            "<a>",
            "{a}",
            "a\tb",
            "ä",
            "a\x1b[2J",
            "a%0d%0ab",
        )
        for name in hostile:
            self.assertRegex(self.given(name), NEW)
        self.client.send(b"GET /healthz HTTP/1.1\r\nX-Request-ID: a\r\n b\r\n\r\n")
        self.assertRegex(self.client.read()[0].headers[NAME], NEW)

    def test_new(self) -> None:
        """
        Else each has another one.
        """
        names = {self.client.request("GET", "/healthz").headers[NAME] for _ in range(100)}
        self.assertEqual(100, len(names))
        self.assertNotIn(None, names)

    def test_always(self) -> None:
        """
        Whatever becomes of a request, its answer has the id.
        """
        asked = {NAME: "r-1", "Accept": "application/json"}
        preflight = {**asked, "Origin": PAGE, "Access-Control-Request-Method": "POST"}
        for status, method, path, headers, body in (
            (404, "GET", "/nope", asked, None),
            (404, "GET", "/do/it", asked, None),
            (400, "GET", "/%ff", asked, None),
            (413, "POST", "/do/it", asked, "x" * (LIMIT + 1)),
            (204, "OPTIONS", "/do/it", preflight, None),
        ):
            reply = self.client.request(method, path, headers, body)
            self.assertEqual((status, "r-1"), (reply.status, reply.headers[NAME]))
        self.site.connections.ending = True
        client = Client(self.site)
        reply = client.request("GET", "/healthz", asked)
        self.assertEqual((503, "r-1"), (reply.status, reply.headers[NAME]))

    def test_cutOff(self) -> None:
        """
        Also where it is answered before it is there whole, once its headers are; without them it has none.
        """
        self.patch(siteModule, "DISCARDED", 10)
        head = b"POST /do/it HTTP/1.1\r\nX-Request-ID: r-1\r\n"
        for data, status, name in (
            (head + b"Content-Length: 900\r\n\r\n" + b"x" * 500, 413, "r-1"),
            (head + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400, "r-1"),
            (head + b"Content-Length: 900\r\n\r\nx", 408, "r-1"),
            (head, 408, None),
            (head + b"X: " + b"x" * 20_000 + b"\r\n\r\n", 431, None),
        ):
            client = Client(self.site)
            client.send(data)
            while not client.closed:
                client.clock.advance(1)
            (reply,) = client.read("POST")
            self.assertEqual((status, name), (reply.status, reply.headers[NAME]), data[:80])
            client.leave()

    def test_readable(self) -> None:
        """
        Pages may read it, and give one.
        """
        reply = self.client.request("GET", "/healthz", {"Origin": PAGE})
        self.assertIn(NAME, reply.headers["Access-Control-Expose-Headers"].split(", "))
        asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        reply = self.client.request("OPTIONS", "/do/it", asked)
        self.assertIn(NAME, reply.headers["Access-Control-Allow-Headers"].split(", "))

    def test_lines(self) -> None:
        """
        All lines about a request have its id, and no other one's, however they take turns; in the end nothing
        has any.
        """
        clients = {name: Client(self.site) for name in ("one", "two", "fail", "left")}
        for name, client in clients.items():
            client.begin("POST", f"/do/{name}", {NAME: f"id-{name}"})
        one, two, fail, left = self.api.waiting
        # One's end is another one's doing.
        fail.addCallback(lambda _: two.callback(None))
        fail.callback(None)
        one.callback(None)
        clients["left"].leave()
        self.assertTrue(left.called)
        self.observer.lines.append((requestId.get(), "the end"))
        told = {
            name: [line for about, line in self.observer.lines if about == f"id-{name}"] for name in clients
        }
        self.assertEqual(["begins one", "ends one"], told["one"][:2])
        self.assertRegex(told["one"][2], r" POST /do/one 200 3 \d")
        self.assertEqual(["begins two", "ends two"], told["two"][:2])
        self.assertEqual(["begins fail", "ends fail", "A request could not be answered"], told["fail"][:3])
        self.assertRegex(told["fail"][3], r" POST /do/fail 500 ")
        self.assertEqual(["begins left"], told["left"])
        self.assertEqual([(None, "the end")], [line for line in self.observer.lines if line[0] is None])
        self.flushLoggedErrors(RuntimeError)

    def test_accessFields(self) -> None:
        """
        What the line about a request says is also in its fields.
        """
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]  # a function is an observer
        self.addCleanup(globalLogPublisher.removeObserver, events.append)  # type: ignore[arg-type]
        self.client.request("GET", "/healthz?secret", {NAME: "r-1"})
        (event,) = events
        line = JSON()(event).decode()
        for part in (
            '"client":"192.0.2.7"',
            '"method":"GET"',
            '"path":"/healthz"',
            '"status":200',
            '"size":3',
        ):
            self.assertIn(part, line)
        self.assertIn('"request":"r-1"', line)
        self.assertNotIn("secret", line)

    def test_off(self) -> None:
        """
        Where nobody reads the access log, none is written.
        """
        self.patch(logs, "levels", Levels(LogLevel.info, {"restbridge.web.site": LogLevel.warn}))
        Client(BridgeSite(settings=HTTP(), mounts={})).request("GET", "/")
        self.assertEqual([], self.observer.lines)

    def test_counted(self) -> None:
        """
        Requests are counted by what the bridge knows, never by what a client makes up: not by its path, nor
        by its method.
        """
        for method, path in (
            *(("POST", f"/do/{number}") for number in range(3)),
            *(("GET", f"/do/{number}") for number in range(3)),
            *(("GET", f"/{number}") for number in range(3)),
            *((f"BREW{number}", "/healthz/x?y") for number in range(3)),
        ):
            Client(self.site).begin(method, path)
        for waiting in self.api.waiting:
            waiting.callback(None)
        Client(self.site).request("POST", "/do/x", body="x" * (LIMIT + 1))
        counts = {key: sum(took.buckets) for key, took in self.tally.answered.items()}
        self.assertEqual(
            {
                ("do", "/do/<what>", b"POST", 200): 3,
                ("do", NOWHERE, b"GET", 404): 3,
                (NOWHERE, NOWHERE, b"GET", 404): 3,
                ("healthz", "/healthz", b"other", 404): 3,
                ("do", NOWHERE, b"POST", 413): 1,
            },
            counts,
        )
