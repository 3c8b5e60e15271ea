"""
Signatures of calls: Standard Webhooks 1.0.0, symmetric (v1).
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode


def signatureHeaders(secret: str, webhookId: str, timestamp: int, body: bytes) -> dict[str, str]:
    """
    The three headers of a signed call.

    @param secret: C{whsec_} and the key in base64.
    @param webhookId: the same with each attempt; without a full stop.
    @param timestamp: of this attempt, in seconds since the epoch.
    """
    key = b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhookId}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {
        "webhook-id": webhookId,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
