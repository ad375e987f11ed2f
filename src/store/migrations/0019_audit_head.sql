-- How many audit records of each kind were made, and the hash of the last one: by this a chain that was cut at its end
-- is found, though what is left of it is whole.
CREATE TABLE audit_head (
    kind    TEXT    PRIMARY KEY NOT NULL,
    records INTEGER NOT NULL CHECK (records >= 1),
    hash    BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Of several columns beside max(), SQLite gives the values of the row that has the maximum.
INSERT INTO audit_head (kind, records, hash)
SELECT kind, records, hash FROM (SELECT kind, count(*) AS records, hash, max(sequence) FROM audit GROUP BY kind);
