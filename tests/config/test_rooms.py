"""
The rooms of accounts.
"""

from __future__ import annotations

from restbridge.stanzas.jid import JID
from tests.config.written import COMPONENT, TOKEN, Written

ACCOUNT = f'{COMPONENT}[accounts.bot]\ntokens = ["{TOKEN}"]\n'


class RoomTests(Written):
    def test_read(self) -> None:
        """
        Addresses and the nickname are normalised; there need be none.
        """
        account = self.read(
            ACCOUNT + 'rooms = ["Team@Conference.example.com"]\nnickname = "The Bot"'
        ).accounts["bot"]
        self.assertEqual((JID.parse("team@conference.example.com"),), account.rooms)
        self.assertEqual("The Bot", account.nickname)
        account = self.read(ACCOUNT).accounts["bot"]
        self.assertEqual(((), ""), (account.rooms, account.nickname))

    def test_rooms(self) -> None:
        """
        A room is a bare address with a local part, of some other domain, and is listed once.
        """
        where = "accounts.bot.rooms"
        for written, start in (
            ('"team@conference.example.com"', f"{where}: must be an array"),
            ('["conference.example.com"]', f"{where}[0]: must be the address of a room, such as"),
            ('["team@conference.example.com/bot"]', f"{where}[0]: must be the address of a room, such as"),
            ('["@"]', f'{where}[0]: must be the address of a room, not "@": its '),
            ('["a@c.example.com", 1]', f"{where}[1]: must be a string that isn't empty, not 1"),
            ('["a@c.example.com", "b@c.example.com", "A@c.example.com"]', f"{where}[2]: is listed already"),
            ('["team@rest.example.com"]', f"{where}[0]: is an address of the component itself"),
        ):
            self.assertRefused(f"{ACCOUNT}rooms = {written}", start)

    def test_nickname(self) -> None:
        """
        A nickname is something that can be seen.
        """
        where = "accounts.bot.nickname"
        for written, start in (
            ('""', f"{where}: must be a string that isn't empty"),
            ('"  "', f"{where}: must be a nickname that can be seen"),
            ('"a\\u0000"', f"{where}: must be a nickname, not "),
        ):
            self.assertRefused(f"{ACCOUNT}nickname = {written}", start)
