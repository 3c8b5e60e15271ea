"""
C{/api/contacts} in front of real servers: each case of MongooseIM's own suite, and what its users rely on.
"""

from __future__ import annotations

from typing import Any, ClassVar
from xml.etree.ElementTree import Element

from tests.live.case import LiveCase
from tests.live.client import Client, Predicate, kind
from tests.live.client_api import Undecided, WithClientAPI, jid
from tests.live.ejabberd import Ejabberd
from tests.live.eventsource import EventSource
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.servers import passwordOf
from tests.live.users import PING, saying
from tests.live.web import asUser

ROSTER = "jabber:iq:roster"
CLIENT = "{jabber:client}"

INVITE = {"action": "invite"}
ACCEPT = {"action": "accept"}


def contact(user: str, subscription: str = "none", ask: str = "none") -> dict[str, str]:
    """
    A contact as the API shows it.
    """
    return {"jid": jid(user), "subscription": subscription, "ask": ask}


def pushOf(user: str, **attributes: str) -> Predicate:
    """
    A roster push about a contact with these attributes.
    """

    def fits(stanza: Element) -> bool:
        item = stanza.find(f"{{{ROSTER}}}query/{{{ROSTER}}}item")
        if item is None or (kind(stanza), stanza.get("type"), item.get("jid")) != ("iq", "set", jid(user)):
            return False
        return all(item.get(name) == value for name, value in attributes.items())

    return fits


def presenceOf(user: str, presenceType: str | None = None) -> Predicate:
    """
    A presence from a user, bare or full.
    """

    def fits(stanza: Element) -> bool:
        sender = stanza.get("from", "").partition("/")[0]
        return (kind(stanza), sender, stanza.get("type")) == ("presence", jid(user), presenceType)

    return fits


class WithContacts(WithClientAPI):
    """
    Users who have contacts.
    """

    def person(self, name: str, resource: str = "phone") -> Client:
        """
        A user's own client, which decides nothing by itself, and wants to know of changes in the roster.
        """
        client = Undecided()
        self.addCleanup(client.close)
        client.connect(f"{jid(name)}/{resource}", passwordOf(name), self.server.c2sPort)
        client.request(jid(name), f"<query xmlns='{ROSTER}'/>")
        return client

    def add(self, user: str, *others: str) -> None:
        """
        Add contacts over HTTP.
        """
        for other in others:
            self.done("POST", "/contacts", {"jid": jid(other)}, user)

    def manage(self, user: str, other: str, document: dict[str, str]) -> None:
        """
        Invite or accept somebody over HTTP.
        """
        self.done("PUT", f"/contacts/{jid(other)}", document, user)

    def contacts(self, user: str) -> list[dict[str, str]]:
        """
        A user's contacts.
        """
        found: list[dict[str, str]] = self.got("GET", "/contacts", user=user)
        return found

    def assertContacts(self, user: str, *expected: dict[str, str]) -> None:
        """
        These are a user's contacts, as soon as the server has come to it.
        """
        found: list[Any] = []

        def same() -> bool:
            found[:] = self.contacts(user)
            return found == sorted(expected, key=lambda each: each["jid"])

        try:
            eventually(same, "the contacts", 5)
        except AssertionError:
            self.assertEqual(list(expected), found)


