"""
The house keeps its walls: which room may know which (DESIGN.md).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import restbridge

HOUSE = Path(restbridge.__file__).parent

KNOWS = {
    "stanzas": set[str](),
    "config": {"stanzas"},
    "workers": set[str](),
    "logs": set[str](),
    "tally": set[str](),
    "reload": {"config"},
    "xmpp": {"stanzas", "boundaries", "logs", "workers"},
    "store": {"stanzas"},
    "outbox": {"config", "store"},
    "bots": {"stanzas", "boundaries", "config", "xmpp"},
    "memory": set[str](),
    "steady": set[str](),
    "standby": {"steady", "store", "xmpp"},
    "web": {"stanzas", "boundaries", "config", "logs", "store", "tally", "workers"},
    "users": {"stanzas", "boundaries", "config", "web", "xmpp", "workers"},
    "rest": {"stanzas", "boundaries", "config", "web", "xmpp"},
    "clientapi": {"stanzas", "boundaries", "config", "store", "web", "xmpp"},
    "openapi": {"stanzas", "clientapi", "rest", "web"},
    "webhook": {"stanzas", "boundaries", "config", "store", "tally", "web", "xmpp"},
    "metrics": {"config", "tally", "users", "web", "webhook", "xmpp"},
}
"""Room -> the rooms that it may import."""

PURE = ("stanzas", "config", "boundaries")


def imports(path: Path) -> Iterator[str]:
    """
    The names of the modules that a file imports.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def room(path: Path) -> str:
    """
    The room that a file is in: its folder in the house, or its own name.
    """
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


class ArchitectureTests(SynchronousTestCase):
    def files(self) -> Iterator[Path]:
        return HOUSE.rglob("*.py")

    def test_arrowsPointOneWay(self) -> None:
        """
        A room imports only the rooms that it may know.
        """
        wrong = [
            f"{path.relative_to(HOUSE)} imports {name}"
            for path in self.files()
            if room(path) in KNOWS
            for name in imports(path)
            if name.startswith("restbridge.")
            and name.split(".")[1] not in KNOWS[room(path)] | {room(path), "_version"}
        ]
        self.assertEqual(wrong, [])

    def test_pureRoomsStayPure(self) -> None:
        """
        What is pure imports no reactor, no Klein, no treq and no wokkel.
        """
        wrong = [
            f"{path.relative_to(HOUSE)} imports {name}"
            for path in self.files()
            if room(path) in PURE
            for name in imports(path)
            if name.split(".")[0] in ("klein", "treq", "wokkel") or name == "twisted.internet.reactor"
        ]
        self.assertEqual(wrong, [])

    def test_wokkelInOneRoom(self) -> None:
        """
        Only xmpp/ imports wokkel.
        """
        users = {room(path) for path in self.files() if any(n.startswith("wokkel") for n in imports(path))}
        self.assertEqual(users, {"xmpp"})
