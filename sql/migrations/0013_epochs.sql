-- Which log a seq belongs to (functions_epochs.sql). A topic's origin is the id that it had before it was renumbered;
-- NULL: it never was. "installation" goes with a dump to wherever it is restored; "restored" is the counter that tells
-- the logs before a restore from those after it.
ALTER TABLE recado.topics ADD COLUMN origin bigint;

INSERT INTO recado.shared (name, value) VALUES ('installation', gen_random_uuid()::text), ('restored', '0')
ON CONFLICT DO NOTHING;
