-- It returns more from here on: whom else it concerns that somebody left.
DROP FUNCTION IF EXISTS recado.leave_topic(bigint, bigint);
