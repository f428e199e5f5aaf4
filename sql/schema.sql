-- The truth. One log per topic, one cursor per member and device; everything else is derived from these two.
--
--   users 1--n memberships n--1 topics 1--1 heads
--   devices n--1 users          topics 1--n messages
--   memberships 1--n cursors    topics 1--n keys
--
-- This file is the first migration: it is applied once, to an empty database. Later changes are files in migrations/;
-- the functions, which may be replaced at any time, are in functions.sql.
--
-- Every hot table is keyed by the topic's id first, so that the log can be partitioned or distributed by it.
-- For the same reason hot tables hold names and ids, but no foreign keys.
--
-- Lock order, everywhere: heads by id, memberships by id, users by id, cursors by (membership, device), each taken by
-- SELECT … ORDER BY … FOR NO KEY UPDATE before any UPDATE.

CREATE TABLE recado.users (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    -- Raised in every transaction that changes this user's memberships or revocations: a node that holds sessions of
    -- the user compares it with the one it knows, so a lost notice costs time and nothing else.
    version        bigint NOT NULL DEFAULT 1,
    revoked_before timestamptz NOT NULL DEFAULT '-infinity',  -- tokens issued until then are void
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE recado.devices (
    user_id bigint NOT NULL,
    name    text NOT NULL,                      -- '' unless the connection names one
    seen_at timestamptz NOT NULL DEFAULT now(), -- unseen for 30 days, it no longer keeps inbox messages
    PRIMARY KEY (user_id, name)
);

CREATE TABLE recado.revocations (
    jti        text PRIMARY KEY,
    revoked_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE recado.topics (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- ids never come back
    name       text UNIQUE,                                      -- an inbox is '@' || its owner; NULL once deleted
    kind       text NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
    creator    text NOT NULL,
    retention  integer,                                          -- seconds; NULL: the setting RETENTION
    lifetime   integer,                                          -- seconds that a message lives; NULL: no limit of its own
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz                                       -- its messages go in small batches, then its row
);
CREATE INDEX topics_deleted ON recado.topics (id) WHERE deleted_at IS NOT NULL;

-- Narrow and half empty, so that raising a head is a HOT update. A deleted topic has no head: nothing can be appended.
CREATE TABLE recado.heads (
    topic_id bigint PRIMARY KEY,
    last_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE recado.memberships (
    topic_id   bigint NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,  -- leaving ends it; joining again makes a new one
    user_id    bigint NOT NULL,
    role       text NOT NULL CHECK (role IN ('owner', 'member')),
    joined_seq bigint NOT NULL,                      -- the head when it joined: pending begins behind it
    invited_by text,
    joined_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, user_id)
);
CREATE INDEX memberships_of_user ON recado.memberships (user_id, topic_id);

-- A row for every membership and every device of its user, made with whichever of the two comes second:
-- moving a cursor is then always an UPDATE, and can never bring back one whose membership has ended.
CREATE TABLE recado.cursors (
    topic_id      bigint NOT NULL,
    membership_id bigint NOT NULL,
    device        text NOT NULL,
    seq           bigint NOT NULL,
    PRIMARY KEY (topic_id, membership_id, device)
) WITH (fillfactor = 50);

CREATE TABLE recado.messages (
    topic_id   bigint NOT NULL,
    seq        bigint NOT NULL,
    sender     text NOT NULL,
    content    text NOT NULL,  -- JSON, kept byte for byte
    sent_at    timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (topic_id, seq)
);
CREATE INDEX messages_expiring ON recado.messages (expires_at) WHERE expires_at IS NOT NULL;

-- Idempotency keys outlive their message: 24 hours at least, whatever became of it.
CREATE TABLE recado.keys (
    topic_id bigint NOT NULL,
    sender   text NOT NULL,
    key      text NOT NULL,
    seq      bigint NOT NULL,
    digest   bytea NOT NULL,  -- of the content's bytes: the same key with other bytes is refused
    used_at  timestamptz NOT NULL,
    PRIMARY KEY (topic_id, sender, key)
);
CREATE INDEX keys_used ON recado.keys USING brin (used_at) WITH (pages_per_range = 16, autosummarize = on);

-- What the services of one installation must agree on (the signing secret, where the database keeps it).
CREATE TABLE recado.shared (
    name  text PRIMARY KEY,
    value text NOT NULL
);
