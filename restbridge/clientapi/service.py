"""
The room's parts, put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from restbridge.clientapi.api import ClientAPI
from restbridge.clientapi.discovery import Kinds, RoomServices
from restbridge.clientapi.events import Events
from restbridge.clientapi.muc import Muc
from restbridge.clientapi.muclight import NS_MUCLIGHT, MucLight
from restbridge.clientapi.occupancy import Attendance
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.clientapi.rooms import Rooms
from restbridge.config import UserDomain
from restbridge.stanzas.muc import NS_MUC
from restbridge.store.database import Store
from restbridge.store.rooms import RoomStore
from restbridge.web.guard import Guard
from restbridge.web.idempotency import Once


def clientAPIOf(
    domains: Mapping[str, UserDomain], *, guard: Guard, store: Store, once: Once, reactor: Any
) -> ClientAPI:
    """
    C{/api} for the users of these domains.
    """
    events = Events(clock=reactor)
    kept = RoomStore(store)
    told = RoomEvents(events=events, clock=reactor)
    attendance = Attendance(clock=reactor, audience=told)
    muc = partial(Muc, attendance=attendance, events=told, store=kept, clock=reactor)
    kinds: Kinds = {NS_MUCLIGHT: partial(MucLight, events=told, store=kept), NS_MUC: muc}
    rooms = Rooms(services=RoomServices(domains=domains, kinds=kinds))
    return ClientAPI(guard=guard, events=events, rooms=rooms, once=once)
