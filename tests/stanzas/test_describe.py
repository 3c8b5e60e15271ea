"""
docs/json.md says what is true.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.describe import page
from restbridge.stanzas.kinds import KINDS
from restbridge.stanzas.mapping import fromJSON, toJSON
from restbridge.stanzas.payloads.commands import STEPS

PAGE = Path(__file__).parent.parent.parent / "docs" / "json.md"

SHOWN_OTHERWISE = {"join", "formdata", "archive", "disco"}
"""Examples of abbreviations, and of what is shown with more than was given."""


class PageTests(SynchronousTestCase):
    """
    The page and its examples.
    """

    def test_current(self) -> None:
        """
        The page is what the declarations make of it.
        """
        self.assertEqual(PAGE.read_text(encoding="utf-8"), page())

    def test_examples(self) -> None:
        """
        Every example is understood whole, and shown as it was given.
        """
        for kind in KINDS.values():
            for payload in kind.payloads:
                mapped = fromJSON({"kind": kind.name, payload.key: payload.example})
                self.assertEqual(mapped.ignored, ())
                if payload.key not in SHOWN_OTHERWISE:
                    shown = toJSON(mapped.stanza)
                    self.assertEqual(shown[payload.key], payload.example, payload.title)

    def test_steps(self) -> None:
        """
        So is every step of the worked command.
        """
        for _, json in STEPS:
            mapped = fromJSON(json)
            self.assertEqual(mapped.ignored, ())
            if "data" not in json.get("command", {}):
                self.assertEqual(toJSON(mapped.stanza), json)
