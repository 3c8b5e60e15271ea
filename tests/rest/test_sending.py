"""
C{POST /rest}: what is sent, and what comes back.
"""

from __future__ import annotations

from restbridge.stanzas.errors import DuplicateId, LinkDown, NoAnswer
from restbridge.stanzas.xml import StanzaTooLarge, XMLRefused, parseDocument
from tests.rest.case import BOT, FORM, TEXT, XML, RestTestCase
from tests.web.client import basic

HELLO = f"<message type='chat' from='{BOT}' to='romeo@example.net'><body>hello</body></message>"
PING = "<iq type='get' to='example.net' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"
PONG = f"<iq type='result' from='example.net' to='{BOT}' id='1'/>"
ERROR = (
    "<{kind} type='error' from='example.net' to='bot@bridge.localhost' id='1'><error type='cancel'>"
    "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></{kind}>"
)


class MessageTests(RestTestCase):
    def test_xml(self) -> None:
        """
        A message in XML goes out as it is.
        """
        reply = self.post(
            "<message type='chat' to='romeo@example.net'><body>hello</body></message>", XML, accept="*/*"
        )
        self.assertEqual((reply.status, reply.body), (202, b""))
        self.assertSent(HELLO)

    def test_json(self) -> None:
        """
        A message in JSON, with its media type in any writing.
        """
        for mediaType in ("application/json", "Application/JSON; charset=utf-8"):
            self.link.sent.clear()
            reply = self.post('{"to":"romeo@example.net","type":"chat","body":"hello"}', mediaType)
            self.assertEqual(reply.status, 202)
            self.assertSent(HELLO)

    def test_form(self) -> None:
        """
        A message from a form.
        """
        self.assertEqual(self.post("to=romeo%40example.net&type=chat&body=hello", FORM).status, 202)
        self.assertSent(HELLO)

    def test_path(self) -> None:
        """
        The path says what a text can't: kind, type and to.
        """
        for to in ("romeo@example.net", "romeo%40example.net", "ROMEO@Example.NET"):
            self.link.sent.clear()
            self.assertEqual(self.post("hello", TEXT, f"/rest/message/chat/{to}").status, 202)
            self.assertSent(HELLO)

    def test_pathWithResource(self) -> None:
        """
        A resource holds any slash, encoded or not; nobody folds two of them into one.
        """
        for to in ("a@b/c/d", "a@b//c", "a@b/c%2Fd", "a@b/c/"):
            self.link.sent.clear()
            self.assertEqual(self.post("hello", TEXT, f"/rest/message/chat/{to}").status, 202)
            self.assertEqual(self.sent["to"], to.replace("%2F", "/"))

    def test_own(self) -> None:
        """
        Without C{to} a message is for the sender's own account: the link knows what that means.
        """
        self.assertEqual(self.post("hello", TEXT).status, 202)
        self.assertEqual((self.sent["from"], self.sent.hasAttribute("to")), (BOT, False))

    def test_foreignAttributes(self) -> None:
        """
        Only the attributes of a stanza go out, the language among them.
        """
        self.post("<message to='a@b' id='i' xml:lang='de' class='x' xmlns:y='urn:y' y:z='1'/>", XML)
        self.assertSent(f"<message from='{BOT}' to='a@b' id='i' xml:lang='de'/>")

    def test_error(self) -> None:
        """
        What the server sends back at once is the answer, in the form that was asked for.
        """
        self.link.error = parseDocument(ERROR.format(kind="message").encode())
        reply = self.post("hello", TEXT)
        self.assertEqual((reply.status, reply.json["error"]["condition"]), (200, "item-not-found"))
        reply = self.post("hello", TEXT, accept=XML)
        self.assertEqual((reply.status, reply.type), (200, XML))
        self.assertIn(b"<item-not-found", reply.body)

    def test_ignored(self) -> None:
        """
        A key that means nothing is named, in a header that nothing can break.
        """
        reply = self.post('{"body":"x","bodi":"y","a,\\r\\nSet-Cookie: b":1,"\\u00fc":2}')
        self.assertEqual(reply.status, 202)
        names = "bodi, a%2C%0D%0ASet-Cookie:%20b, %C3%BC"
        self.assertEqual(reply.headers["Restbridge-Ignored"], names)
        self.assertNotIn("Set-Cookie", reply.headers)
        self.assertNotIn("Restbridge-Ignored", self.post('{"body":"x"}').headers)

    def test_token(self) -> None:
        """
        A bearer token sends as its account.
        """
        headers = {"Authorization": "Bearer a token", "Content-Type": TEXT}
        self.assertEqual(self.client.request("POST", "/rest", headers, "hello").status, 202)
        self.assertEqual(self.sent["from"], BOT)

    def test_from(self) -> None:
        """
        An account may name a resource of its own, or an address that it is allowed.
        """
        self.post(f"<message from='{BOT}/desk' to='a@b'/>", XML)
        self.assertEqual(self.link.sent.pop()["from"], f"{BOT}/desk")
        body = "<message from='desk-1@bridge.localhost' to='a@b'/>"
        self.post(body, XML, **basic("clerk"))
        self.assertEqual(self.sent["from"], "desk-1@bridge.localhost")

    def test_echo(self) -> None:
        """
        The echo gives back what would be sent, and sends nothing.
        """
        reply = self.post('{"body":"hello","to":"ROMEO@example.net","nope":1}', path="/rest/echo")
        self.assertEqual(reply.status, 200)
        found = reply.json
        self.assertTrue(found.pop("id"))
        self.assertEqual(found, {"kind": "message", "body": "hello", "to": "romeo@example.net", "from": BOT})
        self.assertEqual(reply.headers["Restbridge-Ignored"], "nope")
        self.assertEqual(self.link.sent, [])

    def test_echoUnwritable(self) -> None:
        """
        What can be read but not written again is refused, not failed over.
        """
        for body in (
            "<message><e\u0301/></message>",
            "<message e\u0301=''/>",
            "<message><a\u00b7b/></message>",
        ):
            self.assertIn(self.post(body, XML, "/rest/echo", accept=XML).status, (200, 422))

    def test_left(self) -> None:
        """
        A client that leaves before the server has taken its message does no harm.
        """
        self.link.holds = True
        self.client.begin("POST", "/rest", {**basic(), "Content-Type": TEXT}, "hello")
        self.client.leave()
        self.assertEqual((self.link.forgotten, len(self.link.sent)), (1, 1))
        self.assertEqual(self.flushLoggedErrors(), [])


