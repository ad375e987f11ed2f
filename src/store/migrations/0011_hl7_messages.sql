-- Messages of HL7 v2, as they came. Times are microseconds since 1970-01-01T00:00:00Z.
CREATE TABLE hl7_message (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    source     TEXT    NOT NULL CHECK (source <> ''),
    sender     TEXT    NOT NULL,
    control_id TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    digest     BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    answer     TEXT    NOT NULL CHECK (answer IN ('AA', 'AE', 'AR')),
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'done', 'failed', 'dropped')),
    reason     TEXT,
    did        TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(did)),
    attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- Since when it waits, and when it is looked at next.
    since      INTEGER NOT NULL,
    next_try   INTEGER NOT NULL,
    -- Whether one before it, about the same, waits too.
    is_held    INTEGER NOT NULL DEFAULT 0 CHECK (is_held IN (0, 1)),
    changed_at INTEGER NOT NULL,
    body       BLOB    NOT NULL
) STRICT;

CREATE INDEX hl7_message_waiting ON hl7_message (is_held, next_try) WHERE state = 'waiting';
CREATE INDEX hl7_message_failed ON hl7_message (number) WHERE state = 'failed';
CREATE INDEX hl7_message_ended ON hl7_message (changed_at) WHERE state IN ('done', 'dropped');

-- What waiting messages are about: those about the same are done in the order in which they came.
CREATE TABLE hl7_subject (
    subject TEXT    NOT NULL CHECK (subject <> ''),
    number  INTEGER NOT NULL REFERENCES hl7_message (number) ON DELETE CASCADE,
    PRIMARY KEY (subject, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX hl7_subject_number ON hl7_subject (number);
