-- The S3 endpoint that clients of other regions are sent to. '' until a node of the region, or an operator, has named it.
ALTER TABLE regions ADD COLUMN endpoint text NOT NULL DEFAULT '';
