"""
A throw-away ejabberd, as Debian packages it.

Started through C{erl}, not through C{ejabberdctl}: that one changes to the user C{ejabberd}, starts an
C{epmd} for the whole machine that stays behind, and leaves the virtual machine running when it is killed
itself.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from tests.live.process import LOOPBACK, Process, eventually, freePorts
from tests.live.servers import (
    ACCOUNTS,
    COMPONENTS,
    HOST,
    ROOMS,
    SECRET,
    Server,
    ServerMissing,
    passwordOf,
)
from tests.live.web import ask

JSON = {"Content-Type": "application/json"}

# One listener for each component: a listener with several hosts routes all of them to whoever attaches.
# s2s_access none, or each stanza to an absent domain costs a DNS look-up.
CONFIGURATION = """
loglevel: info
log_rotate_count: 0
hosts: ["{host}"]
certfiles: ["{certificate}"]
s2s_access: none
auth_method: [internal]
auth_password_format: {format}
disable_sasl_mechanisms: {disabled}
oauth_access: all
shaper_rules:
  max_user_sessions: 1000
  max_user_offline_messages: 10000
listen:
  - {{port: {c2sPort}, ip: "{loopback}", module: ejabberd_c2s, access: all, shaper: none, {clear}}}
  - {{port: {tlsPort}, ip: "{loopback}", module: ejabberd_c2s, access: all, shaper: none,
      starttls_required: true}}
  - {{port: {directTlsPort}, ip: "{loopback}", module: ejabberd_c2s, access: all, shaper: none, tls: true}}
  - {{port: {httpPort}, ip: "{loopback}", module: ejabberd_http, request_handlers: {{/api: mod_http_api}}}}
{components}
acl:
  loopback: {{ip: 127.0.0.0/8}}
access_rules:
  everyone: {{allow: all}}
api_permissions:
  "tests": {{from: [mod_http_api], who: {{ip: 127.0.0.0/8}}, what: "*"}}
