"""
L{restbridge.clientapi.contacts}: the roster, and who asks to be a subscriber.
"""

from __future__ import annotations

from typing import Any

from twisted.words.xish.domish import Element

from restbridge.clientapi import contacts
from restbridge.stanzas.errors import NoAnswer, StanzaError
from restbridge.stanzas.xml import NS_CLIENT, parseDocument
from tests.clientapi.account import NS_INFO, NS_ROSTER, OWN, push
from tests.clientapi.case import JSON, ClientAPITestCase
from tests.web.client import basic

BOB = "bob@example.com"
KATE = "kate@example.com"


def contact(jid: str, subscription: str = "none", ask: str = "none") -> dict[str, str]:
    """
    A contact as the API shows it.
    """
    return {"jid": jid, "subscription": subscription, "ask": ask}


class ContactsTestCase(ClientAPITestCase):
    def listed(self) -> list[dict[str, str]]:
        """
        The contacts.
        """
        found: list[dict[str, str]] = self.got("GET", "/contacts")
        return found


class ListTests(ContactsTestCase):
    def test_roster(self) -> None:
        """
        The contacts by their addresses, with what the roster says of subscriptions.
        """
        self.account.roster = {
            "zoe@example.com": {"subscription": "both", "name": "Zoe"},
            BOB: {"subscription": "none", "ask": "subscribe"},
            "carl@example.com": {"subscription": "from", "ask": "subscribe"},
            "dan@example.com": {"subscription": "to"},
            "eve@example.com": {},
            "@": {"subscription": "both"},
        }
        expected = [
            contact(BOB, "none", "out"),
            contact("carl@example.com", "from", "out"),
            contact("dan@example.com", "to"),
            contact("eve@example.com"),
            contact("zoe@example.com", "both"),
        ]
        self.assertEqual(self.listed(), expected)

    def test_empty(self) -> None:
        """
        A roster may be empty.
        """
        self.assertEqual(self.listed(), [])

    def test_one(self) -> None:
        """
        One contact alone can't be looked up, as with MongooseIM.
        """
        self.refused(404, "JID provided but not supported", "GET", f"/contacts/{BOB}")

    def test_noRoster(self) -> None:
        """
        A server without rosters: 501, in words.
        """
        self.account.refusals[NS_ROSTER] = StanzaError.of("service-unavailable")
        for method, path, document in (
            ("GET", "/contacts", None),
            ("POST", "/contacts", {"jid": BOB}),
            ("DELETE", f"/contacts/{BOB}", None),
        ):
            self.refused(501, "The server keeps no roster (RFC 6121, section 2)", method, path, document)

    def test_refused(self) -> None:
        """
        What a server refuses is said in its words.
        """
        for condition, status in (("resource-constraint", 503), ("bad-request", 400), ("not-allowed", 403)):
            self.account.refusals[NS_ROSTER] = StanzaError.of(condition, "x" * 1000)
            text = f"The server refuses it: {condition} ({'x' * 200}…)"
            self.refused(status, text, "GET", "/contacts")


