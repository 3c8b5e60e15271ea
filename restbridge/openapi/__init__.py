"""
What the API is, for programs and for people: C{/openapi.json}, and C{/docs/}, a page to try it on.

::

    stanzas.kinds: the declarations' schemas -.
    rest, messages, contacts, rooms, events: ---> document -> /openapi.json -> the page, by Swagger UI
"""
