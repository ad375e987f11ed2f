-- The cluster's own prefetch rules; without a row the shipped ones are in force. Columns as in the CSV, '' is nothing.
CREATE TABLE prefetch_rule (
    name          TEXT    PRIMARY KEY NOT NULL COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 64),
    sort_order    INTEGER NOT NULL CHECK (sort_order BETWEEN 0 AND 65535),
    for_modality  TEXT    NOT NULL,
    for_body_part TEXT    NOT NULL,
    for_specialty TEXT    NOT NULL,
    modality      TEXT    NOT NULL,
    body_part     TEXT    NOT NULL,
    specialty     TEXT    NOT NULL,
    max_age       TEXT    NOT NULL,
    max_number    TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    verified      TEXT    NOT NULL CHECK (verified IN ('', 'yes')),
    availability  TEXT    NOT NULL CHECK (availability IN ('', 'cache', 'nearline', 'offline'))
) STRICT, WITHOUT ROWID;
