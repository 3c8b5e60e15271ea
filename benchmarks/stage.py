"""
What runs while contestants are compared: servers, bridges, peers. Each is started when it is first needed,
and lives until the end, so that all sides of a comparison are up all the time.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.deliveries import Deliveries
from benchmarks.users import Occurrences, Streams
from tests.live.bridge import Bridge, componentTable, environment
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, Process, eventually, freePorts, temporaryFolder
from tests.live.prosody import COMPONENT, Prosody
from tests.live.servers import HOST, SECRET, Server

SINK = "bridge2.localhost"
"""A component that reads and says nothing. What is sent is a headline to an address of it: delivered, so that
nobody gains by what a server does for users who are not there, and kept in no archive, which would be all
that is measured."""

BODY = "Hello, how are you today?"

SENDER = "sender.localhost"
MOD_REST = "modrest.localhost"
OTHERS = (
    *("swift", "calling", "keeping", "choosing", "few", "many"),
    *("resource", "klein", "writer", "teller"),
)
"""Who else has a component's domain at Prosody, named for it: bridges of other settings, bare peers, and
those who write."""
UNLIMITED = {"requests_per_minute": 10**9, "requests_burst": 10**9}
"""That each request is counted is part of the work; that one is refused is not."""

HELD = 15_000
"""Connections that a contestant, or one who keeps it busy, may hold."""


class Sink:
    """
    The component that reads, and answers nothing.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._messages, self._queries = Occurrences(b"</message>"), Occurrences(b"</iq>")
        self._connection = connection
        connection.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def messages(self) -> int:
        """
        How many came.
        """
        return self._messages.number

    @property
    def queries(self) -> int:
        """
        How many IQs came.
        """
        return self._queries.number

    def _read(self) -> None:
        with suppress(OSError):
            while data := self._connection.recv(1 << 18):
                self._messages.see(data)
                self._queries.see(data)


class LoadedProsody(Prosody):
    """
    More components, and where its folder is known mod_rest: on the users' host for requests, with their
    passwords stored plain, which is the quickest way to be let in there, and as a component for callbacks.
    """

    def __init__(self, modRest: Path | None, callback: str) -> None:
        self._modRest, self._callback = modRest, callback
        (self.httpPort,) = freePorts(1)
        super().__init__()

    def _configuration(self) -> str:
        whole = super()._configuration()
        components = (SENDER, *map(domainOf, OTHERS))
        whole += "".join(COMPONENT.format(domain=domain, secret=SECRET) for domain in components)
        if self._modRest is None:
            return whole
        whole = _replaced(whole, 'plugin_paths = { "', f'plugin_paths = {{ "{self._modRest.parent}", "')
        whole = _replaced(
            whole, f'VirtualHost "{HOST}"', f'VirtualHost "{HOST}" modules_enabled = {{ "rest" }}'
        )
        http = f'http_ports = {{ {self.httpPort} }} http_interfaces = {{ "{LOOPBACK}" }}'
        whole = _replaced(whole, "\nhttp_ports = { }", f'\n{http} http_default_host = "{HOST}"')
        return (
            f'{whole}\nComponent "{MOD_REST}" "rest"\n    rest_callback_url = "{self._callback}"\n'
            '    rest_callback_content_type = "application/json"\n'
        )


class LoadedEjabberd(Ejabberd):
    """
    Without an archive of everything, whose table in memory would soon be all that is measured, and with its
    log at warnings: each call to its API would be a line.
    """

    def _configuration(self) -> str:
        whole = super()._configuration()
        whole = _replaced(whole, "default: always, assume_mam_usage: true", "default: never")
        whole = _replaced(whole, "loglevel: info", "loglevel: warning")
        return _replaced(
            whole,
            "who: {ip: 127.0.0.0/8}",
            'who: [{ip: 127.0.0.0/8}, {access: {allow: {user: "alice@localhost"}}}]',
        )

    @property
    def httpPort(self) -> int:
        """
        Of its API.
        """
        return self._httpPort


class HashingEjabberd(LoadedEjabberd):
    """
    As Debian configures it: with hashes in place of passwords.
    """

    name = "hashing-ejabberd"
    hashed = True


