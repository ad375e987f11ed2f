-- The revision that is furthest in the future of all given or seen; and the machine's clock when a change was made last,
-- beside the time since the machine was started (microseconds), by which a jump is told from time that has passed.
ALTER TABLE update_clock ADD COLUMN furthest TEXT CHECK (length(furthest) = 25);
ALTER TABLE update_clock ADD COLUMN wall INTEGER;
ALTER TABLE update_clock ADD COLUMN since_boot INTEGER;
ALTER TABLE update_clock ADD COLUMN boot TEXT;
UPDATE update_clock SET furthest = last;
