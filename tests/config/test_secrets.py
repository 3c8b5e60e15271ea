"""
Secrets: where they come from, and that they stay there.
"""

from __future__ import annotations

from base64 import b64encode

from restbridge.config import Secret
from tests.config.written import COMPONENT, HASH, SIGNING_KEY, TOKEN, Written


class SecretTests(Written):
    def test_sources(self) -> None:
        """
        A secret is a string, a file from the configuration's folder on, or an environment variable; the
        line break at the end of a file isn't part of it.
        """
        self.write("secret", "söcret\r\n")
        for source, meant in [
            ('"a"', "a"),
            ('{ file = "secret" }', "söcret"),
            (f'{{ file = "{(self.folder / "secret").absolute()}" }}', "söcret"),
            ('{ env = "SECRET" }', "from outside"),
        ]:
            text = f'[component]\ndomain = "a"\nsecret = {source}'
            component = self.read(text, SECRET="from outside").component
            self.assertEqual(component.secret.reveal(), meant)  # type: ignore[union-attr]

    def test_faultySources(self) -> None:
        """
        A source that has no secret is named with the reason.
        """
        (self.folder / "binary").write_bytes(b"\xff")
        for source, problem in {
            '{ file = "nonesuch" }': ".file: .*nonesuch can't be read: No such file or directory",
            '{ file = "binary" }': ".file: .*binary can't be read: it must be a file in UTF-8",
            '{ file = "\\u0000" }': ".file: .* can't be read: it must be a file in UTF-8",
            '{ env = "NONESUCH" }': ".env: the environment has no variable NONESUCH",
            '{ env = "BINARY" }': ".env: the environment variable BINARY must be in UTF-8",
            '{ env = "EMPTY" }': ": must be a text that isn't empty",
            "{ env = 1 }": ".env: must be a string that isn't empty, not 1",
            '{ env = "A", file = "b" }': ": must have exactly one key: .*",
            '{ value = "s3same" }': ": must have exactly one key: .*",
            '["s3same"]': ": must be a string, .*, not an array",
        }.items():
            (line,) = self.faults(f'[component]\ndomain = "a"\nsecret = {source}', EMPTY="", BINARY="\udcff")
            self.assertRegex(line, f"^component.secret{problem}$")

    def test_hidden(self) -> None:
        """
        No way of printing the tree shows a secret.
        """
        text = f"""
            {COMPONENT}
            [store]
            url = "postgresql://u:s3same@db/x"
            [accounts.bot]
            password = "{HASH}"
            tokens = ["{TOKEN}"]
            [[callbacks]]
            url = "https://u:s3same@app/"
            secret = "{SIGNING_KEY}"
            headers = {{ X-Key = "s3same" }}
        """
        configuration = self.read(text)
        for printed in (repr(configuration), str(configuration), f"{configuration.component!r:>9}"):
            for secret in ("s3same", HASH, TOKEN, SIGNING_KEY, b64encode(b"u:s3same").decode()):
                self.assertNotIn(secret, printed)
        self.assertEqual(f"{Secret('s3same')} {Secret('s3same')!r}", "<secret> <secret>")

    def test_hiddenInFaults(self) -> None:
        """
        No fault repeats what stands where a secret belongs, be it of the wrong type or in the wrong table.
        """
        places = [
            "[component]\nsecret = {}",
            "component = {}",
            "[store]\nurl = {}",
            "accounts = {}",
            "[accounts]\nbot = {}",
            "[accounts.bot]\npassword = {}",
            "[accounts.bot]\ntokens = {}",
            "[accounts.bot]\ntokens = [{}]",
            "callbacks = {}",
            "callbacks = [{}]",
            "[[callbacks]]\nurl = {}",
            "[[callbacks]]\nsecret = {}",
            "[[callbacks]]\nheaders = {}",
            "[[callbacks]]\nheaders = {{ X = {} }}",
            "unknown = {}",
        ]
        values = [
            '"hunter2\\n"',
            '["hunter2\\n"]',
            '{ x = "hunter2" }',
            "20771122",
            "2077-11-22",
            "20771122.5",
        ]
        urls = ['"https://u:hunter2@{{x}}/"', '"https://u:hunter2@h:port/"', '"ftp://u:hunter2@h"']
        for place in places:
            for value in values + urls:
                for line in self.faults(place.format(value.replace("{{", "{").replace("}}", "}"))):
                    self.assertNotIn("hunter2", line)
                    self.assertNotIn("2077", line)
