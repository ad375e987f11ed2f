-- What clusters have said of studies, and the relay of it. Times are microseconds since 1970-01-01T00:00:00Z.

-- The last revision that was given or seen: one row, once there is one.
CREATE TABLE update_clock (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last TEXT    NOT NULL CHECK (length(last) = 25)
) STRICT;

-- The state of a study of a patient. Of another patient, the same study UID has another state. No issuer is ''.
CREATE TABLE study_state (
    study       TEXT    NOT NULL CHECK (length(study) BETWEEN 1 AND 64),
    patient_id  TEXT    NOT NULL,
    issuer      TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (json_valid(state)),
    in_conflict INTEGER NOT NULL CHECK (in_conflict IN (0, 1)),
    PRIMARY KEY (study, patient_id, issuer)
) STRICT, WITHOUT ROWID;

CREATE INDEX study_state_in_conflict ON study_state (study) WHERE in_conflict = 1;

-- By which values studies are found: those of the fields that queries match by.
CREATE TABLE stated_value (
    field      TEXT NOT NULL CHECK (field <> ''),
    value      TEXT NOT NULL CHECK (value <> ''),
    study      TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    PRIMARY KEY (field, value, study, patient_id, issuer),
    FOREIGN KEY (study, patient_id, issuer) REFERENCES study_state (study, patient_id, issuer)
) STRICT, WITHOUT ROWID;

-- Each update once, made here or received.
CREATE TABLE update_log (
    sequence     INTEGER PRIMARY KEY CHECK (sequence >= 1),
    id           TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 64),
    study        TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    from_station TEXT    CHECK (length(from_station) BETWEEN 1 AND 64),
    outcome      TEXT    NOT NULL CHECK (outcome IN ('applied', 'parked', 'dropped')),
    reason       TEXT,
    pull         TEXT    CHECK (pull IN ('due', 'done')),
    body         TEXT    NOT NULL CHECK (json_valid(body))
) STRICT;

CREATE INDEX update_log_at ON update_log (at);
CREATE INDEX update_log_study ON update_log (study, sequence);
CREATE INDEX update_log_parked ON update_log (sequence) WHERE outcome = 'parked';
CREATE INDEX update_log_pull ON update_log (sequence) WHERE pull = 'due';

-- What is to be sent, and was: one row for each update and station, in the order in which they were made.
CREATE TABLE outbox (
    sequence        INTEGER PRIMARY KEY CHECK (sequence >= 1),
    station         TEXT    NOT NULL CHECK (length(station) BETWEEN 1 AND 64),
    update_sequence INTEGER NOT NULL REFERENCES update_log (sequence) ON DELETE CASCADE,
    study           TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('queued', 'delivered', 'parked')),
    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_try        INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL,
    reason          TEXT,
    UNIQUE (update_sequence, station)
) STRICT;

CREATE INDEX outbox_queued ON outbox (station, sequence) WHERE state = 'queued';
CREATE INDEX outbox_waiting ON outbox (station, study, next_try) WHERE state = 'queued';
CREATE INDEX outbox_parked ON outbox (station, sequence) WHERE state = 'parked';

-- Why a person must look at the copies of a study; by the update that brought it.
CREATE TABLE review_notice (
    id              TEXT    PRIMARY KEY NOT NULL,
    study           TEXT    NOT NULL,
    patient_id      TEXT    NOT NULL,
    issuer          TEXT    NOT NULL,
    reason          TEXT    NOT NULL CHECK (length(reason) BETWEEN 1 AND 64),
    origin          TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX review_notice_study ON review_notice (study);
CREATE INDEX review_notice_open ON review_notice (study) WHERE acknowledged_at IS NULL;
