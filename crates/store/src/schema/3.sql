-- The UIDs of large mailboxes as they were at a modification sequence (see lists.rs). Nothing in it is mail: all of it is in messages.
-- ranges: first and last UID of each, u32, little-endian. sum: CRC-32 of the other columns.
CREATE TABLE lists (
    mailbox INTEGER PRIMARY KEY,
    uidvalidity INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    first_unseen INTEGER NOT NULL,
    ranges BLOB NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
CREATE TRIGGER list_forgotten AFTER DELETE ON mailboxes BEGIN
    DELETE FROM lists WHERE mailbox = OLD.id;
END;
