"""
C{docs/security.md}: what it names is there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests\.[\w.]+)`")
LINKED = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def isThere(name: str) -> bool:
    """
    Whether a module, package, class or test of that dotted name is written down; nothing is imported.
    """
    path, rest = ROOT, name.split(".")
    while rest and (path / rest[0]).is_dir():
        path /= rest.pop(0)
    if not rest:
        return (path / "__init__.py").exists()
    module = path / f"{rest.pop(0)}.py"
    if not module.exists():
        return False
    scope: ast.AST = ast.parse(module.read_text("utf-8"))
    for part in rest:
        inner = [each for each in ast.iter_child_nodes(scope) if getattr(each, "name", None) == part]
        if not inner:
            return False
        scope = inner[0]
    return True


class SecurityDocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "security.md").read_text("utf-8")

    def test_tests(self) -> None:
        """
        Every test that is named as proof exists.
        """
        named = NAMED.findall(self.text)
        self.assertGreater(len(named), 50)
        self.assertEqual([name for name in named if not isThere(name)], [])

    def test_proof(self) -> None:
        """
        Every line of the tables of threats names a test.
        """
        rows = [line for line in self.text.splitlines() if line.startswith("|") and line.count("|") == 4]
        bare = [
            line
            for line in rows
            if not NAMED.search(line) and not line.startswith(("| against |", "| --- |"))
        ]
        self.assertEqual(bare, [])

    def test_links(self) -> None:
        """
        Every file that is linked exists.
        """
        for link in LINKED.findall(self.text):
            self.assertTrue((ROOT / "docs" / link).exists(), link)

    def test_missing(self) -> None:
        """
        What doesn't exist is noticed, be it a test, a class or a module.
        """
        own = f"{__name__}.SecurityDocumentTests"
        self.assertTrue(isThere(f"{own}.test_missing"))
        self.assertTrue(isThere("tests.web"))
        for name in (f"{own}.test_none", f"{__name__}.NoTests", "tests.test_none", "tests.none.test_none"):
            self.assertFalse(isThere(name), name)
