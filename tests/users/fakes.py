"""
What the tests of users/ stand on: logins that the test settles, and streams that it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LoginRefused
from restbridge.stanzas.jid import JID

CLOSED = "the session was closed"


class FakeStream:
    """
    A L{restbridge.xmpp.userstream.UserStream} without a server: who closes it waits until the test ends it.

    @ivar busy: whether somebody waits for an answer.
    """

    def __init__(self, address: JID) -> None:
        self.address = address
        self.busy = False
        self._reason: str | None = None
        self._isKept = False
        self._awaitingEnd: list[Callable[[str], object]] = []

    def whyDown(self) -> str | None:
        return self._reason

    def whenEnded(self, call: Callable[[str], object]) -> None:
        self._awaitingEnd.append(call)

    def close(self) -> Deferred[None]:
        if self._isKept:
            self._isKept = False
            self.end()
        if self._reason is not None:
            return succeed(None)
        self._reason = CLOSED
        gone: Deferred[None] = Deferred()
        self.whenEnded(lambda _: gone.callback(None))
        return gone

    def lose(self) -> None:
        """
        The connection is gone, and the server keeps the login.
        """
        self._reason = "the connection broke"
        self._isKept = True

    def resume(self) -> None:
        """
        There is another connection.
        """
        self._reason = None
        self._isKept = False

    def end(self) -> None:
        """
        The login is gone.
        """
        self._reason = self._reason or "the server ended the session: reset"
        calls, self._awaitingEnd = self._awaitingEnd, []
        for call in calls:
            call(self._reason)


@attrs.frozen(eq=False)
class FakeLogin:
    """
    A login under way.

    @ivar broken: what it goes on with, if it can.
    """

    user: JID
    credential: Credential
    broken: FakeStream | None
    outcome: Deferred[Any]


class FakeLogins:
    """
    L{restbridge.xmpp.c2s.Logins} without a server.

    @ivar made: the bare addresses of the users, one for each login.
    @ivar underWay: the logins that are neither settled nor cancelled. Nothing is kept of others.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self.underWay: list[FakeLogin] = []

    def login(self, user: JID, credential: Credential, broken: FakeStream | None = None) -> Deferred[Any]:
        login = FakeLogin(user, credential, broken, Deferred(lambda _: self.underWay.remove(login)))
        self.made.append(user.bare)
        self.underWay.append(login)
        return login.outcome

    def accept(self, which: int = 0) -> FakeStream:
        """
        The server accepts the credential of a login, the oldest unless told.
        """
        login = self.underWay.pop(which)
        stream = FakeStream(JID(login.user.local, login.user.domain, f"restbridge-{len(self.made)}"))
        login.outcome.callback(stream)
        return stream

    def resume(self, which: int = 0) -> FakeStream:
        """
        The server accepts the credential, and goes on with the login that it has kept.
        """
        login = self.underWay.pop(which)
        assert login.broken is not None
        login.broken.resume()
        login.outcome.callback(login.broken)
        return login.broken

    def refuse(self, which: int = 0) -> None:
        """
        The server refuses it.
        """
        self.fail(LoginRefused("not-authorized"), which)

    def fail(self, error: Exception, which: int = 0) -> None:
        """
        Nobody can say.
        """
        self.underWay.pop(which).outcome.errback(error)