class Roster(WithContacts):
    """
    MongooseIM's group C{roster}.
    """

    def testAddAndInvite(self) -> None:
        """
        add_contact_and_invite: every change is pushed to the user's own clients, and in the list at once.
        """
        alice, bob = self.newUser(), self.newUser()
        hers, his = self.person(alice), self.person(bob)
        self.assertEqual([], self.contacts(bob))
        self.add(bob, alice)
        his.expect(pushOf(alice, subscription="none"))
        self.assertEqual([contact(alice)], self.contacts(bob))
        self.manage(bob, alice, INVITE)
        his.expect(pushOf(alice, subscription="none", ask="subscribe"))
        hers.expect(presenceOf(bob, "subscribe"))
        self.assertEqual([contact(alice, ask="out")], self.contacts(bob))
        hers.request(jid(alice), f"<query xmlns='{ROSTER}'><item jid='{jid(bob)}'/></query>", "set")
        hers.send(f"<presence type='subscribed' to='{jid(bob)}'/>")
        his.expect(pushOf(alice, subscription="to"))
        self.assertEqual([contact(alice, "to")], self.contacts(bob))

    def testAddAndBeInvited(self) -> None:
        """
        add_contact_and_be_invited: a request is there as C{in}, until it is accepted.
        """
        alice, bob = self.newUser(), self.newUser()
        hers, his = self.person(alice), self.person(bob)
        self.assertEqual([], self.contacts(bob))
        self.add(bob, alice)
        self.assertEqual([contact(alice)], self.contacts(bob))
        hers.request(jid(alice), f"<query xmlns='{ROSTER}'><item jid='{jid(bob)}'/></query>", "set")
        hers.send(f"<presence type='subscribe' to='{jid(bob)}'/>")
        his.expect(presenceOf(alice, "subscribe"))
        self.assertEqual([contact(alice, ask="in")], self.contacts(bob))
        self.manage(bob, alice, ACCEPT)
        his.expect(pushOf(alice, subscription="from"))
        hers.expect(pushOf(bob, subscription="to"))
        hers.expect(presenceOf(bob))
        self.assertEqual([contact(alice, "from")], self.contacts(bob))

    def testAddAndRemove(self) -> None:
        """
        add_and_remove.
        """
        alice, bob = self.newUser(), self.newUser()
        his = self.person(bob)
        self.add(bob, alice)
        self.assertEqual([contact(alice)], self.contacts(bob))
        self.done("DELETE", f"/contacts/{jid(alice)}", user=bob)
        self.assertEqual([], self.contacts(bob))
        his.expect(pushOf(alice, subscription="remove"))

    def testRemoveSome(self) -> None:
        """
        add_and_remove_some_contacts_properly, add_and_remove_some_contacts_with_nonexisting.
        """
        alice, bob, kate, mike = (self.newUser() for _ in range(4))
        his = self.person(bob)
        self.add(bob, alice, kate, mike)
        some = {"to_delete": [jid(alice), jid(kate)]}
        self.assertEqual({"not_deleted": []}, self.got("DELETE", "/contacts", some, bob))
        self.assertEqual([contact(mike)], self.contacts(bob))
        his.expect(pushOf(alice, subscription="remove"))
        self.add(bob, alice)
        some = {"to_delete": [jid(alice), jid(kate), jid(mike)]}
        self.assertEqual({"not_deleted": [jid(kate)]}, self.got("DELETE", "/contacts", some, bob))
        self.assertEqual([], self.contacts(bob))

    def testErrors(self) -> None:
        """
        roster_errors; but that neither server says whether it has an account (see docs/compatibility.md).
        """
        alice, zorro = jid("alice"), "zorro@localhost"
        gone = f"Cannot remove {zorro} contact that does not exist"
        cases: list[tuple[int, str, str, str, Any]] = [
            (400, "Missing JID", "POST", "/contacts", {}),
            (400, "Invalid JID: @invalid", "POST", "/contacts", {"jid": "@invalid"}),
            (400, "Invalid action", "PUT", f"/contacts/{alice}", {"action": "nosuchaction"}),
            (400, "Missing action", "PUT", f"/contacts/{alice}", {}),
            (404, "Given contact does not exist", "PUT", f"/contacts/{zorro}", INVITE),
            (404, "JID provided but not supported", "GET", f"/contacts/{zorro}", None),
            (404, gone, "DELETE", f"/contacts/{zorro}", None),
        ]
        for status, text, method, path, document in cases:
            self.refused(status, text, method, path, document, user="bob")


