"""
C{/rest}: what isn't sent, and what the caller is told.
"""

from __future__ import annotations

from tests.rest.case import BOT, FORM, JSON, TEXT, XML, RestTestCase
from tests.web.client import basic


class CredentialsTests(RestTestCase):
    def test_none(self) -> None:
        """
        Without credentials: 401, and both challenges.
        """
        for method, path in (("POST", "/rest"), ("GET", "/rest/ping/a"), ("POST", "/rest/echo")):
            reply = self.client.request(method, path, {"Accept": JSON}, "{}" if method == "POST" else None)
            self.assertRefused(reply, 401, "not-authorized")
            challenges = [value.partition(" ")[0] for value in reply.headers.get_all("WWW-Authenticate", [])]
            self.assertEqual(challenges, ["Basic", "Bearer"])

    def test_wrong(self) -> None:
        """
        With others: 403.
        """
        for header in (basic("bot", "wrong")["Authorization"], "Bearer x", "Basic \xff", "\xff", ""):
            reply = self.post("hello", TEXT, Authorization=header)
            self.assertRefused(reply, 403, "not-authorized")

    def test_forms(self) -> None:
        """
        A refusal is an HTML page to browsers, XML or JSON to programs.
        """
        for accept, mediaType in (("", "text/html; charset=utf-8"), (XML, XML), (f"{JSON}, {XML}", JSON)):
            reply = self.client.request("GET", "/rest/ping/a", {"Accept": accept})
            self.assertEqual((reply.status, reply.type), (401, mediaType))


class AddressTests(RestTestCase):
    def test_foreignFrom(self) -> None:
        """
        An address that isn't the account's is refused, and the rule is named.
        """
        for sender in ("clerk@bridge.localhost", "bot@example.com", "bridge.localhost"):
            text = self.assertRefused(
                self.post(f"<message from='{sender}' to='a@b'/>", XML), 403, "not-authorized"
            )
            self.assertIn("account bot", text)
            self.assertIn(f"send_as allows {BOT}", text)

    def test_badTo(self) -> None:
        """
        What is no address is refused, and the fault is named.
        """
        for to in ("", "@", "a@", "@b", "a@b/", "a b@c", "x" * 5000, "a@b..c"):
            text = self.assertRefused(self.post(f"<message to='{to}'/>", XML), 422, "improper-addressing")
            self.assertIn("Invalid destination JID", text)

    def test_badFrom(self) -> None:
        """
        Likewise for C{from}.
        """
        text = self.assertRefused(self.post("<message from='@'/>", XML), 422, "invalid-from")
        self.assertIn("Invalid source JID", text)

    def test_noStanza(self) -> None:
        """
        An element that is no stanza is refused.
        """
        reply = self.post("<query/>", XML)
        self.assertRefused(reply, 422, "unsupported-stanza-type")
        self.assertRefused(self.post("<message xmlns='urn:x'/>", XML), 422, "invalid-namespace")


class BodyTests(RestTestCase):
    def test_mediaType(self) -> None:
        """
        An unknown media type, or none: 415.
        """
        for mediaType in (None, "", "text/html", "application/jsonp", "\xff", "multipart/form-data"):
            self.assertRefused(self.post("{}", mediaType), 415, "bad-format")

    def test_malformed(self) -> None:
        """
        A body that isn't what it claims to be: 400, with what is wrong.
        """
        for mediaType, body in (
            (JSON, "{"),
            (JSON, ""),
            (JSON, "[]"),
            (JSON, '{"body": NaN}'),
            (JSON, "[" * 100_000),
            (XML, "<message"),
            (XML, ""),
            (XML, "<!DOCTYPE message><message/>"),
            (XML, "<message><!-- x --></message>"),
            (XML, "<?x y?><message/>"),
            (XML, "<message>&nope;</message>"),
            (XML, "<a>" * 1000 + "</a>" * 1000),
            (FORM, "%ff"),
        ):
            self.assertRefused(self.post(body, mediaType), 400, "not-well-formed")
        self.assertRefused(self.post(b"\xff", TEXT), 400, "not-well-formed")

    def test_wrongType(self) -> None:
        """
        A key whose value is of the wrong type is named.
        """
        reply = self.post('{"body": 5}')
        self.assertRefused(reply, 422, "bad-request")
        self.assertEqual(reply.json["error"]["context"], {"key": "body"})

    def test_illegalCharacter(self) -> None:
        """
        A character that XML can't hold is refused, in XML too.
        """
        reply = self.post('{"body": "\\u0001"}')
        self.assertRefused(reply, 422, "bad-request")
        self.assertEqual(self.post('{"body": "\\u0001"}', accept=XML).status, 422)

    def test_path(self) -> None:
        """
        A path that leads nowhere: 400, as mod_rest has it.
        """
        for path in ("/rest/nonsense", "/rest/foo/chat/a@b", "/rest/message", "/rest/echo/a"):
            self.assertRefused(self.post("{}", path=path), 400, "not-well-formed")


class RoutingTests(RestTestCase):
    def test_nowhere(self) -> None:
        """
        A method or path that isn't served: 404, never a redirect, in the caller's form.
        """
        for method, path in (
            ("GET", "/rest"),
            ("GET", "/rest/"),
            ("GET", "/rest/ping"),
            ("POST", "/rest/"),
            ("POST", "/rest//"),
            ("POST", "/rest//message"),
            ("GET", "/rest//ping/a"),
            ("GET", "/rest/nonsense/a"),
            ("GET", "/rest/nonsense/%01"),
            ("GET", "/rest/%2F/a"),
            ("GET", "/rest/./a"),
            ("PUT", "/rest"),
            ("DELETE", "/rest/ping/a"),
            ("OPTIONS", "/rest"),
            ("PATCH", "/rest/ping/localhost"),
            ("BREW", "/rest"),
        ):
            for accept in (JSON, XML):
                reply = self.client.request(method, path, {**basic(), "Accept": accept})
                self.assertEqual((reply.status, reply.type), (404, accept), (method, path))
        self.assertEqual(self.link.sent, [])

    def test_host(self) -> None:
        """
        No Host header hinders the answer, nor does its absence.
        """
        for host in (b"a..b", b"\xff", b"x" * 300, b"[::1]:8080", b"\xc3\xbc", b"", b"a b", b"-"):
            self.client.send(b"GET /rest/ping/a HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            self.assertEqual(self.client.read("GET")[0].status, 401)
        self.client.send(b"GET /rest/ping/a HTTP/1.0\r\n\r\n")
        self.assertEqual(self.client.read("GET")[0].status, 401)
