-- A bucket that was deleted keeps its row, `deleting` for ever: a creation of the same name that was slow must not make its state
-- anew, or nodes whose caches still hold the bucket would take writes that nobody finds.
ALTER TABLE bucket_state ADD COLUMN deleted bool NOT NULL DEFAULT false;
