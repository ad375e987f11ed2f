-- What archives that are not ours were last seen to hold, so that what is new there comes to light.

CREATE TABLE polled_archive (
    station   TEXT    PRIMARY KEY NOT NULL CHECK (length(station) BETWEEN 1 AND 64),
    -- When it was last asked to the end, in microseconds since 1970-01-01T00:00:00Z.
    at        INTEGER NOT NULL,
    -- The first study date that it was asked for then: earlier studies were not looked at.
    first_day TEXT    NOT NULL CHECK (length(first_day) = 10)
) STRICT, WITHOUT ROWID;

CREATE TABLE polled_study (
    station   TEXT    NOT NULL REFERENCES polled_archive (station) ON DELETE CASCADE,
    study     TEXT    NOT NULL CHECK (length(study) BETWEEN 1 AND 64),
    -- How many instances it had when it was last asked.
    instances INTEGER NOT NULL CHECK (instances >= 0),
    -- How many of them are no news.
    known     INTEGER NOT NULL CHECK (known BETWEEN 0 AND instances),
    -- How many those are in each series, as a JSON object by UID; NULL where that is not known.
    series    TEXT,
    PRIMARY KEY (station, study)
) STRICT, WITHOUT ROWID;
