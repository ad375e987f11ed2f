-- How many transactions have written: an older copy of the store has a smaller number.
ALTER TABLE cluster ADD COLUMN writes INTEGER NOT NULL DEFAULT 0 CHECK (writes >= 0);
