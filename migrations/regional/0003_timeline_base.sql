-- Generations of placement groups and the mark on the drives carry the Postgres timeline. A database that was filled from an
-- export is a new server, whose own timeline begins at 1 again: `timeline_base` is added to it, so that everything it gives is
-- above whatever the server before it gave.
ALTER TABLE regional_marker ADD COLUMN timeline_base int4 NOT NULL DEFAULT 0;
