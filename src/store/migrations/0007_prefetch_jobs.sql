-- The queue of priors to be brought. Times are microseconds since 1970-01-01T00:00:00Z; `runner` names who brings it.
CREATE TABLE prefetch_job (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    study_instance_uid TEXT    NOT NULL CHECK (length(study_instance_uid) BETWEEN 1 AND 64),
    patient_id         TEXT    NOT NULL,
    issuer             TEXT    CHECK (issuer <> ''),
    inferred_from      TEXT    CHECK (inferred_from <> ''),
    destination        TEXT    NOT NULL CHECK (length(destination) BETWEEN 1 AND 64),
    sources            TEXT    NOT NULL CHECK (json_valid(sources) AND json_array_length(sources) > 0),
    source_place       INTEGER NOT NULL DEFAULT 0 CHECK (source_place >= 0),
    source             TEXT    NOT NULL AS (json_extract(sources, '$[' || source_place || ']')) STORED,
    instances          INTEGER CHECK (instances >= 0),
    reason             TEXT    NOT NULL,
    wanted_for         TEXT    CHECK (length(wanted_for) BETWEEN 1 AND 64),
    state              TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    runner             TEXT    CHECK (runner <> ''),
    attempts           INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_try           INTEGER NOT NULL,
    fetched            INTEGER NOT NULL DEFAULT 0 CHECK (fetched >= 0),
    detail             TEXT,
    created            INTEGER NOT NULL,
    changed            INTEGER NOT NULL,
    CHECK ((issuer IS NULL) = (inferred_from IS NOT NULL)),
    CHECK ((state = 'running') = (runner IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX prefetch_job_wanted ON prefetch_job (study_instance_uid, destination);
CREATE INDEX prefetch_job_state ON prefetch_job (state, next_try);
