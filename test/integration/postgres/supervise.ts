/** A process that supervises the embedded Postgres of a state folder, as a node does: `node supervise.ts STATE_DIR`. Ends in order at SIGTERM. */
import { lockState } from '../../../src/main/postgres/state-lock.ts'
import { startEmbeddedPostgres } from '../../../src/main/postgres/supervisor.ts'

const stateDir = process.argv[2]!
const say = (level: string) => (fields: object, message: string) => void process.stderr.write(`${level} ${message} ${JSON.stringify(fields)}\n`)
const logger = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }

const lock = await lockState(stateDir, 'node', { waitMs: 1000 })
const postgres = await startEmbeddedPostgres({ stateDir, logger })
process.stdout.write(`${postgres.pid()}\n`)
const keepAlive = setInterval(() => {}, 60_000)
process.once('SIGTERM', () => {
  clearInterval(keepAlive)
  void postgres.stop().then(() => lock.release())
})
