-- Every statement that Recado sends, by name. Loaded by messaging/store/queries.py; used by messaging/store/, and by
-- the rooms that keep rows of their own.

-- name: lock_patience
-- How long a statement of this transaction waits for a lock.
SELECT set_config('lock_timeout', $1, true);

-- name: migration_lock
-- One migration at a time in a database, until its transaction ends; reading goes on. No advisory lock: anybody takes that.
LOCK TABLE recado.migrations IN SHARE ROW EXCLUSIVE MODE;

-- name: migration_table_is_there
-- Whether anything was ever applied.
SELECT to_regclass('recado.migrations') IS NOT NULL;

-- name: migration_schema
-- All of Recado is in a schema of its own: the database may be shared with an application. Of two that make it at once,
-- the second waits for the end of the first.
CREATE SCHEMA IF NOT EXISTS recado;

-- name: migration_table
-- What was applied.
CREATE TABLE IF NOT EXISTS recado.migrations (
    name       text PRIMARY KEY,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: migrations_applied
-- The files that were applied, as they were then.
SELECT name, checksum FROM recado.migrations;

-- name: functions_before
-- The functions that are there, each with its row's version and who may call it (NULL: as it is by default).
SELECT coalesce(array_agg(oid), '{}') AS oids, coalesce(array_agg(xmin::text), '{}') AS row_versions,
       coalesce(array_agg(oid::regprocedure::text), '{}') AS signatures, coalesce(array_agg(proacl::text), '{}') AS grants
FROM pg_proc WHERE pronamespace = 'recado'::regnamespace;

-- name: functions_not_made_drop
-- Those whose rows ($2) are as they were ($1) have not been made again: they are of another version (an overload with other
-- arguments, a name that was given up), and nothing of this one calls them.
SELECT 'DROP ROUTINE ' || string_agg(p.oid::regprocedure::text, ', ') AS statement
FROM pg_proc AS p JOIN unnest($1::oid[], $2::text[]) AS f (oid, row_version) ON f.oid = p.oid AND f.row_version = p.xmin::text
HAVING count(*) > 0;

-- name: function_grants_kept
-- What makes each function that is new, to $1, as callable as that whose place it takes: that of its arguments, else those
-- of its name that are there no more.
WITH old AS (
    SELECT signature, split_part(signature, '(', 1) AS name, grants::aclitem[] AS grants
    FROM unnest($2::text[], $3::text[]) AS f (signature, grants)
), now AS (
    SELECT oid, oid::regprocedure::text AS signature, split_part(oid::regprocedure::text, '(', 1) AS name, proowner AS owner
    FROM pg_proc WHERE pronamespace = 'recado'::regnamespace
), new AS (
    SELECT now.signature, now.owner, old.grants
    FROM now JOIN old ON old.signature = now.signature OR old.name = now.name
        AND old.signature NOT IN (SELECT signature FROM now) AND now.signature NOT IN (SELECT signature FROM old)
    WHERE now.oid <> ALL ($1::oid[]) AND old.grants IS NOT NULL
)
SELECT format('GRANT EXECUTE ON ROUTINE %s TO %s%s', signature, grantee::regrole,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END) AS statement
FROM new, aclexplode(grants) WHERE grantee <> 0 AND grantee <> owner
UNION
SELECT format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', signature)
FROM new WHERE NOT EXISTS (SELECT FROM aclexplode(grants) WHERE grantee = 0);

-- name: migration_done
-- A file was applied, or the functions once more.
INSERT INTO recado.migrations (name, checksum) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now();

-- name: append_batch
-- Append a batch to the logs, as a transaction of its own or ($2 is NULL) within one. Its answer.
SELECT recado.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: writer_make
-- A line of a process that is going to append; as durable as what it appends.
WITH durable AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true) AS setting)
INSERT INTO recado.writers (slot, writer, fence, node) SELECT $1, $2, 0, $3 FROM durable WHERE setting IS NOT NULL
ON CONFLICT DO NOTHING;

-- name: fence_raise
-- What became of the writer's last batch, and the fence from here on.
SELECT fence, answer FROM recado.raise_fence($1, $2, $3, $4);

-- name: answers_drop
-- Answers that their writer has heard.
DELETE FROM recado.answers WHERE slot = $1 AND writer = $2 AND batch BETWEEN $3 AND $4;

-- name: writer_end
-- A writer that has heard the answer to all that it sent appends no more.
WITH ended AS (DELETE FROM recado.writers WHERE slot = $1 AND writer = $2)
DELETE FROM recado.answers WHERE slot = $1 AND writer = $2;

-- name: heads_free
-- Those of the topics whose head is not held by anybody now; also those that have none any more.
SELECT t.id AS topic_id FROM unnest($1::bigint[]) AS t (id)
WHERE (SELECT h.topic_id FROM recado.heads AS h WHERE h.topic_id = t.id) IS NULL
   OR (SELECT h.topic_id FROM recado.heads AS h WHERE h.topic_id = t.id FOR NO KEY UPDATE SKIP LOCKED) IS NOT NULL;

-- name: heads_of
-- The sweep: how far these logs are.
SELECT topic_id, last_seq FROM recado.heads WHERE topic_id = ANY ($1);

-- name: users_know
-- Make users known, with their inboxes.
SELECT recado.know($1);

