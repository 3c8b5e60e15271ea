"""
L{restbridge.clientapi.messages}: what is sent, and what is shown of what was.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import StanzaError, errorReply
from restbridge.stanzas.xml import NS_CLIENT, illegalCharacter
from tests.clientapi.account import OWN
from tests.clientapi.case import JSON, ClientAPITestCase
from tests.web.client import basic

BOB = "bob@example.com"


def assigned() -> Iterator[str]:
    """
    All characters that Unicode assigns and XML can carry, ten thousand at a time.
    """
    everything = map(chr, range(sys.maxunicode + 1))
    characters = [
        each
        for each in everything
        if unicodedata.category(each) not in ("Cs", "Cn", "Co") and illegalCharacter(each) is None
    ]
    for start in range(0, len(characters), 10_000):
        yield "".join(characters[start : start + 10_000])


class SendingTests(ClientAPITestCase):
    def send(self, body: str, to: str = BOB) -> dict[str, Any]:
        """
        Send a message that must be taken.
        """
        answer: dict[str, Any] = self.got("POST", "/messages", {"to": to, "body": body})
        return answer

    def test_message(self) -> None:
        """
        It goes out as a chat message, and the answer says its id: sixteen hexadecimal digits.
        """
        answer = self.send("Hello <b> & all")
        (message,) = self.account.sent
        self.assertEqual(answer, {"id": message["id"]})
        self.assertRegex(message["id"], r"^[0-9a-f]{16}$")
        self.assertEqual((message.name, message["type"], message["to"]), ("message", "chat", BOB))
        self.assertEqual(str(message.body), "Hello <b> & all")

    def test_ids(self) -> None:
        """
        No two have the same id.
        """
        self.assertEqual(len({self.send("x")["id"] for _ in range(50)}), 50)

    def test_recipients(self) -> None:
        """
        Any address will do; it is written as servers write it.
        """
        for given, sent in (
            ("BOB@Example.COM", BOB),
            ("bob@example.com/Phone", "bob@example.com/Phone"),
            ("example.com", "example.com"),
            (OWN, OWN),
            ("bob@other.example", "bob@other.example"),
            ("bób@münchen.example", "bób@münchen.example"),
        ):
            self.send("x", given)
            self.assertEqual(self.account.sent[-1]["to"], sent)

    def test_taken(self) -> None:
        """
        The answer waits until the server has taken the message.
        """
        self.account.holds = True
        headers = {**basic(OWN), "Content-Type": JSON}
        self.client.begin("POST", "/api/messages", headers, '{"to": "bob@example.com", "body": "x"}')
        self.assertEqual(len(self.account.sent), 1)
        self.assertEqual(self.client.transport.value(), b"")

    def test_refused(self) -> None:
        """
        It is the same if the server says that nobody is there to get it.
        """
        self.account.error = errorReply(
            Element((NS_CLIENT, "message")), StanzaError.of("service-unavailable")
        )
        self.assertEqual(self.send("x"), {"id": self.account.sent[0]["id"]})

    def test_pathIgnored(self) -> None:
        """
        An address in the path means nothing here.
        """
        self.got("POST", "/messages/@invalid", {"to": BOB, "body": "x"})
        self.assertEqual(self.account.sent[0]["to"], BOB)

    def test_order(self) -> None:
        """
        Of several things that are wrong the first is said: recipient, then body.
        """
        for document, text in (
            ({}, "Missing recipient JID"),
            ({"body": "x"}, "Missing recipient JID"),
            ({"to": "@invalid"}, "Invalid recipient JID"),
            ({"to": ""}, "Invalid recipient JID"),
            ({"to": "a@b@c@/", "body": "x"}, "Invalid recipient JID"),
            ({"to": "x" * 5000, "body": "x"}, "Invalid recipient JID"),
            ({"to": BOB}, "Missing message body"),
        ):
            self.refused(400, text, "POST", "/messages", document)
        self.assertEqual(self.account.sent, [])

    def test_unicode(self) -> None:
        """
        Every character that is assigned arrives, on all planes.
        """
        for body in assigned():
            self.send(body)
            self.assertEqual(str(self.account.sent.pop().body), body)

    def test_sizes(self) -> None:
        """
        Texts of nothing up to 64 KiB arrive.
        """
        for body in ("", "x", "x" * 65536, "\N{GRINNING FACE}" * 16384, "ż" * 32768, "\n" * 1000, " "):
            self.send(body)
            self.assertEqual(str(self.account.sent.pop().body), body)

    def test_illegal(self) -> None:
        """
        What XML can't carry is refused, and named.
        """
        for character in ("\0", "\x08", "\x0b", "\x1b", "\ufffe", "\uffff"):
            text = f"the character U+{ord(character):04X} can't stand in XML"
            document = {"to": BOB, "body": f"a{character}b"}
            self.refused(400, f"Invalid message body: {text}", "POST", "/messages", document)
            document = {"to": f"b{character}b@example.com", "body": "x"}
            self.refused(400, f"Invalid recipient JID: {text}", "POST", "/messages", document)
        self.assertEqual(self.account.sent, [])


class ItemTests(ClientAPITestCase):
    def shown(self, content: str, **attributes: str) -> list[dict[str, Any]]:
        """
        What the history shows of one message from bob.
        """
        given = {"from": f"{BOB}/phone", "to": OWN, "type": "chat", "id": "m1", **attributes}
        written = " ".join(f"{name}='{value}'" for name, value in given.items() if value)
        message = f"<message xmlns='jabber:client' {written}>{content}</message>"
        self.account.archive = [("2026-01-02T03:04:05.678901Z", message)]
        found: list[dict[str, Any]] = self.got("GET", "/messages")
        return found

    def test_plain(self) -> None:
        """
        Bare addresses, id, text and the time in milliseconds.
        """
        expected = {"from": BOB, "to": OWN, "id": "m1", "body": "Hi", "timestamp": 1767323045678}
        self.assertEqual(self.shown("<body>Hi</body>"), [expected])
        self.assertEqual(self.shown("<body>Hi</body>", type="normal"), [expected])
        self.assertEqual(self.shown("<body>Hi</body>", type=""), [expected])

    def test_notShown(self) -> None:
        """
        What has no text is not shown, nor what comes from no person.
        """
        self.assertEqual(self.shown("<received xmlns='urn:xmpp:receipts' id='m0'/>"), [])
        self.assertEqual(self.shown("<body xmlns='urn:example:other'>Hi</body>"), [])
        for kind in ("groupchat", "error", "headline"):
            self.assertEqual(self.shown("<body>Hi</body>", type=kind), [])
        self.assertEqual(self.shown("<body>Hi</body>", **{"from": "@"}), [])

    def test_left(self) -> None:
        """
        Addresses that an archive leaves out are the user's; an id that a message has not is the archive's.
        """
        for labelled in (False, True):
            self.account.labelled = labelled
            (item,) = self.shown("<body>Hi</body>", **{"from": "", "to": BOB})
            self.assertEqual((item["from"], item["to"]), (OWN, BOB))
            (item,) = self.shown("<body>Hi</body>", to="", id="")
            self.assertEqual((item["from"], item["to"], item["id"]), (BOB, OWN, "0"))

    def test_thread(self) -> None:
        """
        The thread, and its parent, where there are some.
        """
        (item,) = self.shown("<body>Hi</body><thread>t1</thread>")
        self.assertEqual((item["thread"], "parent" in item), ("t1", False))
        (item,) = self.shown("<body>Hi</body><thread parent='p1'>t1</thread>")
        self.assertEqual((item["thread"], item["parent"]), ("t1", "p1"))
        (item,) = self.shown("<body>Hi</body>")
        self.assertEqual({"thread", "parent", "properties"} & set(item), set())

    def test_properties(self) -> None:
        """
        Smack's properties, all of them as texts; what is none is left out.
        """
        properties = (
            "<body>Hi</body><properties xmlns='http://www.jivesoftware.com/xmlns/xmpp/properties'>"
            "<property><name>some_string</name><value type='string'>abc</value></property>"
            "<property><name>some_number</name><value type='long'>1234567890</value></property>"
            "<property><name>no value</name></property>"
            "<property><value>no name</value></property>"
            "<property xmlns='urn:example:other'><name>n</name><value>v</value></property>"
            "<name>n</name>text"
            "</properties>"
        )
        (item,) = self.shown(properties)
        self.assertEqual(item["properties"], {"some_string": "abc", "some_number": "1234567890"})

    def test_malformedProperties(self) -> None:
        """
        A message whose properties are of another kind is shown without them.
        """
        for properties in (
            "<properties><property><name>n</name><value>v</value></property></properties>",
            "<properties xmlns='http://www.jivesoftware.com/xmlns/xmpp/properties'/>",
        ):
            (item,) = self.shown(f"<body>Hi</body>{properties}")
            self.assertNotIn("properties", item)
