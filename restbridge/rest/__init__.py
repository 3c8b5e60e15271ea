"""
mod_rest's API, to the letter: HTTP -> stanza -> HTTP.

::

    Call -> media.decode -> address -> deliver -> media.encode -> Answer
"""
