-- One row per version, the newest is the note. History is never rewritten: a revert is a new row.
CREATE TABLE note_version (
    version INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    blob TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;
