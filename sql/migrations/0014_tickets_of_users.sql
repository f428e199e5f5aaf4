-- Whose a ticket is that a user asked for by itself: it may have so many that live, see recado.keep_ticket.
ALTER TABLE recado.tickets ADD COLUMN user_id bigint;
CREATE INDEX tickets_of_user ON recado.tickets (user_id) WHERE user_id IS NOT NULL;
