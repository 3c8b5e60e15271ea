"""
The section [oauth2].
"""

from __future__ import annotations

from restbridge.config import OAuth2, Secret, sections
from restbridge.config.issuers import isSecure
from tests.config.written import COMPONENT, Written

ISSUER = 'issuer = "https://auth.example.com"\naudience = "https://rest.example.com"\n'
ASKED = 'introspection = "https://auth.example.com/introspect"\n'
OWN = 'client_id = "bridge"\nclient_secret = "s3cret"\n'


class OAuth2Tests(Written):
    def section(self, text: str) -> OAuth2 | None:
        return self.read(f"{COMPONENT}[oauth2]\n{text}").oauth2

    def assertFaults(self, text: str, *starts: str) -> None:
        self.assertRefused(f"{COMPONENT}[oauth2]\n{text}", *starts)

    def test_least(self) -> None:
        """
        An issuer and an audience are enough, or where to ask and as whom.
        """
        self.assertIsNone(self.read(COMPONENT).oauth2)
        expected = OAuth2(issuer="https://auth.example.com", audience="https://rest.example.com")
        self.assertEqual(self.section(ISSUER), expected)
        asking = OAuth2(
            introspection="https://auth.example.com/introspect",
            clientId="bridge",
            clientSecret=Secret("s3cret"),
        )
        self.assertEqual(self.section(ASKED + OWN), asking)
        self.assertIsNotNone(self.section(ISSUER + ASKED + OWN))

    def test_contradictions(self) -> None:
        """
        What can't be had together, or lacks its other half, is refused.
        """
        jwks = 'jwks = "https://auth.example.com/jwks.json"\n'
        self.assertFaults("", "oauth2: no token could be accepted: needs an issuer, introspection, or both")
        self.assertFaults('issuer = "https://auth.example.com"', "oauth2.audience: missing")
        self.assertFaults(ASKED, "oauth2.client_id: missing", "oauth2.client_secret: missing")
        self.assertFaults(ASKED + 'client_id = "bridge"', "oauth2.client_secret: missing")
        own = ("oauth2.client_id: is for introspection", "oauth2.client_secret: is for introspection")
        self.assertFaults(ISSUER + OWN, *own)
        self.assertFaults(ASKED + OWN + jwks, "oauth2.jwks: needs the issuer")

    def test_oneFault(self) -> None:
        """
        What is wrong by itself makes nothing else wrong.
        """
        self.assertFaults('issuer = "x"\naudience = "y"', 'oauth2.issuer: must be an "https://" URL')
        self.assertFaults('introspection = "x"\n' + OWN, "oauth2.introspection: must be")
        self.assertFaults(ASKED + 'client_id = ""\nclient_secret = "x"', "oauth2.client_id: must be a string")

    def test_algorithms(self) -> None:
        """
        No algorithm is taken that whoever verifies could sign by, or nobody needs a key for.
        """
        for name in ("none", "HS256", "HS512", "rs256", "RS1", ""):
            self.assertFaults(
                f'{ISSUER}algorithms = ["RS256", "{name}"]', "oauth2.algorithms[1]: must be one of"
            )
        self.assertFaults(f"{ISSUER}algorithms = []", "oauth2.algorithms: must have at least 1 item")
        self.assertFaults(f'{ISSUER}types = ["id_token"]', "oauth2.types[0]: must be one of")

    def test_urls(self) -> None:
        """
        Nothing of the authorization server is asked in clear, but on this machine.
        """
        for url in (
            *(
                "http://auth.example.com",
                "http://127.0.0.1.example.com",
                "http://10.0.0.1",
                "ftp://auth.example.com",
            ),
            *(
                "https://",
                "https://a:b@auth.example.com",
                "https://@auth.example.com",
                "https://auth.example.com/#x",
            ),
            *(
                "https://auth.example.com:x",
                "https://[::1",
                "https://auth example.com",
                "https://é.example.com",
            ),
            *("auth.example.com", "//auth.example.com", "https://auth.example.com/\x7f"),
        ):
            self.assertFalse(isSecure(url), url)
        for url in (
            *("https://auth.example.com", "https://auth.example.com:8443/a?b=c", "https://10.0.0.1/"),
            *("http://127.0.0.1:9000", "http://[::1]/x", "http://localhost"),
        ):
            self.assertTrue(isSecure(url), url)
        self.assertFaults(
            ISSUER.replace("auth.example.com", "auth.example.com?a=b"),
            "oauth2.issuer: must be an issuer's identifier",
        )
        password = f'{ISSUER}jwks = "https://u:hidden@auth.example.com/"'
        self.assertNotIn("hidden", self.faults(f"{COMPONENT}[oauth2]\n{password}")[0])

    def test_library(self) -> None:
        """
        Where the library for JWTs is missing the section says so, if it needs it.
        """
        self.patch(sections, "find_spec", lambda name: None)
        self.assertFaults(
            ISSUER, "oauth2.issuer: JWTs need the package joserfc: pip install 'restbridge[oauth2]'"
        )
        self.assertIsNotNone(self.section(ASKED + OWN))

    def test_accounts(self) -> None:
        """
        With it an account needs neither a password nor tokens.
        """
        self.assertIn("bot", self.read(f"{COMPONENT}[accounts.bot]\n[oauth2]\n{ISSUER}").accounts)
        self.assertRefused(f"{COMPONENT}[accounts.bot]", "accounts.bot: nobody could log in")
