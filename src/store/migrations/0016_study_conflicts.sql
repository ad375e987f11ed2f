-- Study UIDs found with different patients. Times are microseconds since 1970-01-01T00:00:00Z.
CREATE TABLE study_conflict (
    study           TEXT    NOT NULL PRIMARY KEY CHECK (length(study) BETWEEN 1 AND 64),
    first_seen      INTEGER NOT NULL,
    first_path      TEXT    NOT NULL,
    last_seen       INTEGER NOT NULL,
    last_path       TEXT    NOT NULL,
    -- Until a person acknowledges it, and again when another patient turns up.
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    reason          TEXT,
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX study_conflict_open ON study_conflict (last_seen) WHERE acknowledged_at IS NULL;

-- The stations that list such a study, each with the patient it lists it under. No issuer: the station is the domain.
CREATE TABLE study_conflict_party (
    study      TEXT    NOT NULL REFERENCES study_conflict (study) ON DELETE CASCADE,
    station    TEXT    NOT NULL CHECK (length(station) BETWEEN 1 AND 64),
    patient_id TEXT    NOT NULL,
    issuer     TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (study, station, patient_id, issuer)
) STRICT, WITHOUT ROWID;
