-- Turns: what one process at a time does. Who has one stands in its row, until a time by this database's clock; each new
-- holder has a new term, which its writes name. Rows, not advisory locks: those can be taken by every role.
CREATE TABLE recado.leases (
    slot   integer NOT NULL DEFAULT 0,
    name   text NOT NULL,
    holder text NOT NULL,
    term   bigint NOT NULL,
    until  timestamptz NOT NULL,
    PRIMARY KEY (slot, name)
) WITH (fillfactor = 50);

-- A turn of the length of a transaction: the lock on its row.
INSERT INTO recado.leases (name, holder, term, until) VALUES ('acceptance', '', 0, '-infinity');

-- Whose row it is: the sender of the first row of its transaction, so that a transaction has one source and keeps its
-- order. The intake takes from all sources alike. '?': of rows from before this column.
ALTER TABLE recado.intake ADD COLUMN source text COLLATE "C" NOT NULL DEFAULT '?';
CREATE INDEX intake_by_source ON recado.intake (source, id);
