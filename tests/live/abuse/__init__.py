"""
Abuse: named attacks over HTTP and XMPP against a running bridge, with a probe beside them.

::

    wire, bodies, credentials, addresses: the attacks over HTTP ----.
    stanzas:                              those over XMPP -----------+-> test_abuse -> the bridge <- probe
    attack:                               how one is made and judged -'                an idle one <- probe

What is only wrong, not hostile, is in L{tests.live.badinput}.
"""
