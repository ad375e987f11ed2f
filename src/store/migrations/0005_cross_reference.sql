-- Which patient IDs are one person's. Times are microseconds since 1970-01-01T00:00:00Z.

-- Who changed it, when and why; the newest number tells whether it changed.
CREATE TABLE cross_reference_change (
    change INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    user   TEXT    NOT NULL CHECK (user <> ''),
    reason TEXT    CHECK (reason <> ''),
    origin TEXT    NOT NULL CHECK (origin <> '')
) STRICT;

CREATE TABLE person (
    person    INTEGER PRIMARY KEY,
    global_id TEXT    UNIQUE CHECK (length(global_id) BETWEEN 1 AND 64)
) STRICT;

-- `change` is the one that made the identity this person's.
CREATE TABLE patient_identity (
    issuer     TEXT    NOT NULL CHECK (length(issuer) BETWEEN 1 AND 64),
    patient_id TEXT    NOT NULL CHECK (length(patient_id) BETWEEN 1 AND 64),
    person     INTEGER NOT NULL REFERENCES person (person),
    change     INTEGER NOT NULL REFERENCES cross_reference_change (change),
    PRIMARY KEY (issuer, patient_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX patient_identity_person ON patient_identity (person);

-- The audit takes records of further kinds; which there are is the program's to know.
CREATE TABLE audit_anew (
    sequence      INTEGER PRIMARY KEY CHECK (sequence >= 1),
    at            INTEGER NOT NULL,
    user          TEXT    NOT NULL,
    uid           INTEGER NOT NULL CHECK (uid BETWEEN 0 AND 4294967295),
    real_user     TEXT,
    command       TEXT    NOT NULL,
    reason        TEXT,
    kind          TEXT    NOT NULL CHECK (kind <> ''),
    generation    INTEGER CHECK (generation >= 1),
    detail        TEXT    NOT NULL CHECK (json_valid(detail)),
    previous_hash BLOB    NOT NULL CHECK (length(previous_hash) = 32),
    hash          BLOB    NOT NULL CHECK (length(hash) = 32),
    CHECK ((kind = 'configuration') = (generation IS NOT NULL))
) STRICT;

INSERT INTO audit_anew SELECT * FROM audit;
DROP TABLE audit;
ALTER TABLE audit_anew RENAME TO audit;

CREATE UNIQUE INDEX audit_generation ON audit (generation) WHERE generation IS NOT NULL;

CREATE TRIGGER audit_is_never_edited BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'audit records are never edited');
END;

CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'audit records are never removed');
END;
