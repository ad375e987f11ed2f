-- The index of the archive. Everything in it can be made again from the files, but for the numbers of folders.

CREATE TABLE patient (
    key INTEGER PRIMARY KEY,
    patient_id TEXT NOT NULL,
    issuer TEXT NOT NULL,                 -- empty where the object names none
    studies INTEGER NOT NULL DEFAULT 0,
    series INTEGER NOT NULL DEFAULT 0,
    instances INTEGER NOT NULL DEFAULT 0,
    attributes BLOB NOT NULL,
    UNIQUE (patient_id, issuer)
) STRICT;

-- The folded name, whole and by component groups.
CREATE TABLE patient_name (
    folded TEXT NOT NULL,
    patient INTEGER NOT NULL REFERENCES patient (key),
    PRIMARY KEY (folded, patient)
) STRICT, WITHOUT ROWID;

-- The same UID with two patients is two studies: a conflict to show, never a merge.
CREATE TABLE study (
    key INTEGER PRIMARY KEY,
    patient INTEGER NOT NULL REFERENCES patient (key),
    uid TEXT NOT NULL,
    date TEXT NOT NULL,                   -- YYYYMMDD, or empty
    accession_number TEXT NOT NULL,
    modalities TEXT NOT NULL,             -- with backslashes between
    sop_classes TEXT NOT NULL,            -- with backslashes between
    series INTEGER NOT NULL DEFAULT 0,
    instances INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    attributes BLOB NOT NULL,
    UNIQUE (uid, patient)
) STRICT;
CREATE INDEX study_by_patient ON study (patient);
CREATE INDEX study_by_date ON study (date);
CREATE INDEX study_by_accession_number ON study (accession_number);

CREATE TABLE series (
    key INTEGER PRIMARY KEY,
    study INTEGER NOT NULL REFERENCES study (key),
    uid TEXT NOT NULL,
    instances INTEGER NOT NULL DEFAULT 0,
    attributes BLOB NOT NULL,
    UNIQUE (study, uid)
) STRICT;
CREATE INDEX series_by_uid ON series (uid);

-- A folder of files. One in use is looked through at the next start, for its last files may not be in the index.
CREATE TABLE folder (
    number INTEGER PRIMARY KEY,
    in_use INTEGER NOT NULL CHECK (in_use IN (0, 1))
) STRICT;

CREATE TABLE instance (
    key INTEGER PRIMARY KEY,
    series INTEGER NOT NULL REFERENCES series (key),
    uid TEXT NOT NULL UNIQUE,
    sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    folder INTEGER NOT NULL,
    data_set_offset INTEGER NOT NULL,     -- bytes
    bytes INTEGER NOT NULL,               -- of the whole file
    attributes BLOB NOT NULL
) STRICT;
CREATE INDEX instance_by_series ON instance (series);
CREATE INDEX instance_by_folder ON instance (folder);

-- Data that came under the UID of an instance that was there already, with other data.
CREATE TABLE kept_aside (
    name TEXT PRIMARY KEY,                -- of the file
    sop_instance_uid TEXT NOT NULL,
    study_instance_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    data_set_offset INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