-- name: user_by_name
-- A user, and whether a token of it (the digest of its id, when it was issued) has been revoked.
SELECT id, name, version,
       to_timestamp($3) <= revoked_before OR EXISTS (SELECT FROM recado.revocations WHERE digest = $2) AS revoked
FROM recado.users WHERE name = $1;

-- name: user_revoke
-- Void all tokens of a user that were issued until now. Where the clock was set back, none becomes good again; but a time
-- that is more than 25 h ahead of it is not followed.
UPDATE recado.users SET version = version + 1, revoked_before = CASE
    WHEN revoked_before <= clock_timestamp() + interval '25 hours' THEN greatest(revoked_before, clock_timestamp())
    ELSE clock_timestamp() END
WHERE name = $1 RETURNING id;

-- name: token_revoke
-- Void one token, by the digest of its id.
INSERT INTO recado.revocations (digest) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: ticket_keep
-- A ticket, by its digest, for $3 seconds; of a user, if it is not one too many.
SELECT recado.keep_ticket($1, $2, $3, $4, $5);

-- name: ticket_take
-- Use a ticket up.
DELETE FROM recado.tickets WHERE digest = $1 AND expires_at > now() RETURNING claims;

-- name: users_changed
-- The sweep: versions and revocations of connected users.
SELECT id, version, extract(epoch FROM revoked_before)::float8 AS revoked_before FROM recado.users WHERE id = ANY ($1);

-- name: tokens_revoked
-- The sweep: which of these tokens are void, by the digests of their ids.
SELECT digest FROM recado.revocations WHERE digest = ANY ($1);

-- name: users_page
-- Known people by name.
SELECT id, name FROM recado.users WHERE name > $1 AND kind = 'person' ORDER BY name LIMIT $2;

-- name: device_see
-- A device connects with a token (the digest of its id, when it was issued), read once more: whether that was revoked, the
-- version of the user, whether the user has room for the device.
SELECT r.revoked, u.version, CASE WHEN NOT r.revoked THEN recado.see_device($1, $2, $3, $4) END AS fits
FROM recado.users AS u
CROSS JOIN LATERAL (
    SELECT to_timestamp($6) <= u.revoked_before OR EXISTS (SELECT FROM recado.revocations WHERE digest = $5) AS revoked
    OFFSET 0
) AS r
WHERE u.id = $1;

-- name: devices_stay
-- Connected devices, by user and name, count as seen; once a day is enough.
UPDATE recado.devices AS d SET seen_at = now() FROM unnest($1::bigint[], $2::text[]) AS v (user_id, name)
WHERE d.user_id = v.user_id AND d.name = v.name AND d.seen_at < now() - interval '1 day';

-- name: memberships_of_user
-- What a user belongs to, by topic: the next $3 (NULL: all) behind a topic. (Each topic is looked up, here and below: a join
-- may be planned as a loop over all of them.)
SELECT t.id AS topic_id, t.name, t.kind, t.creator, t.retention, t.lifetime, t.in_doubt, t.origin,
       m.id, m.role, m.joined_seq, m.invited_by
FROM recado.memberships AS m
CROSS JOIN LATERAL (SELECT * FROM recado.topics WHERE id = m.topic_id OFFSET 0) AS t
WHERE m.user_id = $1 AND m.topic_id > $2 ORDER BY m.topic_id LIMIT $3;

-- name: positions_of_user
-- How far each log of a user is, and how far this device of it has confirmed, behind a topic up to another; never beyond the
-- log, which may have been restored below what was confirmed of the one before. Read after attaching to the logs.
SELECT m.topic_id, h.last_seq, least(coalesce(c.seq, m.joined_seq), h.last_seq) AS cursor
FROM recado.memberships AS m
CROSS JOIN LATERAL (SELECT last_seq FROM recado.heads WHERE topic_id = m.topic_id OFFSET 0) AS h
LEFT JOIN LATERAL (
    SELECT seq FROM recado.cursors WHERE topic_id = m.topic_id AND membership_id = m.id AND device = $2 OFFSET 0
) AS c ON true
WHERE m.user_id = $1 AND m.topic_id > $3 AND m.topic_id <= $4;

-- name: topics_page
-- What a user belongs to, by name: the next $4 behind a name, each with how far its log is and what a device has confirmed.
SELECT m.*, h.last_seq, least(coalesce(c.seq, m.joined_seq), h.last_seq) AS cursor
FROM (
    SELECT t.id AS topic_id, t.name, t.kind, t.creator, t.retention, t.lifetime, t.in_doubt, t.origin,
           m.id, m.role, m.joined_seq, m.invited_by
    FROM recado.memberships AS m
    CROSS JOIN LATERAL (SELECT * FROM recado.topics WHERE id = m.topic_id OFFSET 0) AS t
    WHERE m.user_id = $1 AND t.name COLLATE "C" > $3 ORDER BY t.name COLLATE "C" LIMIT $4
) AS m
CROSS JOIN LATERAL (SELECT last_seq FROM recado.heads WHERE topic_id = m.topic_id OFFSET 0) AS h
LEFT JOIN LATERAL (
    SELECT seq FROM recado.cursors WHERE topic_id = m.topic_id AND membership_id = m.id AND device = $2 OFFSET 0
) AS c ON true
ORDER BY m.name COLLATE "C";

