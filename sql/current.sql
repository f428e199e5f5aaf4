-- The schema as all files of sql/ leave it: to read, never applied. Made by `make schema`; a test compares it.
-- What each column is for stands where it was made: schema.sql and migrations/.

CREATE TABLE recado.answers (
    slot   integer NOT NULL,
    writer uuid    NOT NULL,
    batch  bigint  NOT NULL,
    answer text    NOT NULL,
    PRIMARY KEY (slot, writer, batch)
);

CREATE TABLE recado.bridges (
    user_id   bigint      NOT NULL,
    name      text        NOT NULL,
    kind      text        NOT NULL,
    topics    text,
    paused    boolean     NOT NULL DEFAULT false,
    state     text        NOT NULL DEFAULT 'up'::text,
    reason    text,
    attempts  integer     NOT NULL DEFAULT 0,
    since     timestamptz NOT NULL DEFAULT now(),
    direction text        NOT NULL DEFAULT 'out'::text,
    PRIMARY KEY (user_id),
    UNIQUE (name),
    CHECK ((direction = ANY (ARRAY['out'::text, 'in'::text]))),
    CHECK ((state = ANY (ARRAY['up'::text, 'waiting'::text, 'failing'::text])))
);

CREATE TABLE recado.cursors (
    topic_id      bigint NOT NULL,
    membership_id bigint NOT NULL,
    device        text   NOT NULL,
    seq           bigint NOT NULL,
    PRIMARY KEY (topic_id, membership_id, device)
) WITH (fillfactor=50);

CREATE TABLE recado.dead_letters (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    bridge     text        NOT NULL,
    topic      text        NOT NULL,
    topic_id   bigint      NOT NULL,
    seq        bigint      NOT NULL,
    sender     text        NOT NULL,
    content    text,
    sent_at    timestamptz,
    reason     text        NOT NULL,
    died_at    timestamptz NOT NULL DEFAULT now(),
    came_by    text,
    ttl        integer,
    replayable boolean     NOT NULL GENERATED ALWAYS AS ( CASE WHEN ((topic_id > 0) OR (bridge = 'intake'::text)) THEN ((content IS NOT NULL) AND (sent_at IS NOT NULL)) ELSE ((came_by IS NOT NULL) AND (sender <> ''::text)) END) STORED,
    PRIMARY KEY (id),
    UNIQUE (bridge, topic_id, seq)
);

CREATE TABLE recado.devices (
    user_id bigint      NOT NULL,
    name    text        NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, name)
);

CREATE TABLE recado.heads (
    topic_id bigint      NOT NULL,
    last_seq bigint      NOT NULL DEFAULT 0,
    sent_at  timestamptz NOT NULL DEFAULT '-infinity'::timestamptz,
    PRIMARY KEY (topic_id)
) WITH (fillfactor=50);

CREATE TABLE recado.intake (
    id           bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic_id     bigint      NOT NULL,
    topic        text        NOT NULL,
    sender       text        NOT NULL,
    content      text        NOT NULL,
    key          text,
    ttl          integer,
    published_at timestamptz NOT NULL DEFAULT now(),
    source       text        COLLATE "C" NOT NULL DEFAULT '?'::text,
    PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0);
CREATE INDEX intake_by_source ON recado.intake USING btree (source, id);

CREATE TABLE recado.keys (
    topic_id bigint      NOT NULL,
    sender   text        NOT NULL,
    key      text        NOT NULL,
    seq      bigint      NOT NULL,
    digest   bytea       NOT NULL,
    used_at  timestamptz NOT NULL,
    PRIMARY KEY (topic_id, sender, key)
);
CREATE INDEX keys_used ON recado.keys USING brin (used_at) WITH (pages_per_range='16', autosummarize='on');

CREATE TABLE recado.leases (
    slot   integer     NOT NULL DEFAULT 0,
    name   text        NOT NULL,
    holder text        NOT NULL,
    term   bigint      NOT NULL,
    until  timestamptz NOT NULL,
    PRIMARY KEY (slot, name)
) WITH (fillfactor=50);

