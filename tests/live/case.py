"""
The ground that the tests with real servers stand on.

A promise is written once, in a mixin, and kept on each server: C{class OnProsody(Promises, LiveCase)}. The
server, the bridge and the webhook's receiver live as long as the tests of one class. They are started by the
first C{setUp} and not by C{setUpClass}, since trial does not call that for plain C{unittest} classes.
"""

from __future__ import annotations

import atexit
import traceback
import unittest
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tests.live.bridge import Bridge, componentTable
from tests.live.client import Client
from tests.live.receiver import Receiver
from tests.live.relay import Relay
from tests.live.servers import Server, passwordOf

BRIDGE = "bridge.localhost"


class Stage:
    """
    What lives as long as the tests of a class.

    @ivar relay: the cable by which the bridge is attached to the server.
    """

    def __init__(self, case: type[LiveCase]) -> None:
        self._stack = ExitStack()
        try:
            self._set(case)
        except BaseException:
            self.close()
            raise

    def _set(self, case: type[LiveCase]) -> None:
        """
        Start everything, the server first.
        """
        self.server = self._stack.enter_context(case.makeServer())
        self.server.start()
        self.receiver = Receiver()
        self._stack.callback(self.receiver.close)
        self.relay = Relay(self.server.componentPort(BRIDGE))
        self._stack.callback(self.relay.close)
        if case.needsBridge:
            component = componentTable(self.relay.port if case.throughRelay else self.relay.target)
            sections = dict(case.sections)
            if users := case.users(self.server):
                sections["users"] = users
            bridge = Bridge(component, case.callbacks(self.receiver), **sections)
            bridge.process.command += case.options
            self.bridge = self._stack.enter_context(bridge).start()

    def close(self) -> None:
        """
        Stop everything, the server last.
        """
        self._stack.close()


class LiveCase(unittest.TestCase):
    """
    A test with a real server, and what belongs to it.

    @cvar makeServer: the server's class.
    @cvar sections: further sections of the bridge's configuration.
    @cvar options: of the command line, for each bridge.
    @cvar throughRelay: whether the bridge reaches the server by the relay, which counts its connections.
    """

    makeServer: ClassVar[type[Server]]
    needsBridge: ClassVar[bool] = True
    throughRelay: ClassVar[bool] = True
    sections: ClassVar[dict[str, Any]] = {}
    options: ClassVar[Sequence[str]] = ()

    _stages: ClassVar[dict[type[LiveCase], Stage | BaseException]] = {}

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        The sections C{[[callbacks]]} of the bridge's configuration.
        """
        return []

    @classmethod
    def users(cls, server: Server) -> dict[str, Any]:
        """
        The sections C{[users."DOMAIN"]} of the bridge's configuration, by their domains.
        """
        return {}

    def setUp(self) -> None:
        """
        Find the stage set, and see to it that the bridge's log stays clean.
        """
        stage = self._findStage()
        self.server, self.receiver, self.relay = stage.server, stage.receiver, stage.relay
        self.receiver.clear()
        self._failures: list[str] = []
        self.addCleanup(self._tellFailures)
        self._attachments = self.relay.connections
        if self.needsBridge:
            self.bridge = stage.bridge
            self.watch(self.bridge)

    def watch(self, bridge: Bridge) -> None:
        """
        Fail when the bridge's log holds a traceback from here to the end of the test.
        """
        since = bridge.process.logSize()
        self.addCleanup(lambda: self.assertEqual([], bridge.faults(since), "the bridge's log holds faults"))

    def startBridge(self, component: dict[str, Any] | None, ready: bool = True, **more: Any) -> Bridge:
        """
        A bridge for this test alone.
        """
        bridge = Bridge(component, **more)
        bridge.process.command += self.options
        self.addCleanup(bridge.close)
        self.watch(bridge)
        return bridge.start(ready)

    def login(self, account: str, resource: str = "phone") -> Client:
        """
        Log in with slixmpp, for this test.
        """
        client = Client()
        self.addCleanup(client.close)
        client.connect(f"{account}@localhost/{resource}", passwordOf(account), self.server.c2sPort)
        return client

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """
        A part of the test that may fail without ending it, as C{subTest}, whose name trial would not tell.
        """
        try:
            yield
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[1:]
            lines = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(where))
            self._failures.append(f"{name}: {type(error).__name__}: {error}\n    {lines}")

    def assertAttached(self) -> None:
        """
        The bridge serves, by the connection that it had when the test began.
        """
        answer = self.bridge.get("/rest/ping/localhost")
        self.assertEqual((200, "result"), (answer.status, answer.json()["type"]))
        self.assertEqual(
            self._attachments, self.relay.connections, "the stream to the server dropped meanwhile"
        )

    def _tellFailures(self) -> None:
        """
        Fail if a part has failed.
        """
        if self._failures:
            self.fail("\n".join([f"{len(self._failures)} parts failed", *self._failures]))

    @classmethod
    def _findStage(cls) -> Stage:
        """
        The stage of this class; that of another class is taken down first. One that failed stays failed.
        """
        if cls not in LiveCase._stages:
            clear()
            try:
                LiveCase._stages[cls] = Stage(cls)
            except BaseException as error:
                LiveCase._stages[cls] = error
        found = LiveCase._stages[cls]
        if isinstance(found, BaseException):
            raise found
        return found


if TYPE_CHECKING:
    Promises = LiveCase
else:
    Promises = object
"""What a mixin derives from: to the type checker a case, to the test runner nothing that could be run."""


def clear() -> None:
    """
    Take down what stands.
    """
    for case, stage in list(LiveCase._stages.items()):
        if isinstance(stage, Stage):
            del LiveCase._stages[case]
            stage.close()


atexit.register(clear)
