-- Where `recado.publish` puts messages, in the transaction of an application that shares this database. A node takes
-- them from here into the logs. A row is there or it is not: nothing remembers how far the intake was read, because ids
-- are given when a statement runs and become visible, in another order, when its transaction commits.
CREATE TABLE recado.intake (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id     bigint NOT NULL,
    topic        text NOT NULL,      -- its name then
    sender       text NOT NULL,
    content      text NOT NULL,
    key          text,               -- makes publishing again harmless, as on every other way in
    ttl          integer,            -- seconds, from being taken in on
    published_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
