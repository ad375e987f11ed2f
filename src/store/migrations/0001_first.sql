-- Immutable once released: what differs later is a migration of its own.

-- The cluster whose store this is: one row.
CREATE TABLE cluster (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    uid        TEXT    NOT NULL CHECK (length(uid) BETWEEN 1 AND 64),
    generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0)
) STRICT;

CREATE TABLE setting (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL CHECK (value <> '')
) STRICT;

-- Columns as in the station's JSON document. Lists are JSON arrays of strings.
CREATE TABLE station (
    name                  TEXT    PRIMARY KEY NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    ae_title              TEXT    NOT NULL CHECK (length(ae_title) BETWEEN 1 AND 16),
    host                  TEXT    CHECK (host <> ''),
    port                  INTEGER CHECK (port BETWEEN 1 AND 65535),
    kind                  TEXT    NOT NULL CHECK (kind IN ('internal', 'external', 'archive')),
    description           TEXT    CHECK (length(description) BETWEEN 1 AND 64),
    cluster               TEXT    CHECK (length(cluster) BETWEEN 1 AND 64),
    cluster_linking       INTEGER NOT NULL CHECK (cluster_linking IN (0, 1)),
    link_internal_queries INTEGER NOT NULL CHECK (link_internal_queries IN (0, 1)),
    link_external_queries INTEGER NOT NULL CHECK (link_external_queries IN (0, 1)),
    link_cluster_updates  INTEGER NOT NULL CHECK (link_cluster_updates IN (0, 1)),
    link_prefetching      INTEGER NOT NULL CHECK (link_prefetching IN (0, 1)),
    updates_direction     TEXT    NOT NULL CHECK (updates_direction IN ('both', 'send', 'accept')),
    constrained           INTEGER NOT NULL CHECK (constrained IN (0, 1)),
    priority              INTEGER NOT NULL CHECK (priority BETWEEN -2147483648 AND 2147483647),
    issuers               TEXT    NOT NULL CHECK (json_valid(issuers) AND json_type(issuers) = 'array'),
    charset               TEXT    CHECK (charset <> ''),
    syntax                TEXT    NOT NULL CHECK (syntax IN ('auto', 'linked', 'dicom')),
    timeout_ms            INTEGER NOT NULL CHECK (timeout_ms >= 0),
    calling_ae            TEXT    CHECK (length(calling_ae) BETWEEN 1 AND 16),
    also_calls_as         TEXT    NOT NULL CHECK (json_valid(also_calls_as) AND json_type(also_calls_as) = 'array'),
    from_addresses        TEXT    NOT NULL CHECK (json_valid(from_addresses) AND json_type(from_addresses) = 'array'),
    move_destination      TEXT    CHECK (length(move_destination) BETWEEN 1 AND 16),
    on_partial            TEXT    CHECK (on_partial IN ('success', 'failure')),
    suspended_until       TEXT    CHECK (suspended_until <> ''),
    tls                   INTEGER NOT NULL CHECK (tls IN (0, 1)),
    CHECK ((host IS NULL) = (port IS NULL)),
    CHECK (host IS NOT NULL OR kind = 'archive'),
    CHECK (kind <> 'archive' OR cluster_linking = 0)
) STRICT;

CREATE UNIQUE INDEX station_name_ignoring_case ON station (name COLLATE NOCASE);
CREATE UNIQUE INDEX station_address ON station (ae_title, host, port);
CREATE UNIQUE INDEX station_embedded ON station (host IS NULL) WHERE host IS NULL;

-- Times are microseconds since 1970-01-01T00:00:00Z.
CREATE TABLE audit (
    sequence      INTEGER PRIMARY KEY CHECK (sequence >= 1),
    at            INTEGER NOT NULL,
    user          TEXT    NOT NULL,
    uid           INTEGER NOT NULL CHECK (uid BETWEEN 0 AND 4294967295),
    real_user     TEXT,
    command       TEXT    NOT NULL,
    reason        TEXT,
    kind          TEXT    NOT NULL CHECK (kind IN ('configuration', 'disclosure')),
    generation    INTEGER CHECK (generation >= 1),
    detail        TEXT    NOT NULL CHECK (json_valid(detail)),
    previous_hash BLOB    NOT NULL CHECK (length(previous_hash) = 32),
    hash          BLOB    NOT NULL CHECK (length(hash) = 32),
    CHECK ((kind = 'configuration') = (generation IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX audit_generation ON audit (generation) WHERE generation IS NOT NULL;

-- Against slips of the hand; against intent there is the chain.
CREATE TRIGGER audit_is_never_edited BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'audit records are never edited');
END;

CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'audit records are never removed');
END;

-- Deferred, because a changed station is removed and inserted again within one transaction.
CREATE TABLE link_health (
    station           TEXT    PRIMARY KEY NOT NULL REFERENCES station (name) DEFERRABLE INITIALLY DEFERRED,
    last_success      INTEGER,
    last_failure      INTEGER,
    down_since        INTEGER,
    failures_in_a_row INTEGER NOT NULL CHECK (failures_in_a_row >= 0),
    latency_us        INTEGER CHECK (latency_us >= 0),
    detail            TEXT,
    next_try          INTEGER,
    speaks_linked     INTEGER CHECK (speaks_linked IN (0, 1))
) STRICT;
