-- The character sets in which a station has matched keys: {"peer": "AET@HOST:PORT", "sets": [...]}.
ALTER TABLE link_health ADD COLUMN character_sets TEXT CHECK (json_valid(character_sets));
