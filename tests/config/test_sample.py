"""
The commented sample, and that it keeps up with the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

import restbridge
from restbridge.config import HTTP, Component, Configuration, Rest, Secret, Store, load, sections
from restbridge.config.reading import Table, attribute
from tests.config.written import SIGNING_KEY, Written
from tests.live.servers import writeCertificate

SAMPLE = Path(restbridge.__file__).parent.parent / "etc" / "restbridge.toml"


def declared() -> Mapping[str, Table[Any]]:
    """
    The sections by the headings that the sample gives them.
    """
    return {
        "[component]": sections.COMPONENT,
        "[http]": sections.WEB,
        "[metrics]": sections.METRICS,
        "[store]": sections.STORE,
        "[rest]": sections.REST,
        "[oauth2]": sections.OAUTH2,
        "[accounts.bot]": sections.ACCOUNT,
        '[users."example.com"]': sections.USER_DOMAIN,
        "[[callbacks]]": sections.CALLBACK,
    }


class SampleTests(Written):
    def uncommented(self) -> str:
        """
        The sample with every optional section switched on.
        """
        return re.sub(r"(?m)^# (?=\[|\w+ *= )", "", SAMPLE.read_text("utf-8"))

    def test_valid(self) -> None:
        """
        The sample can be started as it stands.
        """
        self.assertEqual(load(SAMPLE, {}).component.domain, "rest.example.com")  # type: ignore[union-attr]

    def test_examplesValid(self) -> None:
        """
        The sample is right in what it comments out, too.
        """
        writeCertificate(self.folder / "ca.pem", "example.com")
        configuration = self.read(self.uncommented(), WEBHOOK_SECRET=SIGNING_KEY, OAUTH2_SECRET="s")
        self.assertEqual(
            (set(configuration.accounts), set(configuration.users), len(configuration.callbacks)),
            ({"bot"}, {"example.com"}, 1),
        )

    def test_complete(self) -> None:
        """
        Every key is in the sample, in its section, with a comment.
        """
        blocks = re.split(r"(?m)^(?=\[)", self.uncommented())
        found = {block.splitlines()[0]: set(re.findall(r"(?m)^(\w+) *= .*", block)) for block in blocks[1:]}
        self.assertEqual(found, {heading: set(table.keys) for heading, table in declared().items()})

    def test_defaults(self) -> None:
        """
        What the sample shows for the keys of [component], [http], [store] and [rest] is the default.
        """
        configuration = load(SAMPLE, {})
        self.assertEqual(configuration.http, HTTP())
        self.assertEqual(configuration.store, Store())
        self.assertEqual(configuration.rest, Rest())
        component = Component(domain="rest.example.com", secret=Secret("change-me"))
        self.assertEqual(configuration.component, component)


class DeclarationTests(SynchronousTestCase):
    def test_attributes(self) -> None:
        """
        Every key has an attribute, and every attribute a key or a source of its own.
        """
        elsewhere = {"[accounts.bot]": {"name"}, '[users."example.com"]': {"domain"}}
        for heading, table in declared().items():
            self.assertEqual(
                {attribute(key) for key in table.keys} | elsewhere.get(heading, set()),
                set(attrs.fields_dict(table.shape)),
            )
        self.assertEqual(set(sections.CONFIGURATION.keys), set(attrs.fields_dict(Configuration)))
