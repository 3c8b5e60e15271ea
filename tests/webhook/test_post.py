"""
L{restbridge.webhook.post}: HTTP on the wire, without a wire.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from restbridge.webhook.post import MAX_RESPONSE, ResponseTooLarge
from tests.webhook.wire import OK, TIMEOUT, PosterTestCase


class PosterTests(PosterTestCase):
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

    def test_brokenGzip(self) -> None:
        """
        A compressed answer that isn't is as good as empty; its connection isn't used again.
        """
        call = self.call()
        connection = self.accept()
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 16\r\n\r\n"
        connection.answer(head + b"This is no gzip.")
        self.assertEqual(self.successResultOf(call).body, b"")
        self.assertFalse(connection.open)
        self.assertIdle()

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