-- name: topic_by_name
-- A topic, how far it is, and what a user ($2, or none) is in it.
SELECT t.id, t.name, t.kind, t.creator, t.retention, t.lifetime, t.in_doubt, t.origin, h.last_seq,
       m.id AS membership_id, m.role, m.joined_seq, m.invitation_of IS NOT NULL AS is_invited
FROM recado.topics AS t
CROSS JOIN LATERAL (SELECT last_seq FROM recado.heads WHERE topic_id = t.id OFFSET 0) AS h
LEFT JOIN LATERAL (SELECT * FROM recado.memberships WHERE topic_id = t.id AND user_id = $2 OFFSET 0) AS m ON true
WHERE t.name = $1;

-- name: topic_create
-- A new topic with its head and its owner ($6, or none), made for a backend or not ($7); NULL where the name is taken.
SELECT recado.create_topic($1, $2, $3, $4, $5, $6, $7);

-- name: topic_create_limited
-- The same for a user ($7) that makes it by itself, of $8 topics at most.
SELECT recado.create_topic_within_limits($1, $2, $3, $4, $5, $6, $7, $8);

-- name: topic_bridged
-- Whether a bridge feeds topics of this name, or takes them out.
SELECT EXISTS (SELECT FROM recado.bridges WHERE $1 LIKE topics);

-- name: topic_change
-- Another kind, retention or lifetime.
UPDATE recado.topics SET kind = $2, retention = $3, lifetime = $4 WHERE id = $1 AND deleted_at IS NULL;

-- name: topic_delete
-- The topic goes; who belonged to it.
SELECT recado.delete_topic($1);

-- name: topic_join
-- A user joins; NULL: no such topic, false: it was a member.
SELECT recado.join_topic($1, $2, $3, $4);

-- name: topic_join_limited
-- A user joins by itself ($3 is NULL) or is invited by another, within limits; what became of it.
SELECT recado.join_within_limits($1, $2, $3, $4, $5, $6, $7);

-- name: invitation_take_up
-- Somebody who was invited has written.
SELECT recado.take_up($1, $2);

-- name: topic_leave
-- A user leaves, or is removed; the membership that ended, and whose memberships are others by it.
SELECT ended, others FROM recado.leave_topic($1, $2);

-- name: members_named
-- The first members of these topics by name.
SELECT t.id AS topic_id, ARRAY (SELECT u.name FROM recado.memberships AS m JOIN recado.users AS u ON u.id = m.user_id
                                WHERE m.topic_id = t.id ORDER BY u.name LIMIT $2) AS names
FROM unnest($1::bigint[]) AS t (id);

-- name: members_page
-- The members of a topic by name, with their cursors as one JSON object by device.
SELECT u.name, m.role, m.joined_seq,
       (SELECT coalesce(json_object_agg(c.device, c.seq), '{}')::text FROM recado.cursors AS c
        WHERE c.topic_id = m.topic_id AND c.membership_id = m.id) AS cursors
FROM recado.memberships AS m JOIN recado.users AS u ON u.id = m.user_id
WHERE m.topic_id = $1 AND u.name > $2 ORDER BY u.name LIMIT $3;

-- name: receipts_page
-- Who, of those that a message was for, has it on any device.
SELECT u.name,
       EXISTS (SELECT FROM recado.cursors AS c
               WHERE c.topic_id = m.topic_id AND c.membership_id = m.id AND c.seq >= $2) AS has
FROM recado.memberships AS m JOIN recado.users AS u ON u.id = m.user_id
WHERE m.topic_id = $1 AND m.joined_seq < $2 AND u.name > $3 ORDER BY u.name LIMIT $4;

-- name: page_read
-- One page beyond a position and the head, in one statement, and which of the asking memberships are still there.
-- At least one row; then as many as fit in $3 bytes. "scanned" is how many rows there were before that limit.
-- In an inbox ($5) "seen" is the highest cursor: what is missing up to it was seen.
SELECT h.last_seq AS head, page.seq, page.sender, page.content, page.sent_at,
       ARRAY (SELECT id FROM recado.memberships WHERE topic_id = $1 AND id = ANY ($4)) AS members,
       CASE WHEN $5 THEN (SELECT max(c.seq) FROM recado.cursors AS c WHERE c.topic_id = $1) END AS seen,
       page.scanned
FROM recado.heads AS h
LEFT JOIN LATERAL (
    SELECT m.*, sum(octet_length(m.content) + 160) OVER (ORDER BY m.seq) - octet_length(m.content) - 160 AS before,
           count(*) OVER () AS scanned
    FROM (
        SELECT seq, sender, content, sent_at FROM recado.messages
        WHERE topic_id = $1 AND seq > $2 AND (expires_at IS NULL OR expires_at > now())
        ORDER BY seq LIMIT $6
    ) AS m
) AS page ON page.before < $3
WHERE h.topic_id = $1 ORDER BY page.seq;

-- name: history_before
-- The newest messages with $2 < seq < $3, newest first; a private topic's only for a member. At most $4, and at least
-- one: as many as fit in $6 bytes, and the one that does not.
SELECT seq, sender, content, sent_at FROM (
    SELECT m.*, sum(octet_length(content)) OVER (ORDER BY seq DESC) - octet_length(content) AS before FROM (
        SELECT seq, sender, content, sent_at FROM recado.messages
        WHERE topic_id = $1 AND seq > $2 AND seq < $3 AND (expires_at IS NULL OR expires_at > now())
          AND ($5::bigint IS NULL OR EXISTS (SELECT FROM recado.memberships WHERE topic_id = $1 AND id = $5))
        ORDER BY seq DESC LIMIT $4
    ) AS m
) AS page WHERE before <= $6 ORDER BY seq DESC;

