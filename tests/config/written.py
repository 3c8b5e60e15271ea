"""
What the tests of the configuration share.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import Configuration, ConfigurationRefused, parse

COMPONENT = '[component]\ndomain = "rest.example.com"\nsecret = "s3same"\n'
HASH = "$argon2id$v=19$m=65536,t=3,p=4$WmmskLFdmkKcJfxC+8ojxA$0DryjWaSe+/JSbim4l62dU5AO4FAxWyqHR7863pwIII"
TOKEN = "sha256:" + "0123456789abcdef" * 4
SIGNING_KEY = "whsec_" + b64encode(bytes(range(24))).decode()


class Written(SynchronousTestCase):
    """
    A folder for the files of a test, and what a text in it means.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path

    def read(self, text: str, **environ: str) -> Configuration:
        return parse(text, self.folder, environ)

    def faults(self, text: str, **environ: str) -> list[str]:
        refused = self.assertRaises(ConfigurationRefused, self.read, text, **environ)
        self.assertEqual(str(refused).splitlines(), [str(fault) for fault in refused.faults])
        return str(refused).splitlines()

    def assertRefused(self, text: str, *expected: str) -> None:
        """
        The text has exactly these faults, each given by how its line begins.
        """
        found = self.faults(text)
        self.assertEqual(len(found), len(expected), found)
        begun = [line[: len(start)] for line, start in zip(found, expected, strict=True)]
        self.assertEqual(begun, list(expected), found)
