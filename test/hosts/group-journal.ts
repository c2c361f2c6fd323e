/**
 * Every change of a placement group, as a trigger in the regional database notes it: a look from time to time would miss
 * a move that was begun and given up.
 */
import pg from 'pg'
import type { Databases } from './deployment.ts'

export interface GroupChange {
  group: number
  kind: 'intent' | 'replaced' | 'generation'
  /** Of the member; -1 where none is named. */
  index: number
  /** The drive that comes. */
  drive: string
}

/** A step in the life of a group. */
export interface GroupStep {
  group: number
  kind: 'opened' | 'sealed' | 'closed' | 'deleted'
  k: number
  m: number
  members: string[]
}

export class GroupJournal {
  readonly #client: pg.Client

  private constructor(client: pg.Client) {
    this.#client = client
  }

  static async open(databases: Databases): Promise<GroupJournal> {
    const client = new pg.Client(databases.regional.config)
    await client.connect()
    await client.query(`
      CREATE TABLE group_journal (id serial PRIMARY KEY, pg_id int8, kind text, index int, drive text);
      CREATE FUNCTION note_group() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF new.members <> old.members THEN
          INSERT INTO group_journal (pg_id, kind, index, drive)
            SELECT new.id, 'replaced', i - 1, new.members[i] FROM generate_subscripts(new.members, 1) AS i WHERE new.members[i] <> old.members[i];
        ELSIF new.incoming_drive IS NOT NULL AND (new.incoming_index, new.incoming_drive) IS DISTINCT FROM (old.incoming_index, old.incoming_drive) THEN
          INSERT INTO group_journal (pg_id, kind, index, drive) VALUES (new.id, 'intent', new.incoming_index, new.incoming_drive);
        ELSIF new.generation <> old.generation OR new.incoming_drive IS DISTINCT FROM old.incoming_drive THEN
          INSERT INTO group_journal (pg_id, kind, index, drive) VALUES (new.id, 'generation', -1, '');
        END IF;
        RETURN new;
      END $$;
      CREATE TABLE group_steps (id serial PRIMARY KEY, pg_id int8, kind text, k int, m int, members text[]);
      CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE g placement_groups; BEGIN
        g := CASE TG_OP WHEN 'DELETE' THEN old ELSE new END;
        IF TG_OP = 'UPDATE' AND new.state = old.state THEN RETURN new; END IF;
        INSERT INTO group_steps (pg_id, kind, k, m, members) VALUES (g.id,
          CASE TG_OP WHEN 'INSERT' THEN 'opened' WHEN 'DELETE' THEN 'deleted' ELSE (ARRAY['opened', 'sealed', 'closed'])[g.state + 1] END, g.k, g.m, g.members::text[]);
        RETURN g;
      END $$;
      CREATE TRIGGER note_step AFTER INSERT OR UPDATE OR DELETE ON placement_groups FOR EACH ROW EXECUTE FUNCTION note_step();
      CREATE TRIGGER note_group AFTER UPDATE ON placement_groups FOR EACH ROW EXECUTE FUNCTION note_group();`)
    return new GroupJournal(client)
  }

  /** All of them, the oldest first. */
  async changes(): Promise<GroupChange[]> {
    return this.rows<GroupChange>('SELECT pg_id::int AS "group", kind, index, drive FROM group_journal ORDER BY id')
  }

  /** What was opened, sealed, closed and deleted since, the oldest first. */
  async steps(): Promise<GroupStep[]> {
    return this.rows<GroupStep>('SELECT pg_id::int AS "group", kind, k, m, members FROM group_steps ORDER BY id')
  }

  async rows<Row extends pg.QueryResultRow>(query: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.#client.query<Row>(query, values)).rows
  }

  close(): Promise<void> {
    return this.#client.end()
  }
}
