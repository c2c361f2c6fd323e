-- The directory of the whole deployment: who there is, what they may do, and where buckets live.

CREATE TABLE deployment (
  singleton  boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
  id         uuid        NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- One row per key that was ever current in ANVIL_SECRET_ENCRYPTION_KEY. The verifier proves possession of the key.
CREATE TABLE encryption_keys (
  key_id     text        PRIMARY KEY,
  verifier   bytea       NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE regions (
  name       text COLLATE "C" PRIMARY KEY,
  created_at timestamptz      NOT NULL DEFAULT now()
);

CREATE TABLE tenants (
  id         integer          GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text COLLATE "C" NOT NULL UNIQUE,
  created_at timestamptz      NOT NULL DEFAULT now()
);

-- client_id is the S3 access key. Secrets are wrapped by the encryption key named beside them; old_* is the one before,
-- live until it is dropped, while an app rotates.
CREATE TABLE apps (
  client_id         text COLLATE "C" PRIMARY KEY,
  tenant_id         integer          NOT NULL REFERENCES tenants,
  name              text COLLATE "C" NOT NULL,
  secret_key_id     text             NOT NULL REFERENCES encryption_keys,
  secret            text             NOT NULL,
  old_secret_key_id text             REFERENCES encryption_keys,
  old_secret        text,
  disabled          boolean          NOT NULL DEFAULT false,
  created_at        timestamptz      NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, name),
  CHECK ((old_secret IS NULL) = (old_secret_key_id IS NULL))
);

CREATE TABLE grants (
  client_id text COLLATE "C" NOT NULL REFERENCES apps ON DELETE CASCADE,
  action    text COLLATE "C" NOT NULL,
  resource  text COLLATE "C" NOT NULL,
  PRIMARY KEY (client_id, action, resource)
);

-- An identity is never given again, so neither is a bucket's id.
CREATE TABLE buckets (
  id                 integer          GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name               text COLLATE "C" NOT NULL UNIQUE,
  tenant_id          integer          NOT NULL REFERENCES tenants,
  region             text COLLATE "C" NOT NULL REFERENCES regions,
  public_access      boolean          NOT NULL DEFAULT false,
  default_encryption boolean          NOT NULL DEFAULT false,
  config             jsonb            NOT NULL DEFAULT '{}',
  created_at         timestamptz      NOT NULL DEFAULT now()
);
CREATE INDEX buckets_of_tenant ON buckets (tenant_id, name);

-- What nodes cache and must forget. The head's row lock makes the order of numbers the order of commits, so a poller that
-- has seen n has seen everything before. The newest 10000 are kept; a poller that is further behind forgets all.
CREATE TABLE change_head (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  number    bigint  NOT NULL
);
INSERT INTO change_head (number) VALUES (0);

CREATE TABLE changes (
  number bigint PRIMARY KEY,
  kind   text   NOT NULL CHECK (kind IN ('app', 'bucket')),
  key    text   NOT NULL
);

CREATE FUNCTION record_change(kind text, key text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  next bigint;
BEGIN
  UPDATE change_head SET number = number + 1 RETURNING number INTO next;
  INSERT INTO changes (number, kind, key) VALUES (next, kind, key);
  DELETE FROM changes WHERE number <= next - 10000;
END $$;

CREATE FUNCTION app_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM record_change('app', coalesce(NEW.client_id, OLD.client_id));
  RETURN NULL;
END $$;

CREATE FUNCTION bucket_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM record_change('bucket', coalesce(NEW.name, OLD.name));
  RETURN NULL;
END $$;

-- Deferred: the head's lock is the last that a transaction takes, so it cannot be part of a deadlock.
CREATE CONSTRAINT TRIGGER app_changed AFTER INSERT OR UPDATE OR DELETE ON apps
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app_changed();
CREATE CONSTRAINT TRIGGER grant_changed AFTER INSERT OR UPDATE OR DELETE ON grants
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app_changed();
CREATE CONSTRAINT TRIGGER bucket_changed AFTER INSERT OR UPDATE OR DELETE ON buckets
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bucket_changed();
