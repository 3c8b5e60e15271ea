"""
What the tests of C{/api}, MongooseIM's client REST API, have in common.
"""

from __future__ import annotations

import json
from typing import Any

from tests.live.bridge import Bridge
from tests.live.client import Client
from tests.live.receiver import JSON
from tests.live.servers import HOST
from tests.live.users import WithUsers
from tests.live.web import Answer, ask, asUser


def jid(user: str) -> str:
    """
    The bare address of an account.
    """
    return f"{user}@{HOST}"


class Undecided(Client):
    """
    A client that leaves requests for subscriptions to its user; slixmpp would grant them all.
    """

    async def _connect(self, jid: str, password: str, host: str, port: int) -> None:
        await super()._connect(jid, password, host, port)
        for roster in (self._connected.roster, self._connected.client_roster):
            roster.auto_authorize = None  # type: ignore[assignment]  # neither yes nor no
            roster.auto_subscribe = False


class WithClientAPI(WithUsers):
    """
    Users who call C{/api}.
    """

    def api(
        self,
        method: str,
        path: str,
        document: Any = None,
        user: str | None = "alice",
        *,
        headers: dict[str, str] | None = None,
        bridge: Bridge | None = None,
    ) -> Answer:
        """
        Call C{/api} as a user.

        @param path: below C{/api}, as C{/messages?limit=3}.
        @param document: what is sent as JSON, or bytes as they are; L{None} for no body.
        @param user: the name of an account; L{None} to call without credentials.
        @param headers: more of them; they win.
        """
        sent = {"Accept": JSON}
        if user is not None:
            sent["Authorization"] = asUser(user)
        if document is not None:
            sent["Content-Type"] = JSON
        body = document if isinstance(document, bytes) else _written(document)
        port = (bridge or self.bridge).port
        return ask(port, method, f"/api{path}", body, {**sent, **(headers or {})})

    def got(self, method: str, path: str, document: Any = None, user: str = "alice") -> Any:
        """
        What a call that must succeed brings: 200 or 201, and JSON.
        """
        answer = self.api(method, path, document, user)
        self.assertIn(answer.status, (200, 201), answer.text())
        self.assertEqual(JSON, answer.headers.get("content-type"))
        return answer.json()

    def done(self, method: str, path: str, document: Any = None, user: str = "alice") -> None:
        """
        A call that must succeed and brings nothing: 204.
        """
        answer = self.api(method, path, document, user)
        self.assertEqual((204, b""), (answer.status, answer.body), answer.text())
        self.assertNotIn("content-type", answer.headers)

    def assertRefused(self, status: int, text: str | None, answer: Answer) -> None:
        """
        A refusal: its body is one JSON string, or empty where C{text} is L{None}.
        """
        if text is None:
            self.assertEqual((status, b""), (answer.status, answer.body), answer.text())
            self.assertNotIn("content-type", answer.headers)
        else:
            self.assertEqual((status, text), (answer.status, answer.json()), answer.text())
            self.assertEqual(JSON, answer.headers.get("content-type"))

    def refused(
        self,
        status: int,
        text: str | None,
        method: str,
        path: str,
        document: Any = None,
        *,
        user: str = "alice",
    ) -> None:
        """
        A call that must be refused.
        """
        with self.part(f"{status} {text}: {method} {path} {document}"):
            self.assertRefused(status, text, self.api(method, path, document, user))


def _written(document: Any) -> bytes:
    return b"" if document is None else json.dumps(document, ensure_ascii=False).encode()
