-- The cluster's own mapping tables; without a row the shipped ones are in force. Columns as in the CSV, absent is NULL.
CREATE TABLE mapping_rule (
    target             TEXT    NOT NULL CHECK (target IN ('body_part', 'specialty')),
    sort_order         INTEGER NOT NULL CHECK (sort_order BETWEEN 0 AND 9999),
    value              TEXT    NOT NULL CHECK (length(value) BETWEEN 1 AND 64),
    procedure_code     TEXT    CHECK (length(procedure_code) BETWEEN 1 AND 64),
    description        TEXT    CHECK (length(description) BETWEEN 1 AND 100),
    modality           TEXT    CHECK (length(modality) BETWEEN 1 AND 16),
    body_part_examined TEXT    CHECK (length(body_part_examined) BETWEEN 1 AND 16),
    body_part          TEXT    CHECK (length(body_part) BETWEEN 1 AND 64),
    CHECK (coalesce(procedure_code, description, modality, body_part_examined, body_part) IS NOT NULL),
    CHECK (target = 'specialty' OR body_part IS NULL)
) STRICT;
