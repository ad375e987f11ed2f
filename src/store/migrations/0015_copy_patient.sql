-- Under which patient ID the objects of a copy were delivered. Where the source named no issuer, issuer is NULL: the source
-- is the domain of the ID then. Both are NULL for copies brought before this was recorded.
ALTER TABLE copy ADD COLUMN patient_id TEXT CHECK (patient_id <> '');
ALTER TABLE copy ADD COLUMN issuer TEXT CHECK (length(issuer) BETWEEN 1 AND 64);

CREATE INDEX copy_patient ON copy (study_instance_uid) WHERE patient_id IS NOT NULL;
