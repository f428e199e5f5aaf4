-- Publishing from SQL, in the transaction of an application that shares this database. Applied again whenever this file
-- changes; what was granted on these functions stays.
--
-- recado.publish runs in sessions of others with the rights of the owner, and so does what it calls: a path that does not
-- name pg_temp has it in front, with types that the caller has made.

-- Whether a text may name a topic, a user or a key: the rule of messaging/model.py.
CREATE OR REPLACE FUNCTION recado.is_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT length(name) <= 128
       AND name COLLATE "C" ~ '^(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+)*$'
$$;

-- The same for a name from outside, which is percent-encoded.
CREATE OR REPLACE FUNCTION recado.is_encoded_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT length(name) <= 128 AND recado.is_name(regexp_replace(name, '%[0-9A-F]{2}', '_', 'g'))
$$;

-- Raise where a text is no name (fits: whether it is one); what: what it should name.
CREATE OR REPLACE FUNCTION recado.check_name(what text, name text, fits boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION 'recado.publish: % is %, which is no name', what, quote_nullable(name)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '1 to 128 of A-Z a-z 0-9 . _ - : @ / + |, no empty, . or .. segment between slashes.';
    END IF;
END $$;

-- Raise where a text is no content of a message: of what messaging/log/content.py refuses, all but MAX_FRAME, which only
-- the nodes know. 131072 is the most that MAX_FRAME may be.
CREATE OR REPLACE FUNCTION recado.check_content(content text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parsed jsonb;
BEGIN
    IF content IS NULL THEN
        RAISE EXCEPTION 'recado.publish: there is no content'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'JSON''s null is the text ''null''.';
    END IF;
    IF octet_length(content) > 131072 THEN
        RAISE EXCEPTION 'recado.publish: the content has % bytes; the most is 131072', octet_length(content)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        parsed := content::jsonb;
    EXCEPTION WHEN data_exception OR statement_too_complex OR program_limit_exceeded THEN
        RAISE EXCEPTION 'recado.publish: the content is not JSON that can be kept: %', SQLERRM
            USING ERRCODE = 'invalid_parameter_value', HINT = 'A mere text becomes JSON by to_jsonb(''...''::text).';
    END;
    IF length(content) - length(translate(content, '[{', '')) > 64
       AND jsonb_path_exists(parsed, 'strict $.**{64} ? (@.type() == "array" || @.type() == "object")') THEN
        RAISE EXCEPTION 'recado.publish: the content is nested deeper than 64'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- Publish in the caller's own transaction: its COMMIT sends, its rollback does not. EXECUTE is the permission. No head
-- is taken, so nobody waits for this transaction, however long it lasts. Returns the id of its row in the intake.
CREATE OR REPLACE FUNCTION recado.publish(
    topic text, sender text, content text, key text DEFAULT NULL, ttl integer DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    aim bigint;
    ambiguous boolean;  -- a bare name that is a topic's and a user's
    row_id bigint;
    source text := coalesce(nullif(left(current_setting('recado.source', true), 128), ''), sender);
BEGIN
    PERFORM recado.check_name('sender', sender, recado.is_encoded_name(sender));
    PERFORM recado.check_name('key', key, key IS NULL OR recado.is_name(key));
    IF ttl NOT BETWEEN 1 AND 31536000 THEN
        RAISE EXCEPTION 'recado.publish: ttl is % seconds; 1 to 31536000 (a year) are possible', ttl
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM recado.check_content(content);
    -- `name_of_topic` in messaging/model.py. The inbox of a bridge or platform is for it alone.
    SELECT t.id, t.in_doubt AND t.name = topic INTO aim, ambiguous FROM recado.topics AS t
    WHERE t.name = regexp_replace(topic, '^#(?!@)', '') AND NOT EXISTS (
        SELECT FROM recado.users AS u WHERE t.kind = 'direct' AND u.name = t.creator AND u.kind <> 'person'
    );
    IF aim IS NULL THEN
        RAISE EXCEPTION 'recado.publish: there is no topic %', quote_nullable(topic)
            USING ERRCODE = 'no_data_found', HINT = 'Make the topic first; @NAME is the inbox of a user who is known.';
    END IF;
    IF ambiguous THEN
        RAISE EXCEPTION 'recado.publish: % is a topic and a user', quote_literal(topic)
            USING ERRCODE = 'invalid_parameter_value', HINT = '#NAME is the topic, @NAME the inbox.';
    END IF;
    PERFORM set_config('recado.source', source, true);  -- of all that follows in this transaction
    INSERT INTO recado.intake (topic_id, topic, sender, content, key, ttl, source)
    VALUES (aim, topic, sender, content, key, ttl, source) RETURNING id INTO row_id;
    RETURN row_id;
END $$;

-- The same for what jsonb_build_object() and to_jsonb() give; what is kept is its text.
CREATE OR REPLACE FUNCTION recado.publish(
    topic text, sender text, content jsonb, key text DEFAULT NULL, ttl integer DEFAULT NULL
) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT recado.publish(topic, sender, content::text, key, ttl) $$;

REVOKE EXECUTE ON FUNCTION recado.publish(text, text, text, text, integer),
                           recado.publish(text, text, jsonb, text, integer) FROM PUBLIC;

-- What is to be taken in next, in order: at most so many rows and about so many bytes, none of the topics whose heads are
-- held. All sources behind `after`, by name, have the same share, and each its oldest; unused shares are not given away.
CREATE OR REPLACE FUNCTION recado.intake_waiting(most integer, size integer, held bigint[], after text)
RETURNS TABLE (
    id bigint, topic_id bigint, topic text, sender text, content text, key text, ttl integer,
    published_at timestamptz, source text, kind text, lifetime integer
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
-- The table is empty or full: no plan may depend on which it was when somebody counted.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE found AS (
        (SELECT i.source FROM recado.intake AS i WHERE i.source > after ORDER BY i.source LIMIT 1)
        UNION ALL
        SELECT behind.source FROM found CROSS JOIN LATERAL (
            SELECT i.source FROM recado.intake AS i WHERE i.source > found.source ORDER BY i.source LIMIT 1
        ) AS behind
    ), sources AS MATERIALIZED (
        SELECT found.source FROM found LIMIT most
    ), shares AS (
        SELECT mine.*, row_number() OVER (PARTITION BY sources.source ORDER BY mine.id) AS place
        FROM sources CROSS JOIN LATERAL (
            SELECT * FROM recado.intake AS i
            -- A range of one: sorted by both, which is one index, whatever is known of the sources.
            WHERE i.source >= sources.source AND i.source <= sources.source AND i.topic_id <> ALL (held)
            ORDER BY i.source, i.id LIMIT greatest(1, most / (SELECT count(*) FROM sources))
        ) AS mine
    ), measured AS (
        SELECT s.*, sum(octet_length(s.content)) OVER (ORDER BY s.place, s.id) - octet_length(s.content) AS before
        FROM shares AS s
    )
    SELECT w.id, w.topic_id, w.topic, w.sender, w.content, w.key, w.ttl, w.published_at, w.source, t.kind, t.lifetime
    FROM measured AS w
    LEFT JOIN LATERAL (
        SELECT kind, lifetime FROM recado.topics WHERE id = w.topic_id AND deleted_at IS NULL OFFSET 0
    ) AS t ON true
    WHERE w.before < size ORDER BY w.id;
END $$;

-- Take rows out of the intake, in the transaction that deals with them. Returns how many it has: fewer where another node
-- was there before, none in a term that is over.
CREATE OR REPLACE FUNCTION recado.intake_take(ids bigint[], its_term bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    taken bigint;
BEGIN
    IF NOT recado.in_term('intake', its_term) THEN
        RETURN 0;
    END IF;
    DELETE FROM recado.intake WHERE id = ANY (ids);
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END $$;
