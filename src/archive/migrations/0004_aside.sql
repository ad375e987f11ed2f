-- Objects that are kept aside: as what they are, why, from whom and since when. What the old table listed is listed anew
-- from the files, which are all there.
DROP TABLE kept_aside;
CREATE TABLE kept_aside (
    name TEXT PRIMARY KEY,                -- of the file
    sop_class_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    study_instance_uid TEXT NOT NULL,
    patient_id TEXT NOT NULL,             -- as in the object; empty where it names none
    issuer TEXT NOT NULL,
    reason TEXT NOT NULL,                 -- a code
    expected_uid TEXT,
    expected_patient_id TEXT,
    expected_issuer TEXT,
    source TEXT,                          -- AE title of who sent it, where known
    since INTEGER NOT NULL,               -- Unix milliseconds
    transfer_syntax_uid TEXT NOT NULL,
    data_set_offset INTEGER NOT NULL,     -- bytes
    bytes INTEGER NOT NULL                -- of the whole file
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_aside_by_study ON kept_aside (study_instance_uid);
CREATE INDEX kept_aside_by_instance ON kept_aside (sop_instance_uid);
