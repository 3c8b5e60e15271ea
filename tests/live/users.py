"""
What the tests of XMPP users have in common: a bridge that logs in as the server's own accounts.
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.live.bridge import Bridge, usersTable
from tests.live.case import Promises
from tests.live.client import Client, Predicate, body, kind
from tests.live.receiver import JSON
from tests.live.servers import HOST, Server, passwordOf
from tests.live.web import Answer, asUser

PING = "<ping xmlns='urn:xmpp:ping'/>"
WHOLE_SECONDS = r"^[1-9][0-9]*$"

numbers = itertools.count()


def saying(text: str) -> Predicate:
    """
    Messages with this text.
    """
    return lambda stanza: kind(stanza) == "message" and body(stanza) == text


class WithUsers(Promises):
    """
    A bridge that knows the server's users.
    """

    @classmethod
    def users(cls, server: Server) -> dict[str, Any]:
        """
        All of the server's.
        """
        return {HOST: usersTable(server.c2sPort)}

    def usersBridge(self, **sections: Any) -> Bridge:
        """
        A bridge for the users alone, and for this test.
        """
        return self.startBridge(None, **{"users": self.users(self.server), **sections})

    def newUser(self, password: str | None = None) -> str:
        """
        The name of an account that nobody has used before.
        """
        name = f"user{next(numbers)}"
        self.server.addAccount(name, passwordOf(name) if password is None else password)
        return name

    def ping(self, name: str, password: str | None = None, bridge: Bridge | None = None) -> Answer:
        """
        Ask a user's own account, which needs a session and nobody else.
        """
        return (bridge or self.bridge).get("/rest/ping/", auth=asUser(name, password))

    def fullJid(self, name: str, bridge: Bridge | None = None) -> str:
        """
        The address of a user's session, which the bridge opens if need be.
        """
        stanza = '{"to": "bob@localhost", "body": "x"}'
        answer = (bridge or self.bridge).post("/rest/echo", stanza, auth=asUser(name))
        self.assertEqual(200, answer.status, answer.text())
        return str(answer.json()["from"])

    def isOnline(self, watcher: Client, full: str) -> bool:
        """
        Whether the server has a session of this address: only without one it sends back what a room might
        have sent (RFC 6121, section 8.5.3).
        """
        used = f"probe{next(numbers)}"
        watcher.send(f"<message type='groupchat' to='{full}' id='{used}'/>")
        watcher.request(full, PING)
        return not watcher.mailbox.all(lambda one: one.get("id") == used)

    def assertUnavailable(self, answer: Answer) -> None:
        """
        503, with the time after which to try again.
        """
        self.assertEqual(503, answer.status, answer.text())
        self.assertRegex(answer.headers.get("retry-after", ""), WHOLE_SECONDS)
        self.assertEqual((JSON, 503), (answer.type, answer.json()["code"]))
