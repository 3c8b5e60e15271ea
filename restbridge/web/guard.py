"""
Who calls: Authorization header -> L{Principal}; and the route decorator that lets nobody else in.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Coroutine
from functools import wraps
from hmac import compare_digest
from typing import Any, Protocol

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from restbridge.config import Account, Glob
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.web.answer import Answer, Refusal, write
from restbridge.web.credentials import Credentials

CHALLENGES = (
    ("WWW-Authenticate", 'Basic realm="restbridge", charset="UTF-8"'),
    ("WWW-Authenticate", 'Bearer realm="restbridge"'),
)


@attrs.frozen(kw_only=True)
class Principal:
    """
    Someone whose credentials were accepted.

    @ivar address: the bare address that stanzas go out from.
    """

    account: Account
    address: JID

    def maySendAs(self, sender: JID) -> bool:
        """
        Whether stanzas may go out from C{sender}: from the address of one's own, or one that the
        account's C{send_as} allows.
        """
        if sender.domain != self.address.domain:
            return False
        return sender.bare == self.address.bare or any(glob.fits(sender.bare) for glob in self.account.sendAs)


class Guard:
    """
    Lets in the accounts of one component.
    """

    def __init__(self, *, domain: str, credentials: Credentials, secret: str | None = None) -> None:
        """
        @param secret: with the domain as its user name it lets in whoever holds the component's secret,
            as the domain itself; L{None} for nobody.
        """
        self._domain = domain
        self._credentials = credentials
        self._secret = secret
        # Speaks for every address of the component.
        self._component = Account(name=domain, sendAs=(Glob("*"),))

    async def principal(self, authorization: str | None) -> Principal:
        """
        Who sends this Authorization header.

        @raise Refusal: 401 without one, 403 where it isn't accepted, as mod_rest does.
        """
        if authorization is None:
            raise Refusal(401, "auth", "not-authorized", "No credentials provided", headers=CHALLENGES)
        scheme, _, value = authorization.partition(" ")
        account: Account | None = None
        if scheme.lower() == "basic":
            account = await self._basic(value.strip())
        elif scheme.lower() == "bearer":
            account = self._credentials.byToken(value.strip())
        if account is None:
            raise Refusal(403, "auth", "not-authorized", "Credentials not accepted")
        local = None if account is self._component else account.name
        return Principal(account=account, address=JID(local, self._domain, None))

    async def _basic(self, value: str) -> Account | None:
        """
        RFC 7617: user-id and password, the user-id being a local part or a whole bare address.
        """
        try:
            user, colon, password = b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        if not colon:
            return None
        if self._secret is not None and user.lower() == self._domain:
            matches = compare_digest(password.encode(), self._secret.encode())
            return self._component if matches else None
        return await self._credentials.byPassword(self._localPart(user), password)

    def _localPart(self, user: str) -> str:
        try:
            address = JID.parse(user if "@" in user else f"{user}@{self._domain}")
        except InvalidJID:
            return ""
        if address.domain != self._domain or address.resource is not None:
            return ""
        return address.local or ""


class Guarded(Protocol):
    """
    An API whose routes are guarded.
    """

    guard: Guard


Endpoint = Callable[..., Coroutine[Any, Any, Answer]]


def guardedRoute(app: Klein, url: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
    """
    A Klein route that only a L{Principal} reaches: C{async def endpoint(self, request, principal)}.
    """

    def decorate(endpoint: Endpoint) -> Endpoint:
        @app.route(url, **options)
        @wraps(endpoint)
        async def route(self: Guarded, request: IRequest, **parts: Any) -> bytes:
            authorization = request.getHeader(b"authorization")
            header = None if authorization is None else authorization.decode("utf-8", "surrogateescape")
            principal = await self.guard.principal(header)
            return write(request, await endpoint(self, request, principal, **parts))

        return endpoint

    return decorate
