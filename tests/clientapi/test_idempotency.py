"""
C{/api} with an Idempotency-Key.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown
from restbridge.web.idempotency import Once
from tests.clientapi.account import NS_ROSTER, Account
from tests.clientapi.case import ClientAPITestCase
from tests.web.client import Reply
from tests.web.keys import MemoryStore, once

BOB = "bob@example.com"
MESSAGE = {"to": BOB, "body": "hello"}


class Ending(Account):
    """
    A login that ends with the first message, which it may have sent.
    """

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        self.send(stanza)
        return fail(LinkDown("the session was closed"))


class KeyedTests(ClientAPITestCase):
    def once(self) -> Once:
        self.store = MemoryStore()
        return once(self.store)

    def say(self, document: Any = MESSAGE, path: str = "/messages", key: str = "k1", **headers: str) -> Reply:
        return self.ask("POST", path, document, {"Idempotency-Key": key, **headers})

    def assertReplayed(self, reply: Reply) -> None:
        self.assertEqual("true", reply.headers["Idempotent-Replayed"])

    def test_message(self) -> None:
        """
        A message whose key comes again is not sent again; its answer is the same.
        """
        first, second = self.say(), self.say()
        self.assertNotIn("Idempotent-Replayed", first.headers)
        self.assertReplayed(second)
        self.assertEqual((first.status, first.body), (second.status, second.body))
        (message,) = self.account.sent
        self.assertEqual(second.json, {"id": message["id"]})
        self.assertRegex(message["id"], r"^[0-9a-f]{16}$")

    def test_contact(self) -> None:
        """
        So it is with an answer without a body.
        """
        replies = [self.say({"jid": BOB}, "/contacts") for _ in range(2)]
        self.assertReplayed(replies[1])
        self.assertEqual([(204, b"")] * 2, [(reply.status, reply.body) for reply in replies])

    def test_refusal(self) -> None:
        """
        So it is with a refusal that will hold; with none that another header may change.
        """
        for _ in range(2):
            reply = self.say({"to": "@"})
            self.assertRefused(reply, 400, "Invalid recipient JID")
        self.assertReplayed(reply)
        self.assertEqual(406, self.say(key="k2", Accept="text/html").status)
        self.assertEqual(200, self.say(key="k2").status)

    def test_said(self) -> None:
        """
        What is wrong with a key is one JSON string, as all that is wrong.
        """
        self.say()
        text = "this Idempotency-Key was used for another request"
        self.assertRefused(self.say({**MESSAGE, "body": "another"}), 422, text)
        text = "Idempotency-Key must be one string in quotes, of 1 to 255 visible ASCII characters"
        self.assertRefused(self.say(key="not a key"), 400, text)
        self.store.fails = True
        self.assertRefused(self.say(key="k2"), 503, "restbridge's store can't be used now; its log says why")
        self.assertEqual(1, len(self.account.sent))

    def test_idempotent(self) -> None:
        """
        PUT and DELETE are idempotent without a key, and leave it alone.
        """
        self.account.roster[BOB] = {"subscription": "none"}
        for method, document in (("PUT", {"action": "invite"}), ("DELETE", None)):
            reply = self.ask(method, f"/contacts/{BOB}", document, {"Idempotency-Key": "k1"})
            self.assertEqual(204, reply.status)
        self.assertEqual(0, self.store.runs)

    def test_break(self) -> None:
        """
        When the login ends meanwhile: 503. The next try sends a message of the same id.
        """
        self.users.link = ending = Ending()
        self.assertRefused(self.say(), 503, "the session was closed")
        (first,) = ending.sent
        self.users.link = self.account
        self.assertEqual({"id": first["id"]}, self.say().json)
        self.assertEqual([first["id"]], [message["id"] for message in self.account.sent])

    def test_illegal(self) -> None:
        """
        What XML can't carry is refused, and kept, as ever.
        """
        for _ in range(2):
            reply = self.say({"jid": "bob\0@example.com"}, "/contacts")
            self.assertEqual(400, reply.status)
        self.assertReplayed(reply)
        self.assertNotIn(NS_ROSTER, [each.uri for stanza in self.account.sent for each in stanza.elements()])
