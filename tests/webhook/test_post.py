"""
L{restbridge.webhook.post}: HTTP on the wire, without a wire.
"""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from restbridge.webhook.filter import expand
from restbridge.webhook.post import MAX_RESPONSE, Response, ResponseTooLarge
from restbridge.webhook.reply import replyTo
from restbridge.webhook.wire import MAX_HEAD
from tests.webhook.fakes import CHAT, stanza
from tests.webhook.wire import OK, TIMEOUT, Connection, PosterTestCase

HOSTILE = [
    *["", ".", "..", "%", "%2f", "/../..", "//evil/", "?", "#", "&d=e", "@evil", "\\", "{to}", ":443"],
    *["\r\n\r\nGET / HTTP/1.1\r\n", " HTTP/1.1\r\nHost: evil", "http://evil/", "\0", "\x85"],
    *["\N{LINE SEPARATOR}", "\N{FULLWIDTH SOLIDUS}\N{FULLWIDTH FULL STOP}"],
]
BOMB = gzip.compress(bytes(1024 * 1024 * 128), 9)


class PosterTests(PosterTestCase):
    def fresh(self) -> None:
        """
        No connection so far.
        """

    def callOn(self, connection: Connection | None) -> tuple[Deferred[Response], Connection]:
        """
        A call, on that connection if there is one.
        """
        call = self.call()
        return call, connection or self.accept()

    def test_call(self) -> None:
        """
        A call is one request, and the answer is read whole.
        """
        call = self.call("http://h/t/a%2fb?from=a%40b%2fc", Content_Type="x")
        connection = self.accept()
        head, _, body = connection.read().partition(b"\r\n\r\n")
        self.assertEqual(body, b"body")
        self.assertTrue(head.startswith(b"POST /t/a%2fb?from=a%40b%2fc HTTP/1.1\r\n"), head)
        connection.answer(b"HTTP/1.1 201 Made it\r\nContent-Type: text/plain\r\nX: y\r\n")
        self.assertNoResult(call)
        connection.answer(b"Content-Length: 2\r\n\r\nh")
        connection.answer(b"i")
        response = self.successResultOf(call)
        self.assertEqual((response.status, response.phrase, response.body), (201, "Made it", b"hi"))
        self.assertEqual(response.mediaType, "text/plain")
        self.assertEqual(response.headers.getRawHeaders("x"), ["y"])
        self.assertIdle()

    def test_ascii(self) -> None:
        """
        A URL may be written in any letters; each call has its own, and the same one is the same again.
        """
        urls = ("http://bücher.example/ä?ö=%c3%bc", "http://h/a") * 2
        sent = [("xn--bcher-kva.example", "/%C3%A4?%C3%B6=%c3%bc"), ("h", "/a")] * 2
        for url, (host, path) in zip(urls, sent, strict=True):
            self.setUp()
            self.call(url)
            head = self.accept().read().decode("ascii")
            self.assertTrue(head.startswith(f"POST {path} HTTP/1.1\r\n"), head)
            self.assertIn(f"Host: {host}\r\n", head)

    def test_bodies(self) -> None:
        """
        A body may be empty, in chunks, or end with the connection.
        """
        for data, closes, expected in (
            (b"204 No Content\r\n\r\n", False, b""),
            (b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", False, b"abc"),
            (b"200 OK\r\n\r\nabc", True, b"abc"),
        ):
            self.setUp()
            call = self.call()
            connection = self.accept()
            connection.answer(b"HTTP/1.1 " + data)
            if closes:
                connection.drop()
            self.assertEqual(self.successResultOf(call).body, expected)

    def test_notUTF8(self) -> None:
        """
        Headers and words of the answer may be any bytes.
        """
        call = self.call()
        self.accept().answer(b"HTTP/1.1 200 \xff\r\nContent-Type: \xff\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.successResultOf(call).mediaType, "\xff")
        self.assertIdle()

    def test_keptConnection(self) -> None:
        """
        The next call to the same receiver uses the connection of the last.
        """
        connection = self.kept()
        call = self.call()
        self.assertEqual(self.reactor.tcpClients, [])
        self.assertIn(b"POST /a HTTP/1.1", connection.read())
        connection.answer(OK)
        self.successResultOf(call)

    def test_again(self) -> None:
        """
        On a kept connection that ends without a byte the call is made again, on a fresh one.
        """
        for reason in (ConnectionDone(), ConnectionLost()):
            self.setUp()
            connection = self.kept()
            call = self.call()
            connection.drop(reason)
            self.assertNoResult(call)
            fresh = self.accept()
            self.assertTrue(fresh.read().endswith(b"\r\n\r\nbody"))
            fresh.answer(OK)
            self.assertEqual(self.successResultOf(call).body, b"hi")
            self.assertIdle()

    def test_onlyOnce(self) -> None:
        """
        It is made again once.
        """
        connection = self.kept()
        call = self.call()
        connection.drop()
        self.accept().drop()
        self.failureResultOf(call, ResponseNeverReceived)
        self.assertIdle()

    def test_fresh(self) -> None:
        """
        On a fresh connection that ends the receiver may have acted on it: it isn't made again.
        """
        call = self.call()
        self.accept().drop()
        self.failureResultOf(call, ResponseNeverReceived)
        self.assertIdle()

    def test_begun(self) -> None:
        """
        Nor on a kept one, once the answer had begun.
        """
        for data in (b"H", OK[:-1]):
            self.setUp()
            connection = self.kept()
            call = self.call()
            connection.answer(data)
            connection.drop(ConnectionLost())
            self.failureResultOf(call, ResponseFailed)
            self.assertIdle()

    def test_refused(self) -> None:
        """
        No connection, no call.
        """
        call = self.call()
        factory: Any = self.reactor.tcpClients.pop()[2]
        factory.clientConnectionFailed(None, Failure(Refused()))
        self.reactor.advance(1)
        self.failureResultOf(call, Refused)
        self.assertIdle()

    def test_tooLarge(self) -> None:
        """
        An answer that is too large ends the call and the connection.
        """
        call = self.call()
        connection = self.accept()
        connection.answer(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MAX_RESPONSE)
        self.assertNoResult(call)
        connection.answer(b"x")
        self.failureResultOf(call, ResponseTooLarge)
        self.assertFalse(connection.open)
        self.assertIdle()

    def test_timeoutBeforeConnection(self) -> None:
        """
        The time-out holds while no connection is made yet.
        """
        call = self.call()
        self.reactor.advance(TIMEOUT)
        self.failureResultOf(call, DeferredTimeout)

    def test_timeoutBeforeHeaders(self) -> None:
        """
        While the answer hasn't begun, it closes the connection.
        """
        for data in (b"", b"HTTP/1.1 200 OK\r\n"):
            self.setUp()
            call = self.call()
            connection = self.accept()
            connection.answer(data)
            self.reactor.advance(TIMEOUT - 1)
            self.assertNoResult(call)
            self.reactor.advance(1)
            self.failureResultOf(call, DeferredTimeout)
            self.assertFalse(connection.open)
            self.assertIdle()

    def test_timeoutOnKept(self) -> None:
        """
        On a kept connection too, and the call isn't made again.
        """
        connection = self.kept()
        call = self.call()
        self.reactor.advance(TIMEOUT)
        self.failureResultOf(call, DeferredTimeout)
        self.assertFalse(connection.open)
        self.assertIdle()

    def test_timeoutInBody(self) -> None:
        """
        So it does in the middle of the answer.
        """
        call = self.call()
        connection = self.accept()
        connection.answer(OK[:-1])
        self.reactor.advance(TIMEOUT)
        self.failureResultOf(call, DeferredTimeout)
        self.assertFalse(connection.open)
        self.assertIdle()

    def test_timeoutOfAgain(self) -> None:
        """
        A call that is made again has no more time for it.
        """
        connection = self.kept()
        call = self.call()
        self.reactor.advance(TIMEOUT - 1)
        connection.drop()
        fresh = self.accept()
        self.reactor.advance(1)
        self.failureResultOf(call, DeferredTimeout)
        self.assertFalse(fresh.open)
        self.assertIdle()

    def test_cancelled(self) -> None:
        """
        A call that nobody waits for closes its connection and isn't made again.
        """
        connection = self.kept()
        call = self.call()
        call.cancel()
        self.failureResultOf(call, ResponseNeverReceived, CancelledError)
        self.assertFalse(connection.open)
        self.assertIdle()

    def test_redirect(self) -> None:
        """
        A redirect is an answer like others.
        """
        for status in (b"301", b"302", b"303", b"307", b"308"):
            self.setUp()
            call = self.call()
            self.accept().answer(
                b"HTTP/1.1 %b x\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n" % status
            )
            self.assertEqual(self.successResultOf(call).status, int(status))
            self.assertIdle()

    def test_cookies(self) -> None:
        """
        Nothing that one answer sets is sent with the next call.
        """
        call = self.call()
        connection = self.accept()
        connection.answer(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"))
        self.successResultOf(call)
        connection.clear()
        self.call()
        self.assertNotIn(b"a=b", connection.read())

    def test_headers(self) -> None:
        """
        Of two headers whose names differ in case only, the later one counts: what is configured outweighs.
        """
        headers = {"User-Agent": "restbridge", "user-agent": "configured"}
        Deferred.fromCoroutine(self.poster.call("POST", "http://h/", headers, b"", TIMEOUT))
        request = self.accept().read().lower()
        self.assertEqual((request.count(b"user-agent:"), request.count(b"configured")), (1, 1))

    def test_encoded(self) -> None:
        """
        The receiver is asked for a body as it is. One that comes compressed all the same is not inflated, and
        of a type that nobody reads; its status counts.
        """
        call = self.call(accept_encoding="gzip")
        connection = self.accept()
        asked = [line for line in connection.read().lower().split(b"\r\n") if b"accept-encoding" in line]
        self.assertEqual(asked, [b"accept-encoding: identity"])
        body = gzip.compress(b'{"body": "hello"}')
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        connection.answer(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        response = self.successResultOf(call)
        self.assertEqual((response.status, response.mediaType, response.body), (200, "encoded/gzip", body))
        self.assertEqual(replyTo(stanza(CHAT), response).children, [])  # type: ignore[union-attr]
        self.assertIdle()

    def test_identity(self) -> None:
        """
        To say that a body is as it is changes nothing.
        """
        for said in (b"identity", b" Identity", b""):
            self.setUp()
            call = self.call()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: %b\r\n" % said
            self.accept().answer(head + b"Content-Length: 2\r\n\r\nhi")
            response = self.successResultOf(call)
            self.assertEqual((response.mediaType, response.body), ("text/plain", b"hi"))

    def test_bomb(self) -> None:
        """
        A megabyte that would be inflated to a gigabyte costs what is read of it.
        """
        for coding in (b"gzip", b"gzip, gzip", b"x, gzip", b"deflate", b"GZIP"):
            self.setUp()
            call = self.call()
            connection = self.accept()
            connection.answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n\r\n" % coding)
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            while connection.open:
                connection.answer(BOMB[:65536])
                self.reactor.advance(0)
            self.assertLess(tracemalloc.get_traced_memory()[1], 4 * MAX_RESPONSE)
            tracemalloc.stop()
            self.failureResultOf(call, ResponseTooLarge)
            self.assertIdle()

    def test_head(self) -> None:
        """
        A head that doesn't end closes the connection, whatever it is made of, on a fresh connection or a kept
        one; and no more than the limit is read of it.
        """
        start = b"HTTP/1.1 200 OK\r\n"
        for begun, endless in (
            (b"HTTP/1.1 200 ", b"OK" * 500),
            (b"", b"x" * 1000),
            (start, b"X: y\r\n" * 100),
            (start, b":\n" * 1000),
            (start + b"X: y\r\n", b" folded\r\n" * 100),
            (start + b"X: ", b"y" * 1000),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10),
        ):
            for make in (self.fresh, self.kept):
                self.setUp()
                call, connection = self.callOn(make())
                connection.answer(begun)
                sent = 0
                while connection.open:
                    self.assertLessEqual(sent, MAX_HEAD)
                    connection.answer(endless)
                    sent += len(endless)
                    self.reactor.advance(0)
                self.failureResultOf(call, ResponseFailed)
                self.assertIdle()

    def test_headAtOnce(self) -> None:
        """
        A head of 100,000 headers is refused, though it come in one piece and end; the log says why.
        """
        call = self.call()
        connection = self.accept()
        connection.answer(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"Content-Length: 0\r\n\r\n")
        self.reactor.advance(0)
        self.assertIn(str(MAX_HEAD), str(self.failureResultOf(call, ResponseFailed).value))
        self.assertIdle()

    def test_largeHead(self) -> None:
        """
        A large head is read, whatever follows it at once, and the next on the same connection is, too.
        """
        head = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MAX_HEAD // 6 - 20)
        body = b"x" * MAX_RESPONSE
        connection = self.kept()
        for _ in range(3):
            call = self.call()
            connection.answer(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self.assertEqual(self.successResultOf(call).body, body)
        self.assertIdle()

    def test_drip(self) -> None:
        """
        An answer that comes byte by byte ends with the time-out, wherever it is.
        """
        answer = b"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 99
        for begun in (0, 20, 60):
            self.setUp()
            call = self.call()
            connection = self.accept()
            connection.answer(answer[:begun])
            for byte in range(begun, begun + int(TIMEOUT)):
                self.assertNoResult(call)
                connection.answer(answer[byte : byte + 1])
                self.reactor.advance(1)
            self.failureResultOf(call, DeferredTimeout)
            self.assertFalse(connection.open)
            self.assertIdle()

    def test_unasked(self) -> None:
        """
        What a receiver sends without being asked is no answer to what is asked next.
        """
        connection = self.kept()
        connection.answer(OK)
        self.reactor.advance(0)
        self.assertFalse(connection.open)
        call = self.call()
        self.accept().answer(OK.replace(b"hi", b"ho"))
        self.assertEqual(self.successResultOf(call).body, b"ho")

    @given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(HOSTILE))
    def test_template(self, text: str, hostile: str) -> None:
        """
        Whatever a stanza holds, its call is one request to the host that is configured.
        """
        self.setUp()
        variables = dict.fromkeys(("kind", "type", "to", "from"), text + hostile + text)
        self.call(expand("http://h.example/a/{from}/{type}?c={to}&d={kind}", variables), b"")
        self.assertEqual(self.reactor.resolver.asked, ["h.example"])
        head, _, rest = self.accept().read().partition(b"\r\n\r\n")
        first, *headers = head.split(b"\r\n")
        self.assertRegex(first, rb"\APOST /a/[!-~]*/[!-~]*\?c=[!-~]*&d=[!-~]* HTTP/1\.1\Z")
        self.assertNotRegex(first, rb"[#@]|/\.{1,2}/|&.*&|\?.*\?")
        self.assertEqual(rest, b"")
        names = sorted(header.partition(b":")[0].lower() for header in headers)
        self.assertEqual(names, [b"accept-encoding", b"content-length", b"host"])
        self.assertIn(b"Host: h.example", headers)

    def test_close(self) -> None:
        """
        At the end the kept connections are closed.
        """
        connection = self.kept()
        closed = self.poster.close()
        self.reactor.advance(0)
        self.successResultOf(closed)
        self.assertFalse(connection.open)
        self.assertIdle()
