"""
The tables, in steps: each makes a version of the schema out of the one before.

They are written once, for SQLite and for PostgreSQL; what these name differently stands in braces.
"""

from __future__ import annotations

from collections.abc import Sequence

STEPS: Sequence[str] = (
    """
    CREATE TABLE places (
        "user" TEXT NOT NULL,
        room TEXT NOT NULL,
        PRIMARY KEY ("user", room)
    );
    CREATE INDEX places_in_room ON places (room);
    CREATE TABLE departures (
        room TEXT NOT NULL,
        "user" TEXT NOT NULL,
        PRIMARY KEY (room, "user")
    );
    CREATE TABLE affiliations (
        number {number},
        room TEXT NOT NULL,
        time BIGINT NOT NULL,
        "user" TEXT NOT NULL,
        affiliation TEXT NOT NULL,
        id TEXT NOT NULL,
        after TEXT NOT NULL
    );
    CREATE INDEX affiliations_of_room ON affiliations (room, number);
    """,
    """
    CREATE INDEX affiliations_of_user ON affiliations ("user", time);
    CREATE TABLE conversations (
        number {number},
        key TEXT NOT NULL UNIQUE,
        callback TEXT NOT NULL,
        sender TEXT NOT NULL,
        recipient TEXT NOT NULL,
        due BIGINT NOT NULL,
        holder TEXT
    );
    CREATE INDEX conversations_due ON conversations (callback, due);
    CREATE INDEX conversations_held ON conversations (holder) WHERE holder IS NOT NULL;
    CREATE TABLE messages (
        number {number},
        conversation BIGINT NOT NULL REFERENCES conversations,
        webhook TEXT NOT NULL,
        received BIGINT NOT NULL,
        stanza TEXT NOT NULL,
        failures INTEGER NOT NULL,
        problem TEXT NOT NULL
    );
    CREATE INDEX messages_of_conversation ON messages (conversation, number);
    CREATE TABLE dead_letters (
        number BIGINT PRIMARY KEY,
        callback TEXT NOT NULL,
        sender TEXT NOT NULL,
        recipient TEXT NOT NULL,
        webhook TEXT NOT NULL,
        received BIGINT NOT NULL,
        stanza TEXT NOT NULL,
        failures INTEGER NOT NULL,
        problem TEXT NOT NULL,
        died BIGINT NOT NULL
    );
    CREATE INDEX dead_letters_died ON dead_letters (died);
    CREATE TABLE replies (
        number {number},
        domain TEXT NOT NULL,
        stanza TEXT NOT NULL
    );
    CREATE INDEX replies_of_domain ON replies (domain, number);
    CREATE TABLE answers (
        caller TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        asked BIGINT NOT NULL,
        holder TEXT,
        status INTEGER,
        headers TEXT,
        media_type TEXT,
        body {bytes},
        PRIMARY KEY (caller, key)
    );
    CREATE INDEX answers_asked ON answers (asked);
    """,
    """
    CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        ends BIGINT NOT NULL
    );
    ALTER TABLE answers ADD COLUMN held BIGINT NOT NULL DEFAULT 0;
    """,
)
