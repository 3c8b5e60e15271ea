"""
The sections of the configuration, one declaration each, and what must hold between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from cryptography.x509 import load_pem_x509_certificates
from twisted.internet.ssl import optionsForClientTLS

from restbridge.config.addresses import domain, glob, localpart, network, origin, ownGlob
from restbridge.config.calls import credentials, headers, url, withoutCredentials
from restbridge.config.endpoints import (
    clientEndpoint,
    plainClientEndpoint,
    serverEndpoint,
    staysOnThisMachine,
)
from restbridge.config.faults import ConfigurationRefused, Fault
from restbridge.config.reading import (
    Place,
    Table,
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
    Rest,
    Secret,
    Store,
    UserDomain,
)

LEAST_BODY = 10000
"""Bytes: what every XMPP server must take as one stanza (RFC 6120, section 13.12)."""
HOUR = 3600
DAY = 24 * HOUR
FORMATS = {
    "json": "application/json",
    "xml": "application/xmpp+xml",
    **words("application/json", "application/xmpp+xml"),
}


def _certificates(value: object, place: Place) -> Path:
    path = place.folder / text(value, place)
    if not path.is_file():
        raise place.refused(f"{path} is no file")
    try:
        load_pem_x509_certificates(path.read_bytes())
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
    if values.get("password", ...) is None and values.get("tokens") == ():
        yield place.fault("nobody could log in: needs a password, tokens, or both")


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


def _whole(values: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    if values.get("component", ...) is None:
        if not values.get("users", ...):
            yield place.fault('no XMPP server to talk to: needs [component], [users."DOMAIN"] or both')
        for key in ("accounts", "callbacks"):
            if values.get(key):
                yield place.key(key).fault("needs the section [component], whose addresses these are")
    if place.domain in values.get("users", {}):
        problem = "is the component's own domain, where nobody logs in"
        yield place.key("users").key(str(place.domain)).fault(problem)


COMPONENT = Table(
    Component,
    {"domain": domain, "secret": anySecret, "connect": clientEndpoint, "confirm": flag, "basic_auth": flag},
)

WEB = Table(
    HTTP,
    {
        "listen": oneOrMore(serverEndpoint),
        "max_body": integer(LEAST_BODY),
        "cors_origins": listOf(origin),
        "trusted_proxies": listOf(network),
    },
)

METRICS = Table(Metrics, {"listen": oneOrMore(serverEndpoint)})

STORE = Table(Store, {"url": storeURL}, _reachable)

REST = Table(Rest, {"iq_timeout": seconds(HOUR), "iq_max_timeout": seconds(HOUR)}, _waits)

ACCOUNT = Table(
    Account,
    {"password": passwordHash, "tokens": listOf(tokenHash), "send_as": listOf(ownGlob, least=1)},
    _locked,
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
        "secret": signingKey,
        "timeout": seconds(HOUR),
        "headers": headers,
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
    return CONFIGURATION(tree, attrs.evolve(place, domain=_componentDomain(tree, place)))


def _componentDomain(tree: Mapping[str, Any], place: Place) -> str | None:
    # Ahead of the rest, so that patterns are checked against it whatever else is wrong with [component].
    try:
        return domain(tree["component"]["domain"], place)
    except (KeyError, TypeError, ConfigurationRefused):
        return None
