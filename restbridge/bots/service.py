"""
All accounts in all their rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element

from restbridge.bots.place import Place, Wire
from restbridge.config import Account
from restbridge.stanzas.jid import JID

RESOURCE = "restbridge"
"""
Of the full addresses by which rooms know the accounts: the same at each start, so that a room that hasn't
heard of the end of the last one doesn't take the account for somebody else, who has its nickname.
"""


class BreakingWire(Wire, Protocol):
    """
    The component's stream, and word of its breaks.
    """

    def whenBroken(self, call: Callable[[str], object]) -> None:
        """
        Call C{call} with the reason each time the stream breaks.
        """


class Bots(Service):
    """
    Has the accounts in their rooms, from the start to the end; a L{restbridge.boundaries.Taker} of what comes
    from there, and L{restbridge.boundaries.Occupants}.
    """

    log = Logger()

    def __init__(
        self, *, domain: str, accounts: Iterable[Account], wire: BreakingWire, clock: IReactorTime
    ) -> None:
        self._domain = domain
        self._wire = wire
        self._clock = clock
        self._places: dict[tuple[str, str], Place] = {}
        self._keeping: dict[Place, Deferred[None]] = {}
        self.change(accounts)
        wire.whenBroken(self._broken)

    def startService(self) -> None:
        super().startService()
        self._enter()

    def stopService(self) -> None:
        super().stopService()
        keeping, self._keeping = self._keeping, {}
        for each in keeping.values():
            each.cancel()
        for place in self._places.values():
            place.leave()

    def change(self, accounts: Iterable[Account]) -> None:
        """
        From now on these are the accounts: who is not to be in a room any more leaves it.
        """
        before = self._places
        self._places = {key: self._known(before.get(key), place) for key, place in self._wanted(accounts)}
        self._present = {place.account.full: place.account.bare for place in self._places.values()}
        if self.running:
            for key, place in before.items():
                if self._places.get(key) is not place:
                    self._keeping.pop(place).cancel()
                # Who enters again by another nickname changes it (XEP-0045, section 7.6).
                if key not in self._places:
                    place.leave()
            self._enter()

    def _wanted(self, accounts: Iterable[Account]) -> Iterator[tuple[tuple[str, str], Place]]:
        for account in accounts:
            address = JID(account.name, self._domain, RESOURCE)
            for room in account.rooms:
                place = Place(
                    account=address,
                    room=room,
                    nickname=account.nickname or account.name,
                    wire=self._wire,
                    clock=self._clock,
                )
                yield (address.bare, room.bare), place

    def _known(self, known: Place | None, place: Place) -> Place:
        if known is None:
            return place
        if known.wanted == place.wanted:
            return known
        place.follow(known)
        return place

    def _enter(self) -> None:
        for place in self._places.values():
            if place not in self._keeping:
                keeping = Deferred.fromCoroutine(place.keep())
                self._keeping[place] = keeping.addErrback(self._ended, place)

    def take(self, stanza: Element) -> bool:
        """
        See L{Place.take}.
        """
        account = self._present.get(stanza["to"])
        if account is None:
            return False
        place = self._places.get((account, JID.parse(stanza["from"]).bare))
        return place is not None and place.take(stanza)

    def occupant(self, sender: JID, to: JID) -> JID:
        """
        The full address that a room knows C{sender} by, where C{to} is that room, or in it.
        """
        if sender.resource is not None:
            return sender
        place = self._places.get((sender.bare, to.bare))
        return sender if place is None else place.account

    def _broken(self, reason: str) -> None:
        for place in self._places.values():
            place.broken(reason)

    def _ended(self, failure: Failure, place: Place) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("{account} stays out of {room}", failure, account=place.account, room=place.room)
