/** Bit rot: flips bytes in what a drive holds, behind the node's back. */
import { closeSync, fstatSync, openSync, readdirSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** One byte in each stretch of this length, so that no shard of some size is spared. */
const EVERY_BYTES = 16 * 1024
/** Headers of segments and of their first record stay: this is about data. */
const FROM_BYTES = 12 * 1024

/** Flips one bit every few kilobytes in all segment files of a drive, where there is data. Returns how many. */
export function flipBytes(drive: string): number {
  let flipped = 0
  for (const entry of readdirSync(drive, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/seg/i.test(join(entry.parentPath, entry.name).slice(drive.length))) continue
    const fd = openSync(join(entry.parentPath, entry.name), 'r+')
    try {
      flipped += flipIn(fd, fstatSync(fd).size)
    } finally {
      closeSync(fd)
    }
  }
  return flipped
}

function flipIn(fd: number, size: number): number {
  let flipped = 0
  const around = Buffer.alloc(64)
  for (let at = FROM_BYTES; at + around.length < size; at += EVERY_BYTES) {
    readSync(fd, around, 0, around.length, at)
    // zeroes are what a preallocated segment is filled with
    if (around.every((byte) => byte === 0)) continue
    around[0]! ^= 0x10
    writeSync(fd, around, 0, 1, at)
    flipped++
  }
  return flipped
}
