import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import pino from 'pino'
import type { DriveId, NodeId } from '../../shared/ids.ts'
import { TIB } from '../../shared/limits.ts'
import type { PlanePeerState } from '../../shared/native-plane.ts'
import type { LocalDrive } from '../drives/local-drives.ts'
import type { Member, MemberDrive, MembershipEvents } from '../membership/contract.ts'
import { ClusterDrives } from './cluster-drives.ts'

const driveId = (name: string) => name as DriveId
const drive = (name: string, more: Partial<MemberDrive> = {}): MemberDrive => ({ driveId: driveId(name), state: 'online', totalBytes: TIB, freeBytes: TIB, ...more })

const member = (name: string, more: Partial<Member> = {}): Member => ({
  nodeId: name as NodeId, processId: `${name}-1`, incarnation: 1, region: 'r', zone: '', addrs: ['/ip4/192.0.2.1/udp/7443/quic-v1'], grpcAddr: '',
  version: '', startedMs: 1, drives: [drive(`${name}-d`)], state: 'alive', changedMs: 0, self: false, ...more,
})

/** This node `me` with one drive, and a plane that notes what it is told. */
function rig() {
  const members = new Map<string, Member>([['me', member('me', { self: true })]])
  const membership = new EventEmitter<MembershipEvents>()
  const announced: MemberDrive[][] = []
  const told: string[] = []
  let listener: (state: PlanePeerState) => void = () => {}
  const mine: LocalDrive = { path: '/d', driveId: driveId('me-d'), state: 'online', reason: '', totalBytes: TIB, freeBytes: TIB }
  const local = Object.assign(new EventEmitter<{ change: []; online: [DriveId] }>(), { all: [mine] as const, everTwoDrives: false })
  const drives = new ClusterDrives({
    nodeId: 'me' as NodeId, zone: '', local, logger: pino({ level: 'silent' }),
    membership: {
      get members() {
        return [...members.values()]
      },
      announceDrives: (list) => void announced.push(list),
      on: (event, listener) => membership.on(event, listener),
      off: (event, listener) => membership.off(event, listener),
    },
    plane: {
      setPeer: ({ nodeId, processId, addrs }) => void told.push(`peer ${nodeId} ${processId} ${addrs.map(({ host, port }) => `${host}:${port}`).join()}`),
      removePeer: (nodeId) => void told.push(`no peer ${nodeId}`),
      setRemoteDrive: (id, nodeId) => void told.push(`${id} on ${nodeId}`),
      setPeerListener: (one) => (listener = one),
    },
  })
  return {
    drives, mine, local, announced,
    told: () => told.splice(0),
    set(...list: Member[]) {
      for (const one of list) members.set(one.nodeId, one)
      membership.emit('change')
    },
    forget(name: string) {
      members.delete(name)
      membership.emit('change')
    },
    answer: (name: string, answering: boolean) => listener({ nodeId: name, answering, reason: '' }),
    placeable: () => drives.view().drives.map((one) => one.driveId).sort(),
    reachable: () => drives.reachable.map((one) => one.driveId),
  }
}

test('a member takes new shards once its shard plane answers', () => {
  const { drives, set, answer, told, placeable } = rig()
  assert.deepEqual(placeable(), ['me-d'])
  const { version } = drives.view()
  set(member('b'))
  assert.deepEqual(told(), ['peer b b-1 192.0.2.1:7443', 'b-d on b'])
  assert.deepEqual(placeable(), ['me-d'])
  answer('b', true)
  assert.deepEqual(placeable(), ['b-d', 'me-d'])
  assert.ok(drives.view().version > version)
  assert.ok(drives.view().everTwoDrives)
  drives.stop()
})

test('the suspect and the silent take no new shards, and are asked still; full drives are read', () => {
  const { drives, set, answer, told, placeable, reachable } = rig()
  set(member('b'), member('c', { drives: [drive('c-d', { state: 'full' })] }))
  answer('b', true)
  answer('c', true)
  assert.deepEqual(placeable(), ['b-d', 'me-d'])
  assert.deepEqual(reachable(), ['b-d', 'c-d', 'me-d'])
  told()
  set(member('b', { state: 'suspect' }))
  assert.deepEqual(placeable(), ['me-d'])
  assert.deepEqual(reachable(), ['b-d', 'c-d', 'me-d'])
  set(member('b'))
  answer('b', false)
  assert.deepEqual(placeable(), ['me-d'])
  assert.deepEqual(reachable(), ['c-d', 'me-d'])
  assert.deepEqual(told(), [])
  drives.stop()
})

test('one that leaves is let go when it has stopped to answer; a restarted one is told to the plane anew', () => {
  const { drives, set, answer, told, placeable, forget } = rig()
  set(member('b'))
  answer('b', true)
  told()
  set(member('b', { state: 'left' }))
  assert.deepEqual(told(), [])
  assert.deepEqual(placeable(), ['me-d'])
  answer('b', false)
  assert.deepEqual(told(), ['no peer b', 'b-d on null'])
  set(member('b', { processId: 'b-2' }))
  assert.deepEqual(told(), ['peer b b-2 192.0.2.1:7443', 'b-d on b'])
  assert.deepEqual(placeable(), ['me-d'], 'that the process before answered says nothing')
  forget('b')
  assert.deepEqual(told(), ['no peer b', 'b-d on null'])
  assert.ok(drives.view().everTwoDrives)
  drives.stop()
})

test('a drive that was carried to another host belongs to the living and younger process, and to this node if it is open here', () => {
  const { drives, set, told, mine, local } = rig()
  set(member('b', { drives: [drive('x')], startedMs: 5 }), member('c', { drives: [drive('x')], startedMs: 9 }))
  assert.deepEqual(told().filter((line) => line.includes('on')), ['x on c'])
  set(member('c', { drives: [drive('x')], startedMs: 9, state: 'suspect' }))
  assert.deepEqual(told(), ['x on b'])
  mine.driveId = driveId('x')
  local.emit('change')
  assert.deepEqual(told(), ['x on null'])
  assert.deepEqual(drives.view().drives.map((one) => one.nodeId), ['me'])
  drives.stop()
})

test('own drives are announced when they change', () => {
  const { drives, announced, mine, local } = rig()
  assert.deepEqual(announced.map((list) => list.map((one) => one.state)), [['online']])
  local.emit('change')
  assert.equal(announced.length, 1)
  mine.state = 'full'
  local.emit('change')
  mine.state = 'failed'
  local.emit('change')
  assert.deepEqual(announced.map((list) => list.map((one) => one.state)), [['online'], ['full'], []])
  assert.deepEqual(drives.view().drives, [])
  drives.stop()
})
