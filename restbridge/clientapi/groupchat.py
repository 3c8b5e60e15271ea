"""
The seam between the endpoints of rooms and the group chat service behind them.

::

    rooms -> RoomService -> muc      (XEP-0045: Prosody, ejabberd, ...)
                         -> muclight (urn:xmpp:muclight:0: MongooseIM)

Both speak in the same errors, and show messages in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.history import Archived, Item
from restbridge.stanzas.errors import StanzaError, errorOf
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT, firstOf
from restbridge.store.rooms import Change
from restbridge.web.answer import Refusal

log = Logger()

NS_MARKERS = "urn:xmpp:chat-markers:0"

MARKERS = ("received", "displayed", "acknowledged")

TIMEOUT = 30.0
"""Seconds for each answer of a room."""

_ABSENT = ("item-not-found", "gone", "recipient-unavailable")
_FORBIDDEN = ("forbidden", "registration-required", "not-allowed", "not-authorized")

STRANGER = "Given user does not occupy this room"
NO_CONFIG = "Given user does not have permission to change config"
NO_ROOMS = "Given user does not have permission to create rooms"
NO_AFFILIATIONS = "Given user does not have permission to change affiliations"

AT_ONCE = 8
"""Rooms that are looked at at the same time, where it is for all of them."""

MAX_WORDS = 200
"""Characters of what a room says about its error."""

T = TypeVar("T")
U = TypeVar("U")


@attrs.frozen(kw_only=True)
class Details:
    """
    What a room is, to those who are in it.

    @ivar participants: C{owner} or C{member}, by bare address.
    """

    address: JID
    name: str
    subject: str
    participants: dict[str, str]


@attrs.frozen(kw_only=True)
class Window:
    """
    Which part of a room's history is wanted.

    @ivar before: milliseconds since 1970; L{None} for up to now.
    """

    before: int | None
    limit: int

    def holds(self, moment: int) -> bool:
        """
        Whether what is told to have been then may be a part of it.
        """
        return self.before is None or moment < self.before


class RoomService(Protocol):
    """
    A group chat service. Each of its methods acts as the user whose link is given; they raise L{Refusal}s
    with the texts of MongooseIM.

    @ivar domain: of its rooms.
    """

    domain: str

    async def create(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        """
        Make a room whose owner and only member is the user; 403 where there is one of that address.
        """

    async def listed(self, link: UserLink) -> list[Details]:
        """
        The rooms in which the user has a place, with what can be known at little cost.
        """

    async def details(self, link: UserLink, room: JID) -> Details:
        """
        All about a room.
        """

    async def configure(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        """
        Change name and subject.
        """

    async def add(self, link: UserLink, room: JID, user: JID) -> None:
        """
        Give somebody, by a bare address, a place in a room.
        """

    async def remove(self, link: UserLink, room: JID, user: JID) -> None:
        """
        Take somebody's place in a room away; one's own, to leave it.
        """

    async def send(self, link: UserLink, room: JID, message: Element) -> None:
        """
        Say something: a message without addresses, with an id.
        """

    async def history(self, link: UserLink, room: JID, window: Window) -> list[Item]:
        """
        The newest of what was said and changed, in the order of time.
        """

    async def follow(self, link: UserLink) -> None:
        """
        Have what happens in the user's rooms come to this session, and told as events.
        """

    async def heard(self, link: UserLink) -> list[JID]:
        """
        The rooms from which it comes to this session.
        """

    def shown(self, archived: Archived) -> Item | None:
        """
        What is told of a message of a room's archive, if anything.
        """

    async def changes(self, room: JID, since: int, skipped: int, limit: int) -> list[Change]:
        """
        Changes of affiliations that no archive holds, in their order.

        @param since: milliseconds since 1970.
        @param skipped: how many of those are left out.
        """

    async def changesOf(self, user: JID, since: int, limit: int) -> list[tuple[JID, Change]]:
        """
        Those of one user's affiliations, in whatever rooms.
        """


class RoomRefused(Exception):
    """
    A room answered with an error.
    """

    def __init__(self, error: StanzaError) -> None:
        super().__init__(error.condition)
        self.error = error


def inAnswer(error: StanzaError, forbidden: str = STRANGER) -> Refusal:
    """
    What the error of a room means to the caller.

    @param forbidden: what is said where the user must not.
    """
    if error.condition in _ABSENT:
        return notFound()
    if error.condition in _FORBIDDEN:
        return Refusal(403, text=forbidden)
    if error.condition == "jid-malformed":
        # Servers may know fewer characters than the bridge does.
        return Refusal(400, text="Invalid room ID")
    words = error.condition if error.text is None else f"{error.condition} ({error.text[:MAX_WORDS]})"
    return Refusal(503, text=f"The room can't be used: {words}")


def notFound() -> Refusal:
    """
    There is no such room.
    """
    return Refusal(404, text="Room not found")


def exists() -> Refusal:
    """
    There is one already.
    """
    return Refusal(403, text="Room already exists")


async def ask(
    link: UserLink, to: str, kind: str, payload: Element, *, timeout: float = TIMEOUT, used: str | None = None
) -> Element:
    """
    The answer to an IQ.

    @param kind: C{get} or C{set}.
    @param timeout: seconds.
    @param used: its id, where that matters.
    @raise RoomRefused: it is an error.
    """
    iq = Element((NS_CLIENT, "iq"))
    iq["type"], iq["id"], iq["to"] = kind, used or newId(), to
    iq.addChild(payload)
    answer = await link.request(iq, timeout)
    error = errorOf(answer)
    if error is not None:
        raise RoomRefused(error)
    return answer


def only(parent: Element, uri: str, name: str) -> Element:
    """
    The first child of that name; an empty element where there is none.
    """
    return firstOf(parent, uri, name) or Element((uri, name))


def bareAddress(text: str) -> str | None:
    """
    Normalised, without a resource; L{None} where it is no address.
    """
    try:
        return JID.parse(text).bare
    except InvalidJID:
        return None


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """
    What all of these return, done at the same time.
    """
    running = [Deferred.fromCoroutine(work) for work in works]
    # All of them come to an end, also where one fails.
    results = await DeferredList(running, consumeErrors=True)
    for _, result in results:
        if isinstance(result, Failure):
            result.raiseException()
    return [result for _, result in results]


async def severally(each: Iterable[U], work: Callable[[U], Coroutine[Any, Any, T]]) -> list[T]:
    """
    What C{work} returns for each of many, done for a few at a time; all are done, also where one fails.
    """
    todo = enumerate(each)
    results: dict[int, T] = {}

    async def some() -> None:
        problem: Exception | None = None
        for number, one in todo:
            try:
                results[number] = await work(one)
            except CancelledError:
                raise
            except Exception as error:
                problem = problem or error
        if problem is not None:
            raise problem

    await together(some() for _ in range(AT_ONCE))
    return [results[number] for number in sorted(results)]


async def throughout(work: Coroutine[Any, Any, T]) -> T:
    """
    What C{work} returns. It is done to its end, also if nobody waits for it any more: a client that leaves
    must not leave half a room behind.
    """
    outcome: Deferred[T] = Deferred()

    def settle(result: T | Failure) -> None:
        if outcome.called and isinstance(result, Failure):
            # Nobody waits for it any more.
            log.warn("A change of a room was not done: {reason}", reason=result.getErrorMessage())
        else:
            outcome.callback(result)

    Deferred.fromCoroutine(work).addBoth(settle)
    return await outcome


async def visited(
    rooms: Iterable[JID], details: Callable[[JID], Coroutine[Any, Any, Details]]
) -> list[Details]:
    """
    Details of those rooms in which a user has a place.
    """

    async def looked(room: JID) -> Details | None:
        try:
            return await details(room)
        except Refusal as refusal:
            if refusal.status not in (400, 403, 404):
                raise
            return None

    return [found for found in await severally(rooms, looked) if found is not None]


def shownChange(change: Change, room: JID) -> Item:
    """
    What the API shows of a change of an affiliation.
    """
    return {
        "type": "affiliation",
        "id": change.id,
        "from": room.bare,
        "timestamp": change.time,
        "user": change.user,
        "affiliation": change.affiliation,
    }


def shownContent(message: Element) -> Item:
    """
    What the API shows of what a message says: body, marker, or that it asks for markers.
    """
    shown: Item = {}
    body = firstOf(message, NS_CLIENT, "body")
    if body is not None:
        shown["body"] = str(body)
    for child in message.elements():
        if child.uri == NS_MARKERS and child.name in MARKERS and child.hasAttribute("id"):
            shown["chat_marker"] = {"type": child.name, "id": child["id"]}
        elif child.uri == NS_MARKERS and child.name == "markable":
            shown["markable"] = True
    if "chat_marker" in shown:
        shown.pop("markable", None)
    return shown
