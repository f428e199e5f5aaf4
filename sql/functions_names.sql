-- Who makes users and topics, which share their names. Applied again whenever this file changes; see functions.sql.
--
-- Both hold the row of the slot until their COMMIT, so that what is found free or taken stays so; before any head.

-- Make users known, each with an inbox of which it is the owner. Harmless for those already known, and then without a lock.
CREATE OR REPLACE FUNCTION recado.know(names text[], as_kind text DEFAULT 'person') RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    doubted bigint[];
    fresh bigint[];
BEGIN
    IF NOT EXISTS (
        SELECT FROM unnest(names) AS n (name) WHERE NOT EXISTS (SELECT FROM recado.users AS u WHERE u.name = n.name)
    ) THEN
        RETURN;
    END IF;
    PERFORM FROM recado.slots WHERE slot = 0 FOR NO KEY UPDATE;
    -- Topics of these names, unless a backend made them: a bare name means them no more, and their members are to hear it.
    SELECT array_agg(locked.topic_id) INTO doubted FROM (
        SELECT h.topic_id FROM recado.topics AS t JOIN recado.heads AS h ON h.topic_id = t.id
        WHERE t.name = ANY (names) AND t.kind <> 'direct' AND t.by_backend IS NOT TRUE AND NOT t.in_doubt
        ORDER BY h.topic_id FOR NO KEY UPDATE OF h
    ) AS locked;
    IF doubted IS NOT NULL THEN
        UPDATE recado.topics SET in_doubt = true WHERE id = ANY (doubted);
        UPDATE recado.users SET version = version + 1 WHERE id IN (
            SELECT u.id FROM recado.users AS u
            WHERE u.id IN (SELECT user_id FROM recado.memberships WHERE topic_id = ANY (doubted))
            ORDER BY u.id FOR NO KEY UPDATE
        );
    END IF;
    WITH made AS (
        INSERT INTO recado.users (name, kind) SELECT DISTINCT n, as_kind FROM unnest(names) AS n ORDER BY 1
        ON CONFLICT DO NOTHING RETURNING id, name
    ), inbox AS (
        INSERT INTO recado.topics (name, kind, creator) SELECT '@' || name, 'direct', name FROM made RETURNING id, creator
    ), head AS (
        INSERT INTO recado.heads (topic_id) SELECT id FROM inbox
    ), owned AS (
        INSERT INTO recado.memberships (topic_id, user_id, role, joined_seq)
        SELECT inbox.id, made.id, 'owner', 0 FROM made JOIN inbox ON inbox.creator = made.name
    )
    SELECT array_agg(id) INTO fresh FROM inbox;
    IF as_kind = 'person' THEN  -- what is in the inbox of a bridge or platform is for it alone
        PERFORM recado.join_bridges(fresh);
    END IF;
END $$;

-- A new topic, with the owner (the id of a user, or NULL) as its first member. NULL where the name is another topic's, or a
-- user's.
CREATE OR REPLACE FUNCTION recado.create_topic(
    topic_name text, topic_kind text, maker text, keep integer, live integer, owner bigint, for_backend boolean DEFAULT true
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM FROM recado.slots WHERE slot = 0 FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM recado.users WHERE name = topic_name) THEN
        RETURN NULL;
    END IF;
    INSERT INTO recado.topics (name, kind, creator, retention, lifetime, by_backend)
    VALUES (topic_name, topic_kind, maker, keep, live, for_backend) ON CONFLICT DO NOTHING RETURNING id INTO made;
    IF made IS NOT NULL THEN
        INSERT INTO recado.heads (topic_id) VALUES (made);
        IF owner IS NOT NULL THEN
            PERFORM recado.join_topic(made, owner, 'owner', NULL);
        END IF;
        PERFORM recado.join_bridges(ARRAY[made]);
    END IF;
    RETURN made;
END $$;
