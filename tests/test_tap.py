"""
L{restbridge.tap}: how C{twistd restbridge} starts.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import HTTP, Configuration, parse
from restbridge.store.database import Database
from restbridge.systemd import Supervision
from restbridge.tap import Options, _holder, assemble, bridge
from restbridge.users.sessions import Sessions
from restbridge.web.serving import HangUp, Serving
from restbridge.webhook.service import Webhooks
from restbridge.xmpp.component import Component

CONFIGURATION = """
[component]
domain = "rest.example.com"
secret = "change-me"
"""


class OptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.patch(os, "environ", {})
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)

    def read(self, *arguments: str) -> Configuration:
        options = Options()
        options.parseOptions(list(arguments))
        found: Configuration = options["configuration"]
        return found

    def test_plugin(self) -> None:
        """
        twistd knows restbridge.
        """
        self.assertIn("restbridge", [maker.tapname for maker in getPlugins(IServiceMaker)])

    def test_config(self) -> None:
        """
        The configuration is the file that --config names, else the one that is found.
        """
        Path("named.toml").write_text(CONFIGURATION)
        component = self.read("--config", "named.toml").component
        assert component is not None
        self.assertEqual(component.domain, "rest.example.com")
        Path("restbridge.toml").write_text(CONFIGURATION)
        self.assertIsNotNone(self.read().component)

    def test_faults(self) -> None:
        """
        A faulty configuration ends the start with its faults alone, and without a traceback.
        """
        Path("restbridge.toml").write_text(CONFIGURATION + "[http]\nmax_bodi = 5\n")
        with self.assertRaises(SystemExit) as caught:
            self.read()
        self.assertIn("http.max_bodi: unknown key", str(caught.exception))

    def test_none(self) -> None:
        """
        Without a configuration the places that were looked at are named, and --demo.
        """
        with self.assertRaises(SystemExit) as caught:
            self.read()
        for place in ("RESTBRIDGE_CONFIG", "restbridge.toml", "/etc/restbridge/restbridge.toml", "--demo"):
            self.assertIn(place, str(caught.exception))

    def test_usage(self) -> None:
        """
        An unknown option is refused.
        """
        self.assertRaises(UsageError, Options().parseOptions, ["--nonsense"])


class BridgeTests(SynchronousTestCase):
    def test_built(self) -> None:
        """
        Building a bridge touches no network: it listens and connects when it is started.
        """
        reactor = MemoryReactorClock()
        configuration = parse(CONFIGURATION, Path(), {})
        whole = bridge(configuration, reactor)
        self.assertEqual((reactor.tcpServers, reactor.tcpClients), ([], []))
        self.assertIn(Component, [type(service) for service in whole])
        (serving,) = (service for service in whole if isinstance(service, Serving))
        ports = [type(service) for service in serving]
        self.assertEqual(ports, [StreamServerEndpointService] * len(configuration.http.listen))

    def test_order(self) -> None:
        """
        The parts stop in an order in which each still has what it needs: the ports first, whose requests need
        the streams, then the webhooks, whose replies do; the store behind all that write to it.
        """
        configuration = parse(CONFIGURATION + '[users."example.com"]\n', Path(), {})
        stops = [type(service) for service in reversed(list(bridge(configuration, MemoryReactorClock())))]
        order = [
            stops.index(kind)
            for kind in (Serving, Webhooks, Component, Sessions, Database, HangUp, Supervision)
        ]
        self.assertEqual(order, sorted(order))

    def test_holder(self) -> None:
        """
        Bridges that share a database are known by their components, or by where they listen.
        """

        def alone(port: int) -> str:
            return _holder(Configuration(http=HTTP(listen=(f"tcp:{port}",))))

        self.assertEqual("rest.example.com", _holder(parse(CONFIGURATION, Path(), {})))
        self.assertEqual(alone(8080), alone(8080))
        self.assertNotEqual(alone(8080), alone(8081))

    def test_withoutComponent(self) -> None:
        """
        Without a component there is nothing to be down.
        """
        parts = assemble(Configuration(http=HTTP()), MemoryReactorClock())
        self.assertEqual([type(service) for service in parts.services], [Database, Sessions])
