"""
Attacks by what a request says of who sends it, and of whence; and by headers whose values are looked at.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

from tests.live.abuse.attack import CLOSED, OPEN, REFUSED, Attack, Pieces, once, request
from tests.live.bridge import BEARER
from tests.live.web import asUser, basic

PING = "/rest/ping/localhost"
FINE = REFUSED | {200}
GUESSER = "127.0.0.3"
"""Whose guesses are counted: after them, that address waits."""


def _get(target: str = PING, auth: str | None = None, **headers: str | bytes) -> Callable[[], Pieces]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return once(request(target, method="GET", mediaType=None, auth=auth, headers=named))


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _token(header: str, claims: str, signature: str = "") -> str:
    return f"Bearer {header}.{claims}.{signature}"


def refused() -> Iterator[Attack]:
    """
    Nobody's credentials.
    """
    subject = _encoded({"sub": "alice@localhost", "iss": "https://evil.example", "exp": 99999999999})
    deep = base64.urlsafe_b64encode(b'{"sub":' + b"[" * 5_000).decode()
    presented = (
        ("Basic without base64", "Basic \x80!!!"),
        ("Basic of NUL", basic("bot\0", "x\0")),
        ("Basic of CR LF", basic("bot\r\nX: y", "x\r\n")),
        ("Basic without a colon", "Basic " + base64.b64encode(b"bot").decode()),
        ("Basic of 10 KB", basic("b" * 5_000, "x" * 5_000)),
        ("Basic of an address that is none", basic("@localhost/\u202e", "x")),
        ("Basic of a user with a resource", basic("alice@localhost/x", "wrong")),
        ("Basic, SASLprep refuses the password", basic("alice@localhost", "\u0221\u200d")),
        ("Basic, SASL's separators", basic("alice@localhost", "\0alice\0secret")),
        ("Digest", 'Digest username="bot", realm="restbridge", nonce="' + "a" * 5_000 + '"'),
        ("Negotiate", "Negotiate " + "A" * 5_000),
        ("no scheme", " "),
        ("many spaces", "Basic" + " " * 10_000 + "Ym90Ong="),
        ("a token of 15 KB", "Bearer " + "a" * 15_000),
        ("a token of dots", "Bearer " + "." * 10_000),
        ("a JWT without algorithm", _token(_encoded({"alg": "none"}), subject)),
        (
            "a JWT, algorithm HS256",
            _token(_encoded({"alg": "HS256", "jku": "http://127.0.0.1:9/"}), subject, "AAAA"),
        ),
        ("a JWT, deep", _token(deep, deep, "AAAA")),
        ("a JWT of nonsense", _token("!!!", "\x80\xff", "=")),
    )
    for number, (name, value) in enumerate(presented, 1):
        # Each from an address of its own, as the answers to wrong passwords come later and later.
        source = f"127.0.1.{number}"
        yield Attack(f"credentials: {name}", _get(auth=value), source=source)
        yield Attack(f"credentials of the client's API: {name}", _get("/api/messages", value), source=source)
    yield Attack("credentials of 1 MB", _get(auth="Basic " + "A" * 1_000_000), REFUSED | CLOSED)
    yield Attack("credentials twice", _get(auth="Basic Og==", AUTHORIZATION="Bearer x"), REFUSED | CLOSED)


def guesses() -> Iterator[Attack]:
    """
    Wrong passwords by the thousand.
    """
    for who, name in (("an account", "bot"), ("a user", "alice@localhost"), ("nobody", "nobody@localhost")):
        guess = request(PING, method="GET", mediaType=None, auth=basic(name, "wrong"), close=False)
        # Argon2 runs on a few threads; whoever finds them all taken may be told so.
        yield Attack(
            f"1,000 guesses at {who}",
            once(guess * 50),
            REFUSED | {503} | OPEN,
            connections=20,
            patience=1.5,
            source=GUESSER,
        )


def headers() -> Iterator[Attack]:
    """
    Values of headers that are looked at; by one who may ask, so that they are.
    """
    ipv6 = "[" + ":" * 5_000
    for name, value in (
        ("Forwarded", "for=127.0.0.1;" * 500),
        ("Forwarded", 'for="[::1]:\r'),
        ("Forwarded", f'for="{ipv6}"'),
        ("X-Forwarded-For", "127.0.0.1, " * 1_000),
        ("X-Forwarded-For", "999.1.1.1\x00"),
        ("X-XMPP-JID", "\u202e@localhost"),
        ("Origin", "null"),
        ("Origin", "https://evil.example\x00.good.example"),
        ("Prosody-Rest-Timeout", "9" * 10_000),
        ("Prosody-Rest-Timeout", "-1e9"),
        ("Prosody-Rest-Timeout", "nan"),
        ("Accept", "*/*;q=" + "9" * 5_000),
        ("Accept", "," * 10_000),
        ("If-None-Match", '"' * 5_000),
        ("Range", "bytes=" + "0-," * 4_000),
    ):
        sends = _get(auth=BEARER, **{name.replace("-", "_"): value})
        yield Attack(f"{name}: {value[:20]!r}, {len(value)} characters", sends, FINE | CLOSED)
    body = b'{"kind": "iq", "type": "get", "to": "localhost", "ping": true}'
    for key in ('"', "a" * 300, '"' + "a" * 10_000 + '"', '"\\', "\u00e9", "a b", '"a", "b"', ""):
        sent = request(body=body, headers={"Idempotency-Key": key})
        yield Attack(f"Idempotency-Key {key[:10]!r}, {len(key)} characters", once(sent), REFUSED)
    preflight = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST" * 1_000,
        "Access-Control-Request-Headers": "x," * 5_000,
    }
    yield Attack(
        "CORS preflight by a stranger",
        once(request(method="OPTIONS", auth=None, headers=preflight)),
        REFUSED | {200, 204},
        secrets=rb"(?i)access-control-allow-origin",
    )


def users() -> Iterator[Attack]:
    """
    By a user, whose client's API it is.
    """
    alice = asUser("alice")
    for target in (
        "/api/messages/bob@localhost?limit=99999999999999999999",
        "/api/messages/bob@localhost?limit=-1",
        "/api/messages/bob@localhost?limit=1e9",
        "/api/messages/bob@localhost?before=" + "9" * 5_000,
        "/api/messages/@?limit=1",
        "/api/rooms/%00",
        "/api/rooms/" + "r" * 5_000,
        "/api/rooms/%F0%9F%92%A9@nowhere.invalid/messages?limit=0",
        "/api/contacts/%E2%80%AE",
    ):
        yield Attack(
            f"GET {target[:60]}", _get(target, alice), REFUSED | {200} if "limit=9" in target else REFUSED
        )
    for target, body in (
        ("/api/rooms", b'{"name": "\\ud800", "subject": "x"}'),
        ("/api/rooms", b'{"name": 5, "subject": []}'),
        ("/api/rooms", b"[" * 90_000),
        ("/api/messages", b'{"to": "bob@localhost", "body": "a\\u0000"}'),
        ("/api/messages", b'{"to": "bob@localhost/\\ud83d", "body": "a"}'),
        ("/api/contacts", b'{"jid": "' + b"@" * 100_000 + b'"}'),
    ):
        sent = request(target, body, auth=alice)
        yield Attack(f"POST {target} {body[:40].decode()}", once(sent))
    for value in ("9" * 5_000, "-1", "\x00", "\u202e".encode().decode("latin-1"), "\r"):
        yield Attack(
            f"Last-Event-ID {value[:10]!r}",
            _get("/api/sse", alice, Last_Event_ID=value, Accept="text/event-stream"),
            REFUSED | {200} | CLOSED,
            patience=0.5,
        )
    yield Attack(
        "200 event streams of a user, none of which is read",
        lambda: (request("/api/sse", method="GET", mediaType=None, auth=alice, close=False), 1.0),
        REFUSED | {200},
        connections=200,
        patience=1,
    )
