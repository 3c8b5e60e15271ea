"""
What goes over HTTP besides XML and JSON that all is well: CBOR, the echo, and refusals in the form that their
reader prefers.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl
from xml.etree.ElementTree import fromstring

import cbor2

from tests.live.bridge import BOT, TOKEN
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import CLIENT, body, kind
from tests.live.ejabberd import Ejabberd
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML, Receiver, Reply
from tests.live.web import Answer, basic

CBOR = "application/cbor"
FORM = "application/x-www-form-urlencoded"
HTML = "text/html"
BOT_JID = f"bot@{BRIDGE}"
STREAMS = "{urn:ietf:params:xml:ns:xmpp-streams}"
GOOD = '{"to": "kate@localhost", "body": "x"}'


class MediaTypes(Promises):
    """
    What holds for each media type.
    """

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        One, called in JSON.
        """
        return [{"url": receiver.url("/"), "format": JSON, "to": [f"cbor@{BRIDGE}"]}]

    def testRequestInCBOR(self) -> None:
        """
        A request in CBOR is answered in CBOR, and says what it says in JSON.
        """
        asked = {"kind": "iq", "type": "get", "to": "localhost", "version": {}}
        answer = self._post(cbor2.dumps(asked), CBOR, accept=None)
        self.assertEqual((200, CBOR), (answer.status, answer.type))
        inJSON = self._post(json.dumps(asked), JSON).json()
        self.assertEqual({**inJSON, "id": ""}, {**cbor2.loads(answer.body), "id": ""})

    def testQueryInCBOR(self) -> None:
        """
        A query is answered in CBOR to who prefers that.
        """
        answer = self.bridge.get("/rest/disco/localhost", accept=CBOR)
        self.assertEqual((200, CBOR), (answer.status, answer.type))
        self.assertIn("urn:xmpp:ping", cbor2.loads(answer.body)["disco"]["features"])

    def testMessageInCBOR(self) -> None:
        """
        A message in CBOR reaches its user.
        """
        alice = self.login("alice")
        text = "h\u00ebllo <&> \U0001f642\nline"
        self.assertEqual(202, self._post(cbor2.dumps({"to": alice.jid, "body": text}), CBOR).status)
        self.assertEqual(text, body(alice.expect(lambda one: kind(one) == "message")))

    def testWebhookInCBOR(self) -> None:
        """
        A webhook may answer in CBOR.
        """
        self.receiver.answer("/", Reply(200, CBOR, cbor2.dumps({"body": "hi", "subject": "S"})))
        alice = self.login("alice")
        alice.message(f"cbor@{BRIDGE}", "anyone there?")
        message = alice.expect(lambda one: kind(one) == "message")
        self.assertEqual(("hi", "S"), (body(message), message.findtext(f"{CLIENT}subject")))

    def testBadCBOR(self) -> None:
        """
        CBOR that isn't any, or that is more than JSON can say, is refused.
        """
        bad = {
            "nothing": b"",
            "cut off": cbor2.dumps({"body": "x"})[:-1],
            "no object": cbor2.dumps(["body"]),
            "deep": b"\x81" * 100_000,
            "longer than itself": b"\x9b" + b"\xff" * 8,
            "endless": b"\x9f" * 1000,
            "a reference to itself": bytes.fromhex("d81ca16461d81d00"),
            "a tag": bytes.fromhex("a164626f6479c11a514b67b0"),
            "bytes for a text": cbor2.dumps({"to": "kate@localhost", "body": b"x"}),
            "no text for a key": cbor2.dumps({"to": "kate@localhost", 5: "x"}),
        }
        for name, content in bad.items():
            with self.part(name):
                answer = self._post(content, CBOR)
                self.assertIn(answer.status, (400, 422), answer.text())
                self.assertEqual((JSON, "error"), (answer.type, answer.json()["type"]))

    def testEcho(self) -> None:
        """
        The echo shows what would be sent, in each media type, and sends nothing.
        """
        alice = self.login("alice")
        asked = {"to": alice.jid, "type": "chat", "id": "e1", "body": "x & y", "state": "active"}
        expected = {**asked, "kind": "message", "from": BOT_JID}
        for mediaType, content in ((JSON, json.dumps(asked).encode()), (CBOR, cbor2.dumps(asked))):
            with self.part(mediaType):
                self.assertEqual(expected, self._echo(content, mediaType, JSON).json())
                asXML = self._echo(content, mediaType, XML)
                self.assertEqual(expected, self._echo(asXML.body, XML, JSON).json())
                form = dict(parse_qsl(self._echo(content, mediaType, FORM).text()))
                self.assertEqual(expected, {**form, "state": form.get("state", "active")})
        self.assertEqual(expected, cbor2.loads(self._echo(cbor2.dumps(asked), CBOR, CBOR).body))
        alice.request(BRIDGE, "<ping xmlns='urn:xmpp:ping'/>")
        self.assertEqual([], alice.mailbox.all(lambda one: kind(one) == "message"))

    def testRefusals(self) -> None:
        """
        Every refusal comes as JSON, as C{<error/>} or as HTML, whichever Accept names first; else as HTML.
        """
        refused = {
            (401, "not-authorized"): lambda accept: self._post(GOOD, JSON, accept, auth=None),
            (403, "not-authorized"): lambda accept: self._post(GOOD, JSON, accept, auth=basic("bot", "bad")),
            (400, "not-well-formed"): lambda accept: self._post("{", JSON, accept),
            (404, "item-not-found"): lambda accept: self.bridge.get("/rest/nonsense/localhost", accept),
            (413, "resource-constraint"): lambda accept: self._post(b"x" * 200_000, "text/plain", accept),
            (415, "bad-format"): lambda accept: self._post(GOOD, "image/png", accept),
            (422, "improper-addressing"): lambda accept: self._post('{"to":"@","body":"x"}', JSON, accept),
        }
        for (status, condition), ask in refused.items():
            for accept in (JSON, XML, HTML, f"{HTML},{JSON}", "image/png", None):
                with self.part(f"{status} {accept}"):
                    expected = (accept or HTML).partition(",")[0].replace("image/png", HTML)
                    self._assertRefused(ask(accept), status, condition, expected)

    def testChallenges(self) -> None:
        """
        Who brings no credentials is told of both schemes, and the name of a scheme may be in any case.
        """
        challenges = self.bridge.get("/rest/ping/localhost", auth=None).headers["www-authenticate"]
        self.assertIn("Basic ", challenges)
        self.assertIn("Bearer ", challenges)
        for auth in (BOT.replace("Basic", "bAsIc"), f"bearer {TOKEN}"):
            self.assertEqual(200, self.bridge.get("/rest/ping/localhost", auth=auth).status)

    def testNothingLostInSilence(self) -> None:
        """
        A value of the wrong type is refused with the name of its key; a key unheard of is named in a header.
        """
        for asked, key in (('{"body": 5}', "body"), ('{"body": "x", "replace": {"id": 5}}', "replace")):
            answer = self._post(f'{{"to": "kate@localhost", {asked[1:]}', JSON)
            self.assertEqual(422, answer.status, asked)
            self.assertIn(key, answer.json()["error"]["text"])
        answer = self._post('{"to": "kate@localhost", "body": "x", "bdoy": "y", "subjekt": 5}', JSON)
        self.assertEqual(202, answer.status)
        self.assertEqual({"bdoy", "subjekt"}, set(answer.headers["restbridge-ignored"].split(", ")))

    def _assertRefused(self, answer: Answer, status: int, condition: str, expected: str) -> None:
        """
        A refusal says why, in the media type expected.
        """
        self.assertEqual((status, expected), (answer.status, answer.type))
        if expected == JSON:
            said = answer.json()
            self.assertEqual(("error", status), (said["type"], said["code"]))
            self.assertEqual(condition, said["error"]["condition"])
            self.assertTrue(said["error"]["text"])
        elif expected == XML:
            error = fromstring(answer.body)
            self.assertEqual("{http://etherx.jabber.org/streams}error", error.tag)
            self.assertEqual([STREAMS + condition, f"{STREAMS}text"], [child.tag for child in error])
        else:
            self.assertIn(str(status), answer.text())

    def _post(
        self, content: str | bytes, contentType: str, accept: str | None = JSON, *, auth: str | None = BOT
    ) -> Answer:
        return self.bridge.post("/rest", content, contentType, accept, auth=auth)

    def _echo(self, content: bytes, contentType: str, accept: str) -> Answer:
        """
        What the echo says, in the media type asked for.
        """
        answer = self.bridge.post("/rest/echo", content, contentType, accept)
        self.assertEqual((200, accept), (answer.status, answer.type), answer.text())
        return answer


class OnProsody(MediaTypes, LiveCase):
    """
    Media types on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(MediaTypes, LiveCase):
    """
    Media types on ejabberd.
    """

    makeServer = Ejabberd
