"""
L{restbridge.tap}: how C{twistd restbridge} starts.
"""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from restbridge.bots.service import Bots
from restbridge.config import HTTP, Configuration, parse
from restbridge.reload import Reload
from restbridge.standby import Standby
from restbridge.stanzas.jid import JID
from restbridge.store.database import Database
from restbridge.systemd import Supervision
from restbridge.tap import Options, _holder, assemble, bridge
from restbridge.users.sessions import Sessions
from restbridge.web.credentials import tokenHash
from restbridge.web.serving import HangUp, Serving
from restbridge.webhook.service import Webhooks
from restbridge.xmpp.component import Component
from tests.web.client import Client

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

    def test_check(self) -> None:
        """
        C{--check} says that all is right and ends with 0, or with the faults, and 1; a demo has nothing to
        check.
        """
        said = StringIO()
        self.patch(sys, "stdout", said)
        Path("restbridge.toml").write_text(CONFIGURATION)
        with self.assertRaises(SystemExit) as caught:
            self.read("--check")
        self.assertIn(caught.exception.code, (None, 0))
        self.assertTrue(said.getvalue().endswith("restbridge.toml: all right\n"))
        Path("restbridge.toml").write_text(CONFIGURATION + "[http]\nmax_bodi = 5\n")
        with self.assertRaises(SystemExit) as caught:
            self.read("--check")
        self.assertIn("http.max_bodi: unknown key", str(caught.exception.code))
        self.assertRaises(UsageError, self.read, "--check", "--demo")

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
        the streams, then the webhooks, whose replies do, also those to rooms; the store behind all that write
        to it.
        """
        configuration = parse(CONFIGURATION + '[users."example.com"]\n', Path(), {})
        stops = [type(service) for service in reversed(list(bridge(configuration, MemoryReactorClock())))]
        order = [
            stops.index(kind)
            for kind in (Serving, Webhooks, Bots, Component, Sessions, Database, HangUp, Supervision)
        ]
        self.assertEqual(order, sorted(order))

    def test_reload(self) -> None:
        """
        A bridge whose configuration is from a file reads it again, until its stop begins; all that has
        accounts and callbacks changes then.
        """
        reactor = MemoryReactorClock()
        whole = bridge(parse(CONFIGURATION, Path(), {}), reactor, Path("restbridge.toml"))
        self.assertIsInstance(list(whole)[-1], Reload)
        parts = assemble(parse(CONFIGURATION, Path(), {}), reactor)
        (webhooks,) = (service for service in parts.services if isinstance(service, Webhooks))
        # Others look at it.
        receivers = webhooks.callbacks.receivers
        changed = (
            CONFIGURATION
            + f"""
            [accounts.bot]
            tokens = ["{tokenHash("bot's")}"]
            rooms = ["team@conference.example.com"]
            [[callbacks]]
            url = "https://app.example.com/"
        """
        )

        def status() -> int:
            bearer = {"Authorization": "Bearer bot's"}
            return Client(parts.site).request("GET", "/rest/ping/localhost", bearer).status

        self.assertEqual(403, status())
        parts.change(parse(changed, Path(), {}))
        # There is no server.
        self.assertEqual(503, status())
        (bots,) = (service for service in parts.services if isinstance(service, Bots))
        bot, room = JID.parse("bot@rest.example.com"), JID.parse("team@conference.example.com")
        self.assertEqual("restbridge", bots.occupant(bot, room).resource)
        self.assertEqual(["https://app.example.com/"], [each.settings.url for each in receivers])

    def test_holder(self) -> None:
        """
        Bridges that share a database are known by their components, or by where they listen.
        """

        def alone(port: int) -> str:
            return _holder(Configuration(http=HTTP(listen=(f"tcp:{port}",))))

        self.assertEqual("rest.example.com", _holder(parse(CONFIGURATION, Path(), {})))
        self.assertEqual(alone(8080), alone(8080))
        self.assertNotEqual(alone(8080), alone(8081))

    def test_standby(self) -> None:
        """
        One that may have to wait for another needs the store from the start, and lets others take over behind
        the end of its stream; it is taken for nobody else, also on the same machine.
        """
        configuration = parse(CONFIGURATION + "standby = true\n", Path(), {})
        services = bridge(configuration, MemoryReactorClock())
        (store,) = (service for service in services if isinstance(service, Database))
        self.assertTrue(store._needed)
        stops = [type(service) for service in reversed(list(services))]
        order = [stops.index(kind) for kind in (Webhooks, Component, Standby, Database)]
        self.assertEqual(order, sorted(order))
        self.assertNotEqual(_holder(configuration), _holder(configuration))

    def test_withoutComponent(self) -> None:
        """
        Without a component there is nothing to be down.
        """
        parts = assemble(Configuration(http=HTTP()), MemoryReactorClock())
        self.assertEqual([type(service) for service in parts.services], [Database, Sessions])
