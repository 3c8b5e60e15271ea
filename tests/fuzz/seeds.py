"""
What the fuzzer begins with: the bodies, paths and addresses of the recordings, and samples of the rest.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import cbor2
import msgspec

from restbridge.stanzas import media
from tests.conformance.agree import HERE, Case, cases
from tests.web.issuer import token

MAX_SEED = 4096
"""Bytes."""

_PER_TARGET = 120
_SAMPLE = Path(__file__).parents[2] / "etc" / "restbridge.toml"


def seeds() -> Mapping[str, list[bytes]]:
    """
    By the names of the targets.
    """
    recorded = cases()
    received = [each["stanza"].encode() for each in _webhooks() if "stanza" in each]
    bodies = {
        "xml": _bodies(recorded, media.XML) + [b"\n" + stanza for stanza in received],
        "json": _bodies(recorded, media.JSON),
        "form": _bodies(recorded, media.FORM),
        "text": _bodies(recorded, media.TEXT),
    }
    documents = [body.partition(b"\n")[2] for body in bodies["xml"]]
    found = {
        **bodies,
        "cbor": [b"\n" + each for each in map(_cbor, bodies["json"]) if each is not None],
        "document": documents,
        "stream": [bytes([7 * number % 256]) + each for number, each in enumerate(documents)],
        "question": [_tail(case) for case in recorded if case.method == "GET"]
        + [b"ping/a@b", b"items/a?node=x"],
        "jid": [
            b"romeo@example.com/balcony",
            b"[::1]",
            "j\u00fc@\u00e4.example/\U0001f600".encode(),
            b"a.b.",
        ],
        "forwarded": [b'for="[2001:db8::1]:80";proto=https, for=192.0.2.7\n192.0.2.7, 127.0.0.1'],
        "eventid": [b"1800000000000000-0-17-a%2Fb", b"1-2-3-x:4:abcdefghABCDEFGH"],
        "idempotencykey": [b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', b'"a\\"b"', b"bare"],
        "accesstoken": [_unsigned(token()), token(exp=1)[:-3].encode(), b"a.b.c"],
        "authorization": [b"Basic " + b64encode(b"bot:secret"), b"Bearer abc", b"Digest x"],
        "configuration": [_SAMPLE.read_bytes()[:MAX_SEED], *_SAMPLE.read_bytes().split(b"\n\n")],
        "roundtrip": [bytes(range(256)), bytes(64)],
    }
    return {name: _few(each) for name, each in found.items()}


def _few(found: list[bytes]) -> list[bytes]:
    fitting = sorted({each for each in found if 0 < len(each) <= MAX_SEED})
    return fitting[:: 1 + len(fitting) // _PER_TARGET]


def _webhooks() -> list[dict[str, str]]:
    lines = (HERE / "mod_rest-webhooks.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _bodies(recorded: list[Case], mediaType: str) -> list[bytes]:
    return [
        f"{_path(case)}\n{case.body}".encode()
        for case in recorded
        if case.body and media.essence(case.headers.get("Content-Type", "")) == mediaType
    ]


def _path(case: Case) -> str:
    path = urlsplit(case.path).path.removeprefix("/rest").removeprefix("/")
    return "" if path == "echo" else path


def _tail(case: Case) -> bytes:
    return case.path.removeprefix("/rest/").encode()


def _cbor(body: bytes) -> bytes | None:
    try:
        return cbor2.dumps(msgspec.json.decode(body.partition(b"\n")[2]))
    except ValueError:
        return None


def _unsigned(whole: str) -> bytes:
    """
    A token whose signature is another's.
    """
    header, claims, _ = whole.split(".")
    return f"{header}.{claims}.{'A' * 342}".encode()