CREATE TABLE recado.memberships (
    topic_id      bigint      NOT NULL,
    id            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id       bigint      NOT NULL,
    role          text        NOT NULL,
    joined_seq    bigint      NOT NULL,
    invited_by    text,
    joined_at     timestamptz NOT NULL DEFAULT now(),
    joined_itself boolean     NOT NULL DEFAULT false,
    invitation_of bigint,
    PRIMARY KEY (topic_id, user_id),
    CHECK ((role = ANY (ARRAY['owner'::text, 'member'::text])))
);
CREATE INDEX memberships_invited ON recado.memberships USING btree (invitation_of) WHERE (invitation_of IS NOT NULL);
CREATE INDEX memberships_joined ON recado.memberships USING btree (user_id) WHERE joined_itself;
CREATE INDEX memberships_of_user ON recado.memberships USING btree (user_id, topic_id);

CREATE TABLE recado.messages (
    topic_id   bigint      NOT NULL,
    seq        bigint      NOT NULL,
    sender     text        NOT NULL,
    content    text        NOT NULL,
    sent_at    timestamptz NOT NULL,
    expires_at timestamptz,
    stored_at  timestamptz,
    PRIMARY KEY (topic_id, seq)
);
CREATE INDEX messages_expiring ON recado.messages USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE TABLE recado.migrations (
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name)
);

CREATE TABLE recado.news (
    platform    bigint      NOT NULL,
    id          text        NOT NULL,
    digest      bytea       NOT NULL,
    topic_ids   bigint[]    NOT NULL,
    seqs        bigint[]    NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (platform, id)
);
CREATE INDEX news_accepted ON recado.news USING btree (accepted_at);

CREATE TABLE recado.nodes (
    node  text        NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (node)
) WITH (fillfactor=50);

CREATE TABLE recado.platform_users (
    platform   bigint   NOT NULL,
    key        text     NOT NULL,
    id_json    text     NOT NULL,
    name       text     NOT NULL,
    absent     integer  NOT NULL DEFAULT 0,
    removed    boolean  NOT NULL DEFAULT false,
    introduced bigint[] NOT NULL DEFAULT '{}'::bigint[],
    PRIMARY KEY (platform, key)
);

CREATE TABLE recado.platforms (
    id              bigint      NOT NULL,
    inbox           bigint      NOT NULL,
    name            text        NOT NULL,
    style           text        NOT NULL,
    url             text,
    token_digest    bytea,
    secret          text,
    old_secret      text,
    old_until       timestamptz,
    audio           boolean     NOT NULL DEFAULT false,
    image           boolean     NOT NULL DEFAULT false,
    trusted         boolean     NOT NULL DEFAULT false,
    insecure        boolean     NOT NULL DEFAULT false,
    retry_ambiguous boolean     NOT NULL DEFAULT true,
    import_every    integer     NOT NULL DEFAULT 86400,
    users_as_of     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (name),
    UNIQUE (token_digest),
    CHECK ((style = ANY (ARRAY['own'::text, 'paths'::text, 'webhook'::text, 'pull'::text])))
);

CREATE TABLE recado.revocations (
    revoked_at timestamptz NOT NULL DEFAULT now(),
    digest     bytea       NOT NULL,
    PRIMARY KEY (digest)
);

CREATE TABLE recado.rooms (
    platform bigint   NOT NULL,
    key      text     NOT NULL,
    id_json  text     NOT NULL,
    name     text     NOT NULL,
    type     text     NOT NULL,
    users    text     NOT NULL,
    topic_id bigint   NOT NULL,
    members  bigint[] NOT NULL,
    PRIMARY KEY (platform, key),
    UNIQUE (topic_id),
    CHECK ((type = ANY (ARRAY['private'::text, 'public'::text])))
);

