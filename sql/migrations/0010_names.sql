-- Who owns a name: what a user is, who made a topic, and one lock for whoever makes either.

-- A person; a bridge; or a platform, Recado itself among them. Told by this alone, never by the name.
ALTER TABLE recado.users ADD COLUMN kind text NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'bridge', 'platform'));
ALTER TABLE recado.users ALTER COLUMN kind DROP DEFAULT;
UPDATE recado.users AS u SET kind = CASE WHEN EXISTS (SELECT FROM recado.platforms AS p WHERE p.id = u.id)
                                         THEN 'platform' ELSE 'bridge' END
WHERE name LIKE '\%%';

-- Who makes topics or users holds it until its COMMIT, so that no name is given twice at once: locked before any head, once
-- in a transaction, however many it makes.
CREATE TABLE recado.slots (
    slot integer PRIMARY KEY
);
INSERT INTO recado.slots (slot) VALUES (0);

-- by_backend: a backend made it, or nobody on purpose; NULL: of those from before this column nobody knows.
-- in_doubt: a user of the same name is known, and no backend made it: a bare name in a message means neither.
ALTER TABLE recado.topics ADD COLUMN by_backend boolean, ADD COLUMN in_doubt boolean NOT NULL DEFAULT false;
UPDATE recado.topics AS t SET by_backend = true
WHERE NOT EXISTS (SELECT FROM recado.memberships AS m WHERE m.topic_id = t.id AND m.role = 'owner');
UPDATE recado.topics AS t SET in_doubt = true
WHERE kind <> 'direct' AND by_backend IS NULL AND EXISTS (SELECT FROM recado.users AS u WHERE u.name = t.name);

-- recado.bridges.topics is of an inlet, too, the pattern of the topics that it feeds. Rooms have an encoded ':' in their
-- names; a '%' may be in the name of an inbox.
UPDATE recado.bridges SET topics = '%\%3A%' WHERE kind = 'rooms';
