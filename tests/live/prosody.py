"""
A throw-away Prosody, as Debian packages it.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import socket
from pathlib import Path
from xml.sax.saxutils import escape, unescape

from tests.live.process import LOOPBACK, Process, freePorts
from tests.live.servers import (
    ACCOUNTS,
    COMPONENTS,
    HOST,
    ROOMS,
    SECRET,
    Server,
    ServerMissing,
    passwordOf,
    readUntil,
)

MODULES = Path(__file__).with_name("prosody_modules")

# No mod_limits: even an empty "limits" throttles every client connection to 10 KiB/s.
CONFIGURATION = """
run_as_root = {runAsRoot}
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
certificates = "{folder}"
plugin_paths = {{ "{modules}" }}
admins = {{ }}
modules_enabled = {{
    "roster"; "saslauth"; "tls"; "disco"; "ping"; "version"; "time"; "uptime"; "lastactivity"; "mam";
    "carbons"; "private"; "pep"; "bookmarks"; "vcard4"; "vcard_legacy"; "blocklist"; "posix";
    "admin_shell"; {management}
}}
smacks_hibernation_time = {keeps}
modules_disabled = {{ "s2s" }}
allow_registration = false
c2s_require_encryption = {demandsTLS}
allow_unencrypted_plain_auth = true
authentication = "{authentication}"
tokens_accounts = "{accounts}"
tokens_file = "{tokensFile}"
disable_sasl_mechanisms = {{ {disabled} }}
admin_socket = "{adminSocket}"
storage = "internal"
storage_archive_item_limit = 1000000
archive_expires_after = "never"
default_archive_policy = true
interfaces = {{ "{loopback}" }}
component_interfaces = {{ "{loopback}" }}
c2s_ports = {{ {c2sPort}, {tlsPort} }}
component_ports = {{ {componentPort} }}
c2s_direct_tls_ports = {{ {directTlsPort} }}
c2s_direct_tls_ssl = {{ certificate = "{certificate}"; key = "{key}" }}
http_ports = {{ }}
https_ports = {{ }}
log = {{ info = "*console" }}

VirtualHost "{host}"
    ssl = {{ certificate = "{certificate}"; key = "{key}" }}

Component "{rooms}" "muc"
    modules_enabled = {{ "muc_mam" }}
    restrict_room_creation = false
"""

COMPONENT = """
Component "{domain}"
    component_secret = "{secret}"
"""


class Prosody(Server):
    """
    Prosody in the foreground. All components attach to one port; C{localhost} offers STARTTLS on both client
    ports.
    """

    name = "prosody"
    refusesSecondComponent = True

    def __init__(self) -> None:
        program = shutil.which("prosody", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
        if program is None:
            raise ServerMissing("prosody", "the program prosody")
        super().__init__()
        (self._port,) = freePorts(1)
        self._adminSocket = self.folder / "admin.sock"
        self._tokens = self.folder / "tokens"
        configuration = self.folder / "prosody.cfg.lua"
        configuration.write_text(self._configuration())
        self._writeAccounts()
        self.process = Process([program, "--config", str(configuration), "-F"], self.folder)

    def componentPort(self, domain: str) -> int:
        """
        The one component port.
        """
        return self._port

    def addAccount(self, name: str, password: str) -> None:
        """
        As C{prosodyctl shell} would.
        """
        self._tell("user:create", f"{name}@{HOST}", password)

    def changePassword(self, name: str, password: str) -> None:
        """
        Likewise.
        """
        self._tell("user:password", f"{name}@{HOST}", password)

    def deleteAccount(self, name: str) -> None:
        """
        Likewise.
        """
        self._tell("user:delete", f"{name}@{HOST}")

    def endSession(self, name: str) -> None:
        """
        Likewise; without a reason Prosody would wait for the client's goodbye.
        """
        self._tell("c2s:close", f"{name}@{HOST}", "ended by a test")

    def logins(self, name: str) -> int:
        """
        Each line is in the log before the client hears of it.
        """
        # From Prosody 13 on it names the role, too.
        line = rf"\tAuthenticated as {re.escape(name)}@{HOST}( \[.*\])?$"
        return len(re.findall(line, self.process.log(), re.M))

    def token(self, name: str) -> str:
        """
        Prosody has no tokens that SASL would take: this one is for C{mod_auth_tokens}, which is ours. It
        looks like a JWT (RFC 7519) that says whose it is.
        """
        parts = (b'{"typ":"JWT"}', b'{"sub":"%s@localhost"}' % name.encode(), secrets.token_bytes(24))
        fresh = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        with self._tokens.open("a") as tokens:
            tokens.write(f"{fresh} {name}\n")
        return fresh

    def _tell(self, command: str, *arguments: str) -> None:
        """
        Have a command of C{mod_admin_shell} done, over the socket that C{prosodyctl shell} uses.
        """
        line = f"{command}({', '.join(map(_quoted, arguments))})"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self._adminSocket))
            connection.sendall(
                b"<stream:stream xmlns='xmpp:prosody.im/admin'"
                b" xmlns:stream='http://etherx.jabber.org/streams'>"
                + f"<repl-input>{escape(line)}</repl-input>".encode()
            )
            answer = readUntil(connection, re.compile(rb"<repl-result([^>]*)>(.*)</repl-result>", re.S))
        if b"error" in answer.group(1):
            raise AssertionError(f"Prosody refused {command}: {unescape(answer.group(2).decode())}")

    def _configuration(self) -> str:
        """
        The whole configuration.
        """
        accounts = "internal_hashed" if self.hashed else "internal_plain"
        hosts = CONFIGURATION.format(
            runAsRoot=_lua(os.geteuid() == 0),
            modules=MODULES,
            demandsTLS=_lua(self.demandsTLS),
            management="" if self.keeps is None else '"smacks";',
            keeps=self.keeps or 0,
            authentication="tokens" if self.tokens else accounts,
            accounts=accounts,
            tokensFile=self._tokens,
            disabled=", ".join(map(_quoted, self._disabled())),
            adminSocket=self._adminSocket,
            folder=self.folder,
            loopback=LOOPBACK,
            c2sPort=self.c2sPort,
            tlsPort=self.tlsPort,
            directTlsPort=self.directTlsPort,
            componentPort=self._port,
            host=HOST,
            rooms=ROOMS,
            certificate=self.certificate,
            key=self.certificate.with_suffix(".key"),
        )
        return hosts + "".join(COMPONENT.format(domain=domain, secret=SECRET) for domain in COMPONENTS)

    def _writeAccounts(self) -> None:
        """
        Write what C{prosodyctl register} would: a file for each account.
        """
        accounts = self.folder / "data" / HOST / "accounts"
        accounts.mkdir(parents=True)
        for account in ACCOUNTS:
            (accounts / f"{account}.dat").write_text(
                f'return {{ ["password"] = "{passwordOf(account)}" }};\n'
            )


def _lua(truth: bool) -> str:
    """
    A boolean in Lua.
    """
    return "true" if truth else "false"


def _quoted(text: str) -> str:
    """
    A string in Lua, each byte by its number.
    """
    return '"' + "".join(f"\\{byte:03}" for byte in text.encode()) + '"'