CREATE TABLE recado.shared (
    name  text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE recado.slots (
    slot integer NOT NULL,
    PRIMARY KEY (slot)
);

CREATE TABLE recado.tickets (
    digest     bytea       NOT NULL,
    claims     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    user_id    bigint,
    PRIMARY KEY (digest)
);
CREATE INDEX tickets_of_user ON recado.tickets USING btree (user_id) WHERE (user_id IS NOT NULL);

CREATE TABLE recado.topics (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    name       text,
    kind       text        NOT NULL,
    creator    text        NOT NULL,
    retention  integer,
    lifetime   integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    by_backend boolean,
    in_doubt   boolean     NOT NULL DEFAULT false,
    made_by    bigint,
    origin     bigint,
    PRIMARY KEY (id),
    UNIQUE (name),
    CHECK ((kind = ANY (ARRAY['public'::text, 'private'::text, 'direct'::text])))
);
CREATE INDEX topics_deleted ON recado.topics USING btree (id) WHERE (deleted_at IS NOT NULL);
CREATE INDEX topics_made ON recado.topics USING btree (made_by) WHERE ((made_by IS NOT NULL) AND (deleted_at IS NULL));

CREATE TABLE recado.users (
    id             bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    name           text        NOT NULL,
    version        bigint      NOT NULL DEFAULT 1,
    revoked_before timestamptz NOT NULL DEFAULT '-infinity'::timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    kind           text        NOT NULL,
    invites_until  timestamptz NOT NULL DEFAULT '-infinity'::timestamptz,
    PRIMARY KEY (id),
    UNIQUE (name),
    CHECK ((kind = ANY (ARRAY['person'::text, 'bridge'::text, 'platform'::text])))
);

CREATE TABLE recado.writers (
    slot    integer     NOT NULL,
    writer  uuid        NOT NULL,
    fence   bigint      NOT NULL,
    node    text        NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (slot, writer)
);

-- recado.append(in_slot integer, by_writer uuid, its_fence bigint, its_batch bigint, topic_ids bigint[], for_members
--     bigint[], senders text[], keys text[], digests bytea[], contents text[], ttls integer[]) RETURNS text
-- recado.check_content(content text) RETURNS void
-- recado.check_name(what text, name text, fits boolean) RETURNS void
-- recado.create_topic(topic_name text, topic_kind text, maker text, keep integer, live integer, owner bigint,
--     for_backend boolean DEFAULT true) RETURNS bigint
-- recado.create_topic_within_limits(topic_name text, topic_kind text, creator text, keep integer, live integer, owner
--     bigint, maker bigint, most integer) RETURNS bigint
-- recado.delete_topic(topic bigint) RETURNS bigint[]
-- recado.forget_bridge(called text) RETURNS bigint
-- recado.has_made(maker bigint, most integer) RETURNS boolean
-- recado.in_term(turn text, its_term bigint) RETURNS boolean
-- recado.intake_take(ids bigint[], its_term bigint) RETURNS bigint
-- recado.intake_waiting(most integer, size integer, held bigint[], after text) RETURNS TABLE(id bigint, topic_id
--     bigint, topic text, sender text, content text, key text, ttl integer, published_at timestamptz,
--     source text, kind text, lifetime integer)
-- recado.is_encoded_name(name text) RETURNS boolean
-- recado.is_name(name text) RETURNS boolean
-- recado.join_bridges(fresh bigint[]) RETURNS void
-- recado.join_topic(topic bigint, member bigint, as_role text, inviter text) RETURNS boolean
-- recado.join_within_limits(topic bigint, member bigint, inviter bigint, invited_by text, most_joined integer, a_minute
--     integer, most_open integer) RETURNS text
-- recado.keep_ticket(ticket bytea, claims_of text, seconds double precision, asker bigint, most integer) RETURNS
--     boolean
-- recado.know(names text[], as_kind text DEFAULT 'person'::text) RETURNS void
-- recado.leave_topic(topic bigint, member bigint, OUT ended bigint, OUT others bigint[]) RETURNS record
-- recado.log_identity(OUT installation text, OUT incarnation text, OUT restored text) RETURNS record
-- recado.move_cursors(topic_ids bigint[], membership_ids bigint[], device_names text[], seqs bigint[]) RETURNS SETOF
--     bigint
-- recado.notify(channel text, payload text) RETURNS void
-- recado.publish(topic text, sender text, content jsonb, key text DEFAULT NULL::text, ttl integer DEFAULT
--     NULL::integer) RETURNS bigint SECURITY DEFINER
-- recado.publish(topic text, sender text, content text, key text DEFAULT NULL::text, ttl integer DEFAULT NULL::integer)
--     RETURNS bigint SECURITY DEFINER
-- recado.raise_fence(in_slot integer, by_writer uuid, known_fence bigint, its_batch bigint, OUT fence bigint, OUT
--     answer text) RETURNS record
-- recado.register_bridge(username text, called text, of_kind text, pattern text) RETURNS bigint
-- recado.register_inlet(username text, called text, of_kind text, feeds text DEFAULT NULL::text) RETURNS bigint
-- recado.see_device(member bigint, device_name text, most_devices integer, keep interval) RETURNS boolean
-- recado.take_lease(turn text, by_whom text, lasting interval) RETURNS bigint
-- recado.take_up(topic bigint, member bigint) RETURNS void
-- recado.why_not_invite(inviter bigint, a_minute integer, most_open integer) RETURNS text
-- recado.why_not_join(member bigint, most integer) RETURNS text
