"""
C{GET /rest/{query}/{to}}.
"""

from __future__ import annotations

from restbridge.stanzas.xml import parseDocument
from tests.rest.case import BOT, XML, RestTestCase
from tests.web.client import basic


class QueryTests(RestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.link.answer = parseDocument(
            f"<iq type='result' from='example.net' to='{BOT}' id='1'>"
            "<query xmlns='jabber:iq:version'><name>N</name><version>V</version></query></iq>".encode()
        )

    def test_query(self) -> None:
        """
        A query is sent as an IQ, and its answer comes back in the form asked for.
        """
        reply = self.get("/rest/version/example.net")
        self.assertEqual((reply.status, reply.json["version"]), (200, {"name": "N", "version": "V"}))
        query = "<query xmlns='jabber:iq:version'/>"
        self.assertSent(f"<iq type='get' from='{BOT}' to='example.net'>{query}</iq>")
        self.assertEqual(self.get("/rest/version/example.net", XML).type, XML)

    def test_own(self) -> None:
        """
        Without an address the query is for the sender's own account: the link knows what that means.
        """
        self.assertEqual(self.get("/rest/ping/").status, 200)
        self.assertFalse(self.sent.hasAttribute("to"))

    def test_archive(self) -> None:
        """
        The messages that an archive brings, and its answer, come as one.
        """
        forwarded = (
            "<forwarded xmlns='urn:xmpp:forward:0'>"
            "<message xmlns='jabber:client'><body>{}</body></message></forwarded>"
        )
        results = [
            f"<message><result xmlns='urn:xmpp:mam:2' id='{body}'>{forwarded.format(body)}</result></message>"
            for body in ("one", "two")
        ]
        self.link.results = [parseDocument(result.encode()) for result in results]
        self.link.answer = parseDocument(b"<iq type='result'><fin xmlns='urn:xmpp:mam:2'/></iq>")
        found = self.get("/rest/archive/room@example.net?max=2").json["xmpp"]
        bodies = [result["archive"]["forward"]["message"]["body"] for result in found[:2]]
        self.assertEqual((bodies, found[2]["type"]), (["one", "two"], "result"))
        document = self.get("/rest/archive/room@example.net?max=2", XML).body
        self.assertEqual(len(list(parseDocument(document).elements())), 3)

    def test_addresses(self) -> None:
        """
        The address stands in the path, percent-encoded or not, with any slash in its resource.
        """
        for to in ("a%40b%2Fc", "a@b/c", "A@B/c"):
            self.assertEqual(self.get(f"/rest/ping/{to}").status, 200)
            self.assertEqual(self.link.sent.pop()["to"], "a@b/c")
        self.get("/rest/ping/a@b/c%20%C3%BC//d")
        self.assertEqual(self.sent["to"], "a@b/c ü//d")

    def test_parameters(self) -> None:
        """
        Parameters go into the payload.
        """
        self.get("/rest/disco/example.net?node=urn%3Ax+y")
        (query,) = self.sent.elements()
        self.assertEqual((query.name, query["node"]), ("query", "urn:x y"))

    def test_unencodedParameters(self) -> None:
        """
        Parameters are read as UTF-8, as the path is, even if the client doesn't encode them.
        """
        self.client.send(
            "GET /rest/disco/example.net?node=\u00fc HTTP/1.1\r\n".encode()
            + f"Authorization: {basic()['Authorization']}\r\n\r\n".encode()
        )
        self.assertIn(self.client.transport.value().split()[1], (b"200", b"400"))
        for query in self.link.sent:
            self.assertEqual(next(query.elements())["node"], "\u00fc")

    def test_ignored(self) -> None:
        """
        A parameter that the query doesn't know is named.
        """
        self.assertEqual(self.get("/rest/ping/a?x=1").headers["Restbridge-Ignored"], "ping.x")

    def test_head(self) -> None:
        """
        HEAD asks as well, and keeps the answer to itself.
        """
        reply = self.client.request("HEAD", "/rest/version/example.net", basic())
        self.assertEqual((reply.status, reply.body, len(self.link.sent)), (200, b"", 1))

    def test_unknown(self) -> None:
        """
        There is no other query.
        """
        self.assertRefused(self.get("/rest/weather/example.net"), 404, "item-not-found")

    def test_badParameters(self) -> None:
        """
        A parameter that can't be understood is the caller's mistake.
        """
        reply = self.get("/rest/payload/example.net?datatype=urn:x&data=%7Bbad")
        self.assertRefused(reply, 400, "bad-request")
        self.assertRefused(self.get("/rest/disco/example.net?node=%01"), 422, "bad-request")

    def test_badAddress(self) -> None:
        """
        Nor is anything sent to what is no address.
        """
        self.assertRefused(self.get("/rest/ping/a@@b"), 422, "improper-addressing")
