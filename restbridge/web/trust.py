"""
Whom TLS believes, where the operator says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.crypto import X509
from twisted.internet.ssl import Certificate, trustRootFromCertificates


def trustRoots(path: Path | None) -> Any:
    """
    Roots for Twisted.

    @param path: certificates in PEM; L{None} for the system's.
    """
    if path is None:
        return None
    found = load_pem_x509_certificates(path.read_bytes())
    return trustRootFromCertificates([Certificate(X509.from_cryptography(each)) for each in found])
