-- So that the outcome of every append is known: who may append, and what it was answered. `slot` is 0 for now.

-- One row for each line of a process that appends: a new random id at each start, made before its first append. Its appends
-- lock the row and name its fence; none updates it, as a row that each append rewrites grows without bound while a foreign
-- transaction is open. Raising the fence refuses what was sent before and has not begun.
CREATE TABLE recado.writers (
    slot    integer NOT NULL,
    writer  uuid NOT NULL,
    fence   bigint NOT NULL,
    node    text NOT NULL,                      -- whose it is
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (slot, writer)
);

-- What an append was answered, written with what it stored: who did not hear it reads it here. Its owner deletes what it
-- has heard.
CREATE TABLE recado.answers (
    slot   integer NOT NULL,
    writer uuid NOT NULL,
    batch  bigint NOT NULL,
    answer text NOT NULL,                       -- JSON, see recado.append
    PRIMARY KEY (slot, writer, batch)
);

-- Within a topic sent_at never falls, whatever the clock does: the head keeps the newest.
ALTER TABLE recado.heads ADD COLUMN sent_at timestamptz NOT NULL DEFAULT '-infinity';
UPDATE recado.heads AS h SET sent_at = coalesce(
    (SELECT m.sent_at FROM recado.messages AS m WHERE m.topic_id = h.topic_id ORDER BY m.seq DESC LIMIT 1), '-infinity'
);

-- When it was stored, where that is not when it says that it was sent: lifetimes and retention count from this.
ALTER TABLE recado.messages ADD COLUMN stored_at timestamptz;
