"""
Endpoint strings.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from restbridge.config import parse
from tests.config.written import COMPONENT, Written
from tests.live.servers import writeCertificate


class EndpointTests(Written):
    def test_refused(self) -> None:
        """
        An endpoint that Twisted could not make, or whose port is none, is refused before anything starts.
        """
        for listen, start in {
            "tcp": '"tcp" is not a Twisted endpoint string: ',
            "tcp:x": '"tcp:x" is not a Twisted endpoint string: invalid literal',
            "tcp:80:interfac=::1": "",
            "tcp:80\\\\": "",
            "tcp:65536": "a TCP port must be from 0 to 65535, not 65536",
            "tcp6:-1": "a TCP port must be from 0 to 65535, not -1",
            "ssl:443:privateKey=nonesuch.pem": '"ssl:443:privateKey=nonesuch.pem" is not ',
            "8080": 'unknown endpoint type "8080"; allowed: haproxy, ssl, stdio, systemd, tcp, ',
        }.items():
            self.assertRefused(f'{COMPONENT}[http]\nlisten = "{listen}"', f"http.listen: {start}")
        for connect, start in {
            "tcp:example.com": '"tcp:example.com" is not a Twisted endpoint string: ',
            "tcp:example.com:0": "a TCP port must be from 1 to 65535, not 0",
            "tcp:example.com:65536": "a TCP port must be",
            "tls:example.com:x": '"tls:example.com:x" is not',
            "systemd:domain=INET:index=0": 'unknown endpoint type "systemd"; allowed: ssl, tcp, tls, unix',
        }.items():
            self.assertRefused(f'{COMPONENT}connect = "{connect}"', f"component.connect: {start}")

    def test_certificate(self) -> None:
        """
        So is a certificate that TLS would not take: one whose key is too short, or another's.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, curve in (("good", ec.SECP256R1()), ("other", ec.SECP256R1()), ("weak", ec.SECP192R1())):
            writeCertificate(folder / f"{name}.pem", "localhost", curve=curve)
        for name, key in (("good", "good"), ("good", "other"), ("weak", "weak")):
            listen = f"ssl:443:certKey={folder / name}.pem:privateKey={folder / key}.key"
            text = f'{COMPONENT}[http]\nlisten = "{listen}"'
            if (name, key) == ("good", "good"):
                self.assertEqual((listen,), parse(text, folder, {}).http.listen)
            else:
                self.assertRefused(text, "http.listen: ")

    def test_noReactor(self) -> None:
        """
        Reading a configuration with endpoints of every kind installs no reactor, which is twistd's to do.
        """
        listen = ["tcp:80", "tcp6:80", "unix:/x", "haproxy:tcp:80", "systemd:domain=INET:index=0"]
        for connect in ("tcp:a:1", "tls:a:1", "ssl:a:1", "unix:/x"):
            path = self.write("c.toml", f'{COMPONENT}connect = "{connect}"\n[http]\nlisten = {listen}')
            code = (
                "import sys; from restbridge.command import main\n"
                "print(main(['check-config', sys.argv[1]]))\n"
                "print('twisted.internet.reactor' in sys.modules)"
            )
            ran = subprocess.run(
                [sys.executable, "-c", code, str(path)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(ran.stdout.splitlines()[-2:], ["0", "False"], ran)
