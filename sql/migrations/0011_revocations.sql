-- A revoked token is known by the digest (SHA-256) of its id, which is any text up to 1 KiB.
ALTER TABLE recado.revocations ADD COLUMN digest bytea;
UPDATE recado.revocations SET digest = sha256(convert_to(jti, 'UTF8'));
ALTER TABLE recado.revocations DROP COLUMN jti, ADD PRIMARY KEY (digest);

-- It returns another type from here on: the membership that it ended.
DROP FUNCTION IF EXISTS recado.leave_topic(bigint, bigint);
