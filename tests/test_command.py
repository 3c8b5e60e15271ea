"""
The console script.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

from argon2 import PasswordHasher
from twisted.trial.unittest import SynchronousTestCase

from restbridge import command
from restbridge.config import parse


class Terminal(StringIO):
    """
    Standard input that a person types at.
    """

    def isatty(self) -> bool:
        return True


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.out = StringIO()
        self.err = StringIO()

    def run_(self, *arguments: str) -> int:
        with redirect_stdout(self.out), redirect_stderr(self.err):
            return command.main(arguments)

    def typing(self, text: str) -> None:
        self.patch(sys, "stdin", StringIO(text))

    def write(self, text: str) -> str:
        path = self.folder / "restbridge.toml"
        path.write_text(text)
        return str(path)


class CheckConfigTests(CommandTests):
    def test_right(self) -> None:
        """
        A configuration without a mistake is 0, and one line that says so.
        """
        path = self.write('[users."example.com"]')
        self.assertEqual(self.run_("check-config", path), 0)
        self.assertEqual(self.out.getvalue(), f"{path}: all right\n")

    def test_wrong(self) -> None:
        """
        Mistakes are 1, and a line each on standard output.
        """
        path = self.write('[users."example.com"]\nidel = 1\n[rest]\niq_timeout = "soon"\n')
        self.assertEqual(self.run_("check-config", path), 1)
        self.assertEqual(
            [line.partition(":")[0] for line in self.out.getvalue().splitlines()],
            ["rest.iq_timeout", 'users."example.com".idel'],
        )
        self.assertEqual(self.err.getvalue(), "")

    def test_relative(self) -> None:
        """
        Files that the configuration names are looked for beside it.
        """
        (self.folder / "secret").write_text("x\n")
        path = self.write('[component]\ndomain = "a"\nsecret = { file = "secret" }')
        self.assertEqual(self.run_("check-config", path), 0, self.out.getvalue())

    def test_unreadable(self) -> None:
        """
        A file that isn't there is one line and 1, not a traceback.
        """
        self.assertEqual(self.run_("check-config", "/nonesuch"), 1)
        self.assertEqual(self.out.getvalue(), "/nonesuch can't be read: No such file or directory\n")


class HashPasswordTests(CommandTests):
    def test_hash(self) -> None:
        """
        The first line of standard input comes out as an Argon2id hash, which the configuration takes.
        """
        self.typing("correct horse \r\nbattery\n")
        self.assertEqual(self.run_("hash-password"), 0)
        (printed,) = self.out.getvalue().splitlines()
        self.assertTrue(printed.startswith("$argon2id$"))
        self.assertTrue(PasswordHasher().verify(printed, "correct horse "))
        text = f'[component]\ndomain = "a"\nsecret = "b"\n[accounts.bot]\npassword = "{printed}"'
        self.assertIn("bot", parse(text, self.folder, {}).accounts)

    def test_empty(self) -> None:
        """
        An empty password is no password.
        """
        for text in ("", "\n", "\r\n"):
            self.typing(text)
            self.assertEqual(self.run_("hash-password"), 1)
        self.assertEqual(self.out.getvalue(), "")
        self.assertIn("restbridge: the password must not be empty\n", self.err.getvalue())

    def test_undecodable(self) -> None:
        """
        A password that isn't UTF-8 could never come over HTTP, and is refused in words.
        """
        for errors in ("strict", "surrogateescape"):
            self.patch(sys, "stdin", TextIOWrapper(BytesIO(b"\xff\n"), "utf-8", errors))
            self.assertEqual(self.run_("hash-password"), 1)
        self.assertEqual(self.err.getvalue(), "restbridge: the password must be in UTF-8\n" * 2)

    def test_typed(self) -> None:
        """
        On a terminal the password is asked for, unseen, until it was typed twice the same.
        """
        typed = iter(["a", "b", "secret", "secret"])
        self.patch(sys, "stdin", Terminal())
        self.patch(command, "getpass", lambda prompt="": next(typed))
        self.assertEqual(self.run_("hash-password"), 0)
        self.assertTrue(PasswordHasher().verify(self.out.getvalue().strip(), "secret"))

    def test_givenUp(self) -> None:
        """
        The end of input at the prompt is a refusal, not a traceback.
        """

        def closed(prompt: str = "") -> str:
            raise EOFError

        self.patch(sys, "stdin", Terminal())
        self.patch(command, "getpass", closed)
        self.assertEqual(self.run_("hash-password"), 1)
        self.assertEqual(self.err.getvalue(), "restbridge: no password was typed\n")


class NewTokenTests(CommandTests):
    def test_token(self) -> None:
        """
        A token and its hash, on a labelled line each; the configuration takes the hash.
        """
        self.assertEqual(self.run_("new-token"), 0)
        printed = dict(line.split() for line in self.out.getvalue().splitlines())
        self.assertEqual(set(printed), {"token:", "hash:"})
        self.assertEqual(printed["hash:"], f"sha256:{sha256(printed['token:'].encode()).hexdigest()}")
        self.assertGreaterEqual(len(printed["token:"]), 43)
        text = f'[component]\ndomain = "a"\nsecret = "b"\n[accounts.bot]\ntokens = ["{printed["hash:"]}"]'
        self.assertEqual(parse(text, self.folder, {}).accounts["bot"].tokens[0].reveal(), printed["hash:"])

    def test_fresh(self) -> None:
        """
        No token comes twice.
        """
        self.run_("new-token")
        self.run_("new-token")
        self.assertEqual(len(set(self.out.getvalue().splitlines())), 4)


class UsageTests(CommandTests):
    def test_bad(self) -> None:
        """
        Bad usage is 2 and the usage.
        """
        for arguments in ([], ["check-config"], ["nonesuch"], ["new-token", "x"]):
            left = self.assertRaises(SystemExit, self.run_, *arguments)
            self.assertEqual(left.code, 2)
        self.assertIn("usage: restbridge", self.err.getvalue())
