"""
A stub of MongooseIM's MUC Light (urn:xmpp:muclight:0), as a component: it does what its documentation says,
and what was recorded of the real one.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, fromstring, tostring
from xml.sax.saxutils import escape, quoteattr

import attrs
from slixmpp import ComponentXMPP

from tests.live.process import LOOPBACK
from tests.live.servers import SECRET

SERVICE = "bridge2.localhost"

LIGHT = "urn:xmpp:muclight:0"
INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

ROOMS_PER_PAGE = 3
MESSAGES_PER_PAGE = 50


class Refused(Exception):
    """
    An error to answer with; its text is the condition.
    """


@attrs.define
class Room:
    """
    @ivar users: C{owner} or C{member}, by bare address.
    @ivar archive: time and XML of what was said and changed.
    """

    config: dict[str, str]
    users: dict[str, str]
    archive: list[tuple[datetime, str]] = attrs.field(factory=list)

    def keep(self, sender: str, used: str, content: str) -> str:
        """
        Archive a message.

        @return: the archive's id.
        """
        message = (
            f"<message xmlns='jabber:client' type='groupchat' from={quoteattr(sender)} id={quoteattr(used)}>"
            f"{content}</message>"
        )
        self.archive.append((datetime.now(UTC), message))
        return str(len(self.archive) - 1)


class _Stack(ComponentXMPP):
    """
    slixmpp, handing over all stanzas.
    """

    def __init__(self, port: int, handle: Any) -> None:
        super().__init__(SERVICE, SECRET, LOOPBACK, port)
        self._handle = handle

    def incoming_filter(self, xml: Element) -> Element:
        """
        Called for everything that comes in.
        """
        self._handle(xml)
        return xml


class MucLightService:
    """
    The service, attached.
    """

    def __init__(self, port: int) -> None:
        self.rooms: dict[str, Room] = {}
        self._sessions: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._attach(port), self._loop).result(10)

    def close(self) -> None:
        """
        Detach, and end the thread.
        """
        asyncio.run_coroutine_threadsafe(self._detach(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _attach(self, port: int) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._stack = _Stack(port, self._took)
        self._stack.add_event_handler("session_start", lambda _: ready.set_result(None), disposable=True)
        self._stack.connect()
        await ready

    async def _detach(self) -> None:
        await self._stack.disconnect(wait=1.0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _took(self, stanza: Element) -> None:
        """
        Answer a stanza.
        """
        kind = stanza.tag.rpartition("}")[2]
        if kind not in ("iq", "message") or stanza.get("type") in ("result", "error"):
            return
        user = stanza.attrib["from"].partition("/")[0]
        self._sessions[user] = stanza.attrib["from"]
        to = stanza.attrib["to"]
        try:
            if kind == "message":
                self._said(user, to, stanza)
            else:
                self._answer(stanza, "result", self._asked(user, to, stanza))
        except Refused as refused:
            error = f"<error type='cancel'><{refused} xmlns='{STANZAS}'/></error>"
            self._answer(stanza, "error", error)

    def _answer(self, stanza: Element, kind: str, content: str) -> None:
        name = stanza.tag.rpartition("}")[2]
        used, sender, to = (quoteattr(stanza.attrib[key]) for key in ("id", "to", "from"))
        self._stack.send_raw(f"<{name} type='{kind}' id={used} from={sender} to={to}>{content}</{name}>")

    def _asked(self, user: str, to: str, iq: Element) -> str:
        """
        The answer to a request.
        """
        payload = iq[0]
        uri = payload.tag[1:].partition("}")[0]
        what = uri.removeprefix(LIGHT)
        if uri == INFO:
            identity = "<identity category='conference' type='text' name='MUC Light'/>"
            return f"<query xmlns='{INFO}'>{identity}<feature var='{LIGHT}'/></query>"
        if uri == ITEMS:
            return self._listed(user, payload)
        if what == "#create":
            return self._made(user, to, iq)
        room = self._room(user, to)
        if uri == MAM:
            return self._archived(room, iq)
        if what == "#info":
            return self._shown(room, uri)
        if what == "#configuration":
            return self._configured(room, user, to, iq)
        if what == "#affiliations" and iq.get("type") == "set":
            return self._changed(room, user, to, iq)
        raise Refused("bad-request")

    def _room(self, user: str, to: str) -> Room:
        """
        A room in which the user is. The same is said of one that isn't there, and of another's.
        """
        room = self.rooms.get(to)
        if room is None or user not in room.users:
            raise Refused("item-not-found")
        return room

    def _listed(self, user: str, payload: Element) -> str:
        after = payload.findtext(f"{{{RSM}}}set/{{{RSM}}}after") or ""
        found = sorted(address for address, room in self.rooms.items() if user in room.users)
        page = [address for address in found if address > after][:ROOMS_PER_PAGE]
        items = "".join(f"<item jid={quoteattr(address)} version='1'/>" for address in page)
        pages = f"<last>{page[-1]}</last>" if page else ""
        return f"<query xmlns='{ITEMS}'>{items}<set xmlns='{RSM}'>{pages}</set></query>"

    def _made(self, user: str, to: str, iq: Element) -> str:
        if to in self.rooms:
            raise Refused("conflict")
        uri = f"{{{LIGHT}#create}}"
        configuration = iq[0].find(f"{uri}configuration")
        config = {"roomname": "Untitled", "subject": ""} | _config(configuration)
        room = self.rooms[to] = Room(config=config, users={user: "owner"})
        self._tellChange(room, to, iq.attrib["id"], {user: "owner"}, [])
        return ""

    def _shown(self, room: Room, uri: str) -> str:
        config = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in room.config.items())
        return (
            f"<query xmlns='{uri}'><version>1</version><configuration>{config}</configuration>"
            f"<occupants>{_users(room.users)}</occupants></query>"
        )

    def _configured(self, room: Room, user: str, to: str, iq: Element) -> str:
        config = _config(iq[0])
        if room.users[user] != "owner" and set(config) != {"subject"}:
            raise Refused("not-allowed")
        room.config |= config
        fields = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in config.items())
        content = f"<x xmlns='{LIGHT}#configuration'><version>2</version>{fields}</x><body/>"
        self._tell(room, to, iq.attrib["id"], content, room.users)
        return ""

    def _changed(self, room: Room, user: str, to: str, iq: Element) -> str:
        wanted = {one.text or "": one.attrib["affiliation"] for one in iq[0]}
        if room.users[user] != "owner" and wanted != {user: "none"}:
            raise Refused("not-allowed")
        if any(room.users.get(one, "none") == affiliation for one, affiliation in wanted.items()):
            raise Refused("bad-request")
        before = list(room.users)
        room.users = {one: which for one, which in (room.users | wanted).items() if which != "none"}
        if room.users and "owner" not in room.users.values():
            heir = min(room.users)
            room.users[heir] = "owner"
            wanted = {heir: "owner", **wanted}
        if not room.users:
            del self.rooms[to]
        self._tellChange(room, to, iq.attrib["id"], wanted, before)
        return ""

    def _tellChange(self, room: Room, to: str, used: str, changes: dict[str, str], before: list[str]) -> None:
        content = f"<x xmlns='{LIGHT}#affiliations'><version>2</version>{_users(changes)}</x><body/>"
        self._tell(room, to, used, content, {*before, *room.users})

    def _tell(self, room: Room, sender: str, used: str, content: str, users: Any) -> None:
        """
        Archive something, and send it to all: to the session of each that was here last, as other servers
        than MongooseIM deliver no such message to an account.
        """
        bare = sender.partition("/")[0]
        kept = room.keep(sender, used, content)
        if sender != bare:
            # What a user says is told with its place in the archive; what the service says is not.
            content += f"<stanza-id xmlns='urn:xmpp:sid:0' by={quoteattr(bare)} id='{kept}'/>"
        for user in users:
            to = self._sessions.get(user, user)
            self._stack.send_raw(
                f"<message type='groupchat' from={quoteattr(sender)} to={quoteattr(to)}"
                f" id={quoteattr(used)}>{content}</message>"
            )

    def _said(self, user: str, to: str, message: Element) -> None:
        room = self._room(user, to)
        content = "".join(tostring(_inClient(child), encoding="unicode") for child in message)
        self._tell(room, f"{to}/{user}", message.attrib["id"], content, room.users)

    def _archived(self, room: Room, iq: Element) -> str:
        """
        The page that a query asks for: from the end, or behind a message.
        """
        query = iq[0]
        fields = {
            one.get("var"): one.findtext("{jabber:x:data}value") for one in query.iter("{jabber:x:data}field")
        }
        most = min(int(query.findtext(f"{{{RSM}}}set/{{{RSM}}}max") or "50"), MESSAGES_PER_PAGE)
        before = query.findtext(f"{{{RSM}}}set/{{{RSM}}}before")
        after = query.findtext(f"{{{RSM}}}set/{{{RSM}}}after")
        found = list(enumerate(room.archive))
        if end := fields.get("end"):
            found = [one for one in found if one[1][0] <= datetime.fromisoformat(end)]
        if start := fields.get("start"):
            found = [one for one in found if one[1][0] >= datetime.fromisoformat(start)]
        if before:
            found = [one for one in found if one[0] < int(before)]
        if after:
            found = [one for one in found if one[0] > int(after)]
        page = found[:most] if before is None else found[len(found) - min(most, len(found)) :]
        for number, (time, message) in page:
            self._stack.send_raw(
                f"<message from={quoteattr(iq.attrib['to'])} to={quoteattr(iq.attrib['from'])}>"
                f"<result xmlns='{MAM}' id='{number}' queryid={quoteattr(query.get('queryid', ''))}>"
                f"<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay'"
                f" stamp='{time:%Y-%m-%dT%H:%M:%S.%fZ}'/>{message}</forwarded></result></message>"
            )
        complete = " complete='true'" if len(page) == len(found) else ""
        edges = f"<first>{page[0][0]}</first><last>{page[-1][0]}</last>" if page else ""
        return f"<fin xmlns='{MAM}'{complete}><set xmlns='{RSM}'>{edges}</set></fin>"


def _config(parent: Element | None) -> dict[str, str]:
    """
    The fields of a configuration; MongooseIM overlooks those that are empty.
    """
    return {
        one.tag.rpartition("}")[2]: one.text for one in (parent if parent is not None else ()) if one.text
    }


def _users(users: dict[str, str]) -> str:
    return "".join(f"<user affiliation='{which}'>{escape(user)}</user>" for user, which in users.items())


def _inClient(element: Element) -> Element:
    """
    A copy of an element of a component's stream, as it is read on a client's.
    """
    xml = tostring(element, encoding="unicode")
    return fromstring(xml.replace("jabber:component:accept", "jabber:client"))
