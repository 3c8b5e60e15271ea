"""
The whole program, wired on one screen: C{twistd -n restbridge}.

::

    HTTP -> site -> guard -> rest     -> component      -> the XMPP server
                                      -> users' streams ->
                             webhooks <- component      <-
                             bots    <-> component      <-> rooms there
    rooms, what waits for webhooks, answers to keys -> store
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.threads import deferToThreadPool
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.web.resource import IResource

from restbridge.bots.service import Bots
from restbridge.boundaries import Taker
from restbridge.clientapi.api import said
from restbridge.clientapi.service import clientAPIOf
from restbridge.config import Component as ComponentSettings
from restbridge.config import Configuration, ConfigurationRefused, find, load
from restbridge.demo import Demo
from restbridge.lifecycle import Orderly, Signals
from restbridge.logs import chooseLog
from restbridge.memory import givingBack
from restbridge.openapi.page import openAPI, page
from restbridge.parts import Parts
from restbridge.reload import Reload
from restbridge.rest.api import RestAPI
from restbridge.standby import Standby
from restbridge.stanzas.replies import newId
from restbridge.steady import SteadyClock
from restbridge.store.answers import Answers
from restbridge.store.database import Database
from restbridge.store.engines import engineAt
from restbridge.store.lease import Lease
from restbridge.systemd import Supervision
from restbridge.tally import Requests
from restbridge.users.service import sessionsOf
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials
from restbridge.web.guard import Accounts, Guard
from restbridge.web.idempotency import Once
from restbridge.web.oauth2 import oauth2Of
from restbridge.web.ports import Ports
from restbridge.web.quota import Quota
from restbridge.web.routes import Routed
from restbridge.web.serving import HangUp
from restbridge.web.site import BridgeSite, Health
from restbridge.webhook.backlog import Backlog
from restbridge.webhook.receiver import Receiver
from restbridge.webhook.service import webhooksOf
from restbridge.workers import Workers
from restbridge.xmpp.component import Component
from restbridge.xmpp.entity import Entity


class Options(UsageOptions):
    """
    What C{twistd restbridge} takes.
    """

    synopsis = "[options]"
    optParameters: ClassVar = [
        ["config", "c", None, "The configuration, a TOML file."],
        ["log-format", None, None, "The lines of the log: text, which is the default, or json."],
    ]
    optFlags: ClassVar = [
        ["demo", None, "Serve an embedded XMPP server on 127.0.0.1; nothing else is needed."],
        [
            "check",
            None,
            "Say what is wrong with the configuration, or that it is all right, and start nothing.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self._levels: list[str] = []

    def opt_log_level(self, level: str) -> None:
        """
        What is logged: from LEVEL on (debug, info, warn, error, critical; info is the default), or, as
        PART=LEVEL, of a part alone: web, web.site, xmpp ... May be given several times.
        """
        self._levels.append(level)

    def postOptions(self) -> None:
        """
        Read the configuration, while a fault in it can still be said without a traceback.
        """
        try:
            chooseLog({} if self.parent is None else self.parent, self["log-format"], self._levels)
        except ValueError as problem:
            raise UsageError(str(problem)) from None
        if self["demo"] and self["check"]:
            raise UsageError("--demo has no configuration to check")
        if self["demo"]:
            if self.parent is not None:
                # The demo leaves nothing behind.
                self.parent["pidfile"] = ""
            return
        try:
            path = Path(self["config"]) if self["config"] else find(os.environ, Path.cwd())
            self["file"] = path.absolute()
            self["configuration"] = load(path, os.environ)
        except ConfigurationRefused as refused:
            sys.exit(str(refused))
        if self["check"]:
            print(f"{path}: all right")
            sys.exit()


def makeService(options: Mapping[str, Any]) -> IService:
    """
    The service that C{twistd} runs.
    """
    from twisted.internet import reactor

    whole: MultiService
    if options["demo"]:
        whole = Demo(reactor=reactor, assemble=assemble, show=_show)
    else:
        try:
            whole = bridge(options["configuration"], reactor, options["file"])
        except ConfigurationRefused as refused:
            sys.exit(str(refused))
    Signals(reactor=reactor).setServiceParent(whole)
    _settle()
    return whole


def _settle() -> None:
    """
    Spare the garbage collector what stays for ever: looking through all modules' objects again and again
    holds the reactor up for 40 ms at a time.
    """
    gc.collect()
    gc.freeze()


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
    users = sessionsOf(configuration.users, reactor=reactor, workers=Workers(threads), attempts=attempts)
    store = Database(
        engine=engineAt(configuration.store.url.reveal()), reactor=reactor, needed=_needsStore(configuration)
    )
    # The parts stop the other way round: the store behind all that write to it.
    services: list[Service] = [store, users]
    holder = _holder(configuration)
    component = accounts = None
    receivers: Sequence[Receiver] = ()
    changing: list[Callable[[Configuration], object]] = []
    if configuration.component is not None:
        credentials = Credentials(
            accounts=configuration.accounts.values(), workers=Workers(threads), attempts=attempts
        )
        entity = Entity(domain=configuration.component.domain, accounts=configuration.accounts)
        component, bots, accounts = _accounts(
            configuration, configuration.component, entity, reactor, credentials
        )
        webhooks = webhooksOf(configuration, component=component, store=store, holder=holder, reactor=reactor)
        receivers = webhooks.callbacks.receivers
        component.offerTo([*takers, webhooks.callbacks])
        changing += [
            lambda wanted: credentials.change(wanted.accounts.values()),
            lambda wanted: entity.change(wanted.accounts),
            lambda wanted: bots.change(wanted.accounts.values()),
            lambda wanted: webhooks.change(wanted.callbacks),
        ]
        if configuration.component.standby:
            lease = Lease(store=store, name=component.domain, holder=holder)
            services.append(Standby(lease=lease, component=component, clock=SteadyClock(reactor)))
        services += [component, bots, webhooks, webhooks.durable]
    oauth2 = None
    if configuration.oauth2 is not None:
        oauth2 = oauth2Of(configuration.oauth2, reactor=reactor, workers=Workers(threads))
    limits = configuration.http
    quota = Quota(perMinute=limits.requestsPerMinute, burst=limits.requestsBurst, clock=reactor)
    guard = Guard(accounts=accounts, users=users, oauth2=oauth2, quota=quota)
    once = Once(answers=Answers(store, holder=holder), clock=reactor)
    api = clientAPIOf(configuration.users, guard=guard, store=store, once=once, reactor=reactor)
    # Users' logins are opened on demand: without a component nothing has to be up.
    whyDown = component.whyDown if component is not None else lambda: None
    mounts: dict[bytes, IResource] = {
        b"healthz": Health(lambda: None),
        b"readyz": Health(whyDown),
        b"rest": Routed(RestAPI(guard=guard, settings=configuration.rest, once=once, clock=reactor)),
        b"api": Routed(api),
        b"openapi.json": openAPI(),
        b"docs": page(),
    }
    tally = None if configuration.metrics is None else Requests()
    site = BridgeSite(settings=configuration.http, mounts=mounts, refusals={b"api": said}, tally=tally)
    metrics = None
    if tally is not None:
        # Its library takes a tenth of a second to load.
        from restbridge.metrics.collector import Watched
        from restbridge.metrics.page import siteOf

        watched = Watched(
            requests=tally,
            connections=site.connections,
            users=users,
            component=component,
            receivers=receivers,
            backlog=Backlog(store=store, callbacks=partial(_outboxes, receivers), clock=reactor),
        )
        metrics = siteOf(watched, reactor)

    def change(wanted: Configuration) -> None:
        for each in changing:
            each(wanted)

    return Parts(site=site, services=tuple(services), whyDown=whyDown, change=change, metrics=metrics)


def _outboxes(receivers: Sequence[Receiver]) -> list[str]:
    """
    The names of the durable ones.
    """
    return [each.settings.outbox for each in receivers if each.settings.delivery == "durable"]


def _accounts(
    configuration: Configuration,
    settings: ComponentSettings,
    entity: Entity,
    reactor: Any,
    credentials: Credentials,
) -> tuple[Component, Bots, Accounts]:
    component = Component(
        entity=entity,
        domain=settings.domain,
        secret=settings.secret.reveal(),
        confirm=settings.confirm,
        waits=settings.standby,
        endpoint=clientFromString(reactor, settings.connect),
        clock=reactor,
    )
    bots = Bots(
        domain=settings.domain, accounts=configuration.accounts.values(), wire=component, clock=reactor
    )
    component.offerFirst(bots)
    accounts = Accounts(
        domain=settings.domain,
        credentials=credentials,
        link=component,
        occupants=bots,
        secret=settings.secret.reveal() if settings.basicAuth else None,
    )
    return component, bots, accounts


def _needsStore(configuration: Configuration) -> bool:
    """
    Whether the bridge can't do its work without.
    """
    durable = any(callback.delivery == "durable" for callback in configuration.callbacks)
    standby = configuration.component is not None and configuration.component.standby
    return durable or standby or bool(configuration.users)


def _holder(configuration: Configuration) -> str:
    """
    This bridge among those that share a database: the same whenever it is started, unless others may run in
    its place at the same time.
    """
    component = configuration.component
    if component is not None and component.standby:
        return f"{component.domain} at {gethostname()}, {newId()}"
    if component is not None:
        return component.domain
    return " ".join((gethostname(), *configuration.http.listen))


def bridge(configuration: Configuration, reactor: Any, file: Path | None = None) -> MultiService:
    """
    A bridge that listens where it is configured to.

    @param file: where the configuration is from, and read again on SIGHUP.
    """
    parts = assemble(configuration, reactor)
    connections = parts.site.connections
    supervision = Supervision(environment=os.environ, whyDown=parts.whyDown, reactor=reactor)
    web = Ports(path="http.listen", descriptions=configuration.http.listen, reactor=reactor)
    services: list[Service] = [
        supervision,
        *givingBack(),
        HangUp(connections=connections, clock=reactor),
        *parts.services,
        web.serving(parts.site),
    ]
    certificates = [*web.certificates]
    if configuration.metrics is not None and parts.metrics is not None:
        metrics = Ports(path="metrics.listen", descriptions=configuration.metrics.listen, reactor=reactor)
        certificates += metrics.certificates
        # To be asked to the end.
        services.insert(1, metrics.serving(parts.metrics))
    if file is not None:
        reload = Reload(
            file=file,
            load=load,
            running=configuration,
            change=parts.change,
            certificates=certificates,
            told=supervision,
            reactor=reactor,
        )
        # Nothing changes any more once the stop has begun.
        services.append(reload)
    whole = Orderly(clock=reactor)
    for service in services:
        service.setServiceParent(whole)
    return whole
