"""
L{restbridge.web.site}: bytes in, bytes out.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

from twisted.application.internet import TCPServer
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from restbridge.config import HTTP
from restbridge.web import site as siteModule
from restbridge.web.answer import Answer
from restbridge.web.serving import FLUSH, HangUp, Serving
from restbridge.web.site import BridgeRequest, BridgeSite, Health
from tests.web.client import Client, LoggingTestCase

LIMIT = 20
JSON = {"Accept": "application/json"}


class Mirror(Resource):
    """
    Answers with the body, now or when told.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waits = False
        self.waiting: list[Callable[[], None]] = []
        self.requests: list[BridgeRequest] = []

    def render(self, request: BridgeRequest) -> bytes | int:
        self.requests.append(request)
        body = request.content.read()
        if not self.waits:
            return body

        def answer() -> None:
            request.write(body)
            request.finish()

        self.waiting.append(answer)
        return NOT_DONE_YET


class SiteTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reason: str | None = None
        self.mirror = Mirror()
        settings = HTTP(maxBody=LIMIT, trustedProxies=(ip_network("127.0.0.0/8"),))
        mounts = {b"readyz": Health(lambda: self.reason), b"mirror": self.mirror}
        self.site = BridgeSite(settings=settings, mounts=mounts)
        self.client = Client(self.site)

    def test_proxyProtocol(self) -> None:
        """
        Where a load balancer says by the PROXY protocol whose connection it is, that is who asks: neither the
        balancer nor anybody whom the client names.
        """
        self.site.reactor = Clock()
        balancer = IPv4Address("TCP", "127.0.0.1", 31337)
        connection = HAProxyWrappingFactory(self.site).buildProtocol(balancer)
        connection.makeConnection(StringTransport(peerAddress=balancer))
        connection.dataReceived(b"PROXY TCP4 203.0.113.9 192.0.2.1 4444 80\r\n")
        connection.dataReceived(b"GET /readyz HTTP/1.1\r\nX-Forwarded-For: 198.51.100.77\r\n\r\n")
        self.assertTrue(self.logged[-1].startswith("203.0.113.9 GET /readyz 200 "), self.logged)

    def test_body(self) -> None:
        """
        A body up to the limit arrives whole.
        """
        for size in (0, 1, LIMIT):
            reply = self.client.request("POST", "/mirror", body=b"x" * size)
            self.assertEqual((reply.status, reply.body), (200, b"x" * size))

    def test_noBody(self) -> None:
        """
        A request needs none.
        """
        self.assertEqual(self.client.request("GET", "/mirror").body, b"")

    def test_form(self) -> None:
        """
        The body of a form, or what claims to be one, is left unread.
        """
        for mediaType in ("application/x-www-form-urlencoded", "multipart/form-data", "\xff;\xff=\xff"):
            reply = self.client.request("POST", "/mirror", {"Content-Type": mediaType}, b"a=b")
            self.assertEqual(reply.body, b"a=b")

    def test_chunked(self) -> None:
        """
        A chunked body arrives whole, however it was cut.
        """
        data = b"POST /mirror HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        for byte in data:
            self.client.send(bytes([byte]))
        self.assertEqual(self.client.read("POST")[0].body, b"abcde")

    def test_tooLarge(self) -> None:
        """
        Past the limit the answer says so, and by how much; the connection goes on.
        """
        reply = self.client.request("POST", "/mirror", JSON, b"x" * (LIMIT + 1))
        self.assertEqual(reply.status, 413)
        self.assertEqual(reply.json["error"]["condition"], "resource-constraint")
        self.assertEqual(reply.json["error"]["context"], {"size": LIMIT + 1, "limit": LIMIT})
        self.assertEqual(self.client.request("POST", "/mirror", body=b"x").body, b"x")

    def test_tooLargeInChunks(self) -> None:
        """
        A chunked body is measured as it comes.
        """
        self.client.send(b"POST /mirror HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(LIMIT + 1):
            self.client.send(b"1\r\nx\r\n")
        self.client.send(b"0\r\n\r\n")
        self.assertEqual(self.client.read("POST")[0].status, 413)

    def test_farTooLarge(self) -> None:
        """
        A client that never ends gets its 413 once, and the connection is closed.
        """
        self.patch(siteModule, "DISCARDED", 10)
        self.client.send(b"POST /mirror HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.client.send(b"1\r\nx\r\n" * (LIMIT + 50))
        self.assertEqual(self.client.read("POST")[0].status, 413)
        self.assertTrue(self.client.closed)
        self.client.leave()

    def test_farTooLargeAtOnce(self) -> None:
        """
        So does one whose body ends where it is far too large.
        """
        self.patch(siteModule, "DISCARDED", 10)
        reply = self.client.request("POST", "/mirror", body=b"x" * (LIMIT + 11))
        self.assertEqual((reply.status, self.client.closed), (413, True))
        self.assertFalse(self.client.transport.disconnected)
        # This transport alone minds when its producer is taken from it twice.
        self.client.transport.registerProducer(self.client._protocol, True)
        self.client.clock.advance(60)
        self.client.clock.advance(15)
        self.assertTrue(self.client.transport.disconnected)

    def test_leftMidway(self) -> None:
        """
        A client may leave in the middle of its body.
        """
        self.client.send(b"POST /mirror HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        self.client.leave()

    def test_pipelined(self) -> None:
        """
        Requests sent without waiting are answered in their order.
        """
        self.mirror.waits = True
        requests = b"".join(
            b"POST /mirror HTTP/1.1\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(2)
        )
        self.client.send(requests)
        self.assertEqual(len(self.mirror.waiting), 1)
        self.mirror.waiting.pop()()
        self.client.clock.advance(0)
        self.mirror.waiting.pop()()
        self.assertEqual([reply.body for reply in self.client.read("POST", "POST")], [b"0", b"1"])

    def test_nothing(self) -> None:
        """
        Where nothing is mounted there is a 404, in the form that the caller reads.
        """
        for path in ("/", "//", "//readyz", "/nope", "/READYZ", "/%72eadyz", "/readyz%2F", "*/readyz", "/.."):
            reply = self.client.request("GET", path, JSON)
            self.assertEqual((reply.status, reply.json["error"]["condition"]), (404, "item-not-found"))

    def test_illegalPath(self) -> None:
        """
        A path that XML has no characters for is answered in XML all the same.
        """
        for path in ("/%01", "/\x01", "/\x0b\x7f"):
            self.client.send(f"GET {path} HTTP/1.1\r\nAccept: application/xmpp+xml\r\n\r\n".encode())
            self.assertIn(self.client.transport.value().split()[1], (b"400", b"404"))
            self.client = Client(self.site)

    def test_notUTF8(self) -> None:
        """
        A path that isn't UTF-8, percent-encoded or not, is the caller's mistake.
        """
        self.assertEqual(self.client.request("GET", "/mirror/%ff", JSON).status, 400)
        self.client.send(b"GET /mirror/\xff HTTP/1.1\r\n\r\n")
        self.assertTrue(self.client.transport.value().startswith(b"HTTP/1.1 400"))

    def test_head(self) -> None:
        """
        HEAD gets the headers of GET, without a body.
        """
        get, head = self.client.request("GET", "/readyz"), self.client.request("HEAD", "/readyz")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Content-Length"], get.headers["Content-Length"])
        self.assertEqual(self.client.request("HEAD", "/nope").status, 404)

    def test_health(self) -> None:
        """
        Health is said in words.
        """
        reply = self.client.request("GET", "/readyz")
        self.assertEqual((reply.status, reply.body), (200, b"ok\n"))
        self.reason = "the stream was lost: ü"
        reply = self.client.request("GET", "/readyz")
        self.assertEqual((reply.status, reply.body.decode()), (503, "the stream was lost: ü\n"))

    def test_healthIsRead(self) -> None:
        """
        Health can't be written to; the answer is that of every other path.
        """
        for method in ("POST", "DELETE", "BREW"):
            reply = self.client.request(method, "/readyz?%ff", JSON)
            self.assertEqual((reply.status, reply.json["error"]["condition"]), (404, "item-not-found"))

    def test_log(self) -> None:
        """
        A request is one line in the log: who, what, how it ended. The query isn't in it.
        """
        self.client.request("POST", "/mirror/a?password=hunter2", body=b"abc")
        (line,) = self.logged
        self.assertRegex(line, r"\A192\.0\.2\.7 POST /mirror/a 200 3 \d+\.\dms\Z")

    def test_logHostile(self) -> None:
        """
        No path breaks a line of the log or writes one of its own.
        """
        for path in (b"/\r192.0.2.1", b"/\x1b[2J", b"/\xc2\x85x", b"/\xe2\x80\xa8x", b"/%0d%0aGET", b"/{x}"):
            client = Client(self.site)
            client.send(b"GET " + path + b" HTTP/1.1\r\n\r\n")
        for line in self.logged:
            self.assertTrue(line.isascii() and line.isprintable(), line)

    def test_logUnchecked(self) -> None:
        """
        Nor does one that came in past the checks of HTTP/1.1, as HTTP/2 might bring it.
        """

        class Passing(BridgeRequest):
            def process(self) -> None:
                self.method, self.path = b"GET\x1b", b"/\r\nGET /\xe2\x80\xa8\x85"
                super().process()

        self.patch(self.site, "requestFactory", Passing)
        self.client = Client(self.site)
        self.client.begin("GET", "/")
        (line,) = self.logged
        self.assertIn("GET%1B /%0D%0AGET%20/%E2%80%A8%85 400", line)

    def test_logForwarded(self) -> None:
        """
        Behind a trusted proxy the log names the client; garbage in the header doesn't hinder the answer.
        """
        client = Client(self.site, peer="127.0.0.1")
        for value in (b"192.0.2.99", b"\xff\xfe", b"192.0.2.1\r\n x"):
            client.send(b"GET /readyz HTTP/1.1\r\nX-Forwarded-For: " + value + b"\r\n\r\n")
            self.assertEqual(client.read("GET")[0].status, 200)
        self.assertTrue(self.logged[0].startswith("192.0.2.99 GET /readyz 200"))

    def test_accept(self) -> None:
        """
        Several Accept headers are one list (RFC 9110, section 5.3).
        """
        self.client.send(b"GET /nope HTTP/1.1\r\nAccept: application/json\r\nAccept: */*\r\n\r\n")
        self.assertEqual(self.client.read("GET")[0].type, "application/json")

    def test_brokenResource(self) -> None:
        """
        A resource that fails is a fault of ours: logged, and said as any other.
        """

        class Broken(Resource):
            isLeaf = True

            def render(self, request: BridgeRequest) -> int:
                raise RuntimeError("it broke")

        self.client = Client(BridgeSite(settings=HTTP(), mounts={b"broken": Broken()}))
        reply = self.client.request("GET", "/broken", JSON)
        self.assertEqual((reply.status, reply.json["error"]["condition"]), (500, "internal-server-error"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_half(self) -> None:
        """
        Where part of an answer has gone out and the rest can't be had, the connection breaks: nobody takes
        what there is for all.
        """

        class Half(Resource):
            isLeaf = True

            def render(self, request: BridgeRequest) -> int:
                request.write(b"half")
                request.reply(Answer(500))
                return NOT_DONE_YET

        self.client = Client(BridgeSite(settings=HTTP(), mounts={b"half": Half()}))
        self.client.begin("GET", "/half")
        head, _, body = self.client.transport.value().partition(b"\r\n\r\n")
        self.assertEqual(body, b"4\r\nhalf\r\n")
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
        self.assertTrue({b"date", b"server", b"x-request-id", b"transfer-encoding"} <= names, names)
        self.assertTrue(self.client.transport.disconnected)
        self.assertIn(" GET /half 200 4 ", self.logged[-1])

    def test_brokenBehind(self) -> None:
        """
        What fails behind a whole answer is logged; the answer stands, and the connection goes on.
        """

        class Late(Resource):
            isLeaf = True

            def render(self, request: BridgeRequest) -> int:
                request.reply(Answer(200, b"all", "text/plain"))
                raise RuntimeError("it broke")

        self.client = Client(BridgeSite(settings=HTTP(), mounts={b"late": Late()}))
        for _ in range(2):
            self.assertEqual(self.client.request("GET", "/late").body, b"all")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_noMediaType(self) -> None:
        """
        Nothing that would end a header's line gets into one, wherever it came from.
        """

        class Odd(Resource):
            isLeaf = True

            def render(self, request: BridgeRequest) -> int:
                request.reply(
                    Answer(200, b"x", request.query.decode().replace("+", "\r\n"), (("A", "b\r\nc"),))
                )
                return NOT_DONE_YET

        self.client = Client(BridgeSite(settings=HTTP(), mounts={b"odd": Odd()}))
        self.assertEqual(self.client.request("GET", "/odd?a/b").headers["A"], "b c")
        reply = self.client.request("GET", "/odd?a/b+X:y", JSON)
        self.assertEqual((reply.status, reply.headers["X"], reply.headers["A"]), (500, None, None))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_star(self) -> None:
        """
        C{OPTIONS *} asks for the server as a whole (RFC 9110, section 9.3.7).
        """
        self.assertEqual(self.client.request("OPTIONS", "*").status, 200)
        self.assertEqual(self.client.request("GET", "*").status, 405)


class StopTests(LoggingTestCase):
    """
    What clients see of a bridge that stops.
    """

    def setUp(self) -> None:
        super().setUp()
        self.mirror = Mirror()
        self.mirror.waits = True
        self.site = BridgeSite(settings=HTTP(), mounts={b"mirror": self.mirror})
        self.client = Client(self.site)

    def test_underWay(self) -> None:
        """
        A request that is under way gets its answer, which says that it is the last one.
        """
        self.client.begin("POST", "/mirror", body=b"abc")
        ended = self.site.connections.end()
        self.assertFalse(self.client.closed)
        self.mirror.waiting.pop()()
        (reply,) = self.client.read("POST")
        self.assertEqual((reply.status, reply.body, reply.headers["Connection"]), (200, b"abc", "close"))
        self.assertTrue(self.client.closed)
        self.assertNoResult(ended)
        self.client.leave()
        self.successResultOf(ended)

    def test_idle(self) -> None:
        """
        Connections on which nothing is under way any more are closed at once, and not waited for.
        """
        self.mirror.waits = False
        self.client.request("POST", "/mirror", body=b"x")
        self.successResultOf(self.site.connections.end())
        self.assertTrue(self.client.closed)

    def test_new(self) -> None:
        """
        A request that was not there whole at the stop is refused, so that it can be sent to another bridge.
        """
        self.client.send(b"POST /mirror HTTP/1.1\r\nAccept: application/json\r\nContent-Length: 3\r\n\r\na")
        ended = self.site.connections.end()
        self.assertFalse(self.client.closed)
        self.client.send(b"bc")
        (reply,) = self.client.read("POST")
        self.assertEqual((reply.status, reply.json["error"]["text"]), (503, "restbridge is stopping"))
        self.assertEqual((reply.headers["Connection"], reply.headers["Retry-After"]), ("close", "1"))
        self.assertTrue(self.client.closed)
        self.assertEqual(self.mirror.waiting, [])
        self.client.leave()
        self.successResultOf(ended)

    def test_acceptedLate(self) -> None:
        """
        So is one on a connection that came in just before, or while the port was being closed; nobody waits
        for it to come.
        """
        self.successResultOf(self.site.connections.end())
        for client in (self.client, Client(self.site)):
            self.assertFalse(client.closed)
            reply = client.request("GET", "/mirror")
            self.assertEqual((reply.status, reply.headers["Connection"]), (503, "close"))
            self.assertTrue(client.closed)

    def test_pipelined(self) -> None:
        """
        What was sent behind a request that is under way is not begun.
        """
        self.client.send(b"POST /mirror HTTP/1.1\r\nContent-Length: 1\r\n\r\nx" * 2)
        self.site.connections.end()
        self.mirror.waiting.pop()()
        (reply,) = self.client.read("POST")
        self.assertEqual(reply.headers["Connection"], "close")
        self.assertEqual(self.mirror.waiting, [])

    def test_endless(self) -> None:
        """
        An answer that has no end of its own is told to come to one, if need be as soon as it begins.
        """
        told: list[str] = []
        requests: list[BridgeRequest] = []

        class Endless(Resource):
            isLeaf = True

            def render(self, request: BridgeRequest) -> int:
                requests.append(request)
                request.whenEnding(lambda: told.append("first"))
                return NOT_DONE_YET

        self.site = BridgeSite(settings=HTTP(), mounts={b"endless": Endless()})
        Client(self.site).begin("GET", "/endless")
        self.assertEqual(told, [])
        self.site.connections.end()
        requests[0].whenEnding(lambda: told.append("second"))
        self.assertEqual(told, ["first", "second"])

    def test_endlessBefore(self) -> None:
        """
        An answer that has come to its end is told nothing, though its connection goes on.
        """
        told: list[str] = []
        self.client.begin("POST", "/mirror", body=b"x")
        (request,) = self.mirror.requests
        request.whenEnding(lambda: told.append("told"))
        self.mirror.waiting.pop()()
        self.site.connections.end()
        self.assertEqual(told, [])

    def test_hangUp(self) -> None:
        """
        What is open when all else has stopped has a moment to go out, and is cut off.
        """
        clock = Clock()
        self.client.begin("POST", "/mirror", body=b"x")
        self.site.connections.end()
        stopped = HangUp(connections=self.site.connections, clock=clock).stopService()
        clock.advance(FLUSH / 2)
        self.assertEqual((self.client.transport.disconnected, stopped.called), (False, False))
        clock.advance(FLUSH / 2)
        self.successResultOf(stopped)
        self.assertTrue(self.client.transport.disconnected)

    def test_hangUpEarly(self) -> None:
        """
        Where nothing is open it takes no time.
        """
        self.client.leave()
        clock = Clock()
        self.successResultOf(HangUp(connections=self.site.connections, clock=clock).stopService())
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_ports(self) -> None:
        """
        The ports close first; the stop lasts until the requests that came in by them are answered.
        """
        reactor = MemoryReactorClock()
        serving = Serving(self.site.connections)
        port = TCPServer(8080, self.site, reactor=reactor)
        port.setServiceParent(serving)
        serving.startService()
        self.client.begin("POST", "/mirror", body=b"x")
        stopped = serving.stopService()
        self.assertFalse(port.running)
        self.assertNoResult(stopped)
        self.mirror.waiting.pop()()
        self.client.leave()
        self.successResultOf(stopped)
