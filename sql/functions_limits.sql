-- How much one user may make. Counted behind the lock on its row, in the transaction that makes it: of two at once the
-- second counts what the first has made. A limit of 0 is none. Applied again whenever this file changes.

-- Whether a user has made so many topics.
CREATE OR REPLACE FUNCTION recado.has_made(maker bigint, most integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT most > 0 AND most <= (SELECT count(*) FROM (
        SELECT FROM recado.topics WHERE made_by = maker AND deleted_at IS NULL LIMIT most
    ) AS made)
$$;

-- A new topic that a user makes by itself. NULL where the name is taken; P0L01 where it has made most of them.
CREATE OR REPLACE FUNCTION recado.create_topic_within_limits(
    topic_name text, topic_kind text, creator text, keep integer, live integer, owner bigint, maker bigint, most integer
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    IF NOT recado.has_made(maker, most) THEN  -- else nothing is made that would be undone
        made := recado.create_topic(topic_name, topic_kind, creator, keep, live, owner, owner IS NULL);
        PERFORM FROM recado.users WHERE id = maker FOR NO KEY UPDATE;
        IF NOT recado.has_made(maker, most) THEN
            UPDATE recado.topics SET made_by = maker WHERE id = made;
            RETURN made;
        END IF;
    END IF;
    RAISE EXCEPTION 'user % has made % topics', maker, most USING ERRCODE = 'P0L01';
END $$;

-- What keeps a user, whose row is locked, from joining one more topic by itself.
CREATE OR REPLACE FUNCTION recado.why_not_join(member bigint, most integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'max_memberships_per_user' WHERE most > 0 AND most <= (SELECT count(*) FROM (
        SELECT FROM recado.memberships WHERE user_id = member AND joined_itself LIMIT most
    ) AS joined)
$$;

-- What keeps a user, whose row is locked, from one more invitation. Each that is tried counts for its rate.
CREATE OR REPLACE FUNCTION recado.why_not_invite(inviter bigint, a_minute integer, most_open integer) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    share interval := interval '1 minute' / nullif(a_minute, 0);
    is_open bigint;
BEGIN
    UPDATE recado.users SET invites_until = greatest(invites_until, clock_timestamp()) + share
    WHERE id = inviter AND invites_until <= clock_timestamp() + interval '1 minute' - share;
    IF share IS NOT NULL AND NOT FOUND THEN
        RETURN 'invites';
    END IF;
    SELECT count(*) INTO is_open FROM recado.memberships WHERE invitation_of = inviter;
    IF is_open >= most_open THEN
        -- Who has confirmed something has taken it up. No head of theirs is held here: what is in other hands waits for
        -- another time.
        WITH taken_up AS (
            SELECT m.topic_id, m.user_id FROM recado.memberships AS m
            WHERE m.invitation_of = inviter AND (
                SELECT c.seq FROM recado.cursors AS c WHERE c.topic_id = m.topic_id AND c.membership_id = m.id
                ORDER BY c.seq DESC LIMIT 1
            ) > m.joined_seq
            FOR NO KEY UPDATE OF m SKIP LOCKED
        ), settled AS (
            UPDATE recado.memberships AS m SET invitation_of = NULL FROM taken_up AS t
            WHERE m.topic_id = t.topic_id AND m.user_id = t.user_id RETURNING m.id
        )
        SELECT is_open - count(*) INTO is_open FROM settled;
    END IF;
    RETURN CASE WHEN most_open > 0 AND is_open >= most_open THEN 'open_invitations' END;
END $$;

-- Belong to a topic because the member itself (inviter is NULL) or another user says so. What became of it: 'joined';
-- 'member', which it was; 'gone', as the topic has; else the limit that is in the way.
CREATE OR REPLACE FUNCTION recado.join_within_limits(
    topic bigint, member bigint, inviter bigint, invited_by text, most_joined integer, a_minute integer, most_open integer
) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reached text;
BEGIN
    PERFORM FROM recado.heads WHERE topic_id = topic FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'gone';
    END IF;
    PERFORM FROM recado.memberships WHERE topic_id = topic AND user_id = member;
    IF FOUND THEN
        IF inviter IS NULL THEN
            PERFORM recado.take_up(topic, member);
        END IF;
        RETURN 'member';
    END IF;
    PERFORM FROM recado.users WHERE id IN (member, coalesce(inviter, member)) ORDER BY id FOR NO KEY UPDATE;
    reached := CASE WHEN inviter IS NULL THEN recado.why_not_join(member, most_joined)
                    ELSE recado.why_not_invite(inviter, a_minute, most_open) END;
    IF reached IS NULL THEN
        PERFORM recado.join_topic(topic, member, 'member', invited_by);
        UPDATE recado.memberships SET joined_itself = inviter IS NULL, invitation_of = inviter
        WHERE topic_id = topic AND user_id = member;
    END IF;
    RETURN coalesce(reached, 'joined');
END $$;

-- An invitation, if it is one, was taken up.
CREATE OR REPLACE FUNCTION recado.take_up(topic bigint, member bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE recado.memberships SET invitation_of = NULL
    WHERE topic_id = topic AND user_id = member AND invitation_of IS NOT NULL
$$;

-- Keep a ticket, by its digest. False: the user who asks for it (NULL: a backend) has as many that live.
CREATE OR REPLACE FUNCTION recado.keep_ticket(
    ticket bytea, claims_of text, seconds double precision, asker bigint, most integer
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM recado.users WHERE id = asker FOR NO KEY UPDATE;
    IF most > 0 AND most <= (SELECT count(*) FROM (
        SELECT FROM recado.tickets WHERE user_id = asker AND expires_at > clock_timestamp() LIMIT most
    ) AS live) THEN
        RETURN false;
    END IF;
    INSERT INTO recado.tickets (digest, claims, expires_at, user_id)
    VALUES (ticket, claims_of, clock_timestamp() + make_interval(secs => seconds), asker) ON CONFLICT DO NOTHING;
    RETURN true;
END $$;
