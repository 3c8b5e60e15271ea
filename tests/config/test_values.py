"""
The configuration that comes out.
"""

from __future__ import annotations

import operator
from base64 import b64encode
from ipaddress import ip_network

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import (
    HTTP,
    Account,
    Callback,
    Component,
    Configuration,
    Glob,
    Rest,
    Secret,
    Store,
    UserDomain,
)
from tests.config.written import COMPONENT, HASH, SIGNING_KEY, TOKEN, Written
from tests.live.servers import writeCertificate


class DefaultsTests(Written):
    def test_component(self) -> None:
        """
        A domain and a secret are enough; all the rest has the defaults of INTERFACE.
        """
        self.assertEqual(
            self.read(COMPONENT),
            Configuration(
                component=Component(
                    domain="rest.example.com",
                    secret=Secret("s3same"),
                    connect="tcp:127.0.0.1:5347",
                    confirm=True,
                ),
                http=HTTP(listen=("tcp:8080:interface=127.0.0.1",), maxBody=196608),
                metrics=None,
                store=Store(url=Secret("sqlite:restbridge.sqlite")),
                rest=Rest(iqTimeout=120, iqMaxTimeout=300),
            ),
        )

    def test_account(self) -> None:
        """
        An account may send from its own address and no other, even if the name has a wildcard in it.
        """
        account = self.read(f'{COMPONENT}[accounts."Bo*"]\npassword = "{HASH}"').accounts["bo*"]
        self.assertEqual(account, Account(name="bo*", password=Secret(HASH), sendAs=account.sendAs))
        self.assertTrue(account.sendAs[0].fits("bo*@rest.example.com"))
        self.assertFalse(account.sendAs[0].fits("boss@rest.example.com"))

    def test_users(self) -> None:
        """
        A domain of users needs nothing but its name, and no component.
        """
        configuration = self.read('[users."Example.com"]')
        self.assertEqual(dict(configuration.users), {"example.com": UserDomain(domain="example.com")})
        self.assertEqual(configuration.users["example.com"].tls, "required")
        self.assertIsNone(configuration.component)

    def test_callback(self) -> None:
        """
        A callback needs nothing but its URL, and takes everything.
        """
        (callback,) = self.read(f'{COMPONENT}[[callbacks]]\nurl = "https://app/{{kind}}"').callbacks
        self.assertEqual(callback, Callback(url="https://app/{kind}"))
        self.assertTrue(callback.to[0].fits("anyone@rest.example.com"))
        self.assertEqual(callback.stanzas, {"message", "presence", "iq"})