class Adding(WithContacts):
    """
    What else holds of contacts that are added and removed.
    """

    def testUnknown(self) -> None:
        """
        A user of a domain that can't be reached does not exist; of their own no server tells.
        """
        name = self.newUser()
        text = "The user x@elsewhere.invalid does not exist"
        self.refused(404, text, "POST", "/contacts", {"jid": "x@elsewhere.invalid"}, user=name)
        self.done("POST", "/contacts", {"jid": "zorro@localhost"}, name)
        self.assertContacts(name, contact("zorro"))

    def testOneself(self) -> None:
        """
        Adding oneself is taken, and means nothing.
        """
        name = self.newUser()
        self.done("POST", "/contacts", {"jid": jid(name)}, name)
        self.assertEqual([], self.contacts(name))

    def testForms(self) -> None:
        """
        A contact is the same by every form of the address; adding it again changes nothing.
        """
        name, other = self.newUser(), self.newUser()
        for given in (jid(other), jid(other).upper(), f"{jid(other)}/phone"):
            self.done("POST", "/contacts", {"jid": given}, name)
        self.assertEqual([contact(other)], self.contacts(name))
        self.done("PUT", f"/contacts/{other.upper()}%40localhost/", INVITE, name)
        self.assertEqual([contact(other, ask="out")], self.contacts(name))
        self.done("DELETE", f"/contacts/{other}%40LOCALHOST", user=name)
        self.assertEqual([], self.contacts(name))

    def testAllOrNothing(self) -> None:
        """
        Where one of many can't be an address nobody is removed.
        """
        name, other = self.newUser(), self.newUser()
        self.add(name, other)
        document = {"to_delete": [jid(other), "@invalid"]}
        self.refused(400, "Invalid JID: @invalid", "DELETE", "/contacts", document, user=name)
        self.assertEqual([contact(other)], self.contacts(name))


class Subscriptions(WithContacts):
    """
    Requests for subscriptions, without any client but HTTP's.
    """

    def testBothWays(self) -> None:
        """
        Two users invite and accept one another, and each step is seen from both sides.
        """
        alice, bob = self.newUser(), self.newUser()
        self.add(alice, bob)
        self.manage(alice, bob, INVITE)
        self.assertContacts(alice, contact(bob, ask="out"))
        self.assertContacts(bob, contact(alice, ask="in"))
        self.add(bob, alice)
        self.assertContacts(bob, contact(alice, ask="in"))
        self.manage(bob, alice, INVITE)
        self.assertContacts(bob, contact(alice, ask="both"))
        self.assertContacts(alice, contact(bob, ask="both"))
        self.manage(bob, alice, ACCEPT)
        self.assertContacts(bob, contact(alice, "from", "out"))
        self.assertContacts(alice, contact(bob, "to", "in"))
        self.manage(alice, bob, ACCEPT)
        self.assertContacts(alice, contact(bob, "both"))
        self.assertContacts(bob, contact(alice, "both"))

    def testBeforeLogin(self) -> None:
        """
        A request that came before the login is there, and one that comes during it.
        """
        alice, bob, kate = (self.newUser() for _ in range(3))
        self._ask(self.person(bob), alice)
        self.assertContacts(alice, contact(bob, ask="in"))
        self._ask(self.person(kate), alice)
        self.assertContacts(alice, contact(bob, ask="in"), contact(kate, ask="in"))

    def testAcceptStranger(self) -> None:
        """
        Who asks need not be in the roster to be accepted, even if nobody has looked.
        """
        alice, bob = self.newUser(), self.newUser()
        his = self.person(bob)
        self._ask(his, alice)
        self.manage(alice, bob, ACCEPT)
        his.expect(presenceOf(alice, "subscribed"))
        self.assertContacts(alice, contact(bob, "from"))

    def testRefuse(self) -> None:
        """
        To remove who asks is to refuse.
        """
        alice, bob, kate = (self.newUser() for _ in range(3))
        his, hers = self.person(bob), self.person(kate)
        self.add(alice, kate)
        self._ask(his, alice)
        self._ask(hers, alice)
        document = {"to_delete": [jid(bob), jid(kate), jid("zorro")]}
        self.assertEqual({"not_deleted": [jid("zorro")]}, self.got("DELETE", "/contacts", document, alice))
        for client in (his, hers):
            client.expect(presenceOf(alice, "unsubscribed"))
        self.assertContacts(alice)

    def testAcceptedElsewhere(self) -> None:
        """
        What another client of the user accepts is no request any more.
        """
        alice, bob = self.newUser(), self.newUser()
        self._ask(self.person(bob), alice)
        self.assertContacts(alice, contact(bob, ask="in"))
        phone = self.person(alice)
        phone.send(f"<presence type='subscribed' to='{jid(bob)}'/>")
        self.assertContacts(alice, contact(bob, "from"))

    def testUnreadRequestsStay(self) -> None:
        """
        The user's own client is told who asks as ever.
        """
        alice, bob = self.newUser(), self.newUser()
        self._ask(self.person(bob), alice)
        self.assertContacts(alice, contact(bob, ask="in"))
        self.person(alice).expect(presenceOf(bob, "subscribe"))

    def _ask(self, client: Client, user: str) -> None:
        """
        Ask for a subscription over XMPP, and wait until the server has it.
        """
        client.send(f"<presence type='subscribe' to='{jid(user)}'/>")
        client.request("localhost", PING)