class AskingTests(ContactsTestCase):
    def test_in(self) -> None:
        """
        Who asks to be a subscriber is there, in the roster or not.
        """
        self.account.roster = {KATE: {"subscription": "none", "ask": "subscribe"}, "dan@example.com": {}}
        self.account.asking = [BOB, f"{KATE}/phone", "dan@example.com"]
        expected = [contact(BOB, ask="in"), contact("dan@example.com", ask="in"), contact(KATE, ask="both")]
        self.assertEqual(self.listed(), expected)

    def test_once(self) -> None:
        """
        The login becomes available for that once, with a priority that draws no messages.
        """
        self.account.asking = [BOB]
        for _ in range(3):
            self.assertEqual(self.listed(), [contact(BOB, ask="in")])
        self.assertEqual(self.account.priorities, [-1])

    def test_onlyWhenNeeded(self) -> None:
        """
        It doesn't where that isn't asked for.
        """
        self.account.roster = {BOB: {}}
        self.done("POST", "/contacts", {"jid": KATE})
        self.done("PUT", f"/contacts/{KATE}", {"action": "invite"})
        self.done("DELETE", f"/contacts/{BOB}")
        self.got("GET", "/messages")
        self.assertFalse(self.account.available)

    def test_zeroFirst(self) -> None:
        """
        Where the server holds back what waits for the user, a priority of 0 goes before: without it ejabberd
        tells nobody who asks.
        """
        self.account.keepsMessages, self.account.saysBelowZero = True, False
        self.account.asking = [BOB]
        self.assertEqual(self.listed(), [contact(BOB, ask="in")])
        self.assertEqual(self.account.priorities, [0, -1])
        # Before the server was asked, nothing was said.
        first = next(each for each in self.account.sent if each.name == "presence")
        asked = [each.query.uri for each in self.account.sent[: self.account.sent.index(first)]]
        self.assertEqual(asked, [NS_INFO])

    def test_availableAlready(self) -> None:
        """
        A login that is available for another reason stays as it is, and what was said to it is known.
        """
        self.account.asking = [BOB]
        self.got("GET", "/messages")
        self.account.send(Element((NS_CLIENT, "presence")))
        self.assertEqual(self.listed(), [contact(BOB, ask="in")])
        self.assertEqual(self.account.priorities, [])

    def test_availableMeanwhile(self) -> None:
        """
        So does one that becomes available while the server is asked.
        """
        self.account.silent = {NS_INFO}
        self.client.begin("GET", "/api/contacts", basic(OWN))
        self.account.send(Element((NS_CLIENT, "presence")))
        self.account.awaited[0].callback(parseDocument(b"<iq type='error'/>"))
        self.assertEqual(self.client.read("GET")[0].status, 200)
        self.assertEqual(self.account.priorities, [])

    def test_availableAgain(self) -> None:
        """
        A login that was made unavailable is made available again; what the server says then is what holds.
        """
        self.account.asking = [BOB]
        self.listed()
        unavailable = Element((NS_CLIENT, "presence"))
        unavailable["type"] = "unavailable"
        self.account.send(unavailable)
        self.account.asking = [KATE]
        self.assertEqual(self.listed(), [contact(KATE, ask="in")])
        self.assertEqual(self.account.priorities, [-1, -1])

    def test_later(self) -> None:
        """
        Who asks later is there as well, and is no more after changing one's mind.
        """
        self.assertEqual(self.listed(), [])
        self.account.ask(BOB, KATE)
        self.assertEqual(self.listed(), [contact(BOB, ask="in"), contact(KATE, ask="in")])
        self.account.receive(parseDocument(f"<presence type='unsubscribe' from='{BOB}'/>".encode()))
        self.assertEqual(self.listed(), [contact(KATE, ask="in")])

    def test_otherPresences(self) -> None:
        """
        Other presences say nothing of that.
        """
        self.listed()
        for kind in ("", "type='subscribed'", "type='unsubscribed'", "type='probe'", "type='error'"):
            self.account.receive(parseDocument(f"<presence {kind} from='{BOB}'/>".encode()))
        self.account.receive(parseDocument(f"<message type='subscribe' from='{BOB}'/>".encode()))
        self.assertEqual(self.listed(), [])

    def test_pushes(self) -> None:
        """
        A push says that another client has let somebody in, or refused; it is answered.
        """
        self.account.asking = [BOB]
        self.listed()
        for subscription in ("none", "to", "from", "both", "remove"):
            self.account.ask(BOB)
            before = len(self.account.sent)
            self.assertTrue(self.account.receive(push(BOB, subscription)))
            (answer,) = self.account.sent[before:]
            self.assertEqual((answer["type"], answer["id"], answer["to"]), ("result", "push", OWN))
            expected = [] if subscription in ("from", "both", "remove") else [contact(BOB, ask="in")]
            self.assertEqual(self.listed(), expected)

    def test_subscriber(self) -> None:
        """
        Who is a subscriber asks no more, whatever was said before.
        """
        self.account.asking = [BOB, KATE]
        self.account.roster = {BOB: {"subscription": "both"}, KATE: {"subscription": "from"}}
        self.assertEqual(self.listed(), [contact(BOB, "both"), contact(KATE, "from")])

    def test_foreignPushes(self) -> None:
        """
        Nobody but the own account pushes the roster: others are not believed (RFC 6121, section 2.1.6).
        """
        self.account.asking = [BOB]
        self.listed()
        before = len(self.account.sent)
        for sender in (BOB, "example.com", f"{OWN}/other", "alice@example.com.evil.example"):
            self.assertFalse(self.account.receive(push(BOB, "both", sender)))
        self.assertEqual(len(self.account.sent), before)
        self.assertEqual(self.listed(), [contact(BOB, ask="in")])

    def test_otherRequests(self) -> None:
        """
        Other requests of the own account are left to others.
        """
        self.listed()
        iq = parseDocument(f"<iq type='set' id='1' from='{OWN}'><query xmlns='urn:example:x'/></iq>".encode())
        self.assertFalse(self.account.receive(iq))

    def test_many(self) -> None:
        """
        However many ask, so many are remembered and no more.
        """
        self.patch(contacts, "MAX_ASKING", 3)
        self.account.asking = [f"user{number}@example.com" for number in range(10)]
        self.assertEqual(len(self.listed()), 3)

    def test_newLogin(self) -> None:
        """
        With the login all of that is forgotten; the next one is told again.
        """
        self.account.asking = [BOB]
        self.listed()
        self.account.end()
        self.users.link = self.account = type(self.account)()
        self.account.asking = [KATE]
        self.assertEqual(self.listed(), [contact(KATE, ask="in")])

    def test_loginEnds(self) -> None:
        """
        A login that ends meanwhile is 503, and nothing of it is kept.
        """
        self.listed()
        self.account.end("the server closed the session")
        self.refused(503, "the server closed the session", "GET", "/contacts")


