-- How often it was asked that a station be told the current state: what is asked while it is told begins anew.
ALTER TABLE relay_peer ADD COLUMN asked INTEGER NOT NULL DEFAULT 0 CHECK (asked >= 0);