-- name: history_after
-- The oldest messages with $2 < seq < $3, oldest first; else as history_before.
SELECT seq, sender, content, sent_at FROM (
    SELECT m.*, sum(octet_length(content)) OVER (ORDER BY seq) - octet_length(content) AS before FROM (
        SELECT seq, sender, content, sent_at FROM recado.messages
        WHERE topic_id = $1 AND seq > $2 AND seq < $3 AND (expires_at IS NULL OR expires_at > now())
          AND ($5::bigint IS NULL OR EXISTS (SELECT FROM recado.memberships WHERE topic_id = $1 AND id = $5))
        ORDER BY seq LIMIT $4
    ) AS m
) AS page WHERE before <= $6 ORDER BY seq;

-- name: cursors_move
-- Move cursors upwards; the inboxes among their topics.
SELECT recado.move_cursors($1, $2, $3, $4);

-- name: purge_seen
-- Inbox messages that every counting cursor has passed (a device unseen for $2 does not count).
WITH seen AS MATERIALIZED (
    SELECT c.topic_id, min(c.seq) AS seq
    FROM recado.cursors AS c
    JOIN recado.memberships AS m ON m.topic_id = c.topic_id AND m.id = c.membership_id
    JOIN recado.devices AS d ON d.user_id = m.user_id AND d.name = c.device
    WHERE c.topic_id = ANY ($1) AND d.seen_at > now() - $2::interval
    GROUP BY c.topic_id
)
DELETE FROM recado.messages AS m USING (
    SELECT old.topic_id, old.seq FROM seen, LATERAL (
        SELECT topic_id, seq FROM recado.messages
        WHERE topic_id = seen.topic_id AND seq <= seen.seq ORDER BY seq LIMIT $3
    ) AS old LIMIT $3
) AS gone
WHERE m.topic_id = gone.topic_id AND m.seq = gone.seq;

-- name: purge_expired
-- Messages whose lifetime is over.
DELETE FROM recado.messages AS m USING (
    SELECT topic_id, seq FROM recado.messages WHERE expires_at <= now() ORDER BY expires_at LIMIT $1
) AS gone
WHERE m.topic_id = gone.topic_id AND m.seq = gone.seq;

-- name: purge_keys
-- Idempotency keys whose time is over.
DELETE FROM recado.keys AS k USING (
    SELECT topic_id, sender, key FROM recado.keys WHERE used_at < now() - $1::interval LIMIT $2
) AS gone
WHERE k.topic_id = gone.topic_id AND k.sender = gone.sender AND k.key = gone.key;

-- name: purge_revocations
-- Revocations of tokens that have expired since, as no token lives longer than $1.
DELETE FROM recado.revocations WHERE revoked_at < now() - $1::interval;

-- name: purge_tickets
-- Tickets that nobody used.
DELETE FROM recado.tickets WHERE expires_at <= now();

-- name: topics_deleted
-- Topics that are deleted but not yet gone.
SELECT id FROM recado.topics WHERE deleted_at IS NOT NULL ORDER BY id LIMIT $1;

-- name: purge_topic_messages
-- Messages of a deleted topic.
DELETE FROM recado.messages WHERE topic_id = $1 AND seq IN (
    SELECT seq FROM recado.messages WHERE topic_id = $1 ORDER BY seq LIMIT $2
);

-- name: purge_topic_keys
-- Keys of a deleted topic.
DELETE FROM recado.keys WHERE topic_id = $1 AND (sender, key) IN (
    SELECT sender, key FROM recado.keys WHERE topic_id = $1 LIMIT $2
);

-- name: purge_topic
-- A deleted topic of which nothing is left.
DELETE FROM recado.topics WHERE id = $1 AND deleted_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM recado.messages WHERE topic_id = $1)
  AND NOT EXISTS (SELECT FROM recado.keys WHERE topic_id = $1);

-- name: topics_slice
-- The next topics by id, for a walk over all of them.
SELECT id, kind FROM recado.topics WHERE id > $1 AND deleted_at IS NULL ORDER BY id LIMIT $2;

-- name: purge_aged
-- The oldest messages of these topics, where they are older than its retention is now ($2: where it has none), in seconds.
DELETE FROM recado.messages AS m USING (
    SELECT old.topic_id, old.seq
    FROM (
        SELECT id, now() - make_interval(secs => coalesce(retention, $2::integer)) AS until FROM recado.topics
        WHERE id = ANY ($1::bigint[])
    ) AS t,
    LATERAL (SELECT coalesce(stored_at, sent_at) AS at FROM recado.messages WHERE topic_id = t.id ORDER BY seq LIMIT 1) AS first,
    LATERAL (SELECT topic_id, seq, coalesce(stored_at, sent_at) AS at FROM recado.messages
             WHERE topic_id = t.id ORDER BY seq LIMIT $3) AS old
    WHERE first.at < t.until AND old.at < t.until
    LIMIT $3
) AS gone
WHERE m.topic_id = gone.topic_id AND m.seq = gone.seq;

