"""
Side by side with what a user would pick instead.

::

    __main__   what is asked for           -> races
    races      what runs against what      -> stage, load, deliveries -> table
    stage      servers, bridges, peers     -> tests.live, mod_rest, bare
    load       wrk, and what it measured
    deliveries stanzas in, calls out

One machine runs both sides, and what drives them, so nothing here is about absolute times: contestants take
turns within a round, and what counts is the ratio of the two in the same round.
"""
