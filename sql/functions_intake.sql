-- Publishing from SQL, in the transaction of an application that shares this database. Applied again whenever this file
-- changes; what was granted on these functions stays.

-- Whether a text may name a topic, a user or a key: the rule of messaging/model.py.
CREATE OR REPLACE FUNCTION recado.is_name(name text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT length(name) <= 128
       AND name COLLATE "C" ~ '^(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@+|-]+)*$'
$$;

-- Raise where a text is no name; what: what it should name.
CREATE OR REPLACE FUNCTION recado.check_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
    IF recado.is_name(name) IS NOT TRUE THEN
        RAISE EXCEPTION 'recado.publish: % is %, which is no name', what, quote_nullable(name)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '1 to 128 of A-Z a-z 0-9 . _ - : @ / + |, no empty, . or .. segment between slashes.';
    END IF;
END $$;

-- Raise where a text is no content of a message: of what messaging/content.py refuses, all but MAX_FRAME, which only
-- the nodes know. 131072 is the most that MAX_FRAME may be.
CREATE OR REPLACE FUNCTION recado.check_content(content text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
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
    row_id bigint;
BEGIN
    PERFORM recado.check_name('sender', sender);
    PERFORM recado.check_name('key', coalesce(key, 'none'));
    IF ttl NOT BETWEEN 1 AND 31536000 THEN
        RAISE EXCEPTION 'recado.publish: ttl is % seconds; 1 to 31536000 (a year) are possible', ttl
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM recado.check_content(content);
    SELECT t.id INTO aim FROM recado.topics AS t WHERE t.name = topic AND recado.is_name(t.name);
    IF aim IS NULL THEN
        RAISE EXCEPTION 'recado.publish: there is no topic %', quote_nullable(topic)
            USING ERRCODE = 'no_data_found', HINT = 'Make the topic first; @NAME is the inbox of a user who is known.';
    END IF;
    INSERT INTO recado.intake (topic_id, topic, sender, content, key, ttl)
    VALUES (aim, topic, sender, content, key, ttl) RETURNING id INTO row_id;
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
