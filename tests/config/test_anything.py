"""
Nothing but a refusal comes of a bad configuration.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import ConfigurationRefused, Fault, parse, sections
from restbridge.config.reading import Place
from tests.config.written import HASH, SIGNING_KEY, TOKEN

NAMES = [
    "component",
    "http",
    "metrics",
    "store",
    "rest",
    "accounts",
    "users",
    "callbacks",
    "domain",
    "secret",
]
NAMES += [
    "connect",
    "listen",
    "max_body",
    "cors_origins",
    "iq_timeout",
    "password",
    "tokens",
    "send_as",
    "tls",
]
NAMES += ["url", "format", "stanzas", "to", "headers", "timeout", "file", "env", "ca_file", "trusted_proxies"]
TEXTS = [
    "tcp:127.0.0.1:1",
    "unix:/x",
    "https://app/{to}",
    "off",
    "example.com",
    "*",
    HASH,
    TOKEN,
    SIGNING_KEY,
]
PRINTABLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
KEYS = st.sampled_from(NAMES) | PRINTABLE
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.just(date(2077, 11, 22))),
    *(st.sampled_from(TEXTS), PRINTABLE),
)
TREES = st.recursive(
    LEAVES.filter(lambda leaf: leaf is not None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


class AnythingTests(SynchronousTestCase):
    @given(st.dictionaries(KEYS, TREES, max_size=4))
    def test_refusedOrRead(self, tree: dict[str, Any]) -> None:
        """
        Whatever stands in a TOML document, it is read or refused, in lines.
        """
        place = Place(folder=Path("/nonesuch"), environ={})
        try:
            sections.read(tree, place)
        except ConfigurationRefused as refused:
            self.assertEqual(len(str(refused).splitlines()), len(refused.faults))
            self.assertTrue(all(isinstance(fault, Fault) and fault.problem for fault in refused.faults))

    @given(PRINTABLE)
    def test_text(self, text: str) -> None:
        """
        Whatever stands in a file, it is read or refused.
        """
        self.assertRaises(ConfigurationRefused, parse, text, Path("/nonesuch"), {})
