/**
 * The records in the segment files of a drive, read from outside while its node runs. The format is that of native/store/src/lib.rs.
 * Only what is valid in its place counts: bytes of an earlier use of a file do not.
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { testNative } from './native.ts'

export type RecordKind = 'shard' | 'sealed' | 'block'

/** One record of a shard. */
export interface SegmentRecord {
  file: string
  /** Of the record in the file. */
  offset: number
  kind: RecordKind
  /** 32 hex digits. */
  blobId: string
  pgId: number
  index: number
  block: number
  /** Of the masked checksums behind the fixed header: offset in the file. */
  checksumsAt: number
  checksumsBytes: number
  /** Of the data. Sealed records have none. */
  dataAt: number
  dataBytes: number
}

const KINDS: Record<number, RecordKind> = { 1: 'shard', 2: 'sealed', 6: 'block' }
const SEGMENT_MAGIC = 'ANVS'
const RECORD_MAGIC = Buffer.from('ANVR')
const HEADER_BYTES = 128
const PAGE_BYTES = 4096
const ALIGN_BYTES = 64
const FREE = 3n

interface Place {
  drive: Buffer
  epoch: Buffer
  salt: Buffer
}

export function segmentRecords(drive: string): SegmentRecord[] {
  const folder = join(drive, 'segments')
  return readdirSync(folder).filter((name) => name.endsWith('.seg')).flatMap((name) => recordsIn(join(folder, name)))
}

function recordsIn(file: string): SegmentRecord[] {
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [] // given back meanwhile
    throw error
  }
  const place = placeOf(bytes)
  if (place === null) return []
  const records: SegmentRecord[] = []
  for (let at = bytes.indexOf(RECORD_MAGIC); at >= 0; at = bytes.indexOf(RECORD_MAGIC, at + 1)) {
    const record = at % ALIGN_BYTES === 0 ? recordAt(file, bytes, at, place) : null
    if (record !== null) records.push(record)
  }
  return records
}

/** What the headers of the file say of its present use; null when its records count no more. */
function placeOf(bytes: Buffer): Place | null {
  const copies = [0, PAGE_BYTES].filter((at) => at + PAGE_BYTES <= bytes.length && bytes.toString('latin1', at, at + 4) === SEGMENT_MAGIC)
  if (copies.length === 0) return null
  const newest = copies.toSorted((a, b) => Number(bytes.readBigUInt64LE(b + 32) - bytes.readBigUInt64LE(a + 32)) || Number(bytes.readBigUInt64LE(b + 8) - bytes.readBigUInt64LE(a + 8)))[0]!
  const header = bytes.subarray(newest, newest + PAGE_BYTES)
  if (header.readBigUInt64LE(8) === FREE) return null
  return { drive: header.subarray(16, 32), epoch: header.subarray(32, 40), salt: header.subarray(40, 48) }
}

function recordAt(file: string, bytes: Buffer, at: number, place: Place): SegmentRecord | null {
  if (at + HEADER_BYTES > bytes.length) return null
  const header = bytes.subarray(at, at + HEADER_BYTES)
  const kind = KINDS[header[6]!]
  const checksumsBytes = header.readUInt32LE(112)
  if (kind === undefined || at + HEADER_BYTES + checksumsBytes > bytes.length) return null
  const tail = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + checksumsBytes)
  if (!headerChecksum(place, at, header, tail).equals(header.subarray(120, 128))) return null
  const align = kind === 'block' ? PAGE_BYTES : ALIGN_BYTES
  return {
    file, offset: at, kind,
    blobId: header.toString('hex', 16, 32), pgId: Number(header.readBigUInt64LE(32)), index: header[7]!, block: header.readUInt32LE(72),
    checksumsAt: at + HEADER_BYTES, checksumsBytes,
    dataAt: at + Math.ceil((HEADER_BYTES + checksumsBytes) / align) * align, dataBytes: kind === 'sealed' ? 0 : header.readUInt32LE(76),
  }
}

/** Little-endian, as it lies in the header. */
function headerChecksum({ drive, epoch, salt }: Place, offset: number, header: Buffer, tail: Buffer): Buffer {
  const at = Buffer.alloc(8)
  at.writeBigUInt64LE(BigInt(offset))
  const sum = testNative().digest('crc64nvme', Buffer.concat([drive, epoch, salt, at, header.subarray(0, 120), tail]))
  return Buffer.from(sum).swap64()
}

/** The bytes of a file at a place; shorter at its end, none when it is gone. */
export function bytesAt(file: string, offset: number, length: number): Buffer {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
  try {
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, fstatSync(fd).size - offset)))
    readSync(fd, bytes, 0, bytes.length, offset)
    return bytes
  } finally {
    closeSync(fd)
  }
}
