"""
The logins that the bridge holds: one for each user, shared by all of the user's requests, opened with
the first of them and let go some time after the last.

::

    open -> known secret, checked lately              -> the session's link
         -> the same login is under way already       -> wait for it
         -> attempts -> login -> right: new session, or what the old one knows is renewed; one whose
                                 connection broke goes on, where the server has kept it
                              -> wrong: None, later; the secret is known no more
                              -> nobody can say: 503

No password or token is kept, only keyed hashes of those that the server has accepted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from hmac import compare_digest
from secrets import token_bytes
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from restbridge.boundaries import Credential
from restbridge.config import UserDomain
from restbridge.stanzas.errors import LinkDown, LoginRefused
from restbridge.stanzas.jid import JID
from restbridge.web.answer import Refusal, unavailable
from restbridge.web.attempts import Attempt, Attempts, TooManyAttempts
from restbridge.xmpp.c2s import Logins
from restbridge.xmpp.traffic import Traffic
from restbridge.xmpp.userstream import UserStream

LOGIN_TIMEOUT = 4.0
"""Seconds until a login is given up, turns and look-ups included; whoever waits has an answer within five."""

RECHECK = 15 * 60.0
"""Seconds that a secret is believed before the server is asked again."""

MAX_SECRETS = 8
"""Secrets that are known of one user: a password, and the tokens of several apps."""

MAX_REMEMBERED = 10_000
"""Secrets that the server has accepted at some time, and that no limit of attempts holds up."""


@attrs.frozen(kw_only=True)
class Served:
    """
    A domain whose users may use the API.
    """

    settings: UserDomain
    logins: Logins


@attrs.frozen
class _Secret:
    """
    What is known of a credential that the server has accepted.
    """

    mark: bytes = attrs.field(repr=False)
    isToken: bool
    checked: float


class _Session:
    """
    One user's login.
    """

    def __init__(self, link: UserStream, idle: float, clock: IReactorTime) -> None:
        self.link = link
        self._idle = idle
        self._clock = clock
        self._secrets: list[_Secret] = []
        self._used = clock.seconds()
        self._timer: IDelayedCall = clock.callLater(idle, self._expire)
        link.whenEnded(lambda _: self._timer.cancel() if self._timer.active() else None)

    def knows(self, mark: bytes) -> bool:
        """
        Whether the server has accepted this secret lately; that is a use of the session, then.
        """
        now = self._clock.seconds()
        known = any(
            compare_digest(secret.mark, mark) and now - secret.checked < RECHECK for secret in self._secrets
        )
        if known:
            self._used = now
        return known

    def learn(self, mark: bytes, *, isToken: bool) -> None:
        """
        The server has accepted a secret just now. An account has one password: another is known no more.
        """
        self._used = now = self._clock.seconds()
        kept = [known for known in self._secrets if known.mark != mark and (known.isToken or isToken)]
        self._secrets = [*kept, _Secret(mark, isToken, now)][-MAX_SECRETS:]

    def forget(self, mark: bytes) -> None:
        """
        The server refuses a secret that it may have accepted before; without any the session ends.
        """
        self._secrets = [known for known in self._secrets if known.mark != mark]
        if not self._secrets:
            self.link.close()

    def _expire(self) -> None:
        if self.link.busy:
            self._used = self._clock.seconds()
        left = self._used + self._idle - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._expire)
        else:
            self.link.close()


class Sessions(Service):
    """
    Opens, shares and closes the sessions of all domains that are served.
    """

    log = Logger()

    def __init__(self, *, served: Mapping[str, Served], attempts: Attempts, clock: IReactorTime) -> None:
        """
        @param served: by domain.
        """
        self._served = served
        self._attempts = attempts
        self._clock = clock
        self._key = token_bytes(32)
        self._sessions: dict[str, _Session] = {}
        self._opening: dict[bytes, list[Deferred[UserStream | None]]] = {}
        self._places = dict.fromkeys(served, 0)
        self._remembered: OrderedDict[bytes, None] = OrderedDict()

    @property
    def links(self) -> Sequence[UserStream]:
        """
        Of those who are logged in.
        """
        return [session.link for session in self._sessions.values()]

    @property
    def traffic(self) -> Mapping[str, Traffic]:
        """
        What went over all users' streams, by their domains.
        """
        return {domain: served.logins.traffic for domain, served in self._served.items()}

    def serves(self, domain: str) -> bool:
        """
        Whether the users of a domain may use the API.
        """
        return domain in self._served

    async def open(self, user: JID, credential: Credential, client: str) -> UserStream | None:
        """
        See L{restbridge.boundaries.Users}.
        """
        if not self.running:
            raise unavailable("restbridge is stopping")
        mark = self._mark(user, credential)
        session = self._sessions.get(user.bare)
        if session is not None and session.link.whyDown() is None and session.knows(mark):
            return session.link
        # Others may wait for it: it goes on when the request that it began with has left.
        waiter: Deferred[UserStream | None] = Deferred()
        waiters = self._opening.setdefault(mark, [])
        waiters.append(waiter)
        if len(waiters) == 1:
            login = Deferred.fromCoroutine(self._tried(user, credential, mark, client))
            login.addBoth(self._settle, mark)
        return await waiter

    def stopService(self) -> Deferred[Any]:
        """
        Close all of them in order.
        """
        super().stopService()
        return DeferredList([session.link.close() for session in list(self._sessions.values())])

    def _mark(self, user: JID, credential: Credential) -> bytes:
        kind = "token" if credential.isToken else "password"
        secret = f"{user.bare}\0{kind}\0{credential.secret}"
        return blake2b(secret.encode("utf-8", "surrogatepass"), key=self._key).digest()

    async def _tried(self, user: JID, credential: Credential, mark: bytes, client: str) -> UserStream | None:
        """
        Ask the server, as often as that is allowed.
        """
        attempts: list[Attempt] = []

        async def asked() -> UserStream:
            if mark not in self._remembered:
                attempts.append(await self._attempts.begin(client, user.bare))
            return await self._login(user, credential, mark)

        def late(_: object, seconds: float) -> Failure:
            return Failure(LinkDown(f"no login was finished within {seconds:g} s"))

        try:
            return await Deferred.fromCoroutine(asked()).addTimeout(LOGIN_TIMEOUT, self._clock, late)
        except LoginRefused as refused:
            self.log.info("{user} was refused: {reason}", user=user.bare, reason=refused.condition)
            self._forget(user, mark)
            for attempt in attempts:
                await attempt.failed()
            return None
        except LinkDown as down:
            self.log.warn("{user} can't be logged in: {reason}", user=user.bare, reason=down.reason)
            raise unavailable(f"{user.domain}: {down.reason}") from None
        except TooManyAttempts as many:
            raise many.refusal() from None
        finally:
            for attempt in attempts:
                attempt.succeeded()

    async def _login(self, user: JID, credential: Credential, mark: bytes) -> UserStream:
        served = self._served[user.domain]
        most = served.settings.maxSessions
        if self._places[user.domain] >= most and user.bare not in self._sessions:
            raise unavailable(f"{most} users of {user.domain} are logged in; that is as many as may be")
        session = self._sessions.get(user.bare)
        broken = session.link if session is not None and session.link.whyDown() is not None else None
        self._places[user.domain] += 1
        try:
            link = await served.logins.login(user, credential, broken)
        except BaseException:
            self._places[user.domain] -= 1
            raise
        if link is broken:
            self.log.info("The session of {user} goes on by another connection", user=user.bare)
            # It has its place already.
            self._places[user.domain] -= 1
        else:
            link.whenEnded(lambda reason: self._ended(user, link, reason))
        return self._admit(user, link, mark, isToken=credential.isToken)

    def _admit(self, user: JID, link: UserStream, mark: bytes, *, isToken: bool) -> UserStream:
        """
        Make a login the user's session, unless there is one.
        """
        if not self.running:
            link.close()
            raise LinkDown("restbridge is stopping")
        session = self._sessions.get(user.bare)
        if session is not None and session.link is not link:
            if session.link.whyDown() is None:
                link.close()
            else:
                session.link.close()
                session = None
        if session is None:
            idle = self._served[user.domain].settings.idle
            session = self._sessions[user.bare] = _Session(link, idle, self._clock)
        session.learn(mark, isToken=isToken)
        self._remembered[mark] = None
        self._remembered.move_to_end(mark)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return session.link

    def _forget(self, user: JID, mark: bytes) -> None:
        self._remembered.pop(mark, None)
        session = self._sessions.get(user.bare)
        if session is not None:
            session.forget(mark)

    def _ended(self, user: JID, link: UserStream, reason: str) -> None:
        self.log.debug("A session of {user} has ended: {reason}", user=user.bare, reason=reason)
        self._places[user.domain] -= 1
        session = self._sessions.get(user.bare)
        if session is not None and session.link is link:
            del self._sessions[user.bare]

    def _settle(self, result: UserStream | Failure | None, mark: bytes) -> None:
        if isinstance(result, Failure) and not result.check(Refusal):
            self.log.failure("A login failed", result)
            result = Failure(
                Refusal(500, "cancel", "internal-server-error", "restbridge failed; its log says why")
            )
        for waiter in self._opening.pop(mark):
            waiter.callback(result)
