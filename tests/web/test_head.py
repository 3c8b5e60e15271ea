"""
Requests that are read in one look: they mean what they mean to Twisted's parser, which reads those that
come in pieces.
"""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from restbridge.config import HTTP
from restbridge.web.answer import Answer
from restbridge.web.head import MAX_FIELDS, whole
from restbridge.web.site import BridgeRequest, BridgeSite
from tests.web.client import Client

MOST = 400
"""Bytes that a head may have here."""

CURL = (
    b"POST /rest HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    b"Authorization: Bearer a token\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)

names = st.sampled_from(
    [
        *(b"Host", b"accept", b"X-A", b"X-Request-ID", b"Cookie", b"Connection", b"Expect", b"connection"),
        *(b"Content-Length", b"content-length", b"Transfer-Encoding", b"Content-Length ", b"X A", b"", b" X"),
        *(b"X\x00", b"\xc3\xa4", b"Upgrade", b"X-A\r"),
    ]
)
values = st.sampled_from(
    [
        *(b"", b"a", b" a b ", b"\ta\t", b"0", b"3", b" 3", b"03", b"+3", b"-3", b"3, 3", b"1_0", b"\xb2"),
        *(b"chunked", b"close", b"keep-alive", b"Close, x", b"100-continue", b"a\x00b", b"a\nb", b"a\rb"),
        *(b"\xc3\xa4", b"a:b", b"x" * 100, b"9" * 30),
    ]
)
fields = st.tuples(names, st.sampled_from([b":", b": ", b" :", b""]), values).map(b"".join)
targets = st.sampled_from(
    [
        *(b"/it", b"/it?a=b", b"/%C3", b"*", b"http://h/it", b"", b"/\xc3\xa4", b"/\xff", b"/\x01"),
        b"/" + b"x" * 300,
    ]
)
heads = st.tuples(
    st.sampled_from([b"", b"\r\n", b"\r\n\r\n"]),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"A(", b"", b"P\xc3"]),
    st.sampled_from([b" ", b"  ", b"\t", b""]),
    targets,
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.1 ", b" HTTP/1.0", b" HTTP/2.0", b" http/1.1", b""]),
    st.sampled_from([b"\r\n", b"\n", b"\r\n "]),
    st.lists(fields, max_size=5).map(b"\r\n".join),
    st.sampled_from([b"\r\n\r\n", b"\r\n", b"\n\n", b"\r\n\r\n\r\n"]),
).map(b"".join)
plainHeads = st.tuples(
    st.sampled_from([b"GET", b"POST", b"HEAD"]),
    st.one_of(st.just(b"/it"), targets).map(b" %s HTTP/1.1\r\n".__mod__),
    st.lists(fields.map(lambda field: field + b"\r\n"), max_size=4).map(b"".join),
    st.sampled_from([b"", b"Content-Length: 3\r\n", b"content-length:3 \r\n"]),
    st.just(b"\r\n"),
).map(b"".join)
bodies = st.sampled_from(
    [b"", b"abc", b"ab", b"abcd", b"abcGET /it HTTP/1.1\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"]
)


class Recorder(Resource):
    """
    Notes what it is asked.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []

    def render(self, request: BridgeRequest) -> int:
        headers = sorted((name, list(values)) for name, values in request.requestHeaders.getAllRawHeaders())
        body = request.content.read()
        said = request.method, request.uri, request.clientproto, headers, request.received_cookies, body
        self.asked.append(said)
        request.reply(Answer(200, body, "text/plain"))
        return NOT_DONE_YET


def outcome(*pieces: bytes) -> tuple[list[object], bytes, bool]:
    """
    What comes of a connection on which these pieces come: what was asked, what was answered, but for dates
    and ids, and whether it was closed.
    """
    recorder = Recorder()
    client = Client(BridgeSite(settings=HTTP(maxHeaders=MOST), mounts={b"it": recorder}))
    for piece in pieces:
        if not client.closed:
            client.send(piece)
            client.clock.advance(0)
    answered = re.sub(rb"(?i)(Date|X-Request-ID): .*?\r\n", b"", client.transport.value())
    return recorder.asked, answered, client.closed


class WholeTests(SynchronousTestCase):
    def test_curl(self) -> None:
        """
        What people send is read in one look.
        """
        request = whole(CURL, MOST)
        assert request is not None
        self.assertEqual((request.method, request.target, request.body), (b"POST", b"/rest", b"{}"))
        self.assertIn((b"Authorization", b"Bearer a token"), request.fields)
        self.assertIsNotNone(whole(b"GET /rest/ping/localhost HTTP/1.1\r\n\r\n", MOST))

    def test_left(self) -> None:
        """
        What isn't whole, goes on, or could be read in two ways is not.
        """
        for end in range(len(CURL)):
            self.assertIsNone(whole(CURL[:end], MOST), CURL[:end])
        self.assertIsNone(whole(CURL + b"G", MOST))
        for line in (
            *(b"Content-Length: 2", b"Transfer-Encoding: chunked", b"A : b", b" folded", b"A: b\x00", b"A"),
            *(b"A: b\nC: d", b"A: b\rC: d"),
        ):
            self.assertIsNone(whole(CURL.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n"), MOST), line)

    def test_limits(self) -> None:
        """
        A head that is too large is for the parser that says so.
        """
        head = CURL.index(b"{}")
        self.assertIsNotNone(whole(CURL, head))
        self.assertIsNone(whole(CURL, head - 1))
        for number, isRead in ((MAX_FIELDS, True), (MAX_FIELDS + 1, False), (MAX_FIELDS + 2, False)):
            data = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * number + b"\r\n"
            self.assertEqual(whole(data, len(data)) is not None, isRead)

    @settings(deadline=None)
    @given(st.one_of(heads, plainHeads), bodies)
    def test_same(self, head: bytes, body: bytes) -> None:
        """
        What comes at once is asked, and answered, as what comes in two pieces.
        """
        data = head + body
        self.assertEqual(outcome(data), outcome(data[:1], data[1:]))

    @settings(deadline=None)
    @given(plainHeads, plainHeads)
    def test_second(self, first: bytes, second: bytes) -> None:
        """
        So is what comes after it, on a connection that goes on.
        """
        pieces = first + b"abc", second + b"abc"
        self.assertEqual(
            outcome(*pieces), outcome(pieces[0][:1], pieces[0][1:], pieces[1][:1], pieces[1][1:])
        )
