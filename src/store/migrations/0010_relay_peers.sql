-- What the relay of updates knows of each station. Times are microseconds since 1970-01-01T00:00:00Z.
CREATE TABLE relay_peer (
    station     TEXT    PRIMARY KEY NOT NULL CHECK (length(station) BETWEEN 1 AND 64),
    -- The cluster that it has shown to be; another one is told nothing.
    cluster_uid TEXT    CHECK (length(cluster_uid) BETWEEN 1 AND 64),
    -- Whether the current state of all studies is to be sent.
    resync_due  INTEGER NOT NULL DEFAULT 0 CHECK (resync_due IN (0, 1)),
    failures    INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    trouble     TEXT,
    since       INTEGER,
    next_try    INTEGER,
    CHECK ((trouble IS NULL) = (since IS NULL) AND (trouble IS NULL) = (next_try IS NULL))
) STRICT, WITHOUT ROWID;