class Stage:
    """
    Everything that runs.

    @ivar modRest: the folder of mod_rest, from the variable C{MOD_REST_DIR}, or L{None}.
    """

    def __init__(self, profiles: Path | None = None) -> None:
        """
        @param profiles: the folder where each bridge's cProfile goes; L{None} for none.
        """
        self._stack = ExitStack()
        self._bridges: dict[tuple[str, str], Bridge] = {}
        self._bare: dict[str, int] = {}
        self._sinks: dict[Server, Sink] = {}
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._profiles = profiles
        folder = os.environ.get("MOD_REST_DIR")
        self.modRest = Path(folder).resolve() if folder else None

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def deliveries(self) -> Deliveries:
        """
        Who writes to bridges, and is called by them.
        """
        deliveries = Deliveries(SENDER)
        self._stack.callback(deliveries.close)
        return deliveries

    @cached_property
    def prosody(self) -> LoadedProsody:
        """
        With mod_rest, and a sink.
        """
        server = LoadedProsody(self.modRest, self.deliveries.url)
        self._start(server)
        return server

    @cached_property
    def ejabberd(self) -> LoadedEjabberd:
        """
        With its API, and a sink.
        """
        server = LoadedEjabberd()
        self._start(server)
        return server

    @cached_property
    def hashingEjabberd(self) -> HashingEjabberd:
        """
        The same, as Debian configures it.
        """
        server = HashingEjabberd()
        self._start(server)
        return server

    def _start(self, server: Server) -> None:
        self._stack.enter_context(server)
        server.start()
        self._sinks[server] = Sink(self.keep(server.attach(SINK)))

    def sink(self, server: Server) -> Sink:
        """
        The one that is attached to this server.
        """
        return self._sinks[server]

    def keep(self, connection: socket.socket) -> socket.socket:
        """
        Hold a connection until the end.
        """
        return self._stack.enter_context(connection)

    def connect(self, port: int) -> socket.socket:
        """
        A connection that is held until the end.
        """
        return self.keep(socket.create_connection((LOOPBACK, port), 30))

    def closing(self, streams: Streams) -> Streams:
        """
        The same for what holds several.
        """
        self._stack.callback(streams.close)
        return streams

    def bridge(
        self,
        name: str,
        server: Server | None,
        *,
        component: dict[str, Any] | None = None,
        callbacks: list[dict[str, Any]] | None = None,
        **sections: Any,
    ) -> Bridge:
        """
        The bridge of this name.

        @param server: where its component attaches; L{None} to serve users alone.
        @param component: more of that section.
        """
        key = name, server.name if server else ""
        if key not in self._bridges:
            table = None
            if server is not None:
                domain = domainOf(name)
                table = {**componentTable(server.componentPort(domain), domain), **(component or {})}
            http = {**UNLIMITED, **sections.pop("http", {})}
            bridge = self._stack.enter_context(Bridge(table, callbacks, http=http, **sections))
            if self._profiles is not None:
                file = self._profiles / f"{'-'.join(filter(None, key))}.pstats"
                bridge.process.command[1:1] = [f"--profile={file}", "--profiler=cprofile"]
            self._bridges[key] = bridge.start()
        return self._bridges[key]

    def bare(self, kind: str) -> int:
        """
        The port of a contestant of L{benchmarks.bare}, with a domain of its own.
        """
        if kind not in self._bare:
            domain, (port,) = domainOf(kind), freePorts(1)
            command = [sys.executable, "-m", "benchmarks.bare", kind, str(port)]
            command += [str(self.prosody.componentPort(domain)), domain, stanza(domain)]
            folder = self._stack.enter_context(temporaryFolder(kind))
            process = Process(command, folder, environment())
            self._stack.callback(process.kill)
            process.start()
            eventually(lambda: _listens(process, port), f"{kind} to listen")
            self._bare[kind] = port
        return self._bare[kind]


def domainOf(name: str) -> str:
    """
    The component's domain of the bridge of this name.
    """
    return f"{name}.localhost"


def stanza(domain: str) -> str:
    """
    What all send, as XML.
    """
    return (
        f"<message from='bot@{domain}' to='someone@{SINK}' type='headline' id='load'>"
        f"<body>{BODY}</body></message>"
    )


def _listens(process: Process, port: int) -> bool:
    """
    Whether a process that must run is to be reached yet.
    """
    process.mustRun()
    with suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
        return True
    return False


def _replaced(text: str, old: str, new: str) -> str:
    """
    The text with C{new} for C{old}, which must be there.
    """
    assert text.count(old) == 1, f"{old!r} is not there once"
    return text.replace(old, new)
