"""
Who calls: Authorization header -> L{Principal}; and the route decorator that lets nobody else in.

::

    Basic  name, bare address -> accounts.byPassword          -> an account, over the component's link
           a user's bare address -> users.open                -> a user, over a link of their own
    Bearer an account's token -> accounts.byToken             -> an account
           an access token    -> oauth2.grant -> its claim    -> an account, or users.open -> a user
           a user's token, X-XMPP-JID or sub -> users.open    -> a user
"""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Protocol, TypeVar

import attrs
import msgspec
from klein import Klein

from restbridge.boundaries import Credential, LastingLink, Link, Occupants, UserLink, Users
from restbridge.config import Account, Glob
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.web.answer import Answer, Refusal
from restbridge.web.credentials import Credentials
from restbridge.web.grants import ADMIN, SCOPES, Grant, TokenRefused
from restbridge.web.oauth2 import OAuth2, insufficientScope, invalidToken
from restbridge.web.quota import Quota
from restbridge.web.routes import route
from restbridge.web.site import BridgeRequest

CHALLENGES = (
    ("WWW-Authenticate", 'Basic realm="restbridge", charset="UTF-8"'),
    ("WWW-Authenticate", 'Bearer realm="restbridge"'),
)


class Principal(Protocol):
    """
    Someone whose credentials were accepted.

    @ivar address: the address that stanzas go out from where they don't say.
    @ivar keySpace: whose Idempotency-Keys are meant: the same at each bridge of those that share a store.
    @ivar link: what they go out by.
    @ivar name: for people.
    @ivar rule: as whom the principal may send, for people.
    @ivar scopes: of L{SCOPES}: what the credentials allow.
    """

    @property
    def address(self) -> JID: ...

    @property
    def keySpace(self) -> str: ...

    @property
    def link(self) -> Link: ...

    @property
    def name(self) -> str: ...

    @property
    def rule(self) -> str: ...

    @property
    def scopes(self) -> frozenset[str]: ...

    def maySendAs(self, sender: JID) -> bool:
        """
        Whether stanzas may go out from C{sender}.
        """

    def occupant(self, sender: JID, to: JID) -> JID:
        """
        The address that what may go out from C{sender} does go out from, to C{to}: see
        L{restbridge.boundaries.Occupants.occupant}.
        """

    async def restored(self, timeout: float) -> bool:
        """
        Whether stanzas can go out again after the link went down: see
        L{restbridge.boundaries.LastingLink.restored}.
        """


@attrs.frozen(kw_only=True)
class AccountPrincipal:
    """
    An address of the component.

    @ivar occupants: who of the component is in which room.
    """

    account: Account
    address: JID
    link: LastingLink
    scopes: frozenset[str] = SCOPES
    occupants: Occupants | None = None

    @property
    def keySpace(self) -> str:
        """
        The account's name, and no domain: each bridge has its own.
        """
        return self.address.bare if self.address.local is None else f"{self.address.local}@"

    @property
    def name(self) -> str:
        return f"account {self.account.name}"

    @property
    def rule(self) -> str:
        allowed = ", ".join(glob.pattern for glob in self.account.sendAs) or self.address.bare
        return f"its send_as allows {allowed}"

    def maySendAs(self, sender: JID) -> bool:
        """
        The address of one's own, and those that the account's C{send_as} allows, with any resource.
        """
        if sender.domain != self.address.domain:
            return False
        return sender.bare == self.address.bare or any(glob.fits(sender.bare) for glob in self.account.sendAs)

    def occupant(self, sender: JID, to: JID) -> JID:
        return sender if self.occupants is None else self.occupants.occupant(sender, to)

    async def restored(self, timeout: float) -> bool:
        return await self.link.restored(timeout)


@attrs.frozen
class UserPrincipal:
    """
    An XMPP user of another domain.
    """

    link: UserLink
    scopes: frozenset[str] = SCOPES

    @property
    def address(self) -> JID:
        return self.link.address

    @property
    def keySpace(self) -> str:
        return self.address.bare

    @property
    def name(self) -> str:
        return f"user {self.address.bare}"

    @property
    def rule(self) -> str:
        return f"a user sends as {self.address.full}, the login that the bridge holds, or its bare address"

    def maySendAs(self, sender: JID) -> bool:
        """
        The login's own full address, or the bare one (RFC 6120, section 8.1.2.1).
        """
        return sender in (self.address, self.address.toBare())

    def occupant(self, sender: JID, to: JID) -> JID:
        """
        The server puts the login's address into what it takes.
        """
        return sender

    async def restored(self, timeout: float) -> bool:
        """
        A login that has ended stays so; the next request makes another one, with another address.
        """
        return False


