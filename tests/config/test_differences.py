"""
L{restbridge.config.differences}
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import parse
from restbridge.config.differences import differences

COMPONENT = '[component]\ndomain = "rest.example.com"\nsecret = "{0}"\n'
USERS = '[users."example.com"]\nidle = {0}\n'
CALLBACK = '[[callbacks]]\nurl = "https://app.example.com/{0}"\n'
ACCOUNT = '[accounts.bot]\ntokens = ["sha256:' + "{0}" * 64 + '"]\nnickname = "{0}"\n'


class DifferencesTests(SynchronousTestCase):
    def between(self, before: str, after: str) -> list[str]:
        """
        What differs, behind a component that doesn't.
        """
        component = COMPONENT.format("s")
        old, new = (parse(component + text, Path(), {}) for text in (before, after))
        return [str(each) for each in differences(old, new)]

    def test_same(self) -> None:
        """
        A configuration that is read again is the same.
        """
        text = USERS.format(5) + CALLBACK.format("a") + "headers = { X-Tenant = 'a' }\n" + ACCOUNT.format(1)
        self.assertEqual([], self.between(text, text))

    def test_keys(self) -> None:
        """
        A key is named by its path, and its values aren't.
        """
        old, new = (parse(COMPONENT.format(secret), Path(), {}) for secret in ("one", "two"))
        self.assertEqual(["component.secret changed"], [str(each) for each in differences(old, new)])
        self.assertEqual(
            ["http.max_connections_per_address changed", "http.cors_origins changed"],
            self.between("", '[http]\ncors_origins = ["*"]\nmax_connections_per_address = 5\n'),
        )

    def test_sections(self) -> None:
        """
        A section that wasn't there is added, one that isn't there any more removed.
        """
        metrics = '[metrics]\nlisten = "tcp:9117"\n'
        self.assertEqual(["metrics added"], self.between("", metrics))
        self.assertEqual(["metrics removed"], self.between(metrics, ""))

    def test_named(self) -> None:
        """
        So is an account, or a domain of users; names are quoted as in TOML.
        """
        self.assertEqual(['users."example.com" added'], self.between("", USERS.format(5)))
        self.assertEqual(['users."example.com".idle changed'], self.between(USERS.format(5), USERS.format(6)))

    def test_callbacks(self) -> None:
        """
        Callbacks are known by what they are called.
        """
        a, b = CALLBACK.format("a?key=secret"), CALLBACK.format("b")
        named = 'callbacks."https://app.example.com/a"'
        self.assertEqual([f"{named} added"], self.between("", a))
        self.assertEqual([f"{named} removed"], self.between(a + b, b))
        self.assertEqual([f"{named}.timeout changed"], self.between(a + b, a + "timeout = 5\n" + b))
        self.assertEqual([f"{named} changed"], self.between(a, a + a))
        self.assertEqual([f"{named}.url changed"], self.between(a, CALLBACK.format("a?key=other")))

    def test_order(self) -> None:
        """
        Where they are the same in another order, the first that fits may be another one.
        """
        a, b = CALLBACK.format("a"), CALLBACK.format("b")
        self.assertEqual(["callbacks changed"], self.between(a + b, b + a))
