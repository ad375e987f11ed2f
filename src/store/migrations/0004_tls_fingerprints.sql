-- The certificates that a station is known by, whoever vouches for them: SHA-256 fingerprints in hexadecimal.
ALTER TABLE station ADD COLUMN tls_fingerprints TEXT NOT NULL DEFAULT '[]'
    CHECK (json_valid(tls_fingerprints) AND json_type(tls_fingerprints) = 'array');
