-- Instances that were acquired here and that linked clusters have not been told of yet. The files don't tell which those
-- are: who makes the index again takes them over from the old one.
CREATE TABLE arrival (
    instance INTEGER PRIMARY KEY REFERENCES instance (key) ON DELETE CASCADE,
    is_adopted INTEGER NOT NULL CHECK (is_adopted IN (0, 1)) -- found by recovery: nobody has said that it was acquired
) STRICT;

-- The studies that those are of.
CREATE TABLE arriving_study (
    study INTEGER PRIMARY KEY REFERENCES study (key) ON DELETE CASCADE,
    last_arrival INTEGER NOT NULL          -- Unix milliseconds
) STRICT;
