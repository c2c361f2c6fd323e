import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestBase64 } from './checksums.ts'

/** Check values of the catalogue of parametrised CRC algorithms, for "123456789". */
test('checksums of the check string', () => {
  const data = Buffer.from('123456789')
  const hex = (text: string): string => Buffer.from(text, 'base64').toString('hex')
  assert.equal(hex(digestBase64('crc32', data)), 'cbf43926')
  assert.equal(hex(digestBase64('crc32c', data)), 'e3069283')
  assert.equal(hex(digestBase64('crc64nvme', data)), 'ae8b14860a799888')
  assert.equal(hex(digestBase64('sha1', data)), 'f7c3bc1d808e04732adf679965ccc34ca7ae3441')
  assert.equal(digestBase64('crc32', Buffer.alloc(0)), 'AAAAAA==')
  assert.equal(digestBase64('crc64nvme', Buffer.alloc(0)), 'AAAAAAAAAAA=')
})
