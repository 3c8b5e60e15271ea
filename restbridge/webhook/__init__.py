"""
Stanzas to callbacks, and their answers back.

::

    direct, and each IQ:  stanza -> filter -> receiver: encode, sign -> post -> reply -> stanza
    durable:              stanza -> filter -> outbox -> the store's journal
                          journal -> receiver: encode, sign -> post -> verdict -> journal -> replies -> stanza
"""
