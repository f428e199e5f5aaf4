-- One register for both directions, and dead letters of what came in that can be given to their topic again.

-- 'in': an inlet. It belongs to no topic by a pattern, and what lies before it lies in another system.
ALTER TABLE recado.bridges ADD COLUMN direction text NOT NULL DEFAULT 'out' CHECK (direction IN ('out', 'in'));

-- Of what came in (then topic_id is 0): `sender`, `content` and `ttl` as they were read, where they could be; `content` else
-- only shows what it was, and `sender` is ''. What the intake buried was read by recado.publish.
ALTER TABLE recado.dead_letters ADD COLUMN came_by text;  -- the subject or queue
ALTER TABLE recado.dead_letters ADD COLUMN ttl integer;   -- seconds
ALTER TABLE recado.dead_letters ADD COLUMN replayable boolean NOT NULL GENERATED ALWAYS AS (
    CASE WHEN topic_id > 0 OR bridge = 'intake' THEN content IS NOT NULL AND sent_at IS NOT NULL
         ELSE came_by IS NOT NULL AND sender <> '' END
) STORED;
