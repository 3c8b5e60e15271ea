"""
Attacks on HTTP itself: its framing, its headers, its paths, its patience.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

from tests.live.abuse.attack import CLOSED, OPEN, REFUSED, Attack, Pieces, head, once, request
from tests.live.bridge import BEARER

GOOD = b'{"body": "x", "to": "kate@localhost"}'
SMUGGLED = request("/rest/ping/localhost", method="GET", auth="Bearer smuggled")
CHUNKED = head("Transfer-Encoding: chunked")
MANY = 1_000
SLOW = 100


def _slowly(begun: bytes, more: bytes, times: int = 15) -> Callable[[], Pieces]:
    """
    A piece every tenth of a second.
    """

    def pieces() -> Iterator[bytes | float]:
        yield begun
        for _ in range(times):
            yield 0.1
            yield more

    return pieces


def framing() -> Iterator[Attack]:
    """
    Where a request ends, and what is said of it.
    """
    either = REFUSED | CLOSED
    for name, size in (
        ("not a number", b"zz"),
        ("negative", b"-5"),
        ("signed", b"+5"),
        ("hexadecimal prefix", b"0x5"),
        ("past 64 bits", b"f" * 17),
        ("digits without end", b"0" * 70_000 + b"5"),
        ("empty", b""),
        ("with a space", b"5 5"),
        ("underscored", b"1_0"),
    ):
        yield Attack(
            f"chunk size: {name}", once(CHUNKED, size + b"\r\nhello\r\n0\r\n\r\n"), either | OPEN, patience=1
        )
    yield Attack("chunk extension of 10 MB", lambda: (CHUNKED, b"5;" + b"a" * 10_000_000), either)
    yield Attack("chunk that ends elsewhere", once(CHUNKED, b"5\r\nhello, world\r\n0\r\n\r\n"), either)
    yield Attack("chunks of one byte, 100,000", lambda: (CHUNKED, b"1\r\n[\r\n" * 100_000 + b"0\r\n\r\n"))
    trailers = b"".join(b"T%d: x\r\n" % number for number in range(100_000))
    yield Attack("trailers without end", lambda: (CHUNKED, b"1\r\n[\r\n0\r\n", trailers), either)
    yield Attack(
        "Content-Length and chunks",
        once(head("Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n", SMUGGLED),
        either,
    )
    yield Attack(
        "Content-Length twice",
        once(head("Content-Length: 2", "Content-Length: 200"), b"{}", SMUGGLED),
        either,
    )
    yield Attack("Content-Length as a list", once(head("Content-Length: 2, 2"), b"{}"), either)
    yield Attack("Content-Length negative", once(head("Content-Length: -1"), b"{}"), either)
    yield Attack("Content-Length signed", once(head("Content-Length: +2"), b"{}"), either)
    yield Attack("Content-Length of 5,000 digits", once(head("Content-Length: " + "9" * 5000), b"{}"), either)
    yield Attack(
        "Content-Length of 10 EB",
        once(head("Content-Length: 9999999999999999999"), b"{}"),
        either | OPEN,
        patience=0.5,
    )
    yield Attack(
        "Content-Length that lies, too long",
        once(head("Content-Length: 1000"), GOOD),
        either | OPEN,
        50,
        patience=0.5,
    )
    yield Attack(
        "Content-Length that lies, too short", once(head("Content-Length: 2"), b"[]" + b"x" * 10_000), either
    )
    for coding in (
        "chunked, identity",
        "gzip, chunked",
        "xchunked",
        "chunked\x0b",
        "identity",
        "CHUNKED, chunked",
    ):
        sent = head(f"Transfer-Encoding: {coding}"), b"0\r\n\r\n", SMUGGLED
        yield Attack(f"Transfer-Encoding {coding!r}", once(*sent), either)
    yield Attack(
        "Transfer-Encoding with a space before the colon",
        once(head("Transfer-Encoding : chunked"), b"0\r\n\r\n", SMUGGLED),
        either,
    )
    yield Attack("10 MB declared", lambda: (request(body=b"[" * 10_000_000),), either)
    yield Attack(
        "10 MB in chunks", lambda: (CHUNKED, *([b"10000\r\n" + b"[" * 65536 + b"\r\n"] * 160)), either
    )
    yield Attack(
        "10 MB announced with Expect",
        once(head("Content-Length: 10000000", "Expect: 100-continue")),
        either | OPEN,
        patience=0.5,
    )
    yield Attack(
        "a gzipped body",
        lambda: (request(body=gzip.compress(b"[" * 50_000_000, 1), headers={"Content-Encoding": "gzip"}),),
    )
    yield Attack(
        f"{MANY} requests pipelined by each of 4 connections",
        lambda: (request("/nope", b"{", close=False) * MANY, request("/nope")),
        connections=4,
        patience=20,
    )
    yield Attack(
        "not HTTP: TLS",
        once(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"\r\n\r\n"),
        either,
    )
    yield Attack("not HTTP: HTTP/2", once(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), either)
    yield Attack(
        "not HTTP: XMPP", once(b"<?xml version='1.0'?><stream:stream to='localhost'>\r\n\r\n"), either
    )
    yield Attack("HTTP/0.9", once(b"GET /rest/ping/localhost\r\n\r\n"), either)
    yield Attack("HTTP/9.9", once(b"GET /rest/ping/localhost HTTP/9.9\r\n\r\n"), either)
    yield Attack("100,000 empty lines", once(b"\r\n" * 100_000), either | OPEN, patience=0.5)
    yield Attack("bytes without a line", lambda: (b"\xff" * 5_000_000,), either)


def headers() -> Iterator[Attack]:
    """
    Too many, too large, not whole.
    """
    either = REFUSED | CLOSED
    yield Attack("a header of 1 MB", lambda: (request(headers={"X": "a" * 1_000_000}),), either)
    yield Attack("a header name of 1 MB", lambda: (request(headers={"X" * 1_000_000: "a"}),), either)
    many = {f"X-{number}": "a" for number in range(100_000)}
    yield Attack("100,000 headers", lambda: (request(headers=many),), either)
    yield Attack("a header without end", lambda: (head()[:-2] + b"X: ", *([b"a" * 65536] * 160)), either)
    yield Attack("headers without end", lambda: (head()[:-2], *([b"X: a\r\n" * 10_000] * 100)), either)
    yield Attack(
        "folded lines without end", lambda: (head()[:-2] + b"X: a\r\n", *([b" a\r\n" * 10_000] * 100)), either
    )
    yield Attack(
        "headers ended by bare LF",
        once(head("Content-Length: 1").replace(b"\r\n", b"\n"), b"{"),
        either | OPEN,
        patience=1,
    )
    yield Attack("a header without a colon", once(head("nonsense", "Content-Length: 1"), b"{"), either)
    yield Attack("a header without a name", once(head(": nonsense", "Content-Length: 1"), b"{"), either)
    yield Attack("NUL in a header", once(request(body=b"{", headers={"X": b"a\x00b"})), either)
    yield Attack(
        "control bytes in every header",
        once(
            request(
                body=b"{",
                headers=dict.fromkeys(
                    ("Accept", "Content-Type", "Origin", "Forwarded", "X-XMPP-JID", "Prosody-Rest-Timeout"),
                    b"\x01\x7f\xff\xfe",
                ),
            )
        ),
    )
    yield Attack(
        "Host that is none", once(request(body=b"{", headers={"Host": b"[::::]:99999999\xff"})), either
    )
    yield Attack(
        "no Host, HTTP/1.1", once(b"GET /rest/ping/localhost HTTP/1.1\r\nConnection: close\r\n\r\n"), either
    )
    yield Attack("Accept of 15 KB", once(request(body=b"{", headers={"Accept": "a/b;q=0.1," * 1500})), either)


def patience() -> Iterator[Attack]:
    """
    Slow, and in number.
    """
    late = REFUSED | CLOSED
    begun = b"POST /rest HTTP/1.1\r\n"
    yield Attack("slow headers", _slowly(begun, b"X: a\r\n"), late, SLOW, 3)
    yield Attack("a slow body", _slowly(head("Content-Length: 1000"), b"a"), late, SLOW, 3)
    yield Attack("slow chunks", _slowly(CHUNKED, b"1\r\na\r\n"), late, SLOW, 3)
    yield Attack("byte by byte", lambda: (bytes([byte]) for byte in request(body=b"{")), REFUSED, 5)
    yield Attack("300 connections that say nothing", once(0.5), CLOSED | OPEN, 300, 0)
    yield Attack("300 connections that hang up", once(head("Content-Length: 100")), late, 300, 3)


def paths() -> Iterator[Attack]:
    """
    What is asked for, and how.
    """
    either = REFUSED | CLOSED
    for name, target in (
        ("absolute form of another host", "http://evil.example/rest/ping/localhost/../../etc"),
        ("absolute form of another scheme", "gopher://localhost/rest"),
        ("asterisk", "*"),
        ("no slash", "rest"),
        ("a bad percent escape", "/rest/message/chat/%zz%"),
        ("not UTF-8", "/rest/message/chat/%ff%fe"),
        ("overlong UTF-8", "/docs/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd"),
        ("traversal", "/docs/../../../../etc/passwd"),
        ("traversal, escaped", "/docs/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
        ("traversal, escaped slashes", "/docs/..%2f..%2f..%2f..%2fetc%2fpasswd"),
        ("traversal, escaped twice", "/docs/%252e%252e/%252e%252e/etc/passwd"),
        ("traversal, backslashes", "/docs/..\\..\\..\\etc\\passwd"),
        ("traversal, a file's own path", "/docs//etc/passwd"),
        ("NUL in a file's name", "/docs/index.html%00.png"),
        ("the package's source", "/docs/__init__.py"),
        ("NUL in a path", "/rest/%00"),
        ("CR LF in a path", "/nope%0d%0aX-Evil:%20yes"),
        ("a path of 8,000 slashes", "/rest" + "/" * 8000),
        ("a path of semicolons", "/rest" + ";a=b" * 2000),
    ):
        yield Attack(f"path: {name}", once(request(target, method="GET")), either)
    yield Attack(
        "raw control bytes in a path", once(request(b"/rest/\x00\x01\x7f\xff", method="GET")), either
    )
    yield Attack(
        "a path of 100,000 segments", lambda: (request("/rest" + "/a" * 100_000, method="GET"),), either
    )
    yield Attack(
        "a query of 1 MB",
        lambda: (request("/rest/ping/localhost?" + "a=b&" * 250_000, method="GET"),),
        either,
    )
    yield Attack(
        "a query of 4,000 parameters",
        once(request("/rest/nope/localhost?" + "a=b&" * 3500, method="GET")),
        either,
    )
    for method in ("TRACE", "CONNECT", "PROPFIND", "rest", "G" * 10_000, "GET\x00"):
        target = "localhost:22" if method == "CONNECT" else "/rest"
        yield Attack(f"method {method[:10]!r}", once(request(target, b"", method=method)), either)
    yield Attack(
        "an upgrade to WebSocket",
        once(
            request(
                "/rest",
                method="GET",
                headers={"Connection": "Upgrade, close", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"},
            )
        ),
        either,
    )
    secret = BEARER.removeprefix("Bearer ")
    yield Attack(
        "credentials in the query",
        once(request(f"/rest/ping/localhost?access_token={secret}", method="GET", auth=None)),
        either,
    )
