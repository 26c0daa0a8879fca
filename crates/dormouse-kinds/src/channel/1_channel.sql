CREATE TABLE channel_message (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    username TEXT NOT NULL,
    avatar_url TEXT,
    content TEXT NOT NULL,
    thread_id TEXT,
    client_id TEXT,
    timestamp_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX channel_message_client ON channel_message (user_id, client_id)
    WHERE client_id IS NOT NULL;
CREATE INDEX channel_message_thread ON channel_message (thread_id, seq)
    WHERE thread_id IS NOT NULL;
CREATE TABLE channel_member (
    user_id TEXT PRIMARY KEY,
    username TEXT NOT NULL,
    avatar_url TEXT,
    last_active_at_ms INTEGER NOT NULL,
    read_seq INTEGER,
    read_message_id TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE channel_shard (
    shard INTEGER PRIMARY KEY,
    fed_seq INTEGER NOT NULL,
    members_after TEXT
) STRICT;
