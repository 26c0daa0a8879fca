CREATE TABLE faulty (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    value INTEGER NOT NULL
) STRICT;

-- While a row is here whose time has not come, `wake` fails.
CREATE TABLE sabotage (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    panics INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE filler (
    id INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;
