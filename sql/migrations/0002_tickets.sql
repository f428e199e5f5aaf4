-- One-use tickets: each stands in once for the token whose claims it holds. Only its digest is kept.
CREATE TABLE recado.tickets (
    digest     bytea PRIMARY KEY,
    claims     text NOT NULL,
    expires_at timestamptz NOT NULL
);
