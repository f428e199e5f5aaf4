-- How much one user made: what a backend or a pattern made counts for nobody, nor does what was there before.

-- The user who made it, by itself.
ALTER TABLE recado.topics ADD COLUMN made_by bigint;
CREATE INDEX topics_made ON recado.topics (made_by) WHERE made_by IS NOT NULL AND deleted_at IS NULL;

ALTER TABLE recado.memberships ADD COLUMN joined_itself boolean NOT NULL DEFAULT false;
CREATE INDEX memberships_joined ON recado.memberships (user_id) WHERE joined_itself;

-- Whose invitation this is, by the id of the user, until the member has subscribed, written or confirmed anything.
ALTER TABLE recado.memberships ADD COLUMN invitation_of bigint;
CREATE INDEX memberships_invited ON recado.memberships (invitation_of) WHERE invitation_of IS NOT NULL;

-- Until when the invitations that this user made have used up its rate: each puts it off by its share of a minute.
ALTER TABLE recado.users ADD COLUMN invites_until timestamptz NOT NULL DEFAULT '-infinity';
