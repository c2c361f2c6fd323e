-- Which groups the slots of the node's view of the drives want, as digests of code and members; as of reported_ms.
ALTER TABLE nodes ADD COLUMN wanted int8[] NOT NULL DEFAULT '{}';
