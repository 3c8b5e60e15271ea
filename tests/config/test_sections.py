"""
What is refused, in which words.
"""

from __future__ import annotations

from restbridge.config import Glob
from tests.config.written import COMPONENT, HASH, Written


class FaultTests(Written):
    def test_allAtOnce(self) -> None:
        """
        Every mistake of a file is one line: its path, what is wrong, what is allowed.
        """
        self.assertEqual(
            self.faults(
                """
                htpp = 1
                [component]
                domain = "rest.example.com"
                conect = "tcp:127.0.0.1:5347"
                connect = "tpc:1"
                [http]
                max_body = "big"
                [users."example.com"]
                tls = "off"
                [[callbacks]]
                url = "https://app/"
                [[callbacks]]
                url = "https://app/"
                format = "yaml"
                """
            ),
            [
                (
                    "htpp: unknown key; did you mean http? "
                    "allowed: accounts, callbacks, component, http, metrics, oauth2, rest, store, users"
                ),
                (
                    "component.conect: unknown key; did you mean connect? "
                    "allowed: basic_auth, confirm, connect, domain, secret, standby"
                ),
                "component.secret: missing, and has no default",
                'component.connect: unknown endpoint type "tpc"; allowed: ssl, tcp, tls, unix',
                'http.max_body: must be an integer of at least 10000, not "big"',
                (
                    'users."example.com".tls: "off" is only for a loopback address in connect; '
                    'allowed elsewhere: "required", "direct"'
                ),
                (
                    'callbacks[1].format: must be one of "json", "xml", "application/json", '
                    '"application/xmpp+xml", not "yaml"'
                ),
            ],
        )

    def test_oneLineEach(self) -> None:
        """
        A fault stays on its line, whatever is in the key or the value.
        """
        self.assertEqual(
            self.faults('"a\\nb\\u2028" = 1\n[users.a]\ntls = "x\\ny\\u0085"\n')[0].split(":")[0],
            '"a\\nb\\u2028"',
        )

    def test_syntax(self) -> None:
        """
        What isn't TOML is one fault, with the place.
        """
        self.assertEqual(self.faults("a = \n"), ["not TOML: Invalid value (at line 1, column 5)"])
        self.assertRefused("\na = [1,", "not TOML: Invalid value (at line 2, the end of the file)")
        self.assertRefused("a = " + "[" * 100_000, "not TOML: nested too deeply")
        self.assertRefused("a = " + "9" * 5000, "not TOML: ")

    def test_wrongTypes(self) -> None:
        """
        A value of the wrong type is refused where it stands; a boolean is no integer, and infinity no time.
        """
        for text, start in {
            "[http]\nmax_body = true": "http.max_body: must be an integer of at least 10000, not true",
            "[http]\nmax_body = 9999": "http.max_body: must be an integer of at least 10000, not 9999",
            "[http]\nlisten = 80": "http.listen: must be a string that isn't empty, not 80",
            "[http]\nlisten = []": "http.listen: must have at least 1 item",
            '[http]\ncors_origins = "*"': "http.cors_origins: must be an array, not a string",
            "http = []": "http: must be a table, not an array",
            "[rest]\niq_timeout = true": "rest.iq_timeout: must be a number of seconds",
            "[rest]\niq_timeout = inf": "rest.iq_timeout: must be a number of seconds",
            "[rest]\niq_timeout = nan": "rest.iq_timeout: must be a number of seconds",
            "[rest]\niq_timeout = 0": "rest.iq_timeout: must be a number of seconds",
            f"[rest]\niq_timeout = 0x{'f' * 5000}": "rest.iq_timeout: must be a number of seconds",
            "[metrics]": "metrics.listen: missing, and has no default",
            "callbacks = {}": "callbacks: must be an array, not a table",
        }.items():
            self.assertRefused(f"{text}\n{COMPONENT}", start)
        self.assertRefused(f"{COMPONENT}confirm = 1", "component.confirm: must be true or false, not 1")
        self.assertRefused(
            f"{COMPONENT}confirm = 2077-11-22", "component.confirm: must be true or false, not a date"
        )

    def test_contradictions(self) -> None:
        """
        Settings that are right by themselves and can't be had together are refused.
        """
        account = f'[accounts.bot]\npassword = "{HASH}"\n'
        callback = '[[callbacks]]\nurl = "https://app/"\n'
        users = '[users."example.com"]\n'
        for text, *starts in [
            ("", 'no XMPP server to talk to: needs [component], [users."DOMAIN"] or both'),
            (f"{users}{account}", "accounts: needs the section [component]"),
            (f"{users}{callback}", "callbacks: needs the section [component]"),
            (
                f"{COMPONENT}[rest]\niq_timeout = 301",
                "rest.iq_timeout: must be at most iq_max_timeout, which is 300",
            ),
            (f"{COMPONENT}[rest]\niq_max_timeout = 60", "rest.iq_timeout: must be at most iq_max_timeout"),
            (f"{COMPONENT}[accounts.bot]", "accounts.bot: nobody could log in"),
            (
                f"{COMPONENT}{account}[accounts.BOT]",
                'accounts.BOT: means the same as "bot"',
                "accounts.BOT: nobody",
            ),
            (
                f'{COMPONENT}[users."REST.example.com"]',
                'users."rest.example.com": is the component\'s own domain',
            ),
            (f'{users}[users."Example.com"]', 'users."Example.com": means the same as "example.com"'),
            (
                f'{users}connect = "tls:localhost:5223"',
                'users."example.com".connect: must be a tcp: or unix:',
            ),
            (
                f'{COMPONENT}{callback.replace("app", "u:p@app")}headers = {{ AUTHORIZATION = "x" }}',
                "callbacks[0].headers.Authorization: the url has credentials too",
            ),
        ]:
            self.assertRefused(text, *starts)

    def test_tlsOff(self) -> None:
        """
        Passwords travel in clear on this machine alone.
        """
        users = '[users.a]\ntls = "off"\nconnect = "{}"'
        for there in (
            "tcp:10.0.0.1:5222",
            "tcp:example.com:5222",
            "tcp:localhost.example.com:1",
            "tcp:0.0.0.0:1",
        ):
            self.assertRefused(users.format(there), 'users.a.tls: "off" is only for a loopback address')
        for here in ("tcp:127.0.0.1:1", "tcp:host=localhost:port=1", "tcp:\\\\:\\\\:1:1", "unix:/run/x"):
            self.assertEqual(self.read(users.format(here)).users["a"].tls, "off")

    def test_addresses(self) -> None:
        """
        Domains, names and patterns must be what XMPP takes, and the component's.
        """
        for text, *starts in [
            ('[component]\nsecret = "x"\ndomain = "a b"', "component.domain: must be a domain"),
            ('[component]\nsecret = "x"\ndomain = "me@a"', "component.domain: must be a domain alone"),
            (f'{COMPONENT}[users."a/b"]', 'users."a/b": must be a domain alone'),
            (f'{COMPONENT}[accounts."a@b"]', 'accounts."a@b": must be the local part'),
            (f'{COMPONENT}[accounts."a/b"]', 'accounts."a/b": must be the local part'),
            (f'{COMPONENT}[accounts.""]', 'accounts."": must be the local part'),
        ]:
            self.assertRefused(text, *starts)
        for pattern in ("bot@evil.example", "*", "bot", "bot@*.example.com", "x@sub.rest.example.com", ""):
            self.assertRefused(
                f'{COMPONENT}[accounts.bot]\npassword = "{HASH}"\nsend_as = ["{pattern}"]',
                "accounts.bot.send_as[0]: must ",
            )
        callback = f'{COMPONENT}[[callbacks]]\nurl = "https://app/"\nto = ["{{}}"]'
        self.assertRefused(callback.format("*@evil.example"), "callbacks[0].to[0]: ")
        for pattern in ("*", "*@REST.example.com", "support-*", "rest.example.com"):
            self.assertEqual(self.read(callback.format(pattern)).callbacks[0].to, (Glob(pattern),))

    def test_patternsWhateverElse(self) -> None:
        """
        Patterns are checked even if the component's section has other faults.
        """
        self.assertRefused(
            f'[component]\ndomain = "a"\n[accounts.bot]\npassword = "{HASH}"\nsend_as = ["*@b"]',
            "component.secret: missing",
            "accounts.bot.send_as[0]: must end with",
        )

    def test_http(self) -> None:
        """
        Origins and proxies must be what can be compared with a request.
        """
        for origin in ("https://a/", "a.example.com", "null", "https://*.example.com", "https://a:b"):
            self.assertRefused(
                f'{COMPONENT}[http]\ncors_origins = ["{origin}"]', "http.cors_origins[0]: must be"
            )
        for proxy in ("proxy.example.com", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1:80"):
            self.assertRefused(
                f'{COMPONENT}[http]\ntrusted_proxies = ["{proxy}"]', "http.trusted_proxies[0]: must be"
            )

    def test_trustRoots(self) -> None:
        """
        A file of trust roots that isn't there is found out at start, not at the first login.
        """
        text = f'{COMPONENT}[users."example.com"]\nca_file = "nonesuch.pem"'
        self.assertRefused(text, f'users."example.com".ca_file: {self.folder / "nonesuch.pem"} is no file')
        text = text.replace("nonesuch", "x" * 300)
        problem = f"{self.folder / ('x' * 300)}.pem can't be read: File name too long"
        self.assertRefused(text, f'users."example.com".ca_file: {problem}')
        (self.folder / "empty.pem").write_text("no certificate")
        text = f'{COMPONENT}[users."example.com"]\nca_file = "empty.pem"'
        problem = f"{self.folder / 'empty.pem'} must hold certificates in PEM: "
        self.assertRefused(text, f'users."example.com".ca_file: {problem}')

    def test_noCertificate(self) -> None:
        """
        So is a domain that no certificate can be for.
        """
        for name in ("my_host", "-example.com", "a" * 64 + ".example.com"):
            section = f'{COMPONENT}[users."{name}"]\nconnect = "tcp:127.0.0.1:5222"\n'
            (fault,) = self.faults(section)
            self.assertIn(f"{name}", fault)
            self.assertIn(": no certificate can be for this name: ", fault)
            self.read(f'{section}tls = "off"')
        self.read(f'{COMPONENT}[users."[::1]"]\n[users."bücher.example"]\n')

    def test_store(self) -> None:
        """
        The store is SQLite or PostgreSQL.
        """
        for url in (
            "mysql://x",
            "sqlite:",
            "sqlite://x",
            "postgresql:x",
            "restbridge.sqlite",
            "postgres://x",
            "postgresql://u:a/b@db/x",
            "postgresql://u:a#b@db/x",
            "postgresql://u:a%zz@db/x",
            "postgresql://u:a b@db/x",
        ):
            (line,) = self.faults(f'{COMPONENT}[store]\nurl = "{url}"')
            self.assertIn('store.url: must be "sqlite:PATH" or "postgresql://', line)
            self.assertNotIn("u:a", line)
        for url in (
            "sqlite:/var/lib/x.sqlite",
            "postgresql:///x",
            "postgresql://u:a%2Fb@[::1]:5/x?sslmode=require",
        ):
            self.assertEqual(self.read(f'{COMPONENT}[store]\nurl = "{url}"').store.url.reveal(), url)
