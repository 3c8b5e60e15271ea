"""
The sections of the configuration, one declaration each, and what must hold between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from cryptography.x509 import load_pem_x509_certificates
from twisted.internet.ssl import optionsForClientTLS

from restbridge.config.addresses import (
    domain,
    glob,
    localpart,
    network,
    nickname,
    origin,
    ownGlob,
    room,
)
from restbridge.config.calls import credentials, headers, url, withoutCredentials
from restbridge.config.endpoints import (
    clientEndpoint,
    plainClientEndpoint,
    serverEndpoint,
    staysOnThisMachine,
)
from restbridge.config.faults import ConfigurationRefused, Fault
from restbridge.config.issuers import issuer, secureURL
from restbridge.config.reading import (
    Place,
    Table,
    attribute,
    flag,
    integer,
    listOf,
    named,
    oneOf,
    oneOrMore,
    seconds,
    setOf,
    text,
    words,
)
from restbridge.config.secrets import anySecret, passwordHash, signingKey, storeURL, tokenHash
from restbridge.config.values import (
    HTTP,
    Account,
    Callback,
    Component,
    Configuration,
    Glob,
    Metrics,
    OAuth2,
    Rest,
    Secret,
    Store,
    UserDomain,
)

LEAST_BODY = 10000
"""Bytes: what every XMPP server must take as one stanza (RFC 6120, section 13.12)."""
LEAST_HEADERS = 4096
"""Bytes: an access token alone may take half of them."""
HOUR = 3600
DAY = 24 * HOUR
MONTH = 30 * DAY
FORMATS = {
    "json": "application/json",
    "xml": "application/xmpp+xml",
    **words("application/json", "application/xmpp+xml"),
}

ALGORITHMS = words(
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
)
"""Signatures alone (RFC 7518, RFC 9864): who verifies tokens must not be able to make any."""


def _certificates(value: object, place: Place) -> Path:
    path = place.folder / text(value, place)
    try:
        load_pem_x509_certificates(path.read_bytes())
    except FileNotFoundError:
        raise place.refused(f"{path} is no file") from None
    except OSError as error:
        raise place.refused(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise place.refused(f"{path} must hold certificates in PEM: {error}") from None
    return path


def _waits(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if "iqTimeout" in values and "iqMaxTimeout" in values and values["iqTimeout"] > values["iqMaxTimeout"]:
        yield place.key("iq_timeout").fault(
            f"must be at most iq_max_timeout, which is {values['iqMaxTimeout']}, not {values['iqTimeout']}"
        )


def _locked(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if values.get("password", ...) is None and values.get("tokens") == () and not place.oauth2:
        yield place.fault("nobody could log in: needs a password, tokens, or both")


def _twice(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    rooms = values.get("rooms", ())
    for number, address in enumerate(rooms):
        if address in rooms[:number]:
            yield place.key("rooms").item(number).fault("is listed already")


def _unusable(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    yield from _locked(values, place)
    yield from _twice(values, place)


def _connectable(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if values.get("tls") in ("required", "direct"):
        try:
            optionsForClientTLS(values["domain"].removeprefix("[").removesuffix("]"))
        except ValueError as error:
            yield place.fault(f'no certificate can be for this name: {error}; allowed for it: tls = "off"')
    yield from _sheltered(values, place)


def _sheltered(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if values.get("tls") != "off" or "connect" not in values:
        return
    if values["connect"] is None or not staysOnThisMachine(values["connect"]):
        yield place.key("tls").fault(
            '"off" is only for a loopback address in connect; allowed elsewhere: "required", "direct"'
        )


def _judging(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if "issuer" in values and values["issuer"] is None:
        if values.get("introspection", ...) is None:
            yield place.fault("no token could be accepted: needs an issuer, introspection, or both")
        if values.get("jwks"):
            yield place.key("jwks").fault("needs the issuer, whose keys these are")
    elif values.get("audience", ...) is None:
        yield place.key("audience").fault("missing: an issuer's tokens for others must not be accepted")
    if values.get("issuer") and find_spec("joserfc") is None:
        yield place.key("issuer").fault("JWTs need the package joserfc: pip install 'restbridge[oauth2]'")
    yield from _asking(values, place)


def _asking(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    asked = values.get("introspection", ...)
    for key in ("client_id", "client_secret"):
        given = values.get(attribute(key), ...)
        if given is None and asked not in (None, ...):
            yield place.key(key).fault("missing: introspection needs credentials of the bridge's own")
        if asked is None and given not in (None, ...):
            yield place.key(key).fault("is for introspection, which is missing")


def _reachable(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    url = values.get("url")
    if isinstance(url, Secret) and url.reveal().startswith("postgresql:") and find_spec("psycopg") is None:
        yield place.key("url").fault(
            "PostgreSQL needs the package psycopg: pip install 'restbridge[postgresql]'"
        )


def _oneAuthorization(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if "authorization" in values.get("headers", {}) and credentials(values.get("url", "")):
        yield (
            place.key("headers")
            .key("Authorization")
            .fault("the url has credentials too; allowed: one of the two")
        )


_pauses = listOf(seconds(DAY))


def _firstAndLongest(value: object, place: Place) -> tuple[float, ...]:
    pauses = _pauses(value, place)
    if len(pauses) != 2 or pauses[0] > pauses[1]:
        raise place.refused("must be two numbers of seconds, the first pause and the longest")
    return pauses


def _distinct(callbacks: Sequence[Callback], place: Place) -> Iterator[Fault]:
    names: set[str] = set()
    for number, callback in enumerate(callbacks):
        if callback.delivery != "durable":
            continue
        if callback.outbox in names:
            problem = "another durable callback has this name, or this url: one of them needs another name"
            yield place.item(number).key("name").fault(problem)
        names.add(callback.outbox)


def _whole(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if values.get("component", ...) is None:
        if not values.get("users", ...):
            yield place.fault('no XMPP server to talk to: needs [component], [users."DOMAIN"] or both')
        for key in ("accounts", "callbacks"):
            if values.get(key):
                yield place.key(key).fault("needs the section [component], whose addresses these are")
    yield from _distinct(values.get("callbacks", ()), place.key("callbacks"))
    if place.domain in values.get("users", {}):
        problem = "is the component's own domain, where nobody logs in"
        yield place.key("users").key(str(place.domain)).fault(problem)


COMPONENT = Table(
    Component,
    {
        "domain": domain,
        "secret": anySecret,
        "connect": clientEndpoint,
        "confirm": flag,
        "basic_auth": flag,
        "standby": flag,
    },
)

WEB = Table(
    HTTP,
    {
        "listen": oneOrMore(serverEndpoint),
        "max_body": integer(LEAST_BODY),
        "max_headers": integer(LEAST_HEADERS),
        "max_connections": integer(1),
        "max_connections_per_address": integer(1),
        "requests_per_minute": integer(0),
        "requests_burst": integer(1),
        "header_timeout": seconds(HOUR),
        "body_timeout": seconds(HOUR),
        "idle_timeout": seconds(HOUR),
        "cors_origins": listOf(origin),
        "trusted_proxies": listOf(network),
    },
)

METRICS = Table(Metrics, {"listen": oneOrMore(serverEndpoint)})

STORE = Table(Store, {"url": storeURL, "max_pending": integer(1)}, _reachable)

REST = Table(
    Rest,
    {"iq_timeout": seconds(HOUR), "iq_max_timeout": seconds(HOUR), "iq_max_pending": integer(1)},
    _waits,
)

OAUTH2 = Table(
    OAuth2,
    {
        "issuer": issuer,
        "audience": text,
        "jwks": secureURL,
        "algorithms": listOf(oneOf(ALGORITHMS), least=1),
        "types": listOf(oneOf({"at+jwt": "at+jwt", "JWT": "jwt"}), least=1),
        "introspection": secureURL,
        "client_id": text,
        "client_secret": anySecret,
        "account_claim": text,
        "ca_file": _certificates,
    },
    _judging,
)

ACCOUNT = Table(
    Account,
    {
        "password": passwordHash,
        "tokens": listOf(tokenHash),
        "send_as": listOf(ownGlob, least=1),
        "rooms": listOf(room),
        "nickname": nickname,
    },
    _unusable,
)

USER_DOMAIN = Table(
    UserDomain,
    {
        "connect": plainClientEndpoint,
        "tls": oneOf(words("required", "direct", "off")),
        "ca_file": _certificates,
        "rooms": domain,
        "idle": seconds(DAY),
        "max_sessions": integer(1),
    },
    _connectable,
)

CALLBACK = Table(
    Callback,
    {
        "url": url,
        "format": oneOf(FORMATS),
        "stanzas": setOf(oneOf(words("message", "presence", "iq"))),
        "events": setOf(oneOf(words("bare", "full", "host"))),
        "to": listOf(glob, least=1),
        "delivery": oneOf(words("direct", "durable")),
        "name": text,
        "secret": oneOrMore(signingKey),
        "timeout": seconds(HOUR),
        "headers": headers,
        "allow_private": flag,
        "retries": listOf(seconds(MONTH), least=1),
        "probes": _firstAndLongest,
        "give_up": seconds(MONTH),
    },
    _oneAuthorization,
)


def _account(name: str, value: object, place: Place) -> Account:
    own = Glob.exactly(f"{name}@{place.domain}")
    return ACCOUNT(value, place, name=name, sendAs=(own,))


def _userDomain(name: str, value: object, place: Place) -> UserDomain:
    return USER_DOMAIN(value, place, domain=name)


def _callback(value: object, place: Place) -> Callback:
    callback = CALLBACK(value, place)
    return attrs.evolve(
        callback,
        url=withoutCredentials(callback.url),
        headers=MappingProxyType({**callback.headers, **credentials(callback.url)}),
    )


CONFIGURATION = Table(
    Configuration,
    {
        "component": COMPONENT,
        "http": WEB,
        "metrics": METRICS,
        "store": STORE,
        "rest": REST,
        "oauth2": OAUTH2,
        "accounts": named(localpart, _account),
        "users": named(domain, _userDomain),
        "callbacks": listOf(_callback),
    },
    _whole,
)


def read(tree: Mapping[str, Any], place: Place) -> Configuration:
    """
    The configuration that a TOML document means.

    @raise ConfigurationRefused: with every fault in it.
    """
    known = attrs.evolve(place, domain=_componentDomain(tree, place), oauth2="oauth2" in tree)
    return CONFIGURATION(tree, known)


def _componentDomain(tree: Mapping[str, Any], place: Place) -> str | None:
    # Ahead of the rest, so that patterns are checked against it whatever else is wrong with [component].
    try:
        return domain(tree["component"]["domain"], place)
    except (KeyError, TypeError, ConfigurationRefused):
        return None
