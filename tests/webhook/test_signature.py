"""
L{restbridge.webhook.signature}
"""

from __future__ import annotations

import json
import time
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from twisted.trial.unittest import SynchronousTestCase

from restbridge.webhook.signature import newWebhookId, signatureHeaders

KEYS = st.binary(min_size=24, max_size=64).map(lambda key: f"whsec_{b64encode(key).decode()}")


class SignatureTests(SynchronousTestCase):
    @given(
        st.lists(KEYS, min_size=1, max_size=2, unique=True),
        st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()),
    )
    def test_verified(self, secrets: list[str], document: dict[str, int]) -> None:
        """
        The reference implementation of Standard Webhooks takes the signatures, with each of the secrets, and
        none of another body or by another secret.
        """
        body = json.dumps(document).encode()
        headers = signatureHeaders(secrets, newWebhookId(), int(time.time()), body)
        for secret in secrets:
            self.assertEqual(Webhook(secret).verify(body, headers), document)
            with self.assertRaises(WebhookVerificationError):
                Webhook(secret).verify(body + b" ", headers)
        with self.assertRaises(WebhookVerificationError):
            Webhook(f"whsec_{b64encode(bytes(65)).decode()}").verify(body, headers)

    def test_example(self) -> None:
        """
        The signature is that of the specification's example.
        """
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        body = b'{"test": 2432232314}'
        headers = signatureHeaders([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        self.assertEqual(
            headers,
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
        )
