"""
Whatever a stranger sends to C{/rest}, the answer is below 500, and nothing of it is an error of ours.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from restbridge.rest.batch import NDJSON
from restbridge.stanzas.kinds import KINDS
from restbridge.stanzas.media import INPUTS
from restbridge.stanzas.xml import parseDocument
from tests.rest.case import BOT, RestTestCase
from tests.web.client import Client, basic

HEADERS = """
Accept Content-Type Authorization Host Origin X-Forwarded-For Forwarded Prosody-Rest-Timeout Cookie Expect
"""
SNIPPETS = """
<message <iq <presence > /> </message> to='a@b' type='get' <body> <e\u0301/> &#1; xmlns='' xmlns:x='y' <x:y>
{"kind": "iq" "message" "to": "body": "disco":true , : } { [ ] "\\ud800" 1e999 -
body=x kind=iq to=a@b disco type= & = % +
"""
FRAGMENTS = st.sampled_from(SNIPPETS.split()).map(lambda text: f"{text} ".encode()) | st.binary(max_size=3)
KEYS = sorted({"kind", "xmpp", *(key for kind in KINDS.values() for key in kind.stanza.members)})
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES_OF_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS), VALUES_OF_JSON, max_size=4)
KINDED = st.builds(lambda document, kind: {**document, "kind": kind}, DOCUMENTS, st.sampled_from(list(KINDS)))
SEVERAL = st.lists(DOCUMENTS | KINDED | VALUES_OF_JSON, max_size=4)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.lists(FRAGMENTS, max_size=12).map(b"".join),
    (DOCUMENTS | KINDED | SEVERAL).map(lambda document: json.dumps(document).encode()),
    SEVERAL.map(lambda documents: b"\n".join(json.dumps(document).encode() for document in documents)),
)
VALUES = st.binary(max_size=60).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b""))
PIECES = ("/", "//", "%2F", "%", "%ff", "%00", "message", "iq", "chat", "ping", "a@b", "?", "echo", "..")
TAILS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Zs"], min_codepoint=33), max_size=40),
    st.binary(max_size=20).map(quote),
    st.lists(st.sampled_from(PIECES)).map("".join),
)
PATHS = st.sampled_from([b"/rest", b"/rest/echo", b"/rest/iq/get/a", b"/rest/message/chat/a"])
MEDIA_TYPES = st.sampled_from((*INPUTS, NDJSON))
RESULT = parseDocument(f"<iq type='result' from='a' to='{BOT}' id='1'/>".encode())


class AnythingTests(RestTestCase):
    def assertAnswered(self, method: bytes, target: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        """
        There is one answer; it is below 500 and no redirect.
        """
        self.link.answer = RESULT
        client = Client(self.site)
        lines = [method + b" " + target + b" HTTP/1.1", *(b": ".join(pair) for pair in headers.items())]
        lines.append(b"Content-Length: %d" % len(body))
        client.send(b"\r\n".join([*lines, b"", b""]) + body)
        self.turns.advance(0)
        written = client.transport.value().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        status = int(written.split(maxsplit=2)[1])
        self.assertTrue(200 <= status < 300 or 400 <= status < 500, written)
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=300, deadline=None)
    @given(MEDIA_TYPES, BODIES, PATHS)
    def test_bodies(self, mediaType: str, body: bytes, path: bytes) -> None:
        """
        Any body of any media type.
        """
        for accept in (b"", *map(str.encode, INPUTS)):
            authorization = basic()["Authorization"].encode()
            headers = {
                b"Content-Type": mediaType.encode(),
                b"Accept": accept,
                b"Authorization": authorization,
            }
            self.assertAnswered(b"POST", path, headers, body)

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"X"]), TAILS, MEDIA_TYPES)
    def test_paths(self, method: bytes, tail: str, accept: str) -> None:
        """
        Any path.
        """
        headers = {b"Accept": accept.encode(), b"Authorization": basic()["Authorization"].encode()}
        headers[b"Content-Type"] = b"text/plain"
        self.assertAnswered(method, b"/rest/" + tail.encode(), headers, b"x")

    @settings(max_examples=300, deadline=None)
    @given(st.dictionaries(st.sampled_from(HEADERS.split()).map(str.encode), VALUES, max_size=5))
    def test_headers(self, headers: dict[bytes, bytes]) -> None:
        """
        Any header.
        """
        headers = {b"Authorization": basic()["Authorization"].encode(), **headers}
        self.assertAnswered(b"POST", b"/rest", headers, b"<message/>")
