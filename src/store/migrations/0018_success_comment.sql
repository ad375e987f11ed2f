-- What the comment on a successful final response of a station says of its answer.
ALTER TABLE station ADD COLUMN success_comment TEXT NOT NULL DEFAULT 'notice'
    CHECK (success_comment IN ('notice', 'partial'));