class ReadTests(Written):
    def test_everything(self) -> None:
        """
        Each key arrives under its attribute, normalised.
        """
        writeCertificate(self.folder / "ca.pem", "example.com")
        configuration = self.read(
            f"""
            {COMPONENT}
            connect = "tls:xmpp.example.com:5347"
            confirm = false
            [http]
            listen = ["tcp:80", "unix:/run/restbridge.sock", "systemd:domain=INET:index=0"]
            max_body = 10000
            cors_origins = ["*", "HTTPS://App.example.com:8443"]
            trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "::1"]
            [metrics]
            listen = "tcp:9117"
            [store]
            url = "postgresql://u:p@db/restbridge"
            max_pending = 5
            [rest]
            iq_timeout = 0.5
            iq_max_timeout = 1
            [accounts.bot]
            tokens = ["{TOKEN.upper().replace("SHA", "sha")}"]
            send_as = ["Bot@REST.example.com", "support-*@rest.example.com", "rest.example.com"]
            [users."example.com"]
            connect = "tcp:127.0.0.1:5222"
            tls = "off"
            ca_file = "ca.pem"
            rooms = "Conference.example.com"
            idle = 60
            max_sessions = 1
            [[callbacks]]
            url = "https://me:pass%20word@app.example.com:8443/{{type}}?to={{to}}&from={{from}}"
            format = "json"
            stanzas = ["iq"]
            events = ["bare", "host"]
            to = ["support-*@rest.example.com"]
            delivery = "durable"
            name = "support"
            secret = "{SIGNING_KEY}"
            timeout = 5
            headers = {{ X-Tenant = "a" }}
            retries = [1, 60]
            probes = [0.5, 10]
            give_up = 3600
            """
        )
        self.assertEqual(configuration.component.connect, "tls:xmpp.example.com:5347")  # type: ignore[union-attr]
        self.assertEqual(
            configuration.http,
            HTTP(
                listen=("tcp:80", "unix:/run/restbridge.sock", "systemd:domain=INET:index=0"),
                maxBody=10000,
                corsOrigins=("*", "https://app.example.com:8443"),
                trustedProxies=(
                    ip_network("127.0.0.1"),
                    ip_network("10.0.0.0/8"),
                    ip_network("::1"),
                ),
            ),
        )
        self.assertEqual(configuration.metrics.listen, ("tcp:9117",))  # type: ignore[union-attr]
        store = configuration.store
        self.assertEqual(("postgresql://u:p@db/restbridge", 5), (store.url.reveal(), store.maxPending))
        self.assertEqual(configuration.rest, Rest(iqTimeout=0.5, iqMaxTimeout=1))
        self.assertEqual(
            configuration.accounts["bot"],
            Account(
                name="bot",
                tokens=(Secret(TOKEN),),
                sendAs=(
                    Glob("bot@rest.example.com"),
                    Glob("support-*@rest.example.com"),
                    Glob("rest.example.com"),
                ),
            ),
        )
        self.assertEqual(
            configuration.users["example.com"],
            UserDomain(
                domain="example.com",
                connect="tcp:127.0.0.1:5222",
                tls="off",
                caFile=self.folder / "ca.pem",
                rooms="conference.example.com",
                idle=60,
                maxSessions=1,
            ),
        )
        self.assertEqual(
            configuration.callbacks,
            (
                Callback(
                    url="https://app.example.com:8443/{type}?to={to}&from={from}",
                    format="application/json",
                    stanzas=frozenset({"iq"}),
                    events=frozenset({"bare", "host"}),
                    to=(Glob("support-*@rest.example.com"),),
                    delivery="durable",
                    name="support",
                    secret=(Secret(SIGNING_KEY),),
                    timeout=5,
                    retries=(1, 60),
                    probes=(0.5, 10),
                    giveUp=3600,
                    headers={
                        "x-tenant": Secret("a"),
                        "authorization": Secret("Basic " + b64encode(b"me:pass word").decode()),
                    },
                ),
            ),
        )

    def test_frozen(self) -> None:
        """
        Nobody changes the configuration of a running bridge, not even the tables in it.
        """
        configuration = self.read(f'{COMPONENT}[accounts.bot]\npassword = "{HASH}"')
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, configuration, "rest", None)
        self.assertRaises(TypeError, operator.setitem, configuration.accounts, "bot", None)

    def test_formats(self) -> None:
        """
        A format is a media type or its short name, and comes out as the media type.
        """
        names = {"json": "application/json", "xml": "application/xmpp+xml"}
        for name, media in [*names.items(), *((media, media) for media in names.values())]:
            text = f'{COMPONENT}[[callbacks]]\nurl = "http://a"\nformat = "{name}"'
            self.assertEqual(self.read(text).callbacks[0].format, media)


class GlobTests(SynchronousTestCase):
    def test_shell(self) -> None:
        """
        Patterns are the shell's, whatever case they are written in.
        """
        pattern = Glob("Support-[a-c]?*@example.com")
        self.assertTrue(pattern.fits("support-b1@example.com"))
        self.assertFalse(pattern.fits("support-d1@example.com"))
        self.assertFalse(pattern.fits("support-b1@example.org"))

    @given(st.text("ab*?[]!-@."), st.text("ab*?[]!-@."))
    def test_exactly(self, address: str, other: str) -> None:
        """
        The pattern of an address fits that address alone.
        """
        self.assertEqual(Glob.exactly(address).fits(other), address == other)
        self.assertTrue(Glob.exactly(address).fits(address))
