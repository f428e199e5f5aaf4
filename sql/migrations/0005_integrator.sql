-- The integrator: chat platforms, their users and rooms. A platform is a bridge whose inbox carries all that is for it;
-- a room is also a topic. Texts and ids of other systems are kept as they came.

CREATE TABLE recado.platforms (
    id              bigint PRIMARY KEY,               -- of the user that it is; see recado.bridges
    inbox           bigint NOT NULL,                  -- the topic
    name            text NOT NULL UNIQUE,             -- as it calls itself
    style           text NOT NULL CHECK (style IN ('own', 'paths', 'webhook', 'pull')),
    url             text,                             -- with a slash at the end where the style is 'paths'
    token_digest    bytea UNIQUE,
    secret          text,                             -- whsec_…: signs what is sent to it
    old_secret      text,
    old_until       timestamptz,                      -- until then the old one signs too
    audio           boolean NOT NULL DEFAULT false,
    image           boolean NOT NULL DEFAULT false,
    trusted         boolean NOT NULL DEFAULT false,   -- from the operator's file: private addresses are allowed
    insecure        boolean NOT NULL DEFAULT false,   -- its certificate is not verified
    retry_ambiguous boolean NOT NULL DEFAULT true,    -- false: what may have arrived is not sent again, and may be lost
    import_every    integer NOT NULL DEFAULT 86400,   -- seconds
    users_as_of     timestamptz,                      -- of the last import that succeeded
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE recado.platform_users (
    platform   bigint NOT NULL,
    key        text NOT NULL,                         -- its id as text: how ids of one platform are compared
    id_json    text NOT NULL,                         -- its id as it came: 17 or "17"
    name       text NOT NULL,
    absent     integer NOT NULL DEFAULT 0,            -- imports in a row that did not have it; -1: only mentioned by others
    removed    boolean NOT NULL DEFAULT false,
    introduced bigint[] NOT NULL DEFAULT '{}',        -- the platforms that were told of it
    PRIMARY KEY (platform, key)
);

CREATE TABLE recado.rooms (
    platform bigint NOT NULL,
    key      text NOT NULL,
    id_json  text NOT NULL,
    name     text NOT NULL,
    type     text NOT NULL CHECK (type IN ('private', 'public')),
    users    text NOT NULL,                           -- JSON, as it came: [{platform: [ids]}, …]
    topic_id bigint NOT NULL UNIQUE,
    members  bigint[] NOT NULL,                       -- the platforms that have users in it, or made it
    PRIMARY KEY (platform, key)
);

-- What was accepted, for seven days: the same id again is answered and not sent again; where it went is asked for here.
CREATE TABLE recado.news (
    platform    bigint NOT NULL,
    id          text NOT NULL,
    digest      bytea NOT NULL,
    topic_ids   bigint[] NOT NULL,                    -- the inboxes that it went to, and its seq in each
    seqs        bigint[] NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (platform, id)
);
CREATE INDEX news_accepted ON recado.news (accepted_at);