-- name: bridge_register
-- A bridge as it is configured now; the id of its user.
SELECT recado.register_bridge($1, $2, $3, $4);

-- name: inlet_register
-- An inlet as it is configured now; the id of its user.
SELECT recado.register_inlet($1, $2, $3, $4);

-- name: bridge_forget
-- A bridge leaves everything but its inbox.
SELECT recado.forget_bridge($1);

-- name: bridges_all
-- Every bridge, how it fares, and what lies before it: its own inbox is one of its topics; of an inlet it lies elsewhere.
SELECT b.user_id, b.name, b.kind, b.direction, b.topics, b.paused, b.state, b.reason, b.attempts, b.since,
       CASE b.direction WHEN 'out' THEN coalesce(behind.lag, 0)::bigint END AS lag, behind.oldest,
       (SELECT count(*) FROM recado.dead_letters AS d WHERE d.bridge = b.name) AS dead
FROM recado.bridges AS b
LEFT JOIN LATERAL (
    SELECT sum(h.last_seq - c.seq) AS lag,
           min((SELECT m.sent_at FROM recado.messages AS m
                WHERE m.topic_id = c.topic_id AND m.seq > c.seq ORDER BY m.seq LIMIT 1)) AS oldest
    FROM recado.memberships AS s
    JOIN recado.cursors AS c ON c.topic_id = s.topic_id AND c.membership_id = s.id AND c.device = ''
    JOIN recado.heads AS h ON h.topic_id = s.topic_id
    WHERE s.user_id = b.user_id AND h.last_seq > c.seq
) AS behind ON true
WHERE $1::text IS NULL OR b.name = $1
ORDER BY b.name;

-- name: bridges_touch
-- A bridge counts as seen for as long as it is not forgotten; once a day is enough.
UPDATE recado.devices AS d SET seen_at = now() FROM recado.bridges AS b
WHERE d.user_id = b.user_id AND d.seen_at < now() - interval '1 day';

-- name: bridges_disown
-- Bridges of these kinds that no configuration names any more: nobody serves them.
UPDATE recado.bridges SET state = 'waiting', attempts = 0, since = now(),
       reason = 'it is not configured any more: configure it again, or forget it'
WHERE kind = ANY ($1) AND name <> ALL ($2) AND NOT paused;

-- name: bridge_state
-- One bridge as its lane must know it, and the version of its user.
SELECT b.name, b.kind, b.paused, b.state, b.attempts, b.since, u.version
FROM recado.bridges AS b JOIN recado.users AS u ON u.id = b.user_id WHERE b.user_id = $1;

-- name: bridge_report
-- How a bridge fares, in the term $5; since when is kept while its state stays the same.
UPDATE recado.bridges SET state = $2, reason = $3, attempts = $4,
       since = CASE WHEN state = $2 THEN since ELSE now() END
WHERE user_id = $1 AND (SELECT recado.in_term('bridges', $5));

-- name: bridge_pause
-- Stop a lane or an inlet (in the term $4), or let it go on.
WITH changed AS (
    UPDATE recado.bridges SET paused = $2, reason = $3
    WHERE name = $1 AND (SELECT recado.in_term('bridges', $4)) RETURNING user_id
)
UPDATE recado.users AS u SET version = version + 1 FROM changed WHERE u.id = changed.user_id RETURNING u.id;

-- name: dead_letter_bury
-- A message that was given up on, in the term $11; once more changes nothing.
INSERT INTO recado.dead_letters (bridge, topic, topic_id, seq, sender, content, sent_at, reason, came_by, ttl)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE recado.in_term('bridges', $11) ON CONFLICT DO NOTHING;

