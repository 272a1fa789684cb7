-- The keys of passwords for SCRAM-SHA-1, of those accounts whose password was set while the configuration named it.
-- Whether it does is in meta, under 'sha1': the server writes it, and commands beside it read it.
CREATE TABLE sha1_keys (
    account INTEGER PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL
) STRICT;
