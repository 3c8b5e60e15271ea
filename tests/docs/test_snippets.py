"""
What the documents show is right, as far as that can be said without a server.

L{tests.live.test_docs} does the rest.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import parse
from tests.docs.snippets import ROOT, Snippet, pages, snippets

NOT_RUN = {
    "all tests": "this test is one of them",
    "tox": "this test runs in one of its environments; that of the benchmarks takes half an hour",
    "MongooseIM": "Debian has no package of it; the bridge's tests know it by recordings",
    "mod_rest": "Debian has no package of this community module; tests.conformance has its recordings",
    "Grafana": "Debian has no package of it; what it sends is, by the next block",
    "Prometheus": "the tests do without its package, and read its rules themselves: tests.test_metrics",
    "tokens of users": "Prosody's packages take none; tests.live.test_login has servers that do",
    "authorization server": "there is none at auth.example.com; tests.live.test_oauth2 runs one",
    "outbox": "the numbers are those of messages; tests.live.test_outbox_command does all of it",
    "pip-audit": "it asks PyPI about advisories, which package mirrors don't know",
}
"""Why a block isn't run, by the name in its mark."""

LANGUAGES = {"sh", "python", "toml", "json", "xml", "lua", "yaml", "nginx", "haproxy", "http", "text"}
MINIMUM = '[component]\ndomain = "rest.example.com"\nsecret = "change-me"\n'
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENVIRONMENT = {"COMPONENT_SECRET": "s", "DATABASE_URL": "postgresql:///bridge", "WEBHOOK_SECRET": KEY}
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
MADE = "docs/json.md"
"""Made of the declarations; L{tests.stanzas.test_describe} has its examples."""


def shown(*languages: str) -> Iterator[Snippet]:
    """
    The blocks in some languages, on all pages.
    """
    for page in pages():
        yield from (each for each in snippets(page) if each.language in languages)


def tried(page: str) -> list[Snippet]:
    """
    The blocks of a page that are to be tried: commands, and the configurations of servers.
    """
    languages = {"sh", "lua", "yaml", "nginx", "haproxy"}
    return [each for each in snippets(page) if each.mark != "not run" and each.language in languages]


class SnippetTests(SynchronousTestCase):
    def test_languages(self) -> None:
        """
        Every block says what it is, in a language that something is done about.
        """
        strange = [
            f"{each}: {each.language!r}"
            for page in pages()
            for each in snippets(page)
            if each.language not in LANGUAGES
        ]
        self.assertEqual(strange, [])

    def test_notRun(self) -> None:
        """
        What isn't run has a reason, and no reason is left over.
        """
        named = {each.name for page in pages() for each in snippets(page) if each.mark == "not run"}
        self.assertEqual(named, set(NOT_RUN))

    def test_tried(self) -> None:
        """
        Every page with commands, or with configurations of servers, has a test that tries them.
        """
        tests = (ROOT / "tests" / "live" / "test_docs.py").read_text("utf-8")
        forgotten = [page for page in pages() if tried(page) and f'"{page}"' not in tests]
        self.assertEqual(forgotten, [])

    def test_shell(self) -> None:
        """
        Every command can be read by the shell, those that aren't run, too.
        """
        for each in shown("sh"):
            read = subprocess.run(
                ["bash", "-n"], input=each.text, text=True, capture_output=True, check=False
            )
            self.assertEqual((read.returncode, read.stderr), (0, ""), str(each))

    def test_python(self) -> None:
        """
        Every program can be compiled.
        """
        for each in shown("python"):
            compile(each.text, str(each), "exec")

    def test_json(self) -> None:
        """
        Every document can be read.
        """
        for each in shown("json"):
            try:
                json.loads(each.text)
            except ValueError as error:
                self.fail(f"{each}: {error}")

    def test_configuration(self) -> None:
        """
        Every piece of configuration is accepted, with a component where it needs one.
        """
        for each in shown("toml"):
            tree = tomllib.loads(each.text)
            if each.mark == "not run":
                continue
            text = each.text if "component" in tree or "users" in tree else MINIMUM + each.text
            parse(text.replace("whsec_...", KEY), Path(self.mktemp()), ENVIRONMENT)

    def test_links(self) -> None:
        """
        Every file that is linked exists.
        """
        for page in pages():
            for link in LINK.findall((ROOT / page).read_text("utf-8")):
                self.assertTrue((ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}")


class ExtractorTests(SynchronousTestCase):
    def test_blocks(self) -> None:
        """
        Fenced and indented blocks are found, in lists, too, each with its mark, its section and its line.
        """
        found = snippets("tests/docs/example.md")
        told = [(each.line, each.section, each.language, each.mark, each.name, each.text) for each in found]
        self.assertEqual(
            told,
            [
                (5, "", "sh", "", "", "echo one\n"),
                (10, "Second", "python", "file", "try/two.py", "print(2)\n"),
                (16, "Second", "sh", "terminal", "", "sleep 3\n"),
                (20, "Second", "text", "prints", "", "four\n"),
            ],
        )