-- name: dead_letters_page
-- The dead letters of a bridge (NULL: of all), oldest first; at least one: as many as fit in $4 bytes, and the one that
-- does not.
SELECT id, bridge, topic, topic_id, seq, sender, content, sent_at, reason, came_by, ttl, replayable, died_at FROM (
    SELECT d.*, coalesce(sum(octet_length(content)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
               AS before
    FROM (
        SELECT id, bridge, topic, topic_id, seq, sender, content, sent_at, reason, came_by, ttl, replayable, died_at
        FROM recado.dead_letters WHERE ($1::text IS NULL OR bridge = $1) AND id > $2 ORDER BY id LIMIT $3
    ) AS d
) AS page WHERE before <= $4 ORDER BY id;

-- name: dead_letters_chosen
-- Those of a bridge by their ids (NULL: all that can be replayed) and times of death.
SELECT id, bridge, topic, topic_id, seq, sender, content, sent_at, reason, came_by, ttl, replayable, died_at
FROM recado.dead_letters
WHERE bridge = $1 AND CASE WHEN $2::bigint[] IS NULL THEN replayable ELSE id = ANY ($2) END
  AND died_at >= coalesce($3::timestamptz, '-infinity') AND died_at < coalesce($4::timestamptz, 'infinity')
ORDER BY id LIMIT $5;

-- name: dead_letters_kept
-- Whether there is a bridge of this name, or anything that it gave up on.
SELECT EXISTS (SELECT FROM recado.bridges WHERE name = $1) OR EXISTS (SELECT FROM recado.dead_letters WHERE bridge = $1);

-- name: dead_letters_drop
-- They are in the log again.
DELETE FROM recado.dead_letters WHERE id = ANY ($1);

-- name: intake_waiting
-- What is to be taken in next: at most $1 rows, about $2 bytes, none of the topics $3, of the sources behind $4.
SELECT * FROM recado.intake_waiting($1, $2, $3, $4);

-- name: intake_take
-- Rows of the intake that are dealt with in this transaction, in the term $2; how many there were.
SELECT recado.intake_take($1, $2);

-- name: intake_bury
-- Rows of the intake that can't be appended: parallel arrays.
INSERT INTO recado.dead_letters (bridge, topic, topic_id, seq, sender, content, sent_at, reason, ttl)
SELECT $1, v.topic, 0, v.id, v.sender, v.content, v.published_at, v.reason, v.ttl
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::integer[])
     AS v (topic, id, sender, content, published_at, reason, ttl) ON CONFLICT DO NOTHING;

-- name: overview_totals
-- How much there is, without counting messages: what the heads say, and what PostgreSQL knows of the table.
SELECT clock_timestamp() AS at, coalesce(sum(last_seq), 0)::bigint AS appended, count(*) AS topics,
       (SELECT CASE WHEN reltuples >= 0 THEN reltuples::bigint END FROM pg_class
        WHERE oid = 'recado.messages'::regclass) AS kept,
       pg_total_relation_size('recado.messages') AS bytes
FROM recado.heads;

-- name: overview_busiest
-- The topics with the most messages in the last minute, among the $1 whose heads were raised last (their rows have the
-- youngest xmin). Of each, the last $2 messages: where all of them are younger than a minute, their rate is the topic's.
WITH recent AS MATERIALIZED (
    SELECT topic_id, last_seq FROM recado.heads WHERE last_seq > 0 ORDER BY age(xmin) LIMIT $1
)
SELECT t.name, t.kind, recent.last_seq,
       (least(sample.count, $2) * 60.0
        / CASE WHEN sample.count < $2 THEN 60.0 ELSE greatest(sample.seconds, 1.0) END)::float8 AS per_minute
FROM recent
JOIN recado.topics AS t ON t.id = recent.topic_id AND t.deleted_at IS NULL
CROSS JOIN LATERAL (
    -- From the oldest of them on by seq, because of an inbox's messages those that were seen have gone.
    SELECT recent.last_seq - min(m.seq) + 1 AS count, extract(epoch FROM now() - min(m.sent_at)) AS seconds
    FROM recado.messages AS m
    WHERE m.topic_id = recent.topic_id AND m.seq > recent.last_seq - $2 AND m.sent_at > now() - interval '1 minute'
) AS sample
WHERE sample.count > 0
ORDER BY per_minute DESC, t.name LIMIT $3;

-- name: overview_behind
-- The members furthest behind, by the device that has confirmed most, among the first $2 members of each of the $1 longest
-- topics: who is behind in a shorter one has less pending than that one is long.
WITH longest AS MATERIALIZED (
    SELECT topic_id, last_seq FROM recado.heads WHERE last_seq > 0 ORDER BY last_seq DESC LIMIT $1
), furthest AS MATERIALIZED (
    SELECT longest.topic_id, m.user_id, longest.last_seq, greatest(m.joined_seq, confirmed.seq) AS seq
    FROM longest
    CROSS JOIN LATERAL (
        SELECT id, user_id, joined_seq FROM recado.memberships
        WHERE topic_id = longest.topic_id ORDER BY user_id LIMIT $2
    ) AS m
    CROSS JOIN LATERAL (
        SELECT max(seq) AS seq FROM recado.cursors WHERE topic_id = longest.topic_id AND membership_id = m.id
    ) AS confirmed
    WHERE longest.last_seq > greatest(m.joined_seq, confirmed.seq)
    ORDER BY longest.last_seq - greatest(m.joined_seq, confirmed.seq) DESC LIMIT $3
)
SELECT u.name, t.name AS topic, f.last_seq - f.seq AS pending,
       (SELECT sent_at FROM recado.messages WHERE topic_id = f.topic_id AND seq > f.seq ORDER BY seq LIMIT 1) AS oldest_at
FROM furthest AS f
JOIN recado.topics AS t ON t.id = f.topic_id AND t.deleted_at IS NULL
JOIN recado.users AS u ON u.id = f.user_id
ORDER BY pending DESC, u.name, t.name;

-- name: purge_dead_letters
-- Dead letters that nobody has looked after for so long.
DELETE FROM recado.dead_letters WHERE id IN (
    SELECT id FROM recado.dead_letters WHERE died_at < now() - $1::interval ORDER BY id LIMIT $2
);

-- name: dead_letters_forget
-- Dead letters of a bridge, by their ids, that nobody wants any more; how many there were.
WITH gone AS (DELETE FROM recado.dead_letters WHERE bridge = $1 AND id = ANY ($2) RETURNING id)
SELECT count(*) FROM gone;

-- name: notify
-- A parcel of the bus.
SELECT recado.notify($1, $2);

-- name: platforms_all
-- Platforms by name; of one name where $1 is given.
SELECT id, inbox, name, style, url, secret, CASE WHEN old_until > now() THEN old_secret END AS old_secret, audio, image,
       trusted, insecure, retry_ambiguous, import_every, users_as_of
FROM recado.platforms WHERE $1::text IS NULL OR name = $1 ORDER BY name;

-- name: platform_by_token
-- The platform that has this token, by the token's digest.
SELECT id, inbox, name, style, url, secret, CASE WHEN old_until > now() THEN old_secret END AS old_secret, audio, image,
       trusted, insecure, retry_ambiguous, import_every, users_as_of
FROM recado.platforms WHERE token_digest = $1;

-- name: platform_by_id
-- A platform by the id of its user.
SELECT id, inbox, name, style, url, secret, CASE WHEN old_until > now() THEN old_secret END AS old_secret, audio, image,
       trusted, insecure, retry_ambiguous, import_every, users_as_of
FROM recado.platforms WHERE id = $1;

-- name: platform_keep
-- A platform as it is said to be now; its secret and token stay where none is given. Returns whether it is new.
INSERT INTO recado.platforms AS p (id, inbox, name, style, url, token_digest, secret, audio, image, trusted, insecure,
                                   retry_ambiguous, import_every)
SELECT $1, t.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
FROM recado.topics AS t WHERE t.name = '@' || (SELECT name FROM recado.users WHERE id = $1)
ON CONFLICT (id) DO UPDATE SET style = excluded.style, url = excluded.url, audio = excluded.audio, image = excluded.image,
    token_digest = coalesce(excluded.token_digest, p.token_digest), secret = coalesce(p.secret, excluded.secret),
    trusted = excluded.trusted, insecure = excluded.insecure, retry_ambiguous = excluded.retry_ambiguous,
    import_every = excluded.import_every
RETURNING xmax = 0 AS is_new;

-- name: platform_take_token
-- A token names one platform: any other that had it has none from here on. Its name.
UPDATE recado.platforms SET token_digest = NULL WHERE token_digest = $1 AND id <> $2 RETURNING name;

-- name: platform_rotate
-- A new secret; the one before goes on signing beside it for a day.
UPDATE recado.platforms SET old_secret = secret, old_until = now() + interval '24 hours', secret = $2
WHERE id = $1 RETURNING id;

-- name: platform_forget
-- A platform, its users and its rooms are no more, nor has it heard of anybody; the rooms' topics stay.
WITH gone AS (DELETE FROM recado.platforms WHERE id = $1 RETURNING id),
people AS (DELETE FROM recado.platform_users WHERE platform = $1),
their_rooms AS (DELETE FROM recado.rooms WHERE platform = $1),
heard AS (
    UPDATE recado.platform_users SET introduced = array_remove(introduced, $1)
    WHERE platform <> $1 AND $1 = ANY (introduced)
),
elsewhere AS (UPDATE recado.rooms SET members = array_remove(members, $1) WHERE platform <> $1 AND $1 = ANY (members))
SELECT id FROM gone;

-- name: platform_imported
-- An import of this platform's users succeeded.
UPDATE recado.platforms SET users_as_of = now() WHERE id = $1;

-- name: news_lock
-- What is accepted is accepted one after the other: all of it ends in the same inboxes anyway.
SELECT FROM recado.leases WHERE slot = 0 AND name = 'acceptance' FOR UPDATE;

-- name: news_patience
-- For this transaction: rather no answer than a long one.
SELECT set_config('lock_timeout', '2s', true);

-- name: people_of
-- Users of a platform by key, a page.
SELECT platform, key, id_json, name, introduced, removed, absent FROM recado.platform_users
WHERE platform = $1 AND NOT removed AND key > $2 ORDER BY key LIMIT $3;

-- name: people_named
-- Users by (platform, key): parallel arrays.
SELECT u.platform, u.key, u.id_json, u.name, u.introduced, u.removed, u.absent
FROM unnest($1::bigint[], $2::text[]) AS v (platform, key)
JOIN recado.platform_users AS u ON u.platform = v.platform AND u.key = v.key;

-- name: people_absent
-- How often in a row each user of a platform was missing from its list; not those that only others have mentioned.
SELECT key, absent FROM recado.platform_users WHERE platform = $1 AND NOT removed AND absent >= 0;

-- name: person_keep
-- A user as it is now.
INSERT INTO recado.platform_users (platform, key, id_json, name, introduced, absent) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (platform, key) DO UPDATE SET id_json = excluded.id_json, name = excluded.name, absent = excluded.absent,
    removed = false, introduced = excluded.introduced;

-- name: people_missed
-- Users of a platform that its list did not have this time.
UPDATE recado.platform_users SET absent = absent + 1 WHERE platform = $1 AND key = ANY ($2);

-- name: people_seen
-- Users of a platform that its list has again.
UPDATE recado.platform_users SET absent = 0 WHERE platform = $1 AND key = ANY ($2) AND absent > 0;

-- name: people_removed
-- Users of a platform that are no more.
UPDATE recado.platform_users SET removed = true, introduced = '{}' WHERE platform = $1 AND key = ANY ($2);

-- name: people_in_topic
-- The people who belong to a topic.
SELECT u.name FROM recado.memberships AS m JOIN recado.users AS u ON u.id = m.user_id
WHERE m.topic_id = $1 AND u.kind = 'person';

-- name: room_by_key
-- A room by the platform that made it and its id there.
SELECT platform, key, id_json, name, type, users, topic_id, members FROM recado.rooms WHERE platform = $1 AND key = $2;

-- name: room_by_topic
-- The room that a topic is.
SELECT platform, key, id_json, name, type, users, topic_id, members FROM recado.rooms WHERE topic_id = $1;

-- name: room_keep
-- A room as it is now.
INSERT INTO recado.rooms (platform, key, id_json, name, type, users, topic_id, members)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (platform, key) DO UPDATE SET id_json = excluded.id_json, name = excluded.name, type = excluded.type,
    users = excluded.users, topic_id = excluded.topic_id, members = excluded.members;

-- name: news_find
-- Whether an id was accepted from a platform already, and where it went.
SELECT digest, topic_ids, seqs FROM recado.news WHERE platform = $1 AND id = $2;

-- name: news_keep
-- An id was accepted.
INSERT INTO recado.news (platform, id, digest, topic_ids, seqs) VALUES ($1, $2, $3, $4, $5);

-- name: news_states
-- Where a message went, and how far each destination is: derived from its cursor.
SELECT p.name, at.seq, coalesce(max(c.seq), 0)::bigint AS cursor, b.state, b.paused, b.reason,
       (SELECT d.reason FROM recado.dead_letters AS d
        WHERE d.bridge = b.name AND d.topic_id = at.topic_id AND d.seq = at.seq) AS dead
FROM recado.news AS n, unnest(n.topic_ids, n.seqs) AS at (topic_id, seq)
JOIN recado.platforms AS p ON p.inbox = at.topic_id
JOIN recado.bridges AS b ON b.user_id = p.id
LEFT JOIN recado.cursors AS c ON c.topic_id = at.topic_id
WHERE n.platform = $1 AND n.id = $2
GROUP BY p.name, at.topic_id, at.seq, b.state, b.paused, b.reason, b.name ORDER BY p.name;

-- name: purge_news
-- Ids whose seven days are over.
DELETE FROM recado.news WHERE (platform, id) IN (
    SELECT platform, id FROM recado.news WHERE accepted_at < now() - $1::interval ORDER BY accepted_at LIMIT $2
);

-- name: lease_take
-- Take a turn ($1) that is free, or renew it, for a holder ($2); its term, or NULL.
SELECT recado.take_lease($1, $2, $3);

-- name: lease_give_back
-- A turn is over before its time: the next holder need not wait.
UPDATE recado.leases SET until = clock_timestamp() WHERE slot = 0 AND name = $1 AND holder = $2;

-- name: shared_value
-- What the services of an installation agree on: the first value that any of them offered.
INSERT INTO recado.shared AS s (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = s.value RETURNING value;  -- a SELECT would not see what was offered meanwhile

-- name: log_identity
-- What the epochs of all topics have in common.
SELECT installation, incarnation, restored FROM recado.log_identity();

-- name: epochs_raise
-- The database is not what it was while the counter was $1: every topic has another epoch from here on. Whoever else saw
-- that finds it raised. Beyond the clock: a backup that is restored twice has two. As durable as what is appended.
WITH durable AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true) AS setting)
UPDATE recado.shared SET value = greatest(value::bigint + 1, extract(epoch FROM clock_timestamp())::bigint)::text
FROM durable WHERE setting IS NOT NULL AND name = 'restored' AND value = $1;

