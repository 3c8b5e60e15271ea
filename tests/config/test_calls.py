"""
What an HTTP call to a callback is made of.
"""

from __future__ import annotations

from base64 import b64encode

from restbridge.config import Secret
from tests.config.written import COMPONENT, Written


class CallTests(Written):
    def callback(self, line: str) -> str:
        return f'{COMPONENT}[[callbacks]]\nurl = "https://app/"\n{line}'

    def test_urls(self) -> None:
        """
        A template has known variables, and none where it would choose the host.
        """
        for url, start in {
            "ftp://app/": 'must begin with "http://" or "https://"',
            "app.example.com": 'must begin with "http://" or "https://"',
            "https://": 'must begin with "http://" or "https://"',
            "{kind}://app/": 'must begin with "http://" or "https://"',
            "https://{to}/": "must have its variables behind the host",
            "https://{to}@app/": "must have its variables behind the host",
            "https://app:{type}/": "must be a URL; its host or its port is none",
            "https://app:99999/": "must be a URL; its host or its port is none",
            "https://[::1/": "must be a URL; its host or its port is none",
            "https://app/{foo}": "unknown variable {foo}; allowed: {kind}, {type}, {to}, {from}",
            "https://app/{}": "unknown variable {}; allowed",
            "https://app/{to": 'has a "{" or a "}"',
            "https://app/{{to}}": 'has a "{" or a "}"',
            "https://app/ b": "must hold no space",
            "https://app/\\n": "must hold no space",
            "https://app/#{to}": 'must have no "#"',
        }.items():
            self.assertRefused(f'{COMPONENT}[[callbacks]]\nurl = "{url}"', f"callbacks[0].url: {start}")

    def test_headers(self) -> None:
        """
        A configured header can't break into another, nor change how the call is framed.
        """
        for name in (
            "Host",
            "content-LENGTH",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Webhook-Id",
            "accept-encoding",
        ):
            self.assertRefused(
                self.callback(f'headers = {{ {name} = "x" }}'),
                f"callbacks[0].headers.{name}: is set by the bridge itself",
            )
        for name in ("a b", "a:", "a\\r\\nb", "", "ä"):
            (line,) = self.faults(self.callback(f'headers = {{ "{name}" = "x" }}'))
            self.assertIn("must be the name of a header", line)
        for value in ("a\\nb", "a\\rb", "a\\u0000", ""):
            self.assertRefused(
                self.callback(f'headers = {{ X-A = "{value}" }}'),
                "callbacks[0].headers.X-A: must be the value of a header",
            )
        self.assertRefused(
            self.callback('headers = { X-A = "a", x-a = "b" }'), "callbacks[0].headers.x-a: means"
        )

    def test_allowPrivate(self) -> None:
        """
        Receivers may be anywhere, unless it is said that they may not.
        """
        for line, allowed in (("", True), ("allow_private = true", True), ("allow_private = false", False)):
            (callback,) = self.read(self.callback(line)).callbacks
            self.assertEqual(callback.allowPrivate, allowed)

    def test_enumerations(self) -> None:
        """
        Kinds, events and deliveries are the known ones, and there is at least one to wait for.
        """
        for line, start in {
            'stanzas = ["iqs"]': 'stanzas[0]: must be one of "message", "presence", "iq", not "iqs"',
            "stanzas = []": "stanzas: must have at least 1 item",
            'events = ["bare", "half"]': 'events[1]: must be one of "bare", "full", "host", not "half"',
            "to = []": "to: must have at least 1 item",
            'delivery = "eventual"': 'delivery: must be one of "direct", "durable", not "eventual"',
            "timeout = -1": "timeout: must be a number of seconds",
            'allow_private = "no"': "allow_private: must be true or false",
            "retries = []": "retries: must have at least 1 item",
            "retries = [5, 0]": "retries[1]: must be a number of seconds",
            "probes = [1]": "probes: must be two numbers of seconds, the first pause and the longest",
            "probes = [2, 1]": "probes: must be two numbers of seconds, the first pause and the longest",
            "give_up = 0": "give_up: must be a number of seconds",
        }.items():
            self.assertRefused(self.callback(line), f"callbacks[0].{start}")

    def test_signingKeys(self) -> None:
        """
        A signing key has from 24 to 64 bytes in base64.
        """
        for size in (24, 64):
            key = "whsec_" + b64encode(bytes(size)).decode()
            self.assertEqual(
                self.read(self.callback(f'secret = "{key}"')).callbacks[0].secret, (Secret(key),)
            )
        for key in (
            "whsec_" + b64encode(bytes(23)).decode(),
            "whsec_" + b64encode(bytes(65)).decode(),
            b64encode(bytes(24)).decode(),
            "whsec_" + "!" * 32,
            "whsec_é",
        ):
            self.assertRefused(
                self.callback(f'secret = "{key}"'), 'callbacks[0].secret: must be "whsec_" and'
            )
        keys = [f"whsec_{b64encode(bytes([number]) * 24).decode()}" for number in (1, 2)]
        (callback,) = self.read(self.callback(f"secret = {keys}")).callbacks
        self.assertEqual(callback.secret, tuple(map(Secret, keys)))

    def test_outboxes(self) -> None:
        """
        What is kept for durable callbacks is kept apart: each has a name, or a URL, of its own.
        """
        durable = 'delivery = "durable"'
        one, other = self.callback(durable), '[[callbacks]]\nurl = "https://app/"\n'
        for second, start in {
            other + durable: "callbacks[1].name: another durable callback has this name, or this url",
            f'{other}{durable}\nname = "b"': "",
            other: "",
        }.items():
            if start:
                self.assertRefused(one + "\n" + second, start)
            else:
                self.read(one + "\n" + second)
