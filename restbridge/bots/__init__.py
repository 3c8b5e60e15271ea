"""
Accounts in rooms (XEP-0045): what is said there comes in as any other stanza, and they may speak there.

::

    [accounts.bot] rooms -> Bots -> a Place for each room -> presence, self-pings -> the component's stream
    the stream -> Bots.take -> what is about a place itself, one's own words: nobody else's
                            -> all else: the next taker, the callbacks among them
    POST /rest, from a bare address -> Bots.occupant -> the full address that the room knows
"""
