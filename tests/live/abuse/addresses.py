"""
Attacks by addresses: to nobody that could be, and from whom the caller isn't (RFC 7622).

What stringprep takes isn't among them, as servers take it, too: unassigned letters, joiners that it drops.
"""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from urllib.parse import quote

from tests.live.abuse.attack import Attack, once, request
from tests.live.bridge import BEARER
from tests.live.receiver import XML
from tests.live.web import asUser

IMPOSSIBLE = {
    "local part of 1,024 bytes": "a" * 1024 + "@localhost",
    "local part of emoji, past 1,023 bytes": "\U0001f4a9" * 256 + "@localhost",
    "domain of 1,024 bytes": "kate@" + "a" * 1024,
    "resource of 1,024 bytes": "kate@localhost/" + "r" * 1024,
    "100 KB": "a" * 100_000,
    "separators": "@" * 10_000,
    "slashes": "/" * 10_000,
    "nothing": "",
    "local part empty": "@localhost",
    "resource empty": "kate@localhost/",
    "space": "ka te@localhost",
    "quotation mark": 'ka"te@localhost',
    "markup": "<kate>@localhost",
    "ampersand": "ka&te@localhost",
    "CR LF": "kate\r\n@localhost",
    "NUL": "kate\0@localhost",
    "NUL in the resource": "kate@localhost/\0",
    "surrogate": "kate@localhost/\ud83d",
    "non-character in the resource": "kate@localhost/\ufffe",
    "private use in the local part": "\ue000@localhost",
    "bidi override": "\u202ekate@localhost",
    "right to left, mixed": "\u05d0kate\u05d0@localhost",
    "right to left, digit first": "1\u05d0@localhost",
    "only a soft hyphen": "\u00ad@localhost",
    "ligature that grows": "\ufdfa" * 300 + "@localhost",
    "domain with an empty label": "kate@a..b",
    "domain with a space": "kate@local host",
    "domain with an underlined dot": "kate@a\u2024\u2024b",
}
SENDERS = (
    "kate@localhost",
    "localhost",
    "bridge.localhost",
    "other@bridge.localhost",
    "bot@bridge2.localhost",
    "bot@bridge.localhost@evil.example",
    "bot@bridge.localhost.evil.example",
    "bot\\40evil@bridge.localhost",
    "b\u043et@bridge.localhost",
)


def impossible() -> Iterator[Attack]:
    """
    To nobody that could be: by JSON, and some by the path.
    """
    for name, address in IMPOSSIBLE.items():
        body = dumps({"to": address, "body": "x"}).encode()
        yield Attack(f"to: {name}", once(request(body=body)))
    for name in ("NUL", "CR LF", "bidi override", "space", "markup"):
        target = f"/rest/ping/{quote(IMPOSSIBLE[name], safe='')}"
        yield Attack(f"to, by the path: {name}", once(request(target, method="GET")))
    slashes = "/rest/ping/kate%2540localhost%252f..%252f..%00"
    yield Attack("to, by the path: escaped twice", once(request(slashes, method="GET")))


def foreign() -> Iterator[Attack]:
    """
    From others than the caller.
    """
    for caller, auth in (("an account", BEARER), ("a user", asUser("alice"))):
        for sender in SENDERS:
            body = dumps({"from": sender, "to": "bob@localhost", "body": "x"}).encode()
            yield Attack(f"{caller} as {sender}", once(request(body=body, auth=auth)))
    twice = b"<message from='bot@bridge.localhost' to='kate@localhost' xmlns:a='' a:from='x'/>"
    yield Attack("from, by another prefix", once(request(body=twice, mediaType=XML)))
