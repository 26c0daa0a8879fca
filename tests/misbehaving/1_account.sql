CREATE TABLE account (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    balance INTEGER NOT NULL,
    -- Deliveries that came twice or out of order.
    violations INTEGER NOT NULL
) STRICT;
INSERT INTO account VALUES (1, 0, 0);

-- How many payments went to and came from each other account.
CREATE TABLE peer (
    id TEXT PRIMARY KEY,
    sent INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- One row for each payment that an alarm has followed up.
CREATE TABLE follow_up (payment TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
