"""
The seams between the rooms of the house: Protocols, no logic.

L{Link} is a live stream as HTTP sees it; L{Taker} is anything that a stanza from the stream may be
offered to; L{Occupants} knows who is in which room; L{Users} opens the links of XMPP users by their
L{Credential}s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.words.xish.domish import Element

from restbridge.stanzas.jid import JID


class Link(Protocol):
    """
    A stream to an XMPP server, or the reason why there is none.

    Stanzas are L{Element}s in the namespace C{jabber:client}, with an id and a normalised C{from} and
    C{to}. Without C{to} a stanza is for the account that it comes from (RFC 6120, section 10.3).
    """

    def whyDown(self) -> str | None:
        """
        The reason why nothing can be sent now, in words for an operator; L{None} while the stream is up.
        """

    def send(self, stanza: Element) -> None:
        """
        Write a stanza at once.

        @raise restbridge.stanzas.errors.LinkDown: the stream is down; nothing was written or kept.
        @raise restbridge.stanzas.xml.XMLRefused: the stanza can't be written as XML, or is too large.
        """

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        """
        Write a stanza; fires once the server has taken it: with the error stanza that the server
        answered with, or with L{None}.

        Fails with L{restbridge.stanzas.errors.LinkDown} when the stream was or went down first.
        """

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        """
        Write an IQ of type get or set; fires with the answer (type result or error) of the entity asked.

        Fails with L{restbridge.stanzas.errors.LinkDown} or L{restbridge.stanzas.errors.NoAnswer};
        cancelling forgets the request.

        @param timeout: seconds.
        """

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        """
        Write an archive query (XEP-0313); the messages that it brings, and last the IQ that answers it.

        Fails as C{request} does.
        """


class LastingLink(Link, Protocol):
    """
    A link whose stream is made again when it breaks.
    """

    async def restored(self, timeout: float) -> bool:
        """
        Whether stanzas can be sent again, as soon as they can; C{False} when C{timeout} seconds are over.
        """


class Taker(Protocol):
    """
    Someone to whom a stanza from the stream is offered.
    """

    def take(self, stanza: Element) -> bool:
        """
        Take the stanza, or leave it to the next taker.

        @return: whether it was taken. A taker of an IQ of type get or set answers it, now or later.
        """


class Occupants(Protocol):
    """
    The component's addresses that are in rooms (XEP-0045).
    """

    def occupant(self, sender: JID, to: JID) -> JID:
        """
        The address that a stanza of C{sender} to C{to} goes out from: to a room that it is in, and to those
        in there, the full address that the room knows; as it is elsewhere, and where it is full already.
        """


@attrs.frozen
class Credential:
    """
    What proves to an XMPP server who somebody is. It is used and forgotten: nothing keeps it.

    @ivar isToken: whether it is an OAuth 2.0 access token (RFC 6750), not a password.
    """

    secret: str = attrs.field(repr=False)
    isToken: bool = False


class UserLink(Link, Protocol):
    """
    The link of one XMPP user.

    @ivar address: the full address that its stanzas go out from.
    @ivar available: whether the user's contacts, and other clients, see it (RFC 6121, section 4.2).
    """

    address: JID
    available: bool

    def offerTo(self, takers: Sequence[Taker]) -> None:
        """
        Offer what no one waits for to these, in their order, after those that are there already.
        """

    def whenBroken(self, call: Callable[[str], object]) -> None:
        """
        Call C{call} with the reason each time the connection breaks, or is closed: who waits for anything
        waits in vain. The login may go on, by another one.
        """

    def whenEnded(self, call: Callable[[str], object]) -> None:
        """
        Call C{call} with the reason when the login ends; a broken connection is not its end while the server
        keeps it (XEP-0198).
        """

    def hold(self) -> None:
        """
        Keep the login, though nobody may ask anything of it for long.
        """

    def release(self) -> None:
        """
        Take back one C{hold}.
        """


class Users(Protocol):
    """
    The XMPP users who may use the API.
    """

    def serves(self, domain: str) -> bool:
        """
        Whether the users of a normalised domain may.
        """

    async def open(self, user: JID, credential: Credential, client: str) -> UserLink | None:
        """
        The link of a user, L{None} where the server doesn't accept the credential.

        @param user: a bare address of a domain that is served.
        @param client: the network address that the request comes from.
        @raise restbridge.web.answer.Refusal: nobody can say now, or there were too many attempts.
        """
