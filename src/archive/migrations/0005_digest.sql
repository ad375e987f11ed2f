-- The SHA-256 of each data set as it arrived: null of what was stored before digests were kept, or found after a crash.
ALTER TABLE instance ADD COLUMN digest BLOB;
-- Why the file is no longer what arrived, as it was last read; null of a sound one.
ALTER TABLE instance ADD COLUMN damage TEXT;
