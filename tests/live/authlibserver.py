"""
An authorization server of Authlib's, as a program::

    python -m tests.live.authlibserver PORT ISSUER [CERTIFICATE]

Its clients are called for what they get: C{bot} a good token, C{elsewhere} one for another audience, C{late}
one that has expired, C{opaque} one that only the server can read; any other name one with that C{sub}. All
have the secret C{secret}. Beside OAuth's own endpoints, C{POST /rotate} makes it sign by a new key.
"""

from __future__ import annotations

import json
import secrets
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    OAuth2Request,
    TokenMixin,
    list_to_scope,
    scope_to_list,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc.jwk import KeySet, RSAKey

from tests.live.process import LOOPBACK

AUDIENCE = "https://rest.example.com"
LIFE = 600
METHODS = ("client_secret_basic",)


class Client(ClientMixin):  # type: ignore[misc]  # Authlib says nothing of its types
    def __init__(self, name: str) -> None:
        self.name = name

    def get_client_id(self) -> str:
        return self.name

    def get_allowed_scope(self, scope: str) -> str:
        return list_to_scope(scope_to_list(scope)) or ""

    def check_client_secret(self, secret: str) -> bool:
        return secrets.compare_digest(secret, "secret")

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in METHODS

    def check_grant_type(self, kind: str) -> bool:
        return kind == "client_credentials"


class Token(TokenMixin):  # type: ignore[misc]  # likewise
    def __init__(self, client: Client, scope: str) -> None:
        self.client = client
        self.scope = scope
        self.expires = int(time.time()) + LIFE
        self.revoked = False

    def check_client(self, client: Client) -> bool:
        return self.client.name == client.name

    def is_expired(self) -> bool:
        return self.expires < time.time()

    def is_revoked(self) -> bool:
        return self.revoked


class JWTs(JWTBearerTokenGenerator):  # type: ignore[misc]  # likewise
    def __init__(self, issuer: str) -> None:
        super().__init__(issuer=issuer, expires_generator=lambda *_: LIFE)
        self.rotate()

    def rotate(self) -> None:
        """
        Sign by a new key.
        """
        self.keys = KeySet([RSAKey.generate_key(2048, auto_kid=True)])

    def get_jwks(self) -> KeySet:
        return self.keys

    def get_audiences(self, client: Client, user: object, scope: str) -> str:
        return "https://elsewhere.example.com" if client.name == "elsewhere" else AUDIENCE

    def get_extra_claims(self, client: Client, *_: object) -> dict[str, object]:
        late = {"exp": int(time.time()) - 3600} if client.name == "late" else {}
        return {"sub": "bot" if client.name in ("elsewhere", "late") else client.name, **late}


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]  # likewise
    CLIENT_AUTH_METHODS = METHODS

    def check_permission(self, token: Token, client: Client, request: object) -> bool:
        return client.name == "restbridge"

    def query_token(self, token: str, hint: str) -> Token | None:
        found: Token | None = self.server.issued.get(token)
        return found

    def introspect_token(self, token: Token) -> dict[str, object]:
        whose = {
            "client_id": token.client.name,
            "username": "bot",
            "aud": AUDIENCE,
            "iss": self.server.issuer,
        }
        return {**whose, "scope": token.scope, "exp": token.expires}


class Revocation(RevocationEndpoint):  # type: ignore[misc]  # likewise
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token: str, hint: str) -> Token | None:
        found: Token | None = self.server.issued.get(token)
        return found

    def revoke_token(self, token: Token, request: object) -> None:
        token.revoked = True


class Credentials(ClientCredentialsGrant):  # type: ignore[misc]  # likewise
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class Server(AuthorizationServer):  # type: ignore[misc]  # likewise
    """
    What Authlib leaves to a framework.

    @ivar issued: the tokens, by their texts.
    """

    def __init__(self, issuer: str) -> None:
        super().__init__()
        self.issuer = issuer
        self.issued: dict[str, Token] = {}
        self.jwts = JWTs(issuer)
        self._opaque = BearerTokenGenerator(
            lambda **_: secrets.token_urlsafe(24), expires_generator=lambda *_: LIFE
        )
        self.register_token_generator("default", self._generate)
        self.register_grant(Credentials)
        self.register_endpoint(Introspection)
        self.register_endpoint(Revocation)

    def query_client(self, name: str) -> Client:
        return Client(name)

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        self.issued[token["access_token"]] = Token(request.client, token["scope"])

    def create_oauth2_request(self, request: Any) -> Any:
        return request

    def handle_response(self, status: int, body: object, headers: object) -> tuple[int, object]:
        return status, body

    def send_signal(self, *_: object, **__: object) -> None:
        """
        Nobody listens.
        """

    def _generate(self, grant_type: str, client: Client, **more: Any) -> Any:
        return (self._opaque if client.name == "opaque" else self.jwts)(grant_type, client, **more)


class Request(OAuth2Request):  # type: ignore[misc]  # likewise
    def __init__(self, url: str, form: dict[str, str], headers: Any) -> None:
        super().__init__("POST", url, headers=headers)
        self._form = form
        self.payload = BasicOAuth2Payload(form)

    @property
    def form(self) -> dict[str, str]:
        return self._form


class HTTP(BaseHTTPRequestHandler):
    """
    The endpoints.
    """

    protocol_version = "HTTP/1.1"
    authorization: Server

    def do_GET(self) -> None:
        issuer = self.authorization.issuer
        documents = {
            "/jwks.json": self.authorization.jwts.keys.as_dict(private=False),
            "/.well-known/oauth-authorization-server": {
                "issuer": issuer,
                "jwks_uri": f"{issuer}/jwks.json",
                "token_endpoint": f"{issuer}/token",
            },
        }
        self.answer(*((200, documents[self.path]) if self.path in documents else (404, {})))

    def do_POST(self) -> None:
        server = self.authorization
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()))
        request = Request(server.issuer + self.path, form, self.headers)
        match self.path:
            case "/token":
                self.answer(*server.create_token_response(request))
            case "/introspect":
                self.answer(*server.create_endpoint_response("introspection", request))
            case "/revoke":
                self.answer(*server.create_endpoint_response("revocation", request))
            case "/rotate":
                server.jwts.rotate()
                self.answer(200, {})

    def answer(self, status: int, document: object) -> None:
        """
        Send JSON.
        """
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port, issuer, *certificates = sys.argv[1:]
    HTTP.authorization = Server(issuer)
    listening = ThreadingHTTPServer((LOOPBACK, int(port)), HTTP)
    for certificate in certificates:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(certificate, Path(certificate).with_suffix(".key"))
        listening.socket = serving.wrap_socket(listening.socket, server_side=True)
    listening.serve_forever()
