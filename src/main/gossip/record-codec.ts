/** A member's record as bytes, signed and checked. */
import { createHash } from 'node:crypto'
import { MAX_GOSSIP_RECORD_BYTES } from '../../shared/limits.ts'
import type { DriveId, NodeId } from '../../shared/ids.ts'
import type { MemberDrive, MemberRecord } from '../membership/contract.ts'
import type { SignedRecord, SwimOptions } from './contract.ts'
import { Reader, WireError, Writer } from './wire.ts'

/** A refuted lie may not carry an incarnation to where it cannot be raised any more. Milliseconds since the epoch are far below. */
export const MAX_INCARNATION = 2 ** 48
const MAX_NAME_BYTES = 128
const MAX_ADDR_BYTES = 512
const MAX_ADDRS = 16
const MAX_DRIVES = 64
const MAX_DRIVE_BYTES = 256
const MAX_SIGNATURE_BYTES = 128
const LEAVING = 1
/** Signatures of one purpose must not serve another. */
const PURPOSE = Buffer.from('anvil member record 1\0')

/** @throws RangeError when the record does not fit: too many addresses, a name too long */
export function signRecord(record: MemberRecord, leaving: boolean, sign: SwimOptions['sign']): SignedRecord {
  const body = encodeRecord(record, leaving)
  try {
    if (body.length > MAX_GOSSIP_RECORD_BYTES) throw new WireError(`${body.length} bytes`)
    decodeRecord(body)
  } catch (cause) {
    throw new RangeError('this node\'s record is too large to be announced', { cause })
  }
  return { record, leaving, body, signature: sign(Buffer.concat([PURPOSE, body])), key: memberKey(record.nodeId) }
}

export function verifyRecord({ record, body, signature }: SignedRecord, verify: SwimOptions['verify']): boolean {
  return verify(record.nodeId, Buffer.concat([PURPOSE, body]), signature)
}

export function memberKey(nodeId: NodeId): number {
  return createHash('sha256').update(nodeId).digest().readUIntLE(0, 6)
}

export function writeSigned(out: Writer, signed: SignedRecord): void {
  out.bytes(signed.body).bytes(signed.signature)
}

/** @throws WireError. The signature is not checked here. */
export function readSigned(input: Reader): SignedRecord {
  // Copies: a record lives longer than the buffer it came in.
  const body = input.bytes(MAX_GOSSIP_RECORD_BYTES).slice()
  const signature = input.bytes(MAX_SIGNATURE_BYTES).slice()
  const { record, leaving } = decodeRecord(body)
  return { record, leaving, body, signature, key: memberKey(record.nodeId) }
}

export function readNodeId(input: Reader): NodeId {
  const id = input.text(MAX_NAME_BYTES)
  if (id === '') throw new WireError('an empty node id')
  return id as NodeId
}

function encodeRecord(record: MemberRecord, leaving: boolean): Uint8Array {
  const out = new Writer()
  out.text(record.nodeId).text(record.processId).number(record.incarnation).byte(leaving ? LEAVING : 0)
  out.text(record.region).text(record.zone)
  out.number(record.addrs.length)
  for (const addr of record.addrs) out.text(addr)
  out.text(record.grpcAddr).text(record.version).number(record.startedMs)
  out.number(record.drives.length)
  for (const drive of record.drives) {
    out.bytes(new Writer(64).raw(Buffer.from(drive.driveId, 'hex')).byte(drive.state === 'online' ? 0 : 1).number(drive.totalBytes).number(drive.freeBytes).end())
  }
  return out.end()
}

function decodeRecord(body: Uint8Array): { record: MemberRecord; leaving: boolean } {
  const input = new Reader(body)
  const nodeId = readNodeId(input)
  const processId = input.text(MAX_NAME_BYTES)
  const incarnation = input.number(MAX_INCARNATION)
  const leaving = (input.byte() & LEAVING) !== 0
  const region = input.text(MAX_NAME_BYTES)
  const zone = input.text(MAX_NAME_BYTES)
  const addrs = Array.from({ length: input.number(MAX_ADDRS) }, () => input.text(MAX_ADDR_BYTES))
  const grpcAddr = input.text(MAX_ADDR_BYTES)
  const version = input.text(MAX_NAME_BYTES)
  const startedMs = input.number()
  const drives = Array.from({ length: input.number(MAX_DRIVES) }, () => decodeDrive(input.bytes(MAX_DRIVE_BYTES)))
  return { record: { nodeId, processId, incarnation, region, zone, addrs, grpcAddr, version, startedMs, drives }, leaving }
}

function decodeDrive(bytes: Uint8Array): MemberDrive {
  const input = new Reader(bytes)
  const driveId = Buffer.from(input.raw(16)).toString('hex') as DriveId
  // A state that a newer version knows: nothing new goes there.
  const state = input.byte() === 0 ? 'online' : 'full'
  return { driveId, state, totalBytes: input.number(), freeBytes: input.number() }
}