@attrs.frozen(kw_only=True)
class Presented:
    """
    What a request says of who sends it.

    @ivar authorization: the header.
    @ivar user: the header X-XMPP-JID, which says whose token it is.
    @ivar client: the network address that it comes from.
    """

    authorization: str | None
    user: str | None = None
    client: str = "-"

    @classmethod
    def by(cls, request: BridgeRequest) -> Presented:
        """
        What C{request} says.
        """
        return cls(
            authorization=_header(request, b"authorization"),
            user=_header(request, b"x-xmpp-jid"),
            client=request.origin,
        )


def _header(request: BridgeRequest, name: bytes) -> str | None:
    value = request.getHeader(name)
    return None if value is None else value.decode("utf-8", "surrogateescape")


AnyPrincipal = TypeVar("AnyPrincipal", bound=Principal)


class Accounts:
    """
    The accounts of one component, and the component itself.
    """

    def __init__(
        self,
        *,
        domain: str,
        credentials: Credentials,
        link: LastingLink,
        secret: str | None = None,
        occupants: Occupants | None = None,
    ) -> None:
        """
        @param link: the component's.
        @param occupants: who of the component is in which room; L{None} where nobody is.
        @param secret: with the domain as its user name it lets in whoever holds the component's secret,
            as the domain itself; L{None} for nobody.
        """
        self._domain = domain
        self._credentials = credentials
        self._link = link
        self._secret = secret
        self._occupants = occupants
        # Speaks for every address of the component.
        self._component = Account(name=domain, sendAs=(Glob("*"),))

    def byToken(self, token: str) -> AccountPrincipal | None:
        """
        The account that a bearer token opens.
        """
        return self._principal(self._credentials.byToken(token))

    def byGrant(self, grant: Grant) -> AccountPrincipal | None:
        """
        The account that an access token names, character for character: to its authorization server
        C{Bot} may be another.
        """
        name = grant.name.removesuffix(f"@{self._domain}")
        return self._principal(self._credentials.named(name), grant.scopes)

    async def byPassword(self, name: str, password: str, client: str) -> AccountPrincipal | None:
        """
        The account of that local part or bare address, if that is its password.

        @param client: the network address that the request comes from.
        @raise Refusal: see L{Credentials.byPassword}.
        """
        if self._secret is not None and name.lower() == self._domain:
            matches = await self._credentials.isSecret(self._domain, self._secret, password, client)
            return self._principal(self._component if matches else None)
        found = await self._credentials.byPassword(self._localPart(name), password, client)
        return self._principal(found)

    def _principal(self, account: Account | None, scopes: frozenset[str] = SCOPES) -> AccountPrincipal | None:
        if account is None:
            return None
        local = None if account is self._component else account.name
        address = JID(local, self._domain, None)
        return AccountPrincipal(
            account=account, address=address, link=self._link, scopes=scopes, occupants=self._occupants
        )

    def _localPart(self, name: str) -> str:
        address = _address(name if "@" in name else f"{name}@{self._domain}")
        if address is None or address.domain != self._domain or address.resource is not None:
            return ""
        return address.local or ""


