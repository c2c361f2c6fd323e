/** The supervisor against real binaries: what must hold however node, postmaster or host ended the last time. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { postgresLayout, socketPath } from '../../../src/main/postgres/layout.ts'
import { processesIn } from '../../../src/main/postgres/postmaster.ts'
import { lockState, StateInUseError } from '../../../src/main/postgres/state-lock.ts'
import { startEmbeddedPostgres } from '../../../src/main/postgres/supervisor.ts'
import { initializedFolder, kill, quiet, stateFolder, until } from './rig.ts'

const root = process.getuid!() === 0

describe('the embedded Postgres', { concurrency: 3 }, () => {
  test('a fresh state folder gets a durable Postgres 18 on a Unix socket, and nothing of it stays running', async (t) => {
    const state = stateFolder(t)
    const postgres = await state.start()
    const rows = await state.query<{ name: string; setting: string }>('SELECT name, setting FROM pg_settings')
    const setting = Object.fromEntries(rows.map((row) => [row.name, row.setting]))
    assert.equal(setting.listen_addresses, '')
    for (const name of ['fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums']) assert.equal(setting[name], 'on', name)
    assert.equal(setting.wal_compression, 'off')
    assert.equal(setting.checkpoint_timeout, '900')
    assert.ok(Number(setting.server_version_num) >= 180_000)
    const databases = await state.query<{ datname: string; locale: string }>('SELECT datname, datlocprovider::text || datlocale AS locale FROM pg_database')
    for (const name of ['anvil_global', 'anvil_regional']) assert.equal(databases.find((row) => row.datname === name)?.locale, 'bC.UTF-8')
    assert.equal(statSync(state.data()).mode & 0o777, 0o700)
    assert.equal(statSync(join(state.path, 'postgres')).mode & 0o777, 0o700)

    const pid = postgres.pid()!
    if (root) assert.notEqual(statSync(`/proc/${pid}`).uid, 0)
    await Promise.all([postgres.stop(), postgres.stop()])
    assert.ok(!existsSync(`/proc/${pid}`))
    assert.ok(!existsSync(join(state.data(), 'postmaster.pid')), 'it was shut down, not killed')
  })

  test('a killed postmaster is started again, with all that it acknowledged', async (t) => {
    const state = await initializedFolder(t)
    const postgres = await state.start()
    await state.query('CREATE TABLE kept (n integer)')
    for (let round = 1; round <= 2; round++) {
      await state.query(`INSERT INTO kept VALUES (${round})`)
      const pid = postgres.pid()!
      kill(pid, 'SIGKILL')
      await until('another postmaster', () => postgres.pid() !== null && postgres.pid() !== pid)
      await until('it answers', () => state.query('SELECT').then(() => true, () => false))
      assert.equal((await state.query('SELECT FROM kept')).length, round)
    }
  })

  test('a postmaster that outlived its node is attached to, watched, and stopped in order', async (t) => {
    const state = await initializedFolder(t)
    const earlier = await state.startElsewhere()
    kill(earlier.process.pid!, 'SIGKILL')
    await once(earlier.process, 'exit')
    const attached = await state.start()
    assert.equal(attached.pid(), earlier.pid)

    kill(earlier.pid, 'SIGKILL')
    await until('another postmaster', () => attached.pid() !== null && attached.pid() !== earlier.pid)
    await until('it answers', () => state.query('SELECT').then(() => true, () => false))
    await attached.stop()

    const later = await state.startElsewhere()
    kill(later.process.pid!, 'SIGKILL')
    const again = await state.start()
    assert.equal(again.pid(), later.pid)
    await again.stop()
    assert.deepEqual(processesIn(state.data()), [], 'an attached one is stopped too')
  })

  test('node, postmaster and the host at once: the next start recovers, whoever has the old pid now', async (t) => {
    const state = await initializedFolder(t)
    const earlier = await state.startElsewhere()
    await state.query('CREATE TABLE kept AS SELECT 1 AS n')
    // A backend that is busy and outlives its postmaster.
    const busy = state.query('SELECT pg_sleep(30)').catch(() => null) // cut with its server
    await sleep(100)
    kill(earlier.process.pid!, 'SIGKILL')
    kill(earlier.pid, 'SIGKILL')
    await busy

    // A live process of the same account has the pid now.
    const file = join(state.data(), 'postmaster.pid')
    const { uid, gid } = statSync(file)
    const other = spawn('/bin/sleep', ['60'], { ...(root ? { uid, gid } : {}), stdio: 'ignore', cwd: '/' })
    t.after(() => other.kill())
    const [, ...rest] = readFileSync(file, 'utf8').split('\n')
    writeFileSync(file, [String(other.pid), ...rest].join('\n'))
    if (root) chownSync(file, uid, gid)

    const postgres = await state.start()
    assert.notEqual(postgres.pid(), other.pid)
    assert.equal((await state.query('SELECT FROM kept')).length, 1)
    await postgres.stop()
    assert.equal(other.exitCode, null, 'the other process was left alone')
  })

  test('an initdb that was cut short anywhere leaves nothing that the next start trusts', async (t) => {
    const state = stateFolder(t)
    for (const afterMs of [150, 350]) {
      const starting = state.startElsewhere().catch(() => null) // it is killed
      await until('initdb has begun', () => existsSync(join(state.path, 'postgres')) && readdirSync(join(state.path, 'postgres')).some((name) => name.startsWith('data.new-')))
      await sleep(afterMs)
      const holder = JSON.parse(readFileSync(join(state.path, 'lock.holder'), 'utf8')) as { pid: number }
      kill(holder.pid, 'SIGKILL')
      await starting
    }
    await state.start()
    assert.deepEqual(readdirSync(join(state.path, 'postgres')).filter((name) => name.startsWith('data')), ['data'])
    assert.equal((await state.query('SELECT', 'anvil_regional')).length, 1)
  })

  test('a path that is too long for a socket is no hindrance; a folder that every account may enter serves under its own name', async (t) => {
    const state = stateFolder(t, { mode: 0o755, long: 'x'.repeat(120) })
    await state.start()
    const { socketDir } = postgresLayout(state.path)
    assert.ok(socketPath(socketDir).length < 107, socketDir)
    assert.equal(statSync(socketDir).mode & 0o777, 0o700)
    const [row] = await state.query<{ data_directory: string }>('SHOW data_directory')
    assert.equal(row!.data_directory, state.data())
  })

  test('without root it runs as whoever runs the node', { skip: !root }, async (t) => {
    const account = { uid: 65534, gid: 65534 }
    const reachable = spawnSync('/usr/bin/test', ['-x', process.execPath, '-a', '-r', import.meta.filename], { ...account })
    if (reachable.status !== 0) return t.skip('the checkout cannot be reached by another account')
    const state = stateFolder(t)
    chownSync(state.path, account.uid, account.gid)
    const elsewhere = await state.startElsewhere(account)
    assert.equal(statSync(`/proc/${elsewhere.pid}`).uid, account.uid)
    assert.equal((await state.query('SELECT')).length, 1, 'root may connect')
    elsewhere.process.kill('SIGTERM')
    await once(elsewhere.process, 'exit')
    assert.ok(!existsSync(`/proc/${elsewhere.pid}`))
  })

  test('one process at a time uses a state folder; its end, however it comes, lets it go', async (t) => {
    const state = await initializedFolder(t)
    const node = await state.startElsewhere()
    const began = Date.now()
    await assert.rejects(lockState(state.path, 'node'), (error) => error instanceof StateInUseError && error.holder?.pid === node.process.pid && /in use by another anvil process \(node/.test(error.message))
    assert.ok(Date.now() - began < 15_000, 'a node that runs is not waited for')
    kill(node.process.pid!, 'SIGKILL')
    await once(node.process, 'exit')
    const lock = await lockState(state.path, 'admin')
    await assert.rejects(lockState(state.path, 'node', { waitMs: 200 }), StateInUseError)
    const waiting = lockState(state.path, 'node')
    await sleep(100)
    lock.release()
    ;(await waiting).release()
  })

  test('what cannot start says why', async (t) => {
    const state = await initializedFolder(t)
    const postgres = await state.start()
    await postgres.stop()
    writeFileSync(join(state.data(), 'PG_VERSION'), '17\n')
    const giveUp = new AbortController()
    t.after(() => giveUp.abort())
    const messages: string[] = []
    const starting = startEmbeddedPostgres({ stateDir: state.path, logger: { ...quiet, warn: (fields, message) => void messages.push(message + JSON.stringify(fields)) }, signal: giveUp.signal })
    await until('it is told', () => messages.length > 1)
    assert.match(messages[0]!, /did not start.*ended with code 1/)
    giveUp.abort(new Error('given up'))
    await assert.rejects(starting, { name: 'AbortError' })
    assert.match(readFileSync(postgresLayout(state.path).log, 'utf8'), /database files are incompatible with server/)
  })

  test('a folder in its place that belongs to someone else is refused', { skip: !root }, async (t) => {
    const state = stateFolder(t)
    mkdirSync(join(state.path, 'postgres'))
    chownSync(join(state.path, 'postgres'), 12345, 12345)
    await assert.rejects(state.start(), /must be a folder that belongs to user/)
  })
})
