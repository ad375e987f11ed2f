-- Where copies of studies came from. Times are microseconds since 1970-01-01T00:00:00Z. A row for each source of a
-- study at a station; names and titles are those of then, whatever the stations are called now.
CREATE TABLE copy (
    study_instance_uid TEXT    NOT NULL CHECK (length(study_instance_uid) BETWEEN 1 AND 64),
    station            TEXT    NOT NULL CHECK (length(station) BETWEEN 1 AND 64),
    source             TEXT    NOT NULL CHECK (length(source) BETWEEN 1 AND 64),
    cluster            TEXT    CHECK (length(cluster) BETWEEN 1 AND 64),
    source_titles      TEXT    NOT NULL CHECK (json_valid(source_titles) AND json_type(source_titles) = 'array'),
    embedded           INTEGER NOT NULL CHECK (embedded IN (0, 1)),
    held_before        INTEGER NOT NULL CHECK (held_before >= 0),
    first_brought      INTEGER NOT NULL,
    last_brought       INTEGER NOT NULL,
    instances          INTEGER NOT NULL CHECK (instances >= 0),
    purpose            TEXT    NOT NULL CHECK (purpose IN ('retrieve', 'prefetch', 'update', 'service')),
    last_use           INTEGER,
    expired_at         INTEGER,
    -- Found to be at home by now: it does not expire.
    is_home            INTEGER NOT NULL DEFAULT 0 CHECK (is_home IN (0, 1)),
    PRIMARY KEY (study_instance_uid, station, source)
) STRICT, WITHOUT ROWID;

CREATE INDEX copy_embedded ON copy (study_instance_uid) WHERE embedded = 1 AND expired_at IS NULL AND is_home = 0;