class AddTests(ContactsTestCase):
    def test_add(self) -> None:
        """
        A contact is in the roster then, by the bare address, and no one was asked for a subscription.
        """
        for given in (BOB, "BOB@Example.com", f"{BOB}/phone"):
            self.done("POST", "/contacts", {"jid": given})
        self.assertEqual(self.account.roster, {BOB: {"subscription": "none"}})
        self.assertEqual(self.account.presences, [])
        self.assertEqual(self.listed(), [contact(BOB)])

    def test_again(self) -> None:
        """
        Nothing happens to a contact who is there.
        """
        self.account.roster = {BOB: {"subscription": "both", "name": "Bob"}}
        self.done("POST", "/contacts", {"jid": BOB})
        self.assertEqual(self.account.roster, {BOB: {"subscription": "both", "name": "Bob"}})

    def test_oneself(self) -> None:
        """
        Nor to oneself, who is nobody's contact.
        """
        for given in (OWN, f"{OWN}/r"):
            self.done("POST", "/contacts", {"jid": given})
        self.assertEqual(self.account.sent, [])

    def test_otherDomain(self) -> None:
        """
        A contact of another domain is added if that answers, or may do so later; else there is no such user.
        """
        self.account.domains.add("other.example")
        self.done("POST", "/contacts", {"jid": "bob@other.example"})
        text = "The user bob@elsewhere.example does not exist"
        self.refused(404, text, "POST", "/contacts", {"jid": "bob@elsewhere.example"})
        self.account.refusals[NS_INFO] = StanzaError.of("remote-server-timeout")
        self.done("POST", "/contacts", {"jid": "bob@slow.example"})
        self.assertEqual(set(self.account.roster), {"bob@other.example", "bob@slow.example"})

    def test_noAnswer(self) -> None:
        """
        A domain that doesn't answer for long may be there.
        """
        self.account.silent = {NS_INFO}
        headers = {**basic(OWN), "Content-Type": JSON}
        self.client.begin("POST", "/api/contacts", headers, '{"jid": "bob@slow.example"}')
        self.assertEqual(self.account.timeouts[-1], contacts.DOMAIN_TIMEOUT)
        self.account.awaited[0].errback(NoAnswer(10))
        self.assertEqual(self.client.read("POST")[0].status, 204)
        self.assertEqual(set(self.account.roster), {"bob@slow.example"})

    def test_errors(self) -> None:
        """
        What is no address is named.
        """
        cases: list[tuple[Any, str]] = [
            ({}, "Missing JID"),
            ({"jid": None}, "Missing JID"),
            ({"jid": "@invalid"}, "Invalid JID: @invalid"),
            ({"jid": ""}, "Invalid JID: "),
            ({"jid": 5}, "Invalid JID: 5"),
            ({"jid": {"a": [True]}}, 'Invalid JID: {"a":[true]}'),
            ({"jid": "x" * 5000}, f"Invalid JID: {'x' * 200}…"),
            ({"jid": "a\0@example.com"}, "Invalid JID: a\0@example.com"),
        ]
        for document, text in cases:
            self.refused(400, text, "POST", "/contacts", document)
        self.assertEqual(self.account.sent, [])


