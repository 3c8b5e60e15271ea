"""
The reference of the configuration: made of the declarations and of the sample.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import describe, sections
from tests.config.test_sample import SAMPLE


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = describe.page(SAMPLE.read_text("utf-8"))

    def entry(self, path: str) -> str:
        """
        What the page says of one key.
        """
        return self.page.partition(f"\n### `{path}`\n")[2].partition("\n#")[0]

    def test_complete(self) -> None:
        """
        Every section is there, and every key of it, with an example, words and what is allowed.
        """
        self.assertEqual(set(describe.TABLES), set(sections.CONFIGURATION.keys))
        for name, table in describe.TABLES.items():
            for key in table.keys:
                entry = self.entry(f"{name}.{key}")
                self.assertIn(f"\n{key} = ", entry)
                self.assertIn("\nMust ", entry)

    def test_limits(self) -> None:
        """
        What is allowed is said as a fault would say it.
        """
        self.assertIn("Must be an integer of at least 10000.", self.entry("http.max_body"))
        self.assertIn(
            'each item of which must be one of "message", "presence", "iq".', self.entry("callbacks.stanzas")
        )
        self.assertIn(
            'Must be a string, { file = "PATH" } or { env = "NAME" }.', self.entry("component.secret")
        )

    def test_words(self) -> None:
        """
        The comment of a key comes along as a whole, also in sections that are commented out.
        """
        self.assertIn(
            "false answers a round trip earlier, and a broken link may lose it.",
            self.entry("component.confirm"),
        )
        self.assertIn(
            "Whatever connect says, the certificate must be for the domain itself.",
            self.entry("users.ca_file"),
        )
        self.assertIn("## `[[callbacks]]`\n\nWhere stanzas to the component go over HTTP.", self.page)

    def test_defaults(self) -> None:
        """
        A default that the sample doesn't show is there.
        """
        sample = Path(SAMPLE).read_text("utf-8").replace("max_body = 196608", "max_body = 20000")
        entry = describe.page(sample).partition("`http.max_body`")[2].partition("\n#")[0]
        self.assertIn("max_body = 20000", entry)
        self.assertIn("Default: `196608`.", entry)
