/** The shard plane between two processes: blobs over the drives of both, a kill, a return; and libp2p through the same UDP port. */
import { quic } from '@chainsafe/libp2p-quic'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { loadNative } from '../../../src/shared/load-native.ts'
import type { PlanePeerState } from '../../../src/shared/native-plane.ts'
import { type BlobSource, nativeErrorKind, UPLOAD_PAUSE } from '../../../src/shared/native.ts'
import { until } from '../../support/until.ts'
import type { Order } from './member.ts'
import { identity, type MemberSetup, readBlob } from './setup.ts'

const deploymentId = 'd'.repeat(32)
const secret = 'what the members of this test know'
const [here, there] = [['1', '2'], ['3', '4']].map((digits) => digits.map((digit) => digit.repeat(32))) as [string[], string[]]
const native = loadNative()
const folder = mkdtempSync(join(tmpdir(), 'anvil-plane-'))
const states: PlanePeerState[] = []
const other: MemberSetup = { number: 2, processId: 'first', port: 0, folder, deploymentId, secret, driveIds: there }
let member: Member
let port: number

/** The other process. */
class Member {
  readonly child: ChildProcess
  nodeId = ''
  port = 0

  constructor(setup: MemberSetup) {
    this.child = fork(join(import.meta.dirname, 'member.ts'), [JSON.stringify(setup)], { serialization: 'json' })
  }

  async started(): Promise<this> {
    const { port, nodeId } = (await this.answer()) as { port: number; nodeId: string }
    return Object.assign(this, { port, nodeId })
  }

  ask(order: Order): Promise<unknown> {
    this.child.send(order)
    return this.answer()
  }

  private async answer(): Promise<unknown> {
    const gone = new AbortController()
    const ended = once(this.child, 'exit', { signal: gone.signal }).then(([code]) => {
      throw new Error(`the other process ended with ${String(code)}`)
    })
    const [message] = (await Promise.race([once(this.child, 'message', { signal: gone.signal }), ended])) as [{ answer?: unknown; error?: string }]
    ended.catch(() => {}) // the message won the race; what is given up below is nobody's error
    gone.abort()
    if (message.error !== undefined) throw new Error(message.error)
    return message.answer
  }
}

before(async () => {
  native.init({ memoryLimitBytes: 64 << 20, logFilter: 'info', runtimeThreads: 2 })
  for (const driveId of here) {
    const path = join(folder, driveId)
    mkdirSync(path)
    await native.createDrive(path, deploymentId, driveId)
    await native.openDrive({ path, deploymentId, driveId, reserveBytes: 0 })
  }
  const { seed, nodeId } = await identity(1)
  native.setPeerListener((state) => states.push(state))
  const common = { host: '127.0.0.1', port: 0, processId: 'only', deploymentId, region: 'here', clusterSecrets: [secret] }
  await assert.rejects(native.startPlane({ ...common, identitySeed: seed, nodeId: (await identity(2)).nodeId }), /nodeId/)
  port = (await native.startPlane({ ...common, identitySeed: seed, nodeId })).port
  member = await new Member(other).started()
  await meet()
})

after(async () => {
  await native.stopPlane()
  member?.child.kill('SIGKILL')
  for (const driveId of here) await native.closeDrive(driveId)
  rmSync(folder, { recursive: true })
})

/** Both learn of each other and of the group over the drives of both. */
async function meet(): Promise<void> {
  const group = { pgId: 1, generation: 5, k: 2, m: 2, members: [here[0]!, there[0]!, here[1]!, there[1]!] }
  native.setPg(group)
  native.setPeer({ nodeId: member.nodeId, processId: other.processId, addrs: [{ host: '127.0.0.1', port: member.port }] })
  for (const driveId of there) native.setRemoteDrive(driveId, member.nodeId)
  const peer = { nodeId: (await identity(1)).nodeId, processId: 'only', addrs: [{ host: '127.0.0.1', port }] }
  await member.ask({ do: 'know', peer, driveIds: here })
  await member.ask({ do: 'group', group })
}

const answering = () => states.findLast((state) => state.nodeId === member.nodeId)?.answering

