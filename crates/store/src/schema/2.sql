-- The search index (see search/mod.rs). Nothing in it is mail: all of it can be made anew from the bodies.

-- From what the index tells of a body to the messages it is the body of.
CREATE INDEX messages_by_body ON messages (body);

-- Bodies the index does not know, and a search must read. What is here already waits too.
CREATE TABLE unmarked (
    body INTEGER PRIMARY KEY
) STRICT;
INSERT INTO unmarked (body) SELECT id FROM bodies;

-- The marks of one account that are equally wide; next: the slot the next one gets. Width 0: too much text to be told apart.
CREATE TABLE shelves (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL,
    width INTEGER NOT NULL,
    next INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, width)
) STRICT;

-- Whose mark is in which slot.
CREATE TABLE marks (
    shelf INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    body INTEGER NOT NULL,
    PRIMARY KEY (shelf, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX marks_by_body ON marks (body);

-- Marks of a block that is not full: one row each. id: shelf * 2048 + slot % 2048.
CREATE TABLE loose (
    id INTEGER PRIMARY KEY,
    slot INTEGER NOT NULL,
    bits BLOB NOT NULL
) STRICT;

-- Blocks of 2,048 slots that were full once: their bits are in as many slices as the shelf is wide, from first on.
-- live: slots still in use; sum: CRC-32 of all the slices.
CREATE TABLE blocks (
    shelf INTEGER NOT NULL,
    block INTEGER NOT NULL,
    first INTEGER NOT NULL,
    live INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (shelf, block)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_thin ON blocks (shelf) WHERE live < 512;

-- One bit of each of a block's marks.
CREATE TABLE slices (
    id INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;

-- What comes and goes is noted here and nowhere else, so no statement can forget it. Ids of bodies are used again: a mark must not
-- outlive its body.
CREATE TRIGGER body_unmarked AFTER INSERT ON bodies BEGIN
    INSERT OR IGNORE INTO unmarked (body) VALUES (NEW.id);
END;
CREATE TRIGGER body_forgotten AFTER DELETE ON bodies BEGIN
    DELETE FROM unmarked WHERE body = OLD.id;
    DELETE FROM marks WHERE body = OLD.id;
END;
CREATE TRIGGER mark_gone AFTER DELETE ON marks BEGIN
    DELETE FROM loose WHERE id = OLD.shelf * 2048 + OLD.slot % 2048 AND slot = OLD.slot;
    UPDATE blocks SET live = live - 1 WHERE shelf = OLD.shelf AND block = OLD.slot / 2048;
END;
