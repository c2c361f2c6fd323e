-- What several nodes must know of each other before a placement group is closed, and before its shards move.

-- Groups with an upload of the node in them, as it said at reported_ms (the moment at which it was asked, or earlier).
ALTER TABLE nodes ADD COLUMN in_use int8[] NOT NULL DEFAULT '{}';
ALTER TABLE nodes ADD COLUMN reported_ms int8 NOT NULL DEFAULT 0;

-- When the group was sealed: what nodes reported before says nothing about it.
ALTER TABLE placement_groups ADD COLUMN sealed_ms int8;
UPDATE placement_groups SET sealed_ms = 0 WHERE state > 0;
