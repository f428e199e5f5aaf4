-- What must happen in one transaction and in a given order. Applied again whenever this file changes.
--
-- All are VOLATILE PL/pgSQL: under READ COMMITTED every statement inside takes a snapshot of its own, so a statement
-- that follows a lock sees what the lock's last holder committed. One CTE would see the world as it was before the wait.

-- Append a batch: lock the writer's row, then the heads, then (in a later snapshot) check, look up keys, number, raise and
-- insert. The arrays are parallel, one element a message, in order. for_member: the user who must belong to the topic, or
-- NULL. No (topic, sender, key) may stand in the batch twice: the caller has resolved such doubles.
--
-- Returns the answer, as JSON: {"topics": [[id, first seq, sent_at in microseconds since 1970], …], "others": [[n, outcome,
-- seq], …]}. "others" are the messages that were not stored, by their place n (from 1); the stored ones of a topic have the
-- seqs from its first on, in order. The same text is kept in answers for who does not hear it; by_writer is NULL where the
-- append is part of a larger transaction, whose outcome something else tells.
CREATE OR REPLACE FUNCTION recado.append(
    in_slot integer, by_writer uuid, its_fence bigint, its_batch bigint, topic_ids bigint[], for_members bigint[],
    senders text[], keys text[], digests bytea[], contents text[], ttls integer[]
) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET jit = off
-- A plan made while messages and keys were empty would scan them sequentially for ever: every look-up here is by key.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    stamp timestamptz;
    answer text;
BEGIN
    -- Acknowledged means durable, whatever the default is; a stronger setting stays. It holds until the COMMIT.
    IF current_setting('synchronous_commit') <> 'remote_apply' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF by_writer IS NOT NULL THEN
        PERFORM FROM recado.writers AS w
        WHERE w.slot = in_slot AND w.writer = by_writer AND w.fence = its_fence FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'writer % may not append: its fence was raised, or its row has gone', by_writer USING
                ERRCODE = CASE WHEN EXISTS (SELECT FROM recado.writers WHERE slot = in_slot AND writer = by_writer)
                               THEN 'P0F01' ELSE 'P0F02' END;
        END IF;
    END IF;
    -- One by one, in order: "= ANY … ORDER BY" may be planned as a walk over the whole index.
    PERFORM FROM (SELECT DISTINCT id FROM unnest(topic_ids) AS t (id) ORDER BY id OFFSET 0) AS t
    CROSS JOIN LATERAL (SELECT FROM recado.heads AS h WHERE h.topic_id = t.id FOR NO KEY UPDATE) AS locked;
    stamp := clock_timestamp();  -- after the locks: sent_at rises with seq

    WITH judged AS (
        SELECT b.*, h.last_seq, k.seq AS known_seq,
               -- It never falls; but who has seen a clock that is more than a day ahead does not follow it.
               CASE WHEN h.sent_at <= stamp + interval '25 hours' THEN greatest(h.sent_at, stamp) ELSE stamp END AS sent_at,
               CASE WHEN h.last_seq IS NULL THEN 'unknown_topic'
                    -- Not EXISTS: that may be planned as a hash of all memberships, read anew for every batch.
                    WHEN b.member IS NOT NULL AND (
                        SELECT m.id FROM recado.memberships AS m WHERE m.topic_id = b.topic_id AND m.user_id = b.member
                    ) IS NULL THEN 'not_a_member'
                    WHEN k.digest = b.digest THEN 'repeated'
                    WHEN k.digest IS NOT NULL THEN 'conflict'
                    ELSE 'stored' END AS outcome
        FROM unnest(topic_ids, for_members, senders, keys, digests, contents, ttls) WITH ORDINALITY
             AS b (topic_id, member, sender, key, digest, content, ttl, n)
        -- Looked up row by row, whatever statistics say: a join may be planned as a loop over the whole index.
        LEFT JOIN LATERAL (
            SELECT last_seq, sent_at FROM recado.heads WHERE topic_id = b.topic_id OFFSET 0
        ) AS h ON true
        LEFT JOIN LATERAL (
            SELECT seq, digest FROM recado.keys WHERE topic_id = b.topic_id AND sender = b.sender AND key = b.key OFFSET 0
        ) AS k ON true
        OFFSET 0  -- judged once, not at every mention of its outcome below
    ),
    numbered AS MATERIALIZED (
        SELECT j.*, CASE WHEN j.outcome = 'stored' THEN j.last_seq + count(*) FILTER (WHERE j.outcome = 'stored')
                             OVER (PARTITION BY j.topic_id ORDER BY j.n ROWS UNBOUNDED PRECEDING)
                         ELSE j.known_seq END AS new_seq
        FROM judged AS j
    ),
    grown AS MATERIALIZED (
        SELECT topic_id, min(new_seq) AS first, max(new_seq) AS last, max(sent_at) AS sent_at
        FROM numbered WHERE outcome = 'stored' GROUP BY topic_id
    ),
    raised AS (  -- an UPDATE … FROM may be planned as a walk over all heads; these are there, and locked
        INSERT INTO recado.heads AS h (topic_id, last_seq, sent_at) SELECT topic_id, last, sent_at FROM grown
        ON CONFLICT (topic_id) DO UPDATE SET last_seq = excluded.last_seq, sent_at = excluded.sent_at
    ),
    stored AS (
        INSERT INTO recado.messages (topic_id, seq, sender, content, sent_at, stored_at, expires_at)
        SELECT topic_id, new_seq, sender, content, sent_at,
               CASE WHEN sent_at > stamp + interval '1 second' THEN stamp END, stamp + make_interval(secs => ttl)
        FROM numbered WHERE outcome = 'stored'
    ),
    keyed AS (
        INSERT INTO recado.keys (topic_id, sender, key, seq, digest, used_at)
        SELECT topic_id, sender, key, new_seq, digest, stamp
        FROM numbered WHERE outcome = 'stored' AND key IS NOT NULL
    )
    SELECT json_build_object(
        'topics', (SELECT coalesce(json_agg(json_build_array(
            topic_id, first, (extract(epoch FROM sent_at) * 1000000)::bigint)), '[]') FROM grown),
        'others', (SELECT coalesce(json_agg(json_build_array(n, outcome, new_seq)), '[]')
                   FROM numbered WHERE outcome <> 'stored')
    ) INTO answer;
    IF by_writer IS NOT NULL THEN
        INSERT INTO recado.answers (slot, writer, batch, answer) VALUES (in_slot, by_writer, its_batch, answer);
    END IF;
    RETURN answer;
