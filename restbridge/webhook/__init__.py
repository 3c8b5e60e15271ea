"""
Stanzas to callbacks, and their answers back.

::

    stanza -> filter -> encode -> post -> reply -> stanza
"""
