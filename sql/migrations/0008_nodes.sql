-- Which processes are alive, by this database's clock. Each renews its own row, and takes it away when it stops; the row
-- of one that died stays for a week: who has none has left, or has been gone for longer than that.

CREATE TABLE recado.nodes (
    node  text PRIMARY KEY,        -- a random name, new at each start; what it sends on the bus bears it
    until timestamptz NOT NULL     -- beyond it, it counts as dead until it renews
) WITH (fillfactor = 50);          -- renewed every few seconds, in place
