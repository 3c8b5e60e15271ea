"""
L{restbridge.systemd}, and the unit file.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import time
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]  # for others, too
from twisted.trial.unittest import SynchronousTestCase

import restbridge
from restbridge.config import HTTP, parse
from restbridge.lifecycle import GRACE, PATIENCE
from restbridge.systemd import EVERY, Supervision, interval, notify

UNITS = Path(restbridge.__file__).parents[1] / "etc/systemd"

KNOWN = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec", "StartLimitBurst"},
    "Install": {"WantedBy"},
    "Service": {
        *(
            "Type",
            "NotifyAccess",
            "ExecStart",
            "ExecReload",
            "Environment",
            "User",
            "WorkingDirectory",
            "UMask",
        ),
        *("StateDirectory", "StateDirectoryMode", "Restart", "RestartSec", "WatchdogSec"),
        *("KillSignal", "TimeoutStopSec", "LimitNOFILE", "LimitCORE"),
        *("CapabilityBoundingSet", "NoNewPrivileges", "RestrictSUIDSGID"),
        *("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectClock"),
        *("ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules"),
        *("ProtectKernelTunables", "ProtectProc", "ProcSubset", "RemoveIPC"),
        *("RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "LockPersonality"),
        *("SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber"),
    },
}
"""Options of systemd.unit(5), systemd.service(5) and systemd.exec(5) that the unit may use, by section."""


class SystemdTestCase(SynchronousTestCase):
    """
    A test with a socket such as systemd listens on.
    """

    def listen(self, address: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(address)
        listening.setblocking(False)
        return listening

    def heard(self, listening: socket.socket) -> list[str]:
        """
        What was sent so far.
        """
        found = []
        while True:
            try:
                found.append(listening.recv(4096).decode())
            except BlockingIOError:
                return found


class NotifyTests(SystemdTestCase):
    def test_path(self) -> None:
        """
        The address may be a path.
        """
        path = self.mktemp()
        # From the folder of the test: a path of a socket is 107 bytes at most.
        listening = self.listen(os.path.relpath(path))
        notify(os.path.relpath(path), "READY=1", "STATUS=fine")
        self.assertEqual(self.heard(listening), ["READY=1\nSTATUS=fine"])

    def test_abstract(self) -> None:
        """
        It may be a name without a file, which begins with an C{@}.
        """
        name = f"restbridge-test-{os.getpid()}"
        listening = self.listen(f"\0{name}")
        notify(f"@{name}", "READY=1")
        self.assertEqual(self.heard(listening), ["READY=1"])

    def test_nobody(self) -> None:
        """
        Nobody there is nothing to fail over.
        """
        notify(self.mktemp(), "READY=1")

    def test_full(self) -> None:
        """
        Nor is it waited for somebody who doesn't read.
        """
        name = f"restbridge-test-{os.getpid()}"
        listening = self.listen(f"\0{name}")
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for _ in range(2000):
            notify(f"@{name}", "WATCHDOG=1")
        self.assertLess(len(self.heard(listening)), 2000)


class IntervalTests(SynchronousTestCase):
    def test_half(self) -> None:
        """
        A sign of life is given twice in the time that systemd waits for one.
        """
        self.assertEqual(interval({"WATCHDOG_USEC": "30000000"}), 15.0)
        self.assertEqual(interval({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}), 0.5)

    def test_none(self) -> None:
        """
        None is given where none is waited for, or one of another process.
        """
        for environment in (
            {},
            {"WATCHDOG_USEC": ""},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        ):
            self.assertIsNone(interval(environment))


class SupervisionTests(SystemdTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reason: str | None = "can't connect:\n  refused"
        self.name = f"restbridge-test-{os.getpid()}"
        self.listening = self.listen(f"\0{self.name}")

    def start(self, environment: Mapping[str, str]) -> Supervision:
        service = Supervision(environment=environment, whyDown=lambda: self.reason, reactor=self.reactor)
        service.startService()
        return service

    def test_ready(self) -> None:
        """
        systemd hears that the bridge is ready when the reactor runs, though the XMPP server is down: that is
        said in the status, in one line.
        """
        self.start({"NOTIFY_SOCKET": f"@{self.name}"})
        self.assertEqual(self.heard(self.listening), [])
        self.reactor.run()
        self.assertEqual(self.heard(self.listening), ["READY=1", "STATUS=can't connect: refused"])

    def test_status(self) -> None:
        """
        The status is said again when it changes.
        """
        self.start({"NOTIFY_SOCKET": f"@{self.name}"})
        self.reactor.run()
        self.heard(self.listening)
        self.reactor.advance(EVERY)
        self.assertEqual(self.heard(self.listening), [])
        self.reason = None
        self.reactor.advance(EVERY)
        self.assertEqual(self.heard(self.listening), ["STATUS=ok"])

    def test_watchdog(self) -> None:
        """
        Signs of life come from the reactor, often enough, until the bridge has stopped.
        """
        service = self.start({"NOTIFY_SOCKET": f"@{self.name}", "WATCHDOG_USEC": "2000000"})
        self.reactor.run()
        self.heard(self.listening)
        self.reactor.pump([1.0] * 3)
        self.assertEqual(self.heard(self.listening), ["WATCHDOG=1"] * 3)
        service.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopping(self) -> None:
        """
        systemd hears of a stop when it begins.
        """
        self.start({"NOTIFY_SOCKET": f"@{self.name}"})
        ((call, arguments, named),) = self.reactor.triggers["before"]["shutdown"]
        call(*arguments, **named)
        self.assertEqual(self.heard(self.listening), ["STOPPING=1"])

    def test_reload(self) -> None:
        """
        systemd hears of a reload by its own clock, in one message, and of its end.
        """
        service = self.start({"NOTIFY_SOCKET": f"@{self.name}"})
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        service.reloading()
        service.reloaded()
        began, ended = self.heard(self.listening)
        state, when = began.splitlines()
        self.assertEqual(("RELOADING=1", "READY=1"), (state, ended))
        self.assertIn(int(when.removeprefix("MONOTONIC_USEC=")) - before, range(5_000_000))

    def test_none(self) -> None:
        """
        Without systemd nothing is done.
        """
        service = self.start({"WATCHDOG_USEC": "2000000"})
        self.reactor.run()
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.triggers), ([], {}))
        service.stopService()


def unit(name: str) -> ConfigParser:
    """
    A unit file; of an option that is there several times the last one.
    """
    parser = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # case counts
    parser.read_string((UNITS / name).read_text("utf-8"))
    return parser


class UnitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.unit = unit("restbridge.service")
        self.service = self.unit["Service"]

    def test_known(self) -> None:
        """
        Each option is one that systemd knows in its section: it would pass over another, with a warning.
        """
        self.assertEqual(set(self.unit.sections()), set(KNOWN))
        for section, known in KNOWN.items():
            self.assertEqual(set(self.unit[section]) - known, set(), section)

    def test_command(self) -> None:
        """
        The command that it starts is one that twistd takes, in the foreground, without a pidfile.
        """
        command, *arguments = shlex.split(self.service["ExecStart"])
        self.assertTrue(command.startswith("/") and command.endswith("/bin/twistd"))
        self.assertEqual(arguments[-3:], ["restbridge", "--config", "/etc/restbridge/restbridge.toml"])
        options = ServerOptions()
        # The subcommand would read the configuration.
        options.parseOptions(arguments[:-3])
        self.assertEqual((options["nodaemon"], options["pidfile"]), (1, ""))
        self.assertIn("restbridge", [name for name, *_ in options.subCommands])

    def test_times(self) -> None:
        """
        systemd waits for longer than a stop takes before it kills, and the watchdog for longer than a status.
        """
        self.assertGreater(int(self.service["TimeoutStopSec"]), PATIENCE + 6 * GRACE)
        self.assertGreater(int(self.service["WatchdogSec"]), 2 * EVERY)

    def test_notify(self) -> None:
        """
        systemd waits to be told, by the process itself.
        """
        self.assertEqual((self.service["Type"], self.service["NotifyAccess"]), ("notify", "main"))
        self.assertIn("AF_UNIX", self.service["RestrictAddressFamilies"].split())

    def test_reload(self) -> None:
        """
        A reload is refused where the configuration that it starts with is, and then by the same program.
        """
        lines = (UNITS / "restbridge.service").read_text("utf-8").splitlines()
        first, second = (line.partition("=")[2] for line in lines if line.startswith("ExecReload="))
        self.assertEqual(f"{self.service['ExecStart']} --check", first)
        self.assertEqual(["/bin/kill", "-HUP", "$MAINPID"], second.split())


class SocketTests(SynchronousTestCase):
    def test_port(self) -> None:
        """
        The socket that systemd may open instead is the one that the bridge would, and its file says how it is
        configured.
        """
        text = (UNITS / "restbridge.socket").read_text("utf-8")
        _, port, interface = HTTP().listen[0].split(":")
        address = f"{interface.removeprefix('interface=')}:{port}"
        self.assertEqual({"ListenStream": address}, dict(unit("restbridge.socket")["Socket"]))
        (listen,) = re.findall(r'^#   listen = "(.*)"$', text, re.MULTILINE)
        component = '[component]\ndomain = "a.example"\nsecret = "s"\n'
        read = parse(f'{component}[http]\nlisten = "{listen}"\n', Path(), {})
        self.assertEqual((listen,), read.http.listen)
