-- Bridges: who is a member of what by its pattern. Applied again whenever this file changes; see functions.sql.

-- Bridges whose pattern fits new topics become their members, from the first message on.
-- Who calls it holds the slot's row, as `register_bridge` and `forget_bridge` do: either sees what the other has made.
CREATE OR REPLACE FUNCTION recado.join_bridges(fresh bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF fresh IS NULL THEN
        RETURN;
    END IF;
    WITH joined AS (
        INSERT INTO recado.memberships (topic_id, user_id, role, joined_seq)
        SELECT t.id, b.user_id, 'member', 0
        FROM recado.topics AS t JOIN recado.bridges AS b ON b.direction = 'out' AND t.name LIKE b.topics
        WHERE t.id = ANY (fresh) ON CONFLICT DO NOTHING RETURNING topic_id, id, user_id
    ), placed AS (
        INSERT INTO recado.cursors (topic_id, membership_id, device, seq)
        SELECT j.topic_id, j.id, d.name, 0 FROM joined AS j JOIN recado.devices AS d ON d.user_id = j.user_id
    )
    UPDATE recado.users SET version = version + 1 WHERE id IN (
        SELECT u.id FROM recado.users AS u WHERE u.id IN (SELECT user_id FROM joined) ORDER BY u.id FOR NO KEY UPDATE
    );
END $$;

-- A bridge as it is configured now: known as a user, and member of every topic that fits, from its head on.
-- What no longer fits is left. Returns the id of its user; NULL where a bridge of another kind or direction has the name.
CREATE OR REPLACE FUNCTION recado.register_bridge(username text, called text, of_kind text, pattern text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bridge bigint;
BEGIN
    PERFORM FROM recado.slots WHERE slot = 0 FOR NO KEY UPDATE;
    PERFORM recado.know(ARRAY[username], CASE WHEN of_kind IN ('platform', 'rooms') THEN 'platform' ELSE 'bridge' END);
    SELECT id INTO bridge FROM recado.users WHERE name = username;
    IF EXISTS (
        SELECT FROM recado.bridges AS b WHERE b.user_id = bridge AND (b.kind <> of_kind OR b.direction <> 'out')
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO recado.bridges AS b (user_id, name, kind, topics) VALUES (bridge, called, of_kind, pattern)
    ON CONFLICT (user_id) DO UPDATE SET kind = excluded.kind, topics = excluded.topics,
        state = CASE WHEN b.attempts = 0 THEN 'up' ELSE b.state END,
        reason = CASE WHEN b.attempts = 0 AND NOT b.paused THEN NULL ELSE b.reason END;
    -- In the order of the locks: every head that this touches, then memberships, then the user.
    PERFORM FROM recado.heads AS h JOIN recado.topics AS t ON t.id = h.topic_id
    WHERE t.name LIKE pattern ORDER BY h.topic_id FOR NO KEY UPDATE OF h;
    WITH joined AS (
        INSERT INTO recado.memberships (topic_id, user_id, role, joined_seq)
        SELECT h.topic_id, bridge, 'member', h.last_seq
        FROM recado.heads AS h JOIN recado.topics AS t ON t.id = h.topic_id
        WHERE t.name LIKE pattern AND NOT EXISTS (  -- the inbox of a bridge or platform is for it alone
            SELECT FROM recado.users AS u WHERE t.kind = 'direct' AND u.name = t.creator AND u.kind <> 'person'
        ) ON CONFLICT DO NOTHING RETURNING topic_id, id, joined_seq
    )
    INSERT INTO recado.cursors (topic_id, membership_id, device, seq) SELECT topic_id, id, '', joined_seq FROM joined;
    WITH ended AS (
        DELETE FROM recado.memberships AS m USING recado.topics AS t
        WHERE m.user_id = bridge AND t.id = m.topic_id AND t.name NOT LIKE coalesce(pattern, '') AND m.role <> 'owner'
        RETURNING m.topic_id, m.id
    )
    DELETE FROM recado.cursors AS c USING ended WHERE c.topic_id = ended.topic_id AND c.membership_id = ended.id;
    UPDATE recado.users SET version = version + 1 WHERE id = bridge;
    PERFORM recado.see_device(bridge, '', 16, interval '30 days');
    RETURN bridge;
END $$;

-- An inlet as it is configured now: known as a user, which belongs to nothing. feeds: the pattern of its topics, or NULL.
-- Returns the id of its user; NULL where a bridge of another kind or direction has the name.
CREATE OR REPLACE FUNCTION recado.register_inlet(
    username text, called text, of_kind text, feeds text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    inlet bigint;
BEGIN
    PERFORM FROM recado.slots WHERE slot = 0 FOR NO KEY UPDATE;
    PERFORM recado.know(ARRAY[username], 'bridge');
    SELECT id INTO inlet FROM recado.users WHERE name = username;
    INSERT INTO recado.bridges AS b (user_id, name, kind, direction, topics) VALUES (inlet, called, of_kind, 'in', feeds)
    ON CONFLICT (user_id) DO UPDATE SET topics = excluded.topics,
        state = CASE WHEN b.attempts = 0 THEN 'up' ELSE b.state END,
        reason = CASE WHEN b.attempts = 0 AND NOT b.paused THEN NULL ELSE b.reason END
    WHERE b.kind = of_kind AND b.direction = 'in' RETURNING b.user_id INTO inlet;
    RETURN inlet;
END $$;

-- A bridge leaves every topic but its inbox, of which it gets nothing more. Returns the id of its user, NULL where there is no such bridge.
CREATE OR REPLACE FUNCTION recado.forget_bridge(called text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bridge bigint;
BEGIN
    -- Or a topic made meanwhile would have it as a member for ever.
    PERFORM FROM recado.slots WHERE slot = 0 FOR NO KEY UPDATE;
    DELETE FROM recado.bridges WHERE name = called RETURNING user_id INTO bridge;
    IF bridge IS NOT NULL THEN
        PERFORM FROM recado.heads AS h JOIN recado.memberships AS m ON m.topic_id = h.topic_id
        WHERE m.user_id = bridge ORDER BY h.topic_id FOR NO KEY UPDATE OF h;
        WITH ended AS (
            DELETE FROM recado.memberships WHERE user_id = bridge AND role <> 'owner' RETURNING topic_id, id
        )
        DELETE FROM recado.cursors AS c USING ended WHERE c.topic_id = ended.topic_id AND c.membership_id = ended.id;
        -- What is pending in its inbox is dropped: who gets its name after it is somebody else.
        UPDATE recado.cursors AS c SET seq = h.last_seq
        FROM recado.memberships AS m JOIN recado.heads AS h ON h.topic_id = m.topic_id
        WHERE m.user_id = bridge AND c.topic_id = m.topic_id AND c.membership_id = m.id;
        UPDATE recado.users SET version = version + 1 WHERE id = bridge;
    END IF;
    RETURN bridge;
END $$;
