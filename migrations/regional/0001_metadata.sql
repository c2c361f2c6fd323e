-- The regional metadata (docs: DESIGN §9, §13). Postgres 18 or newer, encoding UTF8.
--
-- Ids are made by the application. Every table of object data has bucket_id first in its primary key; no foreign key
-- and no constraint spans buckets. Times are milliseconds since the epoch by the database's clock.
-- Enumerations are small integers:
--   objects.body, parts.body   0 inline   1 blob   2 parts (a manifest)
--   placement_groups.state     0 open     1 sealed 2 closed
--   drives.state               0 active   1 lost
--   repair_queue.reason        0 left-out 1 crc    2 missing  3 io  4 drive-lost

-- One row: which deployment and region this database belongs to. `timeline` is the Postgres timeline under which ids of
-- placement groups were last given: after a failover that lost commits they go on far above any that may be out there.
CREATE TABLE regional_marker (
  singleton     bool PRIMARY KEY DEFAULT true CHECK (singleton),
  deployment_id uuid,
  region        text,
  timeline      int4 NOT NULL DEFAULT 0
);
INSERT INTO regional_marker DEFAULT VALUES;

CREATE TABLE bucket_state (
  bucket_id   int8 PRIMARY KEY,
  created_ms  int8 NOT NULL,
  versioning  int2 NOT NULL DEFAULT 0,
  object_lock bool NOT NULL DEFAULT false,
  deleting    bool NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- The live version of each key. content_id is the blob (inline, blob) or the upload whose parts make the body.
-- Inline bodies leave the row beyond 1 KiB or so, uncompressed: rows stay small for listings and updates stay HOT.
CREATE TABLE objects (
  bucket_id     int8 NOT NULL,
  size          int8 NOT NULL,
  modified_ms   int8 NOT NULL,
  pg_id         int8,
  content_id    uuid NOT NULL,
  stripe_bytes  int4,
  part_count    int4,
  body          int2 NOT NULL,
  encrypted     bool NOT NULL,
  key           text COLLATE "C" NOT NULL,
  etag          text NOT NULL,
  storage_class text,
  checksum      text,
  attributes    text,
  data          bytea STORAGE EXTERNAL,
  PRIMARY KEY (bucket_id, key)
) WITH (fillfactor = 85, toast_tuple_target = 1024);

-- Noncurrent versions and delete markers; newest first under a key. Filled once versioning exists.
CREATE TABLE object_versions (
  bucket_id     int8 NOT NULL,
  sequence      int8 NOT NULL,
  size          int8 NOT NULL,
  modified_ms   int8 NOT NULL,
  pg_id         int8,
  version_id    uuid NOT NULL,
  content_id    uuid,
  stripe_bytes  int4,
  part_count    int4,
  body          int2 NOT NULL,
  encrypted     bool NOT NULL,
  delete_marker bool NOT NULL DEFAULT false,
  key           text COLLATE "C" NOT NULL,
  etag          text NOT NULL,
  storage_class text,
  checksum      text,
  attributes    text,
  data          bytea STORAGE EXTERNAL,
  PRIMARY KEY (bucket_id, key, sequence)
) WITH (toast_tuple_target = 1024);

-- Every blob that was ever committed and whose shards may still lie on drives. refs 0: it is in gc_queue.
CREATE TABLE blobs (
  bucket_id    int8 NOT NULL,
  blob_id      uuid NOT NULL,
  pg_id        int8 NOT NULL,
  size         int8 NOT NULL,
  stripe_bytes int4 NOT NULL,
  refs         int4 NOT NULL CHECK (refs >= 0),
  encrypted    bool NOT NULL,
  PRIMARY KEY (bucket_id, blob_id)
) WITH (fillfactor = 90);
CREATE INDEX blobs_of_group ON blobs (bucket_id, pg_id, blob_id);

CREATE TABLE uploads (
  bucket_id     int8 NOT NULL,
  started_ms    int8 NOT NULL,
  upload_id     uuid NOT NULL,
  key           text COLLATE "C" NOT NULL,
  initiator     text NOT NULL,
  storage_class text,
  attributes    text,
  PRIMARY KEY (bucket_id, upload_id)
);
CREATE INDEX uploads_by_key ON uploads (bucket_id, key, upload_id);
CREATE INDEX uploads_by_age ON uploads (started_ms);

-- Parts of running uploads (start is null) and of completed ones (start: offset of the first byte in the object).
-- A part with a blob holds one reference to it.
CREATE TABLE parts (
  bucket_id    int8 NOT NULL,
  size         int8 NOT NULL,
  modified_ms  int8 NOT NULL,
  start        int8,
  pg_id        int8,
  upload_id    uuid NOT NULL,
  blob_id      uuid NOT NULL,
  part_number  int4 NOT NULL,
  stripe_bytes int4,
  body         int2 NOT NULL,
  encrypted    bool NOT NULL,
  etag         text NOT NULL,
  checksum     text,
  data         bytea STORAGE EXTERNAL,
  PRIMARY KEY (bucket_id, upload_id, part_number)
) WITH (toast_tuple_target = 1024);
CREATE INDEX parts_by_start ON parts (bucket_id, upload_id, start) WHERE start IS NOT NULL;

-- The list of parts of a completed upload, counted: a copy of the object adds one reference here instead of one for each
-- of ten thousand parts. At zero its parts' blobs lose theirs; its rows stay for running reads until `tidy` removes them.
CREATE TABLE manifests (
  bucket_id  int8 NOT NULL,
  size       int8 NOT NULL,
  dropped_ms int8,
  dropped_by xid8,
  upload_id  uuid NOT NULL,
  part_count int4 NOT NULL,
  refs       int4 NOT NULL CHECK (refs >= 0),
  PRIMARY KEY (bucket_id, upload_id)
) WITH (fillfactor = 90);
CREATE INDEX manifests_dropped ON manifests (dropped_ms) WHERE dropped_ms IS NOT NULL;

-- Answers of CompleteMultipartUpload, for retries.
CREATE TABLE completed_uploads (
  bucket_id    int8 NOT NULL,
  completed_ms int8 NOT NULL,
  size         int8 NOT NULL,
  upload_id    uuid NOT NULL,
  key          text COLLATE "C" NOT NULL,
  etag         text NOT NULL,
  checksum     text,
  encryption   text,
  PRIMARY KEY (bucket_id, upload_id)
);
CREATE INDEX completed_uploads_by_age ON completed_uploads (completed_ms);

CREATE SEQUENCE placement_group_id AS int8;
CREATE TABLE placement_groups (
  id             int8 PRIMARY KEY DEFAULT nextval('placement_group_id'),
  generation     int8 NOT NULL DEFAULT 0,
  bytes          int8 NOT NULL DEFAULT 0,
  opened_ms      int8 NOT NULL,
  k              int2 NOT NULL,
  m              int2 NOT NULL,
  state          int2 NOT NULL DEFAULT 0,
  incoming_index int2,
  incoming_drive uuid,
  members        uuid[] NOT NULL CHECK (cardinality(members) = k + m)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX placement_groups_open ON placement_groups (k, m, members) WHERE state = 0;

CREATE TABLE nodes (
  node_id        text PRIMARY KEY,
  addrs          text[] NOT NULL,
  grpc_addr      text NOT NULL,
  zone           text NOT NULL,
  version        text NOT NULL,
  process_id     text,
  lease_until_ms int8 NOT NULL,
  -- No read of this node looked its object up before this moment.
  oldest_read_ms int8 NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE drives (
  drive_id    uuid PRIMARY KEY,
  node_id     text NOT NULL,
  path        text NOT NULL,
  total_bytes int8 NOT NULL,
  state       int2 NOT NULL DEFAULT 0
);

-- Who does what only one at a time should do (sealing, closing, moving). For economy: safety never rests on it.
CREATE TABLE leases (
  name     text PRIMARY KEY,
  holder   text NOT NULL,
  until_ms int8 NOT NULL
) WITH (fillfactor = 50);

-- Blobs whose last reference went in transaction dropped_by.
CREATE TABLE gc_queue (
  bucket_id  int8 NOT NULL,
  deleted_ms int8 NOT NULL,
  dropped_by xid8 NOT NULL,
  blob_id    uuid NOT NULL,
  PRIMARY KEY (bucket_id, blob_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX gc_queue_by_age ON gc_queue (deleted_ms);

CREATE SEQUENCE repair_entry_id AS int8;
CREATE TABLE repair_queue (
  bucket_id   int8 NOT NULL,
  pg_id       int8 NOT NULL,
  entry_id    int8 NOT NULL DEFAULT nextval('repair_entry_id'),
  reported_ms int8 NOT NULL,
  blob_id     uuid NOT NULL,
  shard_index int2 NOT NULL,
  reason      int2 NOT NULL,
  PRIMARY KEY (bucket_id, blob_id, pg_id, shard_index)
);
CREATE UNIQUE INDEX repair_queue_by_id ON repair_queue (entry_id);

-- Suspected orphans: no commit may name these pairs.
CREATE TABLE condemned (
  bucket_id    int8 NOT NULL,
  pg_id        int8 NOT NULL,
  condemned_ms int8 NOT NULL,
  blob_id      uuid NOT NULL,
  PRIMARY KEY (bucket_id, blob_id, pg_id)
);

-- Which commits came through (rule 1). A committed batch carries what became of its exceptional rows, so that an answer
-- that was lost can be given all the same. pid and backend_start_us: where an aborted batch could still arrive.
CREATE TABLE commit_batches (
  batch_id         uuid PRIMARY KEY,
  created_ms       int8 NOT NULL,
  modified_ms      int8,
  backend_start_us int8 NOT NULL,
  pid              int4 NOT NULL,
  committed        bool NOT NULL,
  ords             int4[],
  codes            int2[],
  vals             int8[]
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
