"""
Live streams; the only room that imports wokkel.

::

    out:  component.send | confirm | request -> exchange, confirmations -> stream -> socket
    in:   socket -> stream (guarded parser) -> inbound -> confirmations, exchange, webhooks, entity

A user's stream comes from c2s, and is a userstream, which management has resumed after a break (XEP-0198).
"""
