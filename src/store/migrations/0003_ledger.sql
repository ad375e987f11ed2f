-- Past linked queries. Times are microseconds since 1970-01-01T00:00:00Z; IDs sort by time.
CREATE TABLE query_ledger (
    id           TEXT    PRIMARY KEY NOT NULL CHECK (length(id) = 19),
    at           INTEGER NOT NULL,
    user         TEXT    CHECK (user <> ''),
    ae_title     TEXT    CHECK (length(ae_title) BETWEEN 1 AND 16),
    address      TEXT    CHECK (address <> ''),
    asked_as     TEXT    NOT NULL CHECK (asked_as IN ('internal', 'external', 'linked')),
    generation   INTEGER NOT NULL CHECK (generation >= 0),
    level        TEXT    NOT NULL CHECK (level <> ''),
    keywords     TEXT    NOT NULL CHECK (json_valid(keywords) AND json_type(keywords) = 'array'),
    complete     INTEGER NOT NULL CHECK (complete IN (0, 1)),
    told_status  INTEGER NOT NULL CHECK (told_status BETWEEN 0 AND 65535),
    told_matches INTEGER NOT NULL CHECK (told_matches >= 0),
    elapsed_us   INTEGER NOT NULL CHECK (elapsed_us >= 0),
    has_failed   INTEGER NOT NULL CHECK (has_failed IN (0, 1)),
    CHECK ((user IS NULL) = (ae_title IS NOT NULL)),
    CHECK ((ae_title IS NULL) = (address IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX query_ledger_failed ON query_ledger (id) WHERE has_failed = 1;

CREATE TABLE query_ledger_entry (
    ledger          TEXT    NOT NULL REFERENCES query_ledger (id) ON DELETE CASCADE,
    place           INTEGER NOT NULL CHECK (place >= 0),
    station         TEXT    NOT NULL CHECK (length(station) BETWEEN 1 AND 64),
    outcome         TEXT    NOT NULL CHECK (outcome IN ('searched', 'failed', 'truncated', 'skipped', 'cancelled')),
    was_due         INTEGER NOT NULL CHECK (was_due IN (0, 1)),
    matches         INTEGER NOT NULL CHECK (matches >= 0),
    filtered        INTEGER NOT NULL CHECK (filtered >= 0),
    dropped         INTEGER NOT NULL CHECK (dropped >= 0),
    elapsed_us      INTEGER NOT NULL CHECK (elapsed_us >= 0),
    syntax          TEXT    CHECK (syntax IN ('linked', 'dicom')),
    dicom_status    INTEGER CHECK (dicom_status BETWEEN 0 AND 65535),
    unverified_keys TEXT    CHECK (json_valid(unverified_keys) AND json_type(unverified_keys) = 'array'),
    retry_at        INTEGER,
    detail          TEXT,
    PRIMARY KEY (ledger, place)
) STRICT, WITHOUT ROWID;