END $$;

-- A writer that did not hear the answer to its batch: waits for the transaction under way, refuses what comes later, and
-- reads. No answer: the batch is not stored, and never will be. known_fence: the highest that the writer has heard of, as a
-- standby that became the primary may know an older one.
CREATE OR REPLACE FUNCTION recado.raise_fence(
    in_slot integer, by_writer uuid, known_fence bigint, its_batch bigint, OUT fence bigint, OUT answer text
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
BEGIN
    IF current_setting('synchronous_commit') <> 'remote_apply' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    UPDATE recado.writers AS w SET fence = greatest(w.fence, known_fence) + 1
    WHERE w.slot = in_slot AND w.writer = by_writer RETURNING w.fence INTO raise_fence.fence;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the row of writer % has gone', by_writer USING ERRCODE = 'P0F02';
    END IF;
    -- In a snapshot of its own, after the wait.
    SELECT a.answer INTO raise_fence.answer FROM recado.answers AS a
    WHERE a.slot = in_slot AND a.writer = by_writer AND a.batch = its_batch;
END $$;

-- Belong to a topic. Returns NULL where it has gone, else whether the membership is new.
CREATE OR REPLACE FUNCTION recado.join_topic(topic bigint, member bigint, as_role text, inviter text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head bigint;
    made bigint;
BEGIN
    SELECT last_seq INTO head FROM recado.heads WHERE topic_id = topic FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO recado.memberships (topic_id, user_id, role, joined_seq, invited_by)
    VALUES (topic, member, as_role, head, inviter) ON CONFLICT DO NOTHING RETURNING id INTO made;
    IF made IS NULL THEN
        RETURN false;
    END IF;
    -- The user's row is what a device's first connect holds too: whichever comes second sees the other's rows.
    UPDATE recado.users SET version = version + 1 WHERE id = member;
    INSERT INTO recado.cursors (topic_id, membership_id, device, seq)
    SELECT topic, made, name, head FROM recado.devices WHERE user_id = member;
    RETURN true;
END $$;

-- Leave a topic, or be removed from it. ended: the membership that this ended, NULL where there was none; others: the users
-- whose memberships are others by it. A topic that no backend made is never nobody's: behind its owner, the person who has
-- belonged to it for longest owns it, and with the last person it goes, whatever bridges belong to it.
CREATE OR REPLACE FUNCTION recado.leave_topic(topic bigint, member bigint, OUT ended bigint, OUT others bigint[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_role text;
    was_backends boolean;
BEGIN
    others := '{}';
    PERFORM FROM recado.heads WHERE topic_id = topic FOR NO KEY UPDATE;
    SELECT id, role INTO ended, was_role FROM recado.memberships WHERE topic_id = topic AND user_id = member;
    IF ended IS NULL THEN
        RETURN;
    END IF;
    SELECT by_backend INTO was_backends FROM recado.topics WHERE id = topic;
    IF NOT was_backends AND NOT EXISTS (
        SELECT FROM recado.memberships AS m JOIN recado.users AS u ON u.id = m.user_id
        WHERE m.topic_id = topic AND m.user_id <> member AND u.kind = 'person'
    ) THEN
        others := array_remove(recado.delete_topic(topic), member);
        RETURN;
    END IF;
    DELETE FROM recado.memberships WHERE topic_id = topic AND user_id = member;
    IF was_role = 'owner' AND was_backends IS NOT TRUE THEN
        WITH heir AS (
            UPDATE recado.memberships SET role = 'owner' WHERE topic_id = topic AND id = (
                SELECT min(m.id) FROM recado.memberships AS m JOIN recado.users AS u ON u.id = m.user_id
                WHERE m.topic_id = topic AND u.kind = 'person'
            ) RETURNING user_id
        )
        SELECT coalesce(array_agg(user_id), '{}') INTO others FROM heir;
    END IF;
    PERFORM FROM recado.users WHERE id = ANY (others || member) ORDER BY id FOR NO KEY UPDATE;
    UPDATE recado.users SET version = version + 1 WHERE id = ANY (others || member);
    DELETE FROM recado.cursors WHERE topic_id = topic AND membership_id = ended;
END $$;

-- Delete a topic: its name is free and nobody belongs to it from here on; its messages go with housekeeping.
-- Returns the ids of those who belonged to it, or NULL where there is no such topic.
CREATE OR REPLACE FUNCTION recado.delete_topic(topic bigint) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone bigint[];
BEGIN
    DELETE FROM recado.heads WHERE topic_id = topic;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    WITH ended AS (DELETE FROM recado.memberships WHERE topic_id = topic RETURNING user_id)
    SELECT coalesce(array_agg(user_id), '{}') INTO gone FROM ended;
    PERFORM FROM recado.users WHERE id = ANY (gone) ORDER BY id FOR NO KEY UPDATE;
    UPDATE recado.users SET version = version + 1 WHERE id = ANY (gone);
    DELETE FROM recado.cursors WHERE topic_id = topic;
    UPDATE recado.topics SET name = NULL, deleted_at = now() WHERE id = topic;
    RETURN gone;
END $$;

-- A device connects. At its first connect it gets its cursors: at the member's highest one, joined_seq if none.
-- Returns false, and makes nothing, where the user has most_devices of them already. A device unseen for as long as
-- the limit of days gives its place to a new one.
CREATE OR REPLACE FUNCTION recado.see_device(member bigint, device_name text, most_devices integer, keep interval)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE recado.devices SET seen_at = now() WHERE user_id = member AND name = device_name;
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM FROM recado.users WHERE id = member FOR NO KEY UPDATE;  -- see join_topic
    IF (SELECT count(*) FROM recado.devices WHERE user_id = member AND name <> device_name) >= most_devices THEN
        WITH oldest AS (
            DELETE FROM recado.devices WHERE (user_id, name) = (
                SELECT user_id, name FROM recado.devices
                WHERE user_id = member AND seen_at < now() - keep ORDER BY seen_at LIMIT 1
            ) AND seen_at < now() - keep RETURNING name  -- once more, of the row as it is now: it may be back
        )
        DELETE FROM recado.cursors AS c USING oldest, recado.memberships AS m
        WHERE m.user_id = member AND c.topic_id = m.topic_id AND c.membership_id = m.id AND c.device = oldest.name;
        IF (SELECT count(*) FROM recado.devices WHERE user_id = member) >= most_devices THEN
            RETURN false;
        END IF;
    END IF;
    INSERT INTO recado.devices (user_id, name) VALUES (member, device_name) ON CONFLICT DO NOTHING;
    INSERT INTO recado.cursors (topic_id, membership_id, device, seq)
    SELECT m.topic_id, m.id, device_name,
           coalesce((SELECT max(c.seq) FROM recado.cursors AS c
                     WHERE c.topic_id = m.topic_id AND c.membership_id = m.id), m.joined_seq)
    FROM recado.memberships AS m WHERE m.user_id = member
    ON CONFLICT DO NOTHING;
    RETURN true;
END $$;

-- Move cursors, only upwards. Parallel arrays. Returns the inboxes among the topics: what all have seen may go.
CREATE OR REPLACE FUNCTION recado.move_cursors(
    topic_ids bigint[], membership_ids bigint[], device_names text[], seqs bigint[]
) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM FROM recado.cursors AS c
    JOIN unnest(topic_ids, membership_ids, device_names) AS v (topic_id, membership_id, device)
      ON c.topic_id = v.topic_id AND c.membership_id = v.membership_id AND c.device = v.device
    ORDER BY c.membership_id, c.device FOR NO KEY UPDATE OF c;

    RETURN QUERY
    WITH moved AS (
        UPDATE recado.cursors AS c SET seq = greatest(c.seq, v.seq)
        FROM unnest(topic_ids, membership_ids, device_names, seqs) AS v (topic_id, membership_id, device, seq)
        WHERE c.topic_id = v.topic_id AND c.membership_id = v.membership_id AND c.device = v.device
        RETURNING c.topic_id
    )
    SELECT DISTINCT moved.topic_id FROM moved
    WHERE (SELECT t.kind FROM recado.topics AS t WHERE t.id = moved.topic_id) = 'direct';
END $$;

-- A notice for the other nodes, in a transaction of its own that waits for no disk: it may be lost.
CREATE OR REPLACE FUNCTION recado.notify(channel text, payload text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_notify(channel, payload);
END $$;
