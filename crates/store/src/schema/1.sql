-- The first release's database. Never edit a step that has been released: add the next one.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Ids of accounts, mailboxes and segments are never used twice (AUTOINCREMENT): others hold them over time.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL UNIQUE,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    quota INTEGER,
    used INTEGER NOT NULL DEFAULT 0,
    last_uidvalidity INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;

-- messages, unseen, deleted, size and charged (octets as the quota counts them) are sums over the mailbox's messages, kept in step so that STATUS costs one row.
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    object_id INTEGER NOT NULL DEFAULT (random()),
    special_use TEXT,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL DEFAULT 1,
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    charged INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, name)
) STRICT;

-- Apart from mailboxes: a name stays subscribed when its mailbox is deleted (RFC 9051 6.3.7).
CREATE TABLE subscriptions (
    account INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- How a keyword is spelled in a mailbox: as first written there.
CREATE TABLE keywords (
    mailbox INTEGER NOT NULL,
    folded TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (mailbox, folded)
) STRICT, WITHOUT ROWID;

-- Mailboxes that were deleted, whose rows below are still to be: many, so piece by piece. No foreign keys there for that.
CREATE TABLE doomed (
    mailbox INTEGER PRIMARY KEY
) STRICT;

-- keywords: names parted by spaces. body is not a foreign key: its check would need one more index; the triggers below
-- keep the counts.
CREATE TABLE messages (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    keywords TEXT NOT NULL,
    date INTEGER NOT NULL,
    zone INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    size INTEGER NOT NULL,
    body INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_by_modseq ON messages (mailbox, modseq);

-- What QRESYNC calls VANISHED (RFC 7162 3.2).
CREATE TABLE expunged (
    mailbox INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, uid)
) STRICT, WITHOUT ROWID;

-- Files of bodies. shared: more than one body may be appended. length: what is known to be on disk.
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    shared INTEGER NOT NULL,
    length INTEGER NOT NULL DEFAULT 0,
    live INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX segments_dead ON segments (id) WHERE live <= 0;

CREATE TABLE bodies (
    id INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    position INTEGER NOT NULL,
    size INTEGER NOT NULL,
    refs INTEGER NOT NULL DEFAULT 0,
    email_id INTEGER NOT NULL DEFAULT (random())
) STRICT;

-- Reference counts are kept here and nowhere else, so no statement can forget them.
CREATE TRIGGER message_kept AFTER INSERT ON messages BEGIN
    UPDATE bodies SET refs = refs + 1 WHERE id = NEW.body;
END;
CREATE TRIGGER message_gone AFTER DELETE ON messages BEGIN
    UPDATE bodies SET refs = refs - 1 WHERE id = OLD.body;
    DELETE FROM bodies WHERE id = OLD.body AND refs <= 0;
END;
CREATE TRIGGER body_kept AFTER INSERT ON bodies BEGIN
    UPDATE segments SET live = live + 1 WHERE id = NEW.segment;
END;
CREATE TRIGGER body_gone AFTER DELETE ON bodies BEGIN
    UPDATE segments SET live = live - 1 WHERE id = OLD.segment;
END;
