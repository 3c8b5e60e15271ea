"""
A throw-away Prosody, as Debian packages it.
"""

from __future__ import annotations

import os
import shutil

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
    writeCertificate,
)

# No mod_limits: even an empty "limits" throttles every client connection to 10 KiB/s.
CONFIGURATION = """
run_as_root = {runAsRoot}
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
certificates = "{folder}"
plugin_paths = {{ }}
admins = {{ }}
modules_enabled = {{
    "roster"; "saslauth"; "tls"; "disco"; "ping"; "version"; "time"; "uptime"; "lastactivity"; "mam";
    "carbons"; "private"; "pep"; "bookmarks"; "vcard4"; "vcard_legacy"; "blocklist"; "smacks"; "posix";
}}
modules_disabled = {{ "s2s" }}
allow_registration = false
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
storage_archive_item_limit = 1000000
archive_expires_after = "never"
default_archive_policy = true
interfaces = {{ "{loopback}" }}
component_interfaces = {{ "{loopback}" }}
c2s_ports = {{ {c2sPort}, {tlsPort} }}
component_ports = {{ {componentPort} }}
c2s_direct_tls_ports = {{ }}
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
        writeCertificate(self.certificate)
        configuration = self.folder / "prosody.cfg.lua"
        configuration.write_text(self._configuration())
        self._writeAccounts()
        self.process = Process([program, "--config", str(configuration), "-F"], self.folder)

    def componentPort(self, domain: str) -> int:
        """
        The one component port.
        """
        return self._port

    def _configuration(self) -> str:
        """
        The whole configuration.
        """
        hosts = CONFIGURATION.format(
            runAsRoot="true" if os.geteuid() == 0 else "false",
            folder=self.folder,
            loopback=LOOPBACK,
            c2sPort=self.c2sPort,
            tlsPort=self.tlsPort,
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