class ManageTests(ContactsTestCase):
    def test_invite(self) -> None:
        """
        To invite somebody is to ask for a subscription.
        """
        self.account.roster = {BOB: {}}
        self.done("PUT", "/contacts/BOB%40example.com", {"action": "invite"})
        self.assertEqual(self.account.presences, [("subscribe", BOB)])

    def test_accept(self) -> None:
        """
        To accept is to allow one: that one asks no longer.
        """
        self.account.asking, self.account.roster = [BOB], {BOB: {}}
        self.assertEqual(self.listed(), [contact(BOB, ask="in")])
        self.done("PUT", f"/contacts/{BOB}", {"action": "accept"})
        self.assertEqual(self.account.presences, [("subscribed", BOB)])
        self.assertEqual(self.listed(), [contact(BOB)])

    def test_inviteWhoAsks(self) -> None:
        """
        Who is invited may ask still.
        """
        self.account.asking, self.account.roster = [BOB], {BOB: {}}
        self.listed()
        self.done("PUT", f"/contacts/{BOB}", {"action": "invite"})
        self.assertEqual(self.listed(), [contact(BOB, ask="in")])

    def test_acceptStranger(self) -> None:
        """
        Who asks is a contact in that, too, whether or not that was looked at before.
        """
        self.account.asking = [BOB]
        self.done("PUT", f"/contacts/{BOB}", {"action": "accept"})
        self.assertEqual(self.account.presences, [("subscribed", BOB)])

    def test_unknown(self) -> None:
        """
        Others are none.
        """
        for action in ("invite", "accept"):
            self.refused(404, "Given contact does not exist", "PUT", f"/contacts/{BOB}", {"action": action})
        self.assertEqual(self.account.presences, [])

    def test_order(self) -> None:
        """
        Of several things that are wrong the first is said: address, body, action, contact.
        """
        cases: list[tuple[str, Any, str]] = [
            ("/contacts", b"?", "Missing JID"),
            ("/contacts/@invalid", b"?", "Invalid JID: @invalid"),
            (f"/contacts/{BOB}", b"?", "Invalid request body"),
            (f"/contacts/{BOB}", {}, "Missing action"),
            (f"/contacts/{BOB}", {"action": "nosuchaction"}, "Invalid action"),
            (f"/contacts/{BOB}", {"action": ["invite"]}, "Invalid action"),
        ]
        for path, document, text in cases:
            self.refused(400, text, "PUT", path, document)
        self.assertEqual(self.account.sent, [])


class RemoveTests(ContactsTestCase):
    def test_one(self) -> None:
        """
        A contact is removed.
        """
        self.account.roster = {BOB: {}, KATE: {}}
        self.done("DELETE", "/contacts/BOB%40Example.com")
        self.assertEqual(set(self.account.roster), {KATE})

    def test_unknown(self) -> None:
        """
        Who is none can't be.
        """
        text = f"Cannot remove {BOB} contact that does not exist"
        self.refused(404, text, "DELETE", "/contacts/BOB@example.com")
        self.refused(400, "Invalid JID: @invalid", "DELETE", "/contacts/@invalid")

    def test_many(self) -> None:
        """
        Several are removed; the answer names those who were none.
        """
        self.account.roster = {BOB: {}, KATE: {}, "mike@example.com": {}}
        document = {"to_delete": [BOB, "zorro@example.com", KATE, BOB]}
        self.assertEqual(
            self.got("DELETE", "/contacts", document), {"not_deleted": ["zorro@example.com", BOB]}
        )
        self.assertEqual(set(self.account.roster), {"mike@example.com"})
        self.assertEqual(self.got("DELETE", "/contacts", {"to_delete": []}), {"not_deleted": []})

    def test_allOrNothing(self) -> None:
        """
        If one of them is no address nobody is removed.
        """
        self.account.roster = {BOB: {}}
        cases: list[tuple[Any, str]] = [
            ({"to_delete": [BOB, "@invalid"]}, "Invalid JID: @invalid"),
            ({"to_delete": [BOB, 7]}, "Invalid JID: 7"),
            ({"to_delete": [BOB, None]}, "Missing JID"),
            ({"to_delete": BOB}, "Invalid to_delete: not a list of JIDs"),
            ({}, "Missing to_delete"),
            (None, "Invalid request body"),
        ]
        for document, text in cases:
            self.refused(400, text, "DELETE", "/contacts", document)
        self.assertEqual(set(self.account.roster), {BOB})

    def test_whoAsks(self) -> None:
        """
        Who asks is refused, in the roster or not.
        """
        self.account.asking, self.account.roster = [BOB, KATE], {BOB: {}}
        self.assertEqual(self.got("DELETE", "/contacts", {"to_delete": [BOB, KATE]}), {"not_deleted": []})
        self.assertEqual(self.account.presences, [("unsubscribed", BOB), ("unsubscribed", KATE)])
        self.assertEqual(self.listed(), [])