class RequestTests(RestTestCase):
    def test_answer(self) -> None:
        """
        An IQ gets its answer.
        """
        self.link.answer = parseDocument(PONG.encode())
        reply = self.post(PING, XML)
        self.assertEqual((reply.status, reply.json["type"], reply.json["id"]), (200, "result", "1"))
        self.assertSent(PING.replace("<iq", f"<iq from='{BOT}'"))

    def test_error(self) -> None:
        """
        An error is an answer like others.
        """
        self.link.answer = parseDocument(ERROR.format(kind="iq").encode())
        reply = self.post(PING, XML)
        self.assertEqual((reply.status, reply.json["error"]["condition"]), (200, "item-not-found"))

    def test_later(self) -> None:
        """
        The client waits until the answer comes.
        """
        self.client.begin("POST", "/rest", {**basic(), "Content-Type": XML}, PING)
        self.assertEqual(self.client.transport.value(), b"")
        self.link.awaited[0].callback(parseDocument(PONG.encode()))
        self.assertEqual(self.client.read("POST")[0].status, 200)

    def test_left(self) -> None:
        """
        A client that leaves stops waiting: the request is forgotten, and nothing went wrong.
        """
        self.client.begin("POST", "/rest", {**basic(), "Content-Type": XML}, PING)
        self.client.leave()
        self.assertEqual(self.link.forgotten, 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_timeouts(self) -> None:
        """
        The caller may choose how long to wait, up to a limit.
        """
        self.link.answer = parseDocument(PONG.encode())
        for asked in ("5", "0.5", "1e2", "300", "301", "1e300"):
            self.assertEqual(self.post(PING, XML, Prosody_Rest_Timeout=asked).status, 200)
        self.post(PING, XML)
        self.assertEqual(self.link.timeouts, [5, 0.5, 100, 300, 300, 300, 120])

    def test_timeoutIsNone(self) -> None:
        """
        What is no time to wait is refused before anything is sent.
        """
        for asked in ("", "soon", "0", "-1", "nan", "inf", "-inf", "1 2", "\xff", "1e999"):
            reply = self.post(PING, XML, Prosody_Rest_Timeout=asked)
            self.assertIn("Prosody-Rest-Timeout", self.assertRefused(reply, 400, "bad-request"))

    def test_noAnswer(self) -> None:
        """
        Silence is a 504.
        """
        self.link.fault = NoAnswer(5)
        self.assertIn("5 seconds", self.assertRefused(self.post(PING, XML), 504, "remote-server-timeout"))

    def test_duplicate(self) -> None:
        """
        An id that is waited for already can't be waited for twice.
        """
        self.link.fault = DuplicateId("it is awaited")
        self.assertRefused(self.post(PING, XML), 409, "conflict")

    def test_noRequest(self) -> None:
        """
        Only an IQ that asks something is sent, with the one child that says what.
        """
        for body, condition in (
            (PING.replace("get", "result"), "invalid-xml"),
            (PING.replace("type='get'", ""), "invalid-xml"),
            ("<iq type='get' to='example.net'/>", "bad-format"),
            ("<iq type='set' to='example.net'><a xmlns='a'/><b xmlns='b'/></iq>", "bad-format"),
        ):
            self.assertRefused(self.post(body, XML), 422, condition)

    def test_unwritable(self) -> None:
        """
        An answer that can't be written in the form asked for is no failure of ours.
        """
        self.link.answer = parseDocument(PONG.replace("/>", "><e\u0301 xmlns='urn:x'/></iq>").encode())
        self.assertIn(self.post(PING, XML, accept=XML).status, (200, 422))
        self.assertEqual(self.post(PING, XML).status, 200)


class LinkTests(RestTestCase):
    def test_down(self) -> None:
        """
        While the link is down, the caller is told when to come back, whatever the stanza.
        """
        self.link.fault = LinkDown("the server is away")
        for body in (HELLO, PING):
            reply = self.post(body, XML)
            self.assertEqual(self.assertRefused(reply, 503, "service-unavailable"), "the server is away")
            self.assertEqual(reply.headers["Retry-After"], "1")

    def test_lostMeanwhile(self) -> None:
        """
        So is a caller who waited when the link went down.
        """
        self.client.begin("POST", "/rest", {**basic(), "Content-Type": XML}, PING)
        self.link.awaited[0].errback(LinkDown("the server left"))
        self.assertEqual(self.client.read("POST")[0].status, 503)

    def test_tooLarge(self) -> None:
        """
        A stanza that is too large as XML is refused with its size and the limit.
        """
        self.link.fault = StanzaTooLarge(300, 256)
        reply = self.post("hello", TEXT)
        self.assertRefused(reply, 413, "resource-constraint")
        self.assertEqual(reply.json["error"]["context"], {"size": 300, "limit": 256})

    def test_unwritable(self) -> None:
        """
        So is one that can't be written.
        """
        self.link.fault = XMLRefused("no")
        self.assertRefused(self.post("hello", TEXT), 422, "not-acceptable")

    def test_ours(self) -> None:
        """
        A fault of ours is logged once, and its details stay here.
        """
        self.link.fault = RuntimeError("a secret detail")
        reply = self.post("hello", TEXT)
        self.assertNotIn("detail", self.assertRefused(reply, 500, "internal-server-error"))
        self.assertNotIn(b"Traceback", reply.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
