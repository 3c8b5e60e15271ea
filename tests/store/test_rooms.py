"""
L{restbridge.store.rooms}: what is kept of rooms.
"""

from __future__ import annotations

from restbridge.stanzas.jid import JID
from restbridge.store.rooms import Change, RoomStore
from tests.store.case import StoreTestCase

ALICE, BOB, KATE = (JID.parse(f"{name}@localhost") for name in ("alice", "bob", "kate"))
ROOM, OTHER = (JID.parse(f"{name}@rooms.localhost") for name in ("room", "other"))


def change(user: JID, affiliation: str, time: int = 1000) -> Change:
    return Change(time=time, user=user.bare, affiliation=affiliation, id=f"id{time}", after=f"after{time}")


class RoomStoreTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rooms = RoomStore(self.started())

    async def test_places(self) -> None:
        """
        Who made a room, who was added, and nobody who was removed, has a place in it.
        """
        await self.rooms.begin(ROOM, ALICE)
        await self.rooms.begin(OTHER, ALICE)
        for user, affiliation in ((BOB, "member"), (KATE, "member"), (BOB, "none"), (KATE, "owner")):
            await self.rooms.record(ROOM, change(user, affiliation))
        self.assertEqual({ROOM, OTHER}, set(await self.rooms.of(ALICE)))
        self.assertEqual([], await self.rooms.of(BOB))
        self.assertEqual([ROOM], await self.rooms.of(KATE))
        await self.rooms.leave(ROOM, KATE)
        await self.rooms.join(OTHER, KATE)
        await self.rooms.join(OTHER, KATE)
        self.assertEqual([OTHER], await self.rooms.of(KATE))

    async def test_changes(self) -> None:
        """
        Changes come in their order, the newest of them, as they were.
        """
        changes = [change(BOB, "member", time) for time in (1000, 3000, 2000, 5000)]
        for each in changes:
            await self.rooms.record(ROOM, each)
        await self.rooms.record(OTHER, change(KATE, "member", 4000))
        self.assertEqual(changes, await self.rooms.changes(ROOM, None, 500))
        self.assertEqual(changes[2:], await self.rooms.changes(ROOM, None, 2))
        self.assertEqual([], await self.rooms.changes(ROOM, None, 0))
        self.assertEqual([changes[0], changes[2]], await self.rooms.changes(ROOM, 2000, 500))
        self.assertEqual(changes, await self.rooms.changes(ROOM, 10**1000, 500))
        self.assertEqual([], await self.rooms.changes(ROOM, -(10**1000), 500))

    async def test_since(self) -> None:
        """
        Changes from a time on come in their order, some at a time: of a room, or of one user.
        """
        changes = [change(user, "member", time) for time, user in ((1000, BOB), (3000, KATE), (2000, BOB))]
        for each in changes:
            await self.rooms.record(ROOM, each)
        other = change(KATE, "none", 4000)
        await self.rooms.record(OTHER, other)
        self.assertEqual(changes[1:], await self.rooms.since(ROOM, 1001, 0, 500))
        self.assertEqual(changes[1:2], await self.rooms.since(ROOM, 1001, 0, 1))
        self.assertEqual(changes[2:], await self.rooms.since(ROOM, 1000, 2, 500))
        self.assertEqual([(ROOM, changes[1]), (OTHER, other)], await self.rooms.sinceOf(KATE, 3000, 500))
        self.assertEqual([(ROOM, changes[1])], await self.rooms.sinceOf(KATE, -5, 1))

    async def test_departed(self) -> None:
        """
        Who left without the server's knowledge is kept in mind until told, removed or added again.
        """
        for user in (ALICE, BOB, KATE):
            await self.rooms.record(ROOM, change(user, "member"))
            await self.rooms.record(ROOM, change(user, "none"), departed=True)
        self.assertEqual({ALICE.bare, BOB.bare, KATE.bare}, await self.rooms.departed(ROOM))
        self.assertEqual([], await self.rooms.of(BOB))
        await self.rooms.record(ROOM, change(ALICE, "none"))
        await self.rooms.record(ROOM, change(BOB, "member"))
        await self.rooms.leave(ROOM, KATE)
        self.assertEqual(set(), await self.rooms.departed(ROOM))
        self.assertEqual([ROOM], await self.rooms.of(BOB))

    async def test_ended(self) -> None:
        """
        Of a room that is no more, or that is another one of its name, nothing is known.
        """
        for end in (self.rooms.end(ROOM), self.rooms.begin(ROOM, KATE)):
            await self.rooms.record(OTHER, change(BOB, "member"))
            await self.rooms.record(ROOM, change(BOB, "member"))
            await self.rooms.record(ROOM, change(ALICE, "none"), departed=True)
            self.assertTrue(await self.rooms.used(ROOM))
            await end
            self.assertEqual(
                ([], set()), (await self.rooms.changes(ROOM, None, 9), await self.rooms.departed(ROOM))
            )
            self.assertEqual([OTHER], await self.rooms.of(BOB))
        self.assertEqual([ROOM], await self.rooms.of(KATE))
        await self.rooms.leave(ROOM, KATE)
        self.assertFalse(await self.rooms.used(ROOM))
