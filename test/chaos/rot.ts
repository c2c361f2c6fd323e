/** Shards that go bad on a drive behind its node's back, and whether each was made good again. */
import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import { bytesAt, type SegmentRecord, segmentRecords } from '../support/segments.ts'
import type { Random } from './random.ts'

/** One bit of the data or of its checksums; a sector that reads as zeros, or as what belongs elsewhere; one bit of a record's header. */
export type Decay = 'bit' | 'zeros' | 'misdirected' | 'header'

export interface Shard {
  blobId: string
  pgId: number
  index: number
}

export interface RottenShard extends Shard {
  decay: Decay
  /** Where it was hurt, and what has stood there since. */
  wounds: { file: string; recordAt: number; at: number; bytes: Buffer }[]
}

export const shardName = ({ blobId, pgId, index }: Shard): string => `${blobId}/${pgId}/${index}`

const SECTOR_BYTES = 4096
const HEADER_BYTES = 120

/** Every copy of these shards on the drive is hurt; answers those that were found. */
export function letRot(drive: string, shards: readonly Shard[], decays: readonly Decay[], random: Random): RottenShard[] {
  const records = byShard(drive)
  return shards.flatMap((shard) => {
    const copies = records.get(shardName(shard)) ?? []
    const decay = random.pick(decays)
    const targets = targetsOf(copies, decay, random)
    if (targets.length === 0) return []
    return [{ blobId: shard.blobId, pgId: shard.pgId, index: shard.index, decay, wounds: targets.map((record) => hurt(record, decay, random)) }]
  })
}

/** Of the shards those of which the drive has nothing but what was hurt, and nothing new. */
export function stillRotten(drive: string, rotten: readonly RottenShard[]): RottenShard[] {
  const records = byShard(drive)
  return rotten.filter((shard) => {
    const copies = (records.get(shardName(shard)) ?? []).filter((record) => record.kind !== 'sealed')
    const wounds = shard.wounds.filter(({ file, at, bytes }) => bytesAt(file, at, bytes.length).equals(bytes))
    const hurtRecords = new Set(wounds.map(({ file, recordAt }) => `${file}:${recordAt}`))
    const hurtFiles = new Set(wounds.map(({ file }) => file))
    // a streamed shard that was rebuilt lies in another file
    return !copies.some(({ file, offset, kind }) => (kind === 'block' ? !hurtFiles.has(file) : !hurtRecords.has(`${file}:${offset}`)))
  })
}

function byShard(drive: string): Map<string, SegmentRecord[]> {
  return Map.groupBy(segmentRecords(drive), shardName)
}

/** A header of a block hides nothing, that of the record which makes a streamed shard known does. */
function targetsOf(copies: readonly SegmentRecord[], decay: Decay, random: Random): SegmentRecord[] {
  if (decay === 'header') return copies.filter(({ kind }) => kind !== 'block')
  const whole = copies.filter(({ kind, dataBytes }) => kind === 'shard' && dataBytes > 0)
  const files = Map.groupBy(copies.filter(({ kind, dataBytes }) => kind === 'block' && dataBytes > 0), ({ file }) => file)
  return [...whole, ...[...files.values()].map((blocks) => random.pick(blocks))]
}

function hurt({ file, offset, dataAt, dataBytes, checksumsAt, checksumsBytes }: SegmentRecord, decay: Decay, random: Random): RottenShard['wounds'][number] {
  const fd = openSync(file, 'r+')
  try {
    const wound = (at: number, length: number, change: (bytes: Buffer) => void): RottenShard['wounds'][number] => {
      const bytes = Buffer.alloc(length)
      readSync(fd, bytes, 0, length, at)
      const before = Buffer.from(bytes)
      change(bytes)
      if (bytes.equals(before)) bytes[0]! ^= 1
      writeSync(fd, bytes, 0, length, at)
      fsyncSync(fd)
      return { file, recordAt: offset, at, bytes }
    }
    const flip = (bytes: Buffer): void => void (bytes[0]! ^= 1 << random.between(0, 7))
    const length = Math.min(SECTOR_BYTES, dataBytes)
    const from = dataAt + random.between(0, dataBytes - length)
    switch (decay) {
      case 'header': return wound(offset + random.between(0, HEADER_BYTES - 1), 1, flip)
      case 'zeros': return wound(from, length, (bytes) => void bytes.fill(0))
      case 'misdirected': return wound(from, length, (bytes) => void bytesAt(file, Math.max(0, from - length), length).copy(bytes))
      case 'bit': {
        const inChecksums = checksumsBytes > 0 && random.chance(0.1)
        return wound(inChecksums ? checksumsAt + random.between(0, checksumsBytes - 1) : dataAt + random.between(0, dataBytes - 1), 1, flip)
      }
    }
  } finally {
    closeSync(fd)
  }
}
