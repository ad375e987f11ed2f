-- Whose objects a source may send to our listener while a study is retrieved from it: a row for each open retrieve.
CREATE TABLE expected_objects (
    number     INTEGER PRIMARY KEY,
    study      TEXT    NOT NULL CHECK (length(study) BETWEEN 1 AND 64),
    source     TEXT    NOT NULL CHECK (length(source) BETWEEN 1 AND 64),
    -- The patient as the source named it; empty where it named none.
    patient_id TEXT    NOT NULL,
    -- NULL where nobody named the issuer.
    issuer     TEXT,
    -- Microseconds since 1970-01-01T00:00:00Z. What a process that was killed has left counts no more after a while.
    since      INTEGER NOT NULL
) STRICT;

CREATE INDEX expected_objects_of ON expected_objects (study, source);
