-- Turns; see migrations/0007_leases.sql. Applied again whenever this file changes; see functions.sql.

-- Take a turn that is free, or renew one that this holder has, from now on. Returns its term, NULL where another has it.
CREATE OR REPLACE FUNCTION recado.take_lease(turn text, by_whom text, lasting interval) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $$
DECLARE
    its_term bigint;
BEGIN
    -- Nobody was given so much by this clock: it was set back. The holder renews it in time, or is gone.
    UPDATE recado.leases SET until = clock_timestamp() + lasting
    WHERE slot = 0 AND name = turn AND holder <> by_whom AND until > clock_timestamp() + lasting;
    -- Who can't have it has only looked: the statement below locks the row, which is a write.
    PERFORM FROM recado.leases WHERE slot = 0 AND name = turn AND holder <> by_whom AND until > clock_timestamp();
    IF FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO recado.leases AS l (name, holder, term, until)
    VALUES (turn, by_whom, 1, clock_timestamp() + lasting)
    ON CONFLICT (slot, name) DO UPDATE
    SET term = CASE WHEN l.holder = by_whom THEN l.term ELSE l.term + 1 END,
        holder = by_whom, until = clock_timestamp() + lasting
    WHERE l.holder = by_whom OR l.until <= clock_timestamp()
    RETURNING term INTO its_term;
    RETURN its_term;
END $$;

-- Whether this is the term of a turn still; so is whatever is written outside of any turn (NULL).
CREATE OR REPLACE FUNCTION recado.in_term(turn text, its_term bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT its_term IS NULL OR EXISTS (SELECT FROM recado.leases WHERE slot = 0 AND name = turn AND term = its_term)
$$;
