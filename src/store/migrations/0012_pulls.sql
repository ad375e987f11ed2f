-- What kept objects from being pulled that received updates name: a row for each update of which it was tried in vain, as
-- long as it is due. Times are microseconds since 1970-01-01T00:00:00Z.
CREATE TABLE pull_trouble (
    update_sequence INTEGER PRIMARY KEY REFERENCES update_log (sequence) ON DELETE CASCADE,
    failures        INTEGER NOT NULL CHECK (failures >= 0),
    since           INTEGER NOT NULL,
    next_try        INTEGER NOT NULL,
    detail          TEXT    NOT NULL
) STRICT;

CREATE INDEX update_log_due ON update_log (study, sequence) WHERE pull = 'due' AND outcome = 'applied';