async function write(body: Buffer): Promise<{ blob: BlobSource; missing: number[]; belowQuorum: boolean }> {
  const blobId = randomBytes(16).toString('hex')
  const handle = native.openUpload({
    bucketId: 1, blobId, pgId: 1, contentLength: body.length, maxBytes: 1 << 30, awsChunked: null, inlineBytes: 0, md5: false,
    fastDigest: false, sha256: false, checksums: [], expectMd5: '', expectSha256: '', expectChecksum: '',
    expectChecksumAlgorithm: '', checksumTrailer: '', dataKey: new Uint8Array(),
  })
  try {
    for (let at = 0; at < body.length; at += 1 << 18) {
      if (native.uploadWrite(handle, body.subarray(at, at + (1 << 18))) === UPLOAD_PAUSE) await native.uploadDrained(handle)
    }
  } catch (error) {
    native.uploadAbort(handle)
    throw error
  }
  const { size, stripeBytes, missing, belowQuorum } = await native.uploadFinish(handle)
  return { blob: { bucketId: 1, blobId, pgId: 1, size, stripeBytes, encrypted: false, dataKey: new Uint8Array() }, missing, belowQuorum }
}

const read = (blob: BlobSource) => readBlob(native, blob)

test('what one process writes lies on the drives of both, and both read it', async () => {
  for (const bytes of [5000, 700_000, 9 << 20]) {
    const body = randomBytes(bytes)
    const { blob, missing } = await write(body)
    assert.deepEqual(missing, [])
    assert.ok(body.equals(await read(blob)))
    assert.equal(await member.ask({ do: 'read', blob }), body.toString('base64'))
    const shard = { bucketId: 1, blobId: blob.blobId, pgId: 1, index: 1 }
    assert.deepEqual(await native.hasShards(there[0]!, [shard]), [true])
    assert.deepEqual(await native.hasShards(there[1]!, [shard]), [false])
    await assert.rejects(native.deleteShards(there[0]!, [shard], [4]), (error) => nativeErrorKind(error) === 'StaleGeneration')
    await native.deleteShards(there[0]!, [shard], [5])
    assert.deepEqual(await native.hasShards(there[0]!, [shard]), [false])
    assert.ok(body.equals(await read(blob)), 'rebuilt')
  }
  const [stats] = native.planeStats()
  assert.equal(stats?.nodeId, member.nodeId)
  assert.ok(stats.answering && stats.connections === 2 && stats.mtu >= 1200 && stats.sentBytes > 9 << 20 && stats.requests > 0)
})

test('libp2p goes through the same UDP port', async () => {
  const dialler = await createLibp2p({ addresses: { listen: [] }, transports: [quic()] })
  try {
    const connection = await dialler.dial(multiaddr(`/ip4/127.0.0.1/udp/${member.port}/quic-v1`))
    assert.equal(connection.remotePeer.toString(), member.nodeId, 'one identity for both planes')
    const stream = await connection.newStream('/echo/1')
    const sent = randomBytes(100_000)
    const echoed: Uint8Array[] = []
    const received = (async () => {
      for await (const chunk of stream) echoed.push(chunk instanceof Uint8Array ? chunk : chunk.subarray())
    })()
    stream.send(sent)
    await stream.close()
    await received
    assert.ok(sent.equals(Buffer.concat(echoed)))
  } finally {
    await dialler.stop()
  }
})

test('a process that is killed is missed within seconds, and found again when it returns', async () => {
  const body = randomBytes(3 << 20)
  const { blob } = await write(body)
  const exited = once(member.child, 'exit')
  member.child.kill('SIGKILL')
  await exited
  assert.ok(body.equals(await read(blob)), 'while nobody has missed it')
  await until('it is missed', () => answering() === false)
  assert.ok(body.equals(await read(blob)))
  const weak = await write(body)
  assert.deepEqual([weak.missing, weak.belowQuorum], [[1, 3], true], 'half of the members is too little to acknowledge')
  await assert.rejects(native.hasShards(there[0]!, [{ bucketId: 1, blobId: blob.blobId, pgId: 1, index: 1 }]), (error) => nativeErrorKind(error) === 'ShardsUnavailable')

  Object.assign(other, { processId: 'second', port: member.port })
  member = await new Member(other).started()
  await meet()
  await until('it answers', () => answering() === true)
  assert.deepEqual((await write(body)).missing, [])
  assert.equal(await member.ask({ do: 'read', blob }), body.toString('base64'))
})