class Discretion(WithContacts):
    """
    What becomes of messages to a user whose contacts were looked at.

    @cvar appearances: presences that contacts see of the login: ejabberd tells nobody below a priority of 0
        who asks.
    """

    appearances: ClassVar[list[str]]

    def testOffline(self) -> None:
        """
        What is sent to a user without a client waits for one, as without the bridge.
        """
        alice = self.newUser()
        bob = self.login("bob")
        self._write(bob, jid(alice), f"before {alice}")
        self.assertContacts(alice)
        self._write(bob, jid(alice), f"after {alice}")
        self.assertContacts(alice)
        self.assertEqual([], bob.mailbox.all(lambda one: one.get("type") == "error"))
        client = self.login(alice)
        for text in (f"before {alice}", f"after {alice}"):
            client.expect(saying(text))

    def testOtherClients(self) -> None:
        """
        What is sent to a user's bare address reaches the user's own client.
        """
        alice = self.newUser()
        client, bob = self.login(alice), self.login("bob")
        self.assertContacts(alice)
        for messageType in ("chat", "normal", "headline"):
            bob.message(jid(alice), messageType, messageType)
            client.expect(saying(messageType))

    def testPresence(self) -> None:
        """
        Subscribers see the login, once, with a priority below 0; it needs none of their answers.
        """
        alice, bob = self.newUser(), self.newUser()
        seen = self.person(bob)
        self.add(alice, bob)
        seen.send(f"<presence type='subscribe' to='{jid(alice)}'/>")
        seen.request("localhost", PING)
        self.manage(alice, bob, ACCEPT)
        self.server.endSession(alice)
        seen.request("localhost", PING)
        seen.mailbox.clear()
        eventually(lambda: self.api("GET", "/contacts", user=alice).status == 200, "a new login")
        for _ in range(3):
            self.contacts(alice)
        seen.request("localhost", PING)
        shown = seen.mailbox.all(presenceOf(alice))
        self.assertEqual(self.appearances, [each.findtext(f"{CLIENT}priority", "0") for each in shown])

    def testEventStream(self) -> None:
        """
        With an event stream the login is available anyhow: contacts that are looked at before or after take
        no event away, and who asks is known all the same.
        """
        for streamFirst in (True, False):
            alice, bob = self.newUser(), self.newUser()
            client = self.person(bob)
            client.send(f"<presence type='subscribe' to='{jid(alice)}'/>")
            client.request("localhost", PING)
            if not streamFirst:
                self.assertContacts(alice, contact(bob, ask="in"))
            source = EventSource(self.bridge.port, asUser(alice))
            self.addCleanup(source.close)
            with self.part(f"stream {'before' if streamFirst else 'after'} contacts"):
                self.assertContacts(alice, contact(bob, ask="in"))
                client.message(jid(alice), "an event")
                source.expect("an event")
                source.close()
                self.assertContacts(alice, contact(bob, ask="in"))

    def _write(self, client: Client, to: str, text: str) -> None:
        client.message(to, text)
        client.request("localhost", PING)


class OnProsody(Roster, Adding, Subscriptions, Discretion, LiveCase):
    """
    Contacts on Prosody.
    """

    makeServer = Prosody
    appearances: ClassVar[list[str]] = ["-1"]


class OnEjabberd(Roster, Adding, Subscriptions, Discretion, LiveCase):
    """
    Contacts on ejabberd.
    """

    makeServer = Ejabberd
    appearances: ClassVar[list[str]] = ["0", "-1"]
