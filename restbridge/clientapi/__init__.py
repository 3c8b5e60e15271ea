"""
MongooseIM's client REST API, to the letter: C{/api} for XMPP users, each over a login of their own.

::

    request -> call: method, user, media types -> messages | contacts -> the user's link -> Answer
            -> what it doesn't fulfil          -> refusal, its text as one JSON string
    /api/sse -> events -> reader: what was missed (replay, missed), then what happens -> sse, kept open
"""