modules:
  mod_admin_extra: {{}}
  mod_adhoc: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_http_api: {{}}
  mod_last: {{}}
  mod_mam: {{default: always, assume_mam_usage: true}}
  mod_muc:
    host: {rooms}
    access: everyone
    access_create: everyone
    access_persistent: everyone
    access_mam: everyone
    default_room_options: {{mam: true}}
  mod_muc_admin: {{}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_ping: {{}}
  mod_pubsub: {{plugins: [flat, pep]}}
  mod_roster: {{}}
{management}  mod_time: {{}}
  mod_version: {{}}
"""

MANAGEMENT = "  mod_stream_mgmt: {{resume_timeout: {keeps}, max_resume_timeout: {keeps}}}\n"

COMPONENT = (
    '  - {{port: {port}, ip: "{loopback}", module: ejabberd_service, access: all, shaper: none,'
    ' hosts: {{"{domain}": {{password: "{secret}"}}}}}}\n'
)

RESOLVER = '{file, hosts, "/etc/hosts"}.\n{lookup, ["file", "native"]}.\n'


def _libraries() -> Path:
    """
    The folder that holds ejabberd and the Erlang libraries it needs.
    """
    for found in sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin/ejabberd.app")):
        return found.parents[2]
    raise ServerMissing("ejabberd", "ejabberd below /usr/lib/<architecture>")


class Ejabberd(Server):
    """
    ejabberd in a virtual machine of its own: node name, cookie, spool; no C{epmd}.
    """

    name = "ejabberd"
    refusesSecondComponent = False

    def __init__(self) -> None:
        program = shutil.which("erl")
        if program is None:
            raise ServerMissing("ejabberd", "the program erl")
        libraries = _libraries()
        super().__init__()
        self._httpPort, distributionPort, *ports = freePorts(2 + len(COMPONENTS))
        self._ports = dict(zip(COMPONENTS, ports, strict=True))
        self._joinKeyAndCertificate()
        for name in ("spool", "home"):
            (self.folder / name).mkdir()
        (self.folder / "ejabberd.yml").write_text(self._configuration())
        (self.folder / "inetrc").write_text(RESOLVER)
        self.process = Process(
            [program, *self._arguments(distributionPort)], self.folder, self._environment(libraries)
        )

    def componentPort(self, domain: str) -> int:
        """
        The port of this component's listener.
        """
        return self._ports[domain]

    def addAccount(self, name: str, password: str) -> None:
        """
        Over ejabberd's own HTTP API.
        """
        self._command("register", user=name, host=HOST, password=password)

    def changePassword(self, name: str, password: str) -> None:
        """
        Likewise.
        """
        self._command("change_password", user=name, host=HOST, newpass=password)

    def deleteAccount(self, name: str) -> None:
        """
        Likewise.
        """
        self._command("unregister", user=name, host=HOST)

    def endSession(self, name: str) -> None:
        """
        Likewise.
        """
        self._command("kick_user", user=name, host=HOST)

    def logins(self, name: str) -> int:
        """
        The log is written behind the server's back: what was to be counted is there when a mark is.
        """
        mark = secrets.token_hex(8)
        self._command("check_account", user=mark, host=HOST)
        eventually(lambda: mark in self.process.log(), "ejabberd to write its log")
        accepted = rf" Accepted c2s \S+ authentication for {re.escape(name)}@{HOST} "
        return len(re.findall(accepted, self.process.log()))

    def token(self, name: str) -> str:
        """
        From ejabberd's own OAuth server.
        """
        asked = {"jid": f"{name}@{HOST}", "ttl": 3600}
        try:
            issued = self._command("oauth_issue_token", **asked, scopes="sasl_auth")
        except AssertionError:
            # From 24.02 on they are a list.
            issued = self._command("oauth_issue_token", **asked, scopes=["sasl_auth"])
        return str(issued["token"])

    def _command(self, command: str, **arguments: object) -> Any:
        """
        Have a command done, over ejabberd's own HTTP API.

        @return: its result.
        """
        answer = ask(self._httpPort, "POST", f"/api/{command}", json.dumps(arguments).encode(), JSON)
        if answer.status != 200:
            raise AssertionError(f"ejabberd refused {command}: {answer.status} {answer.text()}")
        return answer.json()

    def _joinKeyAndCertificate(self) -> None:
        """
        ejabberd wants both in one file.
        """
        both = self.certificate.read_bytes() + self.certificate.with_suffix(".key").read_bytes()
        (self.folder / "both.pem").write_bytes(both)

    def _configuration(self) -> str:
        """
        The whole configuration.
        """
        components = "".join(
            COMPONENT.format(port=port, loopback=LOOPBACK, domain=domain, secret=SECRET)
            for domain, port in self._ports.items()
        )
        return CONFIGURATION.format(
            host=HOST,
            rooms=ROOMS,
            loopback=LOOPBACK,
            certificate=self.folder / "both.pem",
            c2sPort=self.c2sPort,
            tlsPort=self.tlsPort,
            directTlsPort=self.directTlsPort,
            clear="starttls_required: true" if self.demandsTLS else "starttls: false",
            format="scram" if self.hashed else "plain",
            disabled=json.dumps(self._disabled()),
            httpPort=self._httpPort,
            management="" if self.keeps is None else MANAGEMENT.format(keeps=self.keeps),
            components=components.rstrip(),
        )

    def _arguments(self, distributionPort: int) -> list[str]:
        """
        What C{erl} is told. With a fixed distribution port nobody asks an C{epmd}.
        """
        return [
            *("-noinput", "-name", f"restbridge{distributionPort}@{LOOPBACK}"),
            *("-setcookie", secrets.token_hex(16), "-start_epmd", "false"),
            *("-erl_epmd_port", str(distributionPort)),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
            *("-mnesia", "dir", f'"{self.folder / "spool"}"', "-s", "ejabberd"),
        ]

    def _environment(self, libraries: Path) -> dict[str, str]:
        """
        Where everything lies; the folder C{home} keeps the user's own Erlang cookie out of it.
        """
        return {
            "HOME": str(self.folder / "home"),
            "ERL_LIBS": str(libraries),
            "ERL_INETRC": str(self.folder / "inetrc"),
            "ERL_CRASH_DUMP": str(self.folder / "erl_crash.dump"),
            "ERL_CRASH_DUMP_BYTES": "0",
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
            "EJABBERD_PID_PATH": str(self.folder / "ejabberd.pid"),
        }

    def _createAccounts(self) -> None:
        """
        Those that an earlier start has not made.
        """
        there = self._command("registered_users", host=HOST)
        for account in ACCOUNTS:
            if account not in there:
                self.addAccount(account, passwordOf(account))
