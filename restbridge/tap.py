"""
The whole program, wired on one screen: C{twistd -n restbridge}.

::

    HTTP -> site -> guard -> rest     -> component      -> the XMPP server
                                      -> users' streams ->
                             webhooks <- component      <-
    rooms, what waits for webhooks, answers to keys -> store
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from socket import gethostname
from typing import Any, ClassVar

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.usage import Options as UsageOptions
from twisted.web.resource import IResource

from restbridge.boundaries import Taker
from restbridge.clientapi.api import ClientAPI, said
from restbridge.clientapi.discovery import Kinds, RoomServices
from restbridge.clientapi.events import Events
from restbridge.clientapi.muc import Muc
from restbridge.clientapi.muclight import NS_MUCLIGHT, MucLight
from restbridge.clientapi.occupancy import NS_MUC, Attendance
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.clientapi.rooms import Rooms
from restbridge.config import Component as ComponentSettings
from restbridge.config import Configuration, ConfigurationRefused, UserDomain, find, load
from restbridge.config import OAuth2 as OAuth2Settings
from restbridge.demo import Demo
from restbridge.lifecycle import Orderly, Signals
from restbridge.openapi.page import openAPI, page
from restbridge.parts import Parts
from restbridge.rest.api import RestAPI
from restbridge.store.answers import Answers
from restbridge.store.database import Database
from restbridge.store.engines import engineAt
from restbridge.store.rooms import RoomStore
from restbridge.systemd import Supervision
from restbridge.users.routes import Routes, optionsForTLS
from restbridge.users.sessions import Served, Sessions
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials
from restbridge.web.documents import Documents, client
from restbridge.web.guard import Accounts, Guard
from restbridge.web.idempotency import Once
from restbridge.web.introspection import Introspection
from restbridge.web.oauth2 import Judge, OAuth2
from restbridge.web.quota import Quota
from restbridge.web.serving import HangUp, Serving
from restbridge.web.site import BridgeSite, Health
from restbridge.webhook.service import webhooksOf
from restbridge.workers import Workers
from restbridge.xmpp.c2s import Logins
from restbridge.xmpp.component import Component
from restbridge.xmpp.entity import Entity
from restbridge.xmpp.locate import Locator, PatientResolver

log = Logger()

RESOLVER_CONFIGURATION = b"/etc/resolv.conf"


class Options(UsageOptions):
    """
    What C{twistd restbridge} takes.
    """

    synopsis = "[options]"
    optParameters: ClassVar = [["config", "c", None, "The configuration, a TOML file."]]
    optFlags: ClassVar = [
        ["demo", None, "Serve an embedded XMPP server on 127.0.0.1; nothing else is needed."]
    ]

    def postOptions(self) -> None:
        """
        Read the configuration, while a fault in it can still be said without a traceback.
        """
        if self["demo"]:
            if self.parent is not None:
                # The demo leaves nothing behind.
                self.parent["pidfile"] = ""
            return
        try:
            path = Path(self["config"]) if self["config"] else find(os.environ, Path.cwd())
            self["configuration"] = load(path, os.environ)
        except ConfigurationRefused as refused:
            sys.exit(str(refused))


def makeService(options: Mapping[str, Any]) -> IService:
    """
    The service that C{twistd} runs.
    """
    from twisted.internet import reactor

    whole: MultiService
    if options["demo"]:
        whole = Demo(reactor=reactor, assemble=assemble, show=_show)
    else:
        whole = bridge(options["configuration"], reactor)
    Signals(reactor=reactor).setServiceParent(whole)
    return whole


def _show(text: str) -> None:
    # Past twistd's log, which takes over sys.stdout and would put a time before each line.
    if sys.__stdout__ is not None:
        print(text, file=sys.__stdout__, flush=True)


def assemble(configuration: Configuration, reactor: Any, takers: Sequence[Taker] = ()) -> Parts:
    """
    Build the parts of a bridge; nothing is started.

    @param takers: who is offered, before all others, what comes in.
    """

    def threads(work: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    attempts = Attempts(clock=reactor)
    users = _users(configuration.users, reactor, Workers(threads), attempts)
    store = Database(
        engine=engineAt(configuration.store.url.reveal()), reactor=reactor, needed=_needsStore(configuration)
    )
    # The parts stop the other way round: the store behind all that write to it.
    services: list[Service] = [store, users]
    component = accounts = None
    if configuration.component is not None:
        credentials = Credentials(
            accounts=configuration.accounts.values(), workers=Workers(threads), attempts=attempts
        )
        component, accounts = _accounts(configuration, configuration.component, reactor, credentials)
        callbacks, webhooks = webhooksOf(configuration, component=component, store=store, reactor=reactor)
        component.offerTo([*takers, callbacks])
        services += [component, *webhooks]
    oauth2 = _oauth2(configuration.oauth2, reactor, Workers(threads)) if configuration.oauth2 else None
    limits = configuration.http
    quota = Quota(perMinute=limits.requestsPerMinute, burst=limits.requestsBurst, clock=reactor)
    guard = Guard(accounts=accounts, users=users, oauth2=oauth2, quota=quota)
    once = Once(answers=Answers(store, holder=_holder(configuration)), clock=reactor)
    # Users' logins are opened on demand: without a component nothing has to be up.
    whyDown = component.whyDown if component is not None else lambda: None
    mounts: dict[bytes, IResource] = {
        b"healthz": Health(lambda: None),
        b"readyz": Health(whyDown),
        b"rest": RestAPI(guard=guard, settings=configuration.rest, once=once).app.resource(),
        b"api": _clientAPI(configuration.users, guard, store, once, reactor).app.resource(),
        b"openapi.json": openAPI(),
        b"docs": page(),
    }
    site = BridgeSite(settings=configuration.http, mounts=mounts, refusals={b"api": said})
    return Parts(site=site, services=tuple(services), whyDown=whyDown)


def _accounts(
    configuration: Configuration, settings: ComponentSettings, reactor: Any, credentials: Credentials
) -> tuple[Component, Accounts]:
    component = Component(
        entity=Entity(domain=settings.domain, accounts=configuration.accounts),
        domain=settings.domain,
        secret=settings.secret.reveal(),
        confirm=settings.confirm,
        endpoint=clientFromString(reactor, settings.connect),
        clock=reactor,
    )
    accounts = Accounts(
        domain=settings.domain,
        credentials=credentials,
        link=component,
        secret=settings.secret.reveal() if settings.basicAuth else None,
    )
    return component, accounts


def _oauth2(settings: OAuth2Settings, reactor: Any, workers: Workers) -> OAuth2:
    documents = Documents(client=client(reactor, settings.caFile), clock=reactor)
    judges: list[Judge] = []
    if settings.issuer is not None:
        # Its library is an extra.
        from restbridge.web.accesstokens import AccessTokens

        tokens = AccessTokens(settings=settings, documents=documents, workers=workers, clock=reactor)
        judges.append(tokens)
    if settings.introspection is not None:
        judges.append(Introspection(settings=settings, documents=documents, clock=reactor))
    return OAuth2(*judges)


def _users(domains: Mapping[str, UserDomain], reactor: Any, workers: Workers, attempts: Attempts) -> Sessions:
    served = _served(domains, reactor, workers) if domains else {}
    return Sessions(served=served, attempts=attempts, clock=reactor)


def _served(domains: Mapping[str, UserDomain], reactor: Any, workers: Workers) -> dict[str, Served]:
    resolver = PatientResolver(RESOLVER_CONFIGURATION, reactor=reactor)
    locator = Locator(resolver=resolver, clock=reactor)
    served = {}
    for domain, settings in domains.items():
        routes = Routes(settings=settings, locator=locator, reactor=reactor)
        options = cache(partial(optionsForTLS, settings))
        logins = Logins(domain=domain, routes=routes, options=options, workers=workers, clock=reactor)
        served[domain] = Served(settings=settings, logins=logins)
    return served


def _needsStore(configuration: Configuration) -> bool:
    """
    Whether the bridge can't do its work without.
    """
    durable = any(callback.delivery == "durable" for callback in configuration.callbacks)
    return durable or bool(configuration.users)


def _holder(configuration: Configuration) -> str:
    """
    This bridge among those that share a database, the same whenever it is started.
    """
    if configuration.component is not None:
        return configuration.component.domain
    return " ".join((gethostname(), *configuration.http.listen))


def _clientAPI(
    domains: Mapping[str, UserDomain], guard: Guard, store: Database, once: Once, reactor: Any
) -> ClientAPI:
    events = Events(clock=reactor)
    kept = RoomStore(store)
    told = RoomEvents(events=events, clock=reactor)
    attendance = Attendance(clock=reactor, audience=told)
    muc = partial(Muc, attendance=attendance, events=told, store=kept, clock=reactor)
    kinds: Kinds = {NS_MUCLIGHT: partial(MucLight, events=told, store=kept), NS_MUC: muc}
    rooms = Rooms(services=RoomServices(domains=domains, kinds=kinds))
    return ClientAPI(guard=guard, events=events, rooms=rooms, once=once)


def bridge(configuration: Configuration, reactor: Any) -> MultiService:
    """
    A bridge that listens where it is configured to.
    """
    parts = assemble(configuration, reactor)
    connections = parts.site.connections
    serving = Serving(connections)
    for description in configuration.http.listen:
        listener = StreamServerEndpointService(serverFromString(reactor, description), parts.site)
        # Twisted's strports does the same, for the global reactor: a port in use ends the start.
        listener._raiseSynchronously = True
        listener.setServiceParent(serving)
    supervision = Supervision(environment=os.environ, whyDown=parts.whyDown, reactor=reactor)
    whole = Orderly(clock=reactor)
    for service in (supervision, HangUp(connections=connections, clock=reactor), *parts.services, serving):
        service.setServiceParent(whole)
    _sayWhatIsMissing(configuration)
    return whole


def _sayWhatIsMissing(configuration: Configuration) -> None:
    """
    What may be configured already, and has no effect in this version.
    """
    if configuration.metrics is not None:
        log.warn("[metrics] has no effect in this version")
