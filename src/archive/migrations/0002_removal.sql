-- Files of instances that are no longer in the index and are still to be removed. A row goes, by a synced commit, when
-- its file has gone; until then no file comes in its place.
CREATE TABLE removal (
    folder INTEGER NOT NULL,
    uid TEXT NOT NULL,
    PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;
