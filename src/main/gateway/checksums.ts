/**
 * Digests of request documents (at most 2 MiB of XML). Bodies of objects are never hashed here: they go through the
 * addon.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { ChecksumAlgorithm } from '../../shared/native.ts'

/** base64 of the digest, CRCs in big-endian order as S3 writes them. */
export function digestBase64(algorithm: ChecksumAlgorithm, data: Uint8Array): string {
  switch (algorithm) {
    case 'sha1':
    case 'sha256':
      return createHash(algorithm).update(data).digest('base64')
    case 'crc32':
      return big32(crc32(data))
    case 'crc32c':
      return big32(crc32c(data))
    case 'crc64nvme':
      return crc64nvme(data)
  }
}

function big32(value: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes.toString('base64')
}

/** Reflected polynomials: CRC-32C (RFC 3720) and CRC-64/NVME (NVM Express NVM Command Set §5.2.1.3.4). */
const CRC32C_POLYNOMIAL = 0x82f63b78
const CRC64_POLYNOMIAL = 0x9a6c9329ac4bc9b5n

const table32 = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1
  return value
})

function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of data) crc = table32[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return ~crc
}

/** The 64-bit table as two halves: BigInt arithmetic for every byte would be far slower. */
const high64 = new Uint32Array(256)
const low64 = new Uint32Array(256)
for (let index = 0; index < 256; index++) {
  let value = BigInt(index)
  for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ CRC64_POLYNOMIAL : value >> 1n
  high64[index] = Number(value >> 32n)
  low64[index] = Number(value & 0xffffffffn)
}

function crc64nvme(data: Uint8Array): string {
  let high = 0xffffffff
  let low = 0xffffffff
  for (const byte of data) {
    const index = (low ^ byte) & 0xff
    low = (((low >>> 8) | (high << 24)) ^ low64[index]!) >>> 0
    high = ((high >>> 8) ^ high64[index]!) >>> 0
  }
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32BE(~high >>> 0, 0)
  bytes.writeUInt32BE(~low >>> 0, 4)
  return bytes.toString('base64')
}
