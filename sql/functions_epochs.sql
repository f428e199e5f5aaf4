-- What the epochs of all topics have in common: the installation, the database and its timeline, and the counter.
--
-- The timeline is that of the WAL being written: pg_control_checkpoint() tells the one before until the first checkpoint
-- after a promotion, minutes later. These functions are open to every role, but a managed database may refuse them: then
-- "incarnation" is empty, and only the counter tells a restore.
CREATE OR REPLACE FUNCTION recado.log_identity(OUT installation text, OUT incarnation text, OUT restored text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE read_only_sql_transaction USING MESSAGE = 'a standby does not know its timeline';
    END IF;
    BEGIN
        -- Of the database, too: a dump may be restored beside it, in the same cluster.
        incarnation := concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
                                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                                 left(pg_walfile_name(pg_current_wal_insert_lsn()), 8));
    EXCEPTION WHEN OTHERS THEN
        incarnation := '';
    END;
    installation := (SELECT value FROM recado.shared WHERE name = 'installation');
    restored := (SELECT value FROM recado.shared WHERE name = 'restored');
END $$;
