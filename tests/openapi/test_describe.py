"""
The reference of the HTTP API: made of what a bridge serves as C{/openapi.json}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge.openapi.describe import METHODS, STANZAS, page
from restbridge.openapi.document import document


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = page()

    def test_complete(self) -> None:
        """
        Every call is there once, with every status, and every document.
        """
        described = document()
        for path, item in described["paths"].items():
            for method in METHODS:
                if method in item:
                    _, heading, rest = self.page.partition(f"\n### `{method.upper()} {path}`\n")
                    self.assertTrue(heading, path)
                    entry = rest.partition("\n#")[0]
                    for status in item[method]["responses"]:
                        self.assertIn(f"\n| {status} | ", entry)
        for name, schema in described["components"]["schemas"].items():
            if "properties" in schema and name not in STANZAS:
                self.assertEqual(self.page.count(f"\n### {name}\n"), 1)

    def test_shared(self) -> None:
        """
        The parameters that the calls of a path share are with each of them; references are followed.
        """
        entry = self.page.partition("### `PUT /api/rooms/{id}/config`")[2].partition("\n### ")[0]
        self.assertIn("| `id` (required) | path |", entry)
        self.assertNotIn("$ref", self.page)
