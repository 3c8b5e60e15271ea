"""
C{/api/messages} in front of real servers: each case of MongooseIM's own suite, and what its users rely on.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element

from tests.live.case import LiveCase
from tests.live.client import CLIENT, Client, Predicate, body, kind
from tests.live.client_api import WithClientAPI, jid
from tests.live.ejabberd import Ejabberd
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.users import PING, saying

CARBONS = "urn:xmpp:carbons:2"
PROPERTIES = "http://www.jivesoftware.com/xmlns/xmpp/properties"


def withId(used: str) -> Predicate:
    """
    The message of this id.
    """
    return lambda stanza: kind(stanza) == "message" and stanza.get("id") == used


class WithMessages(WithClientAPI):
    """
    Users who write to one another.
    """

    def say(self, sender: str, to: str, text: str) -> str:
        """
        Send a message over HTTP.

        @return: its id.
        """
        return str(self.got("POST", "/messages", {"to": to, "body": text}, sender)["id"])

    def history(self, user: str, path: str = "", count: int | None = None) -> list[dict[str, Any]]:
        """
        What the history shows, as soon as there are C{count} messages.
        """
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = self.got("GET", f"/messages{path}", user=user)
            return count is None or len(found) == count

        eventually(enough, f"{count} messages of {user} at {path}")
        return found

    def send(self, client: Client, to: str, content: str, used: str = "") -> None:
        """
        Send a chat message over XMPP, and wait until the server has it.
        """
        given = f" id='{used}'" if used else ""
        client.send(f"<message type='chat' to='{to}'{given}>{content}</message>")
        client.request("localhost", PING)


class Messages(WithMessages):
    """
    MongooseIM's group C{messages}.
    """

    def testSentAndDelivered(self) -> None:
        """
        msg_is_sent_and_delivered_over_xmpp: it comes from the user's session, with the id of the answer.
        """
        bob = self.login("bob")
        used = self.say("alice", "BOB@localhost", "hello, bob@localhost it's me")
        message = bob.expect(saying("hello, bob@localhost it's me"))
        self.assertRegex(used, r"^[0-9a-f]{16}$")
        self.assertEqual(("chat", used), (message.get("type"), message.get("id")))
        self.assertEqual(self.fullJid("alice"), message.get("from"))

    def testSendingErrors(self) -> None:
        """
        message_sending_errors, each in one JSON string.
        """
        whole = {"to": "bob@localhost", "body": "hello"}
        self.refused(400, "Missing message body", "POST", "/messages", {"to": whole["to"]})
        self.refused(400, "Missing recipient JID", "POST", "/messages", {"body": whole["body"]})
        self.refused(400, "Invalid recipient JID", "POST", "/messages", {**whole, "to": "@invalid"})

    def testAllArchived(self) -> None:
        """
        all_messages_are_archived, and messages_with_user_are_archived: both directions, in their order.
        """
        alice, bob, kate = (self.newUser() for _ in range(3))
        said = [(bob, alice, "one"), (alice, bob, "two"), (kate, alice, "three")]
        sent = []
        for sender, to, text in said:
            used = self.say(sender, jid(to), text)
            sent.append({"from": jid(sender), "to": jid(to), "id": used, "body": text})
        received = self.history(alice, "/", 3)
        self.assertEqual(sent, [_timeless(item) for item in received])
        times = [item["timestamp"] for item in received]
        self.assertEqual(sorted(times), times)
        self.assertLess(abs(time.time() - times[-1] / 1000), 60)
        self.assertEqual([sent[2]], [_timeless(item) for item in self.history(alice, f"/{jid(kate)}", 1)])
        self.assertEqual([], self.history(alice, "/nobody@localhost"))

    def testPaginated(self) -> None:
        """
        messages_can_be_paginated, by C{limit} and C{before}.
        """
        alice, bob = self.newUser(), self.newUser()
        for text in ("A", "B", "C", "D"):
            self.say(alice, jid(bob), text)
        self.history(alice, count=4)
        # So that whole seconds, which are what Prosody keeps, are before it or after it.
        time.sleep(1.1)
        between = int(time.time()) * 1000
        for text in ("E", "F"):
            self.say(bob, jid(alice), text)
        path = f"/{jid(bob)}"
        self.assertEqual(list("ABCDEF"), _texts(self.history(alice, f"{path}?limit=10", 6)))
        self.assertEqual(list("DEF"), _texts(self.history(alice, f"{path}?limit=3")))
        self.assertEqual(list("ABCD"), _texts(self.history(alice, f"{path}?limit=10&before={between}")))
        self.assertEqual(list("CD"), _texts(self.history(alice, f"{path}?before={between}&limit=2")))

    def testQueryErrors(self) -> None:
        """
        message_query_errors.
        """
        path = "/messages/bob@localhost"
        self.refused(400, "Invalid interlocutor JID", "GET", "/messages/@invalid")
        self.refused(400, "Invalid limit", "GET", f"{path}?limit=x")
        self.refused(400, "Invalid value of 'before'", "GET", f"{path}?before=x")
        self.refused(400, "Invalid query string", "GET", f"{path}?kuropatwa")


class Contents(WithMessages):
    """
    MongooseIM's groups C{messages_with_props} and C{messages_with_thread}.
    """

    def archived(self, content: str, used: str) -> dict[str, Any]:
        """
        What is shown of a message that was sent and delivered over XMPP.
        """
        alice, bob = self.newUser(), self.newUser()
        sender, other = self.login(alice), self.login(bob)
        self.send(sender, jid(bob), content, used)
        other.expect(withId(used))
        (item,) = self.history(alice, f"/{jid(bob)}?limit=1", 1)
        self.assertEqual((jid(alice), jid(bob), used), (item["from"], item["to"], item["id"]))
        return item

    def testProperties(self) -> None:
        """
        msg_with_props_is_sent_and_delivered_over_xmpp, msg_with_props_can_be_parsed.
        """
        item = self.archived(
            f"<body>Test message with properties</body><properties xmlns='{PROPERTIES}'>"
            "<property><name>some_string</name><value type='string'>abcdefghijklmnop</value></property>"
            "<property><name>some_number</name><value type='long'>1234567890</value></property></properties>",
            "props1",
        )
        expected = {"some_string": "abcdefghijklmnop", "some_number": "1234567890"}
        self.assertEqual(expected, item["properties"])

    def testMalformedProperties(self) -> None:
        """
        msg_with_malformed_props_is_sent_and_delivered_over_xmpp, msg_with_malformed_props_can_be_parsed.
        """
        item = self.archived(
            "<body>Test message with malformed properties</body><properties xmlns='urn:example:other'>"
            "<property><name>some_string</name><value type='string'>abc</value></property></properties>",
            "props2",
        )
        self.assertEqual("Test message with malformed properties", item["body"])
        self.assertNotIn("properties", item)

    def testThread(self) -> None:
        """
        msg_with_thread_is_sent_and_delivered_over_xmpp, msg_with_thread_can_be_parsed.
        """
        item = self.archived("<body>Test message with thread</body><thread>t1</thread>", "thread1")
        self.assertEqual(("t1", None), (item["thread"], item.get("parent")))

    def testThreadAndParent(self) -> None:
        """
        msg_with_thread_and_parent_is_sent_and_delivered_over_xmpp, msg_with_thread_and_parent_can_be_parsed.
        """
        item = self.archived("<body>Test</body><thread parent='p1'>t1</thread>", "thread2")
        self.assertEqual(("t1", "p1"), (item["thread"], item["parent"]))

    def testNoThread(self) -> None:
        """
        msg_without_thread_is_sent_and_delivered_over_xmpp, msg_without_thread_can_be_parsed.
        """
        item = self.archived("<body>Test message without thread</body>", "thread3")
        self.assertEqual({"to", "from", "timestamp", "id", "body"}, set(item))


class Sending(WithMessages):
    """
    What else holds of messages that are sent.
    """

    def testCarbons(self) -> None:
        """
        The user's own clients get what the user sends over HTTP as carbons (XEP-0280).
        """
        alice = self.login("alice")
        self.assertEqual(
            "result", alice.request(jid("alice"), f"<enable xmlns='{CARBONS}'/>", "set").get("type")
        )
        self.say("alice", "bob@localhost", "for the phone to see")
        alice.expect(lambda one: _carbonText(one) == "for the phone to see")

    def testNobodyThere(self) -> None:
        """
        The answer is the same if there is nobody to get it.
        """
        for to in (
            "nobody@localhost",
            "localhost",
            "elsewhere.invalid",
            "x@elsewhere.invalid",
            "kate@localhost/x",
        ):
            with self.part(to):
                self.say("alice", to, "hello?")

    def testResource(self) -> None:
        """
        A resource that isn't there falls back to the others.
        """
        bob = self.login("bob")
        self.say("alice", "bob@localhost/nowhere", "to nowhere")
        bob.expect(saying("to nowhere"))

    def testSizes(self) -> None:
        """
        Texts of nothing up to 64 KiB arrive, and are in the history; ejabberd keeps none that is empty.
        """
        alice, name = self.newUser(), self.newUser()
        bob = self.login(name)
        texts = ["", "x", "x" * 65536, "\N{GRINNING FACE}" * 16384, "ż" * 32768, "a\nb\tc", " x "]
        for text in texts:
            used = self.say(alice, jid(name), text)
            with self.part(f"{len(text)} characters like {text[:1]!r}"):
                self.assertEqual(text, body(bob.expect(withId(used))) or "")
        found = self.history(alice, f"/{jid(name)}")
        self.assertEqual(list(filter(None, texts)), list(filter(None, _texts(found))))

    def testTooLarge(self) -> None:
        """
        A text that would not fit a server's stanzas, written as XML, is refused in words; the login stays.
        """
        full = self.fullJid("alice")
        answer = self.api("POST", "/messages", {"to": "bob@localhost", "body": "&" * 65536})
        self.assertEqual(400, answer.status)
        self.assertIn("as XML; at most", answer.json())
        self.assertEqual(full, self.fullJid("alice"))

    def testUnicode(self) -> None:
        """
        Every character that is assigned arrives, on all planes.
        """
        name = self.newUser()
        bob = self.login(name)
        everything = [
            each
            for each in map(chr, range(0x20, sys.maxunicode + 1))
            if unicodedata.category(each) not in ("Cs", "Cn", "Co") and each not in "\ufffe\uffff"
        ]
        for start in range(0, len(everything), 15_000):
            text = "".join(everything[start : start + 15_000])
            used = self.say("alice", jid(name), text)
            with self.part(f"from U+{ord(text[0]):04X}"):
                self.assertEqual(text, body(bob.expect(withId(used))))

    def testIllegal(self) -> None:
        """
        What XML can't carry is refused, and named; the login stays.
        """
        full = self.fullJid("alice")
        for character in ("\0", "\x1f", "\ufffe", "\uffff"):
            text = f"Invalid message body: the character U+{ord(character):04X} can't stand in XML"
            self.refused(400, text, "POST", "/messages", {"to": "bob@localhost", "body": f"a{character}"})
        self.assertEqual(full, self.fullJid("alice"))


class Archive(WithMessages):
    """
    What else holds of the history.
    """

    def testBurst(self) -> None:
        """
        Whoever goes back from page to page loses nothing, though many messages are of one second.
        """
        alice, bob = self.newUser(), self.newUser()
        client = self.login(alice)
        texts = [f"m{number}" for number in range(70)]
        client.send(
            "".join(f"<message type='chat' to='{jid(bob)}'><body>{text}</body></message>" for text in texts)
        )
        client.request("localhost", PING)
        self.history(alice, f"/{jid(bob)}", 50)
        for limit, less in ((50, 0), (7, 0), (1, 0), (16, 1)):
            with self.part(f"pages of {limit}, by the time of the first message less {less}"):
                self.assertEqual(texts, self._walk(alice, f"/{jid(bob)}", limit, less))

    def testWithoutText(self) -> None:
        """
        Messages without a text are in nobody's way, however many there are.
        """
        alice, bob = self.newUser(), self.newUser()
        client = self.login(alice)
        marker = (
            f"<message type='chat' to='{jid(bob)}'><displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>"
            "<store xmlns='urn:xmpp:hints'/></message>"
        )
        for text in ("first", "second", "third"):
            self.send(client, jid(bob), f"<body>{text}</body>")
            for _ in range(4):
                client.send(marker * 40)
                client.request("localhost", PING)
        self.assertEqual(["third"], _texts(self.history(alice, "?limit=1", 1)))
        self.assertEqual(["first", "second", "third"], _texts(self.history(alice, "", 3)))

    def testResources(self) -> None:
        """
        A full address is that client's messages alone; it may stand in the path as it is, or percent-encoded.
        """
        alice, bob = self.newUser(), self.newUser()
        phone, tablet = self.login(bob), self.login(bob, "Tablet")
        self.send(phone, jid(alice), "<body>from the phone</body>")
        self.send(tablet, jid(alice), "<body>from the tablet</body>")
        self.say(alice, f"{jid(bob)}/Tablet", "to the tablet")
        self.assertEqual(3, len(self.history(alice, f"/{jid(bob)}", 3)))
        expected = ["from the tablet", "to the tablet"]
        for path in (f"{jid(bob)}/Tablet", quote(f"{jid(bob).upper()}/Tablet", safe="")):
            self.assertEqual(expected, _texts(self.history(alice, f"/{path}", 2)))
        self.assertEqual([], self.history(alice, f"/{jid(bob)}/nowhere"))

    def testOneself(self) -> None:
        """
        What one writes to oneself is shown once.
        """
        alice = self.newUser()
        used = [self.say(alice, jid(alice), f"note {number}") for number in range(3)]
        items = self.history(alice, "", 3)
        expected = [{"from": jid(alice), "to": jid(alice), "id": each} for each in used]
        self.assertEqual(expected, [{key: item[key] for key in ("from", "to", "id")} for item in items])

    def testBounds(self) -> None:
        """
        Limits and times at the edge of what there is, and beyond.
        """
        alice = self.newUser()
        self.say(alice, "bob@localhost", "one")
        self.history(alice, count=1)
        for parameters, count in (
            ("limit=0", 0),
            ("limit=99999999999999999999", 1),
            ("limit=%2B1", 1),
            ("before=0", 0),
            ("before=1", 0),
            ("before=-62135596800000", 0),
            ("before=253402300799999", 1),
            ("before=99999999999999999999999", 1),
            ("before=%2B253402300799999", 1),
        ):
            with self.part(parameters):
                self.assertEqual(count, len(self.history(alice, f"?{parameters}")))

    def _walk(self, user: str, path: str, limit: int, less: int) -> list[str]:
        """
        The whole history, from page to page.
        """
        texts: list[str] = []
        parameters = f"limit={limit}"
        while page := self.history(user, f"{path}?{parameters}"):
            texts = [*_texts(page), *texts]
            parameters = f"limit={limit}&before={page[0]['timestamp'] - less}"
        return texts


class NoArchive(WithMessages):
    """
    A server that keeps no archive.
    """

    def testHistory(self) -> None:
        """
        There is no history, and that is said; messages are sent as ever.
        """
        bob = self.login("bob")
        self.say("alice", "bob@localhost", "not kept")
        bob.expect(saying("not kept"))
        for path in ("/messages", "/messages/bob@localhost"):
            self.refused(501, "The server keeps no archive of messages (XEP-0313)", "GET", path)


class ProsodyWithoutArchive(Prosody):
    """
    Without mod_mam.
    """

    def _configuration(self) -> str:
        return super()._configuration().replace('"mam"; ', "").replace('"mam";', "")


class EjabberdWithoutArchive(Ejabberd):
    """
    Likewise.
    """

    def _configuration(self) -> str:
        lines = super()._configuration().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("  mod_mam:"))


class OnProsody(Messages, Contents, Sending, Archive, LiveCase):
    """
    Messages on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Messages, Contents, Sending, Archive, LiveCase):
    """
    Messages on ejabberd.
    """

    makeServer = Ejabberd


class OnProsodyWithoutArchive(NoArchive, LiveCase):
    """
    Prosody that keeps no archive.
    """

    makeServer = ProsodyWithoutArchive


class OnEjabberdWithoutArchive(NoArchive, LiveCase):
    """
    ejabberd that keeps none.
    """

    makeServer = EjabberdWithoutArchive


def _timeless(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "timestamp"}


def _texts(items: list[dict[str, Any]]) -> list[str]:
    return [item["body"] for item in items]


def _carbonText(stanza: Element) -> str | None:
    """
    What the user has sent from elsewhere.
    """
    return stanza.findtext(f"{{{CARBONS}}}sent/{{urn:xmpp:forward:0}}forwarded/{CLIENT}message/{CLIENT}body")
