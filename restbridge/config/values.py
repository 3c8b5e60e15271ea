"""
The configuration as the program sees it: frozen, complete, every default filled in.

Each attribute is the key of the same name in INTERFACE's TOML, C{max_body} being C{maxBody}. How the
values are read and checked is said in L{restbridge.config.sections}; who builds them by hand, as the
demo and the tests do, is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import attrs

from restbridge.stanzas.jid import JID


@attrs.frozen(repr=False)
class Secret:
    """
    A text that no log, message or traceback shows.
    """

    _text: str

    def reveal(self) -> str:
        """
        The text itself, for the one place that needs it.
        """
        return self._text

    def __repr__(self) -> str:
        return "<secret>"


def _lower(pattern: str) -> str:
    return pattern.lower()


@attrs.frozen
class Glob:
    """
    A shell-style pattern (C{*}, C{?}, C{[a-z]}) over bare addresses.

    @ivar pattern: in lower case, as normalised addresses are.
    """

    pattern: str = attrs.field(converter=_lower)

    @classmethod
    def exactly(cls, address: str) -> Glob:
        """
        The pattern that only this address fits; C{*}, C{?} and C{[} may be in a local part.
        """
        return cls("".join(f"[{c}]" if c in "*?[" else c for c in address))

    def fits(self, bare: str) -> bool:
        """
        Whether a normalised bare address, or a normalised domain, is one of those meant.
        """
        return fnmatchcase(bare, self.pattern)


@attrs.frozen(kw_only=True)
class Component:
    """
    The XEP-0114 connection.

    @ivar connect: a client endpoint string.
    @ivar confirm: whether a 202 waits until the server has taken the stanza.
    @ivar basicAuth: whether the domain and the secret open the API by HTTP Basic, as mod_rest has it.
    @ivar standby: whether other bridges, with the same store, may be there for the same domain.
    """

    domain: str
    secret: Secret
    connect: str = "tcp:127.0.0.1:5347"
    confirm: bool = True
    basicAuth: bool = False
    standby: bool = False


@attrs.frozen(kw_only=True)
class HTTP:
    """
    Where and how requests come in.

    @ivar listen: server endpoint strings, at least one.
    @ivar maxBody: bytes.
    @ivar maxHeaders: bytes of a request's first line and its headers.
    @ivar maxConnections: that are open at once.
    @ivar maxConnectionsPerAddress: of these, from an address that is neither loopback nor a trusted proxy's.
    @ivar requestsPerMinute: that an account or a user may make; 0 for any number.
    @ivar requestsBurst: of these, at once.
    @ivar headerTimeout: seconds from the first byte of a request to the end of its headers.
    @ivar bodyTimeout: seconds for its body, and one more for each KiB.
    @ivar idleTimeout: seconds without a request, or in which a client doesn't read its answer.
    @ivar corsOrigins: origins as a browser sends them, or C{*}.
    @ivar trustedProxies: whose Forwarded and X-Forwarded-For are believed.
    """

    listen: tuple[str, ...] = ("tcp:8080:interface=127.0.0.1",)
    maxBody: int = 196608
    maxHeaders: int = 16384
    maxConnections: int = 10_000
    maxConnectionsPerAddress: int = 500
    requestsPerMinute: int = 60_000
    requestsBurst: int = 10_000
    headerTimeout: float = 10
    bodyTimeout: float = 30
    idleTimeout: float = 60
    corsOrigins: tuple[str, ...] = ()
    trustedProxies: tuple[IPv4Network | IPv6Network, ...] = ()


@attrs.frozen(kw_only=True)
class Metrics:
    """
    Where Prometheus may ask.

    @ivar listen: server endpoint strings, at least one.
    """

    listen: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Store:
    """
    Where what must outlive a restart is kept.

    @ivar url: C{sqlite:PATH} or C{postgresql://…}; a secret, as it may hold a password.
    @ivar maxPending: messages that wait for durable callbacks at most.
    """

    url: Secret = Secret("sqlite:restbridge.sqlite")
    maxPending: int = 100_000


@attrs.frozen(kw_only=True)
class Rest:
    """
    How C{/rest} waits.

    @ivar iqTimeout: seconds for the answer to an IQ, where the request asks for nothing else.
    @ivar iqMaxTimeout: seconds that a request may ask for at most.
    @ivar iqMaxPending: IQs of an account or a user that may wait at once.
    """

    iqTimeout: float = 120
    iqMaxTimeout: float = 300
    iqMaxPending: int = 1000


@attrs.frozen(kw_only=True)
class Account:
    """
    An address of the component that is driven over HTTP.

    @ivar name: the local part, normalised.
    @ivar password: an Argon2 hash in the PHC string format; L{None} where only tokens open.
    @ivar tokens: hashes of bearer tokens, C{sha256:} and 64 lower-case hexadecimal digits.
    @ivar sendAs: the bare addresses that it may send from.
    @ivar rooms: in which it is present.
    @ivar nickname: there; empty for its name.
    """

    name: str
    password: Secret | None = None
    tokens: tuple[Secret, ...] = ()
    sendAs: tuple[Glob, ...]
    rooms: tuple[JID, ...] = ()
    nickname: str = ""


@attrs.frozen(kw_only=True)
class UserDomain:
    """
    A domain whose XMPP accounts may use the API with their own password.

    @ivar domain: normalised.
    @ivar connect: a client endpoint string, C{tcp:} or C{unix:}; L{None} for the domain's SRV records.
    @ivar tls: C{required} is STARTTLS, C{direct} is TLS from the first byte, C{off} only ever comes
        with an endpoint on this machine.
    @ivar caFile: trust roots in PEM; L{None} for the system's.
    @ivar rooms: the domain of the group chat service; L{None} to ask service discovery.
    @ivar idle: seconds after which an unused login is let go.
    @ivar maxSessions: logins held at once.
    """

    domain: str
    connect: str | None = None
    tls: Literal["required", "direct", "off"] = "required"
    caFile: Path | None = None
    rooms: str | None = None
    idle: float = 300
    maxSessions: int = 1000


@attrs.frozen(kw_only=True)
class Callback:
    """
    Where stanzas go over HTTP.

    @ivar url: a template with C{{kind}}, C{{type}}, C{{to}} and C{{from}} in its path or query, to be
        percent-encoded. Credentials in the configured URL have become an Authorization header.
    @ivar format: the media type of the calls; L{None} to go by the receiver's OPTIONS answer.
    @ivar events: the forms of the address in C{to} that are meant.
    @ivar name: what its messages are kept under, if not its URL; see C{outbox}.
    @ivar secret: each of these signs the calls: C{whsec_} and 24 to 64 bytes in base64.
    @ivar timeout: seconds for a whole call.
    @ivar headers: more headers, by their names in lower case.
    @ivar allowPrivate: whether the URL's host may have addresses that aren't public.
    @ivar retries: seconds until a message that fails, while others don't, is tried again; the last of them
        repeats.
    @ivar probes: seconds until a callback that fails is tried again: at first, doubling, and at most.
    @ivar giveUp: seconds after which a message that still fails is a dead letter.
    """

    url: str
    name: str = ""
    format: str | None = None
    stanzas: frozenset[str] = frozenset({"message", "presence", "iq"})
    events: frozenset[str] = frozenset({"bare", "full", "host"})
    to: tuple[Glob, ...] = (Glob("*"),)
    delivery: Literal["direct", "durable"] = "direct"
    secret: tuple[Secret, ...] = ()
    timeout: float = 30
    headers: Mapping[str, Secret] = MappingProxyType({})
    allowPrivate: bool = True
    retries: tuple[float, ...] = (5, 30, 120, 600, 1800, 3600, 7200, 14400)
    probes: tuple[float, float] = (1, 300)
    giveUp: float = 3 * 24 * 3600

    @property
    def label(self) -> str:
        """
        What it is called where others may read it: a query may hold a secret.
        """
        return self.name or self.url.partition("?")[0]

    @property
    def outbox(self) -> str:
        """
        What its messages are kept under from one start to the next.
        """
        return self.name or self.url


@attrs.frozen(kw_only=True)
class OAuth2:
    """
    Whose access tokens are accepted, beside the accounts' own.

    @ivar issuer: whose JWTs; L{None} for none.
    @ivar audience: whom the tokens must be for; L{None} for anybody, without an issuer.
    @ivar jwks: where the issuer's keys are; L{None} for where its metadata says.
    @ivar algorithms: by which JWTs may be signed.
    @ivar types: of JWTs, in lower case.
    @ivar introspection: where all other tokens are asked about; L{None} for nowhere.
    @ivar clientId: who asks there.
    @ivar accountClaim: the claim that names the account or the user.
    @ivar caFile: trust roots in PEM; L{None} for the system's.
    """

    issuer: str | None = None
    audience: str | None = None
    jwks: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    types: tuple[str, ...] = ("at+jwt",)
    introspection: str | None = None
    clientId: str | None = None
    clientSecret: Secret | None = None
    accountClaim: str = "sub"
    caFile: Path | None = None


@attrs.frozen(kw_only=True)
class Configuration:
    """
    All of it.

    @ivar component: L{None} to serve XMPP users alone; then there are no accounts or callbacks either.
    @ivar metrics: L{None} for none.
    @ivar oauth2: L{None} for no access tokens but those that the XMPP server judges itself.
    @ivar accounts: by local part.
    @ivar users: by domain.
    @ivar callbacks: the first that fits takes the stanza.
    """

    component: Component | None = None
    http: HTTP = HTTP()
    metrics: Metrics | None = None
    store: Store = Store()
    rest: Rest = Rest()
    oauth2: OAuth2 | None = None
    accounts: Mapping[str, Account] = MappingProxyType({})
    users: Mapping[str, UserDomain] = MappingProxyType({})
    callbacks: tuple[Callback, ...] = ()
