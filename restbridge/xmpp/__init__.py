"""
Live streams; the only room that imports wokkel.

::

    out:  component.send | confirm | request -> exchange, confirmations -> stream -> socket
    in:   socket -> stream (guarded parser) -> inbound -> confirmations, exchange, webhooks, entity
"""
