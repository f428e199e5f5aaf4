-- Bridges, and what they gave up on.
--
-- A bridge is a user with a name that no token can have ('%' in front): its memberships and cursors are those of any
-- member, its inbox carries what is for it alone. What is here is only what a person is not: a pattern, and how it fares.
CREATE TABLE recado.bridges (
    user_id  bigint PRIMARY KEY,
    name     text NOT NULL UNIQUE,
    kind     text NOT NULL,                 -- 'nats', 'rabbitmq', 'platform'
    topics   text,                          -- a LIKE pattern: who makes a topic of such a name makes the bridge its member
    paused   boolean NOT NULL DEFAULT false,
    state    text NOT NULL DEFAULT 'up' CHECK (state IN ('up', 'waiting', 'failing')),
    reason   text,                          -- why it is not up, or paused
    attempts integer NOT NULL DEFAULT 0,    -- in vain, since it was up
    since    timestamptz NOT NULL DEFAULT now()
);

-- The only messages that have a row beside the log: those that a bridge, or the intake, gave up on.
CREATE TABLE recado.dead_letters (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bridge   text NOT NULL,
    topic    text NOT NULL,
    topic_id bigint NOT NULL,
    seq      bigint NOT NULL,
    sender   text NOT NULL,
    content  text,                          -- NULL: it had expired
    sent_at  timestamptz,
    reason   text NOT NULL,
    died_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (bridge, topic_id, seq)          -- giving up again, after a crash, changes nothing
);