-- name: renew_node
-- One process's row, for $2 more seconds; rows of those that died a week ago go. All that are alive, with itself; and what
-- time it is here.
WITH renewed AS (
    INSERT INTO recado.nodes (node, until) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
    ON CONFLICT (node) DO UPDATE SET until = EXCLUDED.until
), gone AS (
    DELETE FROM recado.nodes WHERE until < clock_timestamp() - interval '7 days' AND node <> $1
)
SELECT node, extract(epoch FROM clock_timestamp())::float8 AS now
FROM (SELECT node FROM recado.nodes WHERE until > clock_timestamp() UNION SELECT $1) AS alive;

-- name: purge_writers
-- Writers of processes that have been gone for a week, with their answers: what they sent can't be on its way any more.
WITH ended AS (
    DELETE FROM recado.writers WHERE (slot, writer) IN (
        SELECT w.slot, w.writer FROM recado.writers AS w
        WHERE w.made_at < now() - interval '7 days' AND NOT EXISTS (SELECT FROM recado.nodes AS n WHERE n.node = w.node)
        LIMIT $1
    ) RETURNING slot, writer
), unheard AS (DELETE FROM recado.answers AS a USING ended WHERE a.slot = ended.slot AND a.writer = ended.writer)
SELECT count(*) FROM ended;

-- name: leave_nodes
-- A process stops.
DELETE FROM recado.nodes WHERE node = $1;

-- name: tables_barred
-- Our tables which this role may not use; NULL where there is none.
SELECT string_agg(oid::regclass::text, ', ' ORDER BY relname) FROM pg_class
WHERE relnamespace = 'recado'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'migrations' AND NOT (
    has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
    AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')
);

-- name: fitness
-- What decides whether every message can be kept, and whether an answered COMMIT survives a crash.
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('server_version_num')::integer AS version,
       current_setting('server_encoding') AS encoding, current_setting('transaction_read_only') AS read_only;

-- name: clock
-- What time it is there.
SELECT clock_timestamp();

-- name: ping
-- Whether the database answers.
SELECT 1;