class Guard:
    """
    Lets in the accounts of the component and the users of the domains that are served.
    """

    def __init__(
        self,
        *,
        accounts: Accounts | None,
        users: Users,
        oauth2: OAuth2 | None = None,
        quota: Quota | None = None,
    ) -> None:
        """
        @param quota: how many requests one caller may make; L{None} for any number.
        """
        self._accounts = accounts
        self._users = users
        self._oauth2 = oauth2
        self._quota = quota

    async def principal(self, presented: Presented) -> Principal:
        """
        Who sends a request, which is counted.

        @raise Refusal: 401 without credentials, 403 where they aren't accepted, as mod_rest does; 429
            after too many attempts or requests, 503 while nobody can say.
        """
        return self._counted(await self._principal(presented))

    async def user(self, presented: Presented) -> UserPrincipal | None:
        """
        The XMPP user who sends a request, which is counted; L{None} for anybody else, and for nobody.

        @raise Refusal: 400 for a header that can't be read; 401 for an access token that isn't accepted;
            429 and 503 as C{principal} does.
        """
        user = await self._presentedUser(presented)
        return None if user is None else self._counted(user)

    def countAs(self, principal: Principal, requests: int) -> None:
        """
        Count a request that was let in as so many.

        @raise Refusal: 429, these are too many.
        """
        if self._quota is not None:
            self._quota.takeAs(principal.address.bare, requests)

    def _counted(self, principal: AnyPrincipal) -> AnyPrincipal:
        if self._quota is not None:
            self._quota.take(principal.address.bare)
        return principal

    async def _principal(self, presented: Presented) -> Principal:
        if presented.authorization is None:
            raise Refusal(401, "auth", "not-authorized", "No credentials provided", headers=CHALLENGES)
        scheme, _, value = presented.authorization.partition(" ")
        principal: Principal | None = None
        if scheme.lower() == "basic":
            principal = await self._byPassword(value.strip(), presented)
        elif scheme.lower() == "bearer":
            try:
                principal = await self._byToken(value.strip(), presented)
            except TokenRefused as refused:
                raise invalidToken(403, f"Credentials not accepted: the access token {refused}") from None
            if principal is None:
                raise invalidToken(403, "Credentials not accepted")
        if principal is None:
            raise Refusal(403, "auth", "not-authorized", "Credentials not accepted")
        return principal

    async def _presentedUser(self, presented: Presented) -> UserPrincipal | None:
        if not presentsCredentials(presented):
            return None
        scheme, _, value = (presented.authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            try:
                return await self._userByToken(value.strip(), presented)
            except TokenRefused:
                raise invalidToken(401) from None
        login = _login(value.strip()) if scheme.lower() == "basic" else None
        return None if login is None else await self._userByPassword(*login, presented)

    async def _byPassword(self, value: str, presented: Presented) -> Principal | None:
        login = _login(value)
        if login is None:
            return None
        if self._served(login[0]) is not None:
            return await self._userByPassword(*login, presented)
        return await self._accounts.byPassword(*login, presented.client) if self._accounts else None

    async def _userByPassword(self, name: str, password: str, presented: Presented) -> UserPrincipal | None:
        return await self._user(name, Credential(password), presented.client)

    async def _byToken(self, token: str, presented: Presented) -> Principal | None:
        account = self._accounts.byToken(token) if self._accounts else None
        if account is not None:
            return account
        grant = await self._granted(token)
        if grant is not None and self._accounts:
            account = self._accounts.byGrant(grant)
        return account or await self._userOf(grant, token, presented)

    async def _userByToken(self, token: str, presented: Presented) -> UserPrincipal | None:
        return await self._userOf(await self._granted(token), token, presented)

    async def _granted(self, token: str) -> Grant | None:
        return None if self._oauth2 is None else await self._oauth2.grant(token)

    async def _userOf(self, grant: Grant | None, token: str, presented: Presented) -> UserPrincipal | None:
        """
        The user whose token it is: as the authorization server says, where it judges the token, else as
        the request says. Either way it has to open the login.

        @raise TokenRefused: it is nobody's.
        """
        credential = Credential(token, isToken=True)
        if grant is None:
            name = presented.user or subjectOf(token) or ""
            return await self._user(name, credential, presented.client)
        if self._served(grant.name) is None:
            raise TokenRefused("names no account, and no user of a domain that is served")
        return await self._user(grant.name, credential, presented.client, grant.scopes)

    async def _user(
        self, name: str, credential: Credential, client: str, scopes: frozenset[str] = SCOPES
    ) -> UserPrincipal | None:
        user = self._served(name)
        if user is None:
            return None
        link = await self._users.open(user, credential, client)
        return None if link is None else UserPrincipal(link, scopes)

    def _served(self, name: str) -> JID | None:
        """
        The bare address of a user of a domain that is served.
        """
        address = _address(name)
        if address is None or address.local is None or not self._users.serves(address.domain):
            return None
        # One login serves all resources that are asked for.
        return address.toBare()


def presentsCredentials(presented: Presented) -> bool:
    """
    Whether there are credentials, right or wrong.

    @raise Refusal: 400, the header can't be read.
    """
    if presented.authorization is None:
        return False
    scheme, _, value = presented.authorization.partition(" ")
    match scheme.lower():
        case "basic" if _login(value.strip()) is not None:
            return True
        case "bearer" | "digest":
            return True
    raise Refusal(400)


def _login(value: str) -> tuple[str, str] | None:
    """
    User-id and password (RFC 7617, section 2).
    """
    try:
        name, colon, password = b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def _address(text: str) -> JID | None:
    try:
        return JID.parse(text)
    except InvalidJID:
        return None


class _Claims(msgspec.Struct):
    sub: str


def subjectOf(token: str) -> str | None:
    """
    Whose token it says it is, if it is a JWT (RFC 7519, section 4.1.2). Nothing is believed of it: the
    XMPP server is asked whether the token opens that account.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(parts[1] + "=="), type=_Claims).sub
    except (ValueError, RecursionError):
        return None


def permit(principal: Principal, scope: str) -> None:
    """
    Let through what credentials with this scope may do.

    @raise Refusal: 403, these may not.
    """
    if principal.scopes.isdisjoint((scope, ADMIN)):
        raise insufficientScope(scope)


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
        @route(app, url, **options)
        @wraps(endpoint)
        async def guarded(self: Guarded, request: BridgeRequest, **parts: Any) -> Answer:
            principal = await self.guard.principal(Presented.by(request))
            return await endpoint(self, request, principal, **parts)

        return endpoint

    return decorate
