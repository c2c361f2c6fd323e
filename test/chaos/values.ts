/** What clients wrote: each value has a number, which its object carries in its metadata, and a body made from it. */
import { bytes, md5 } from '../support/bytes.ts'

export const PART_BYTES = 5 * 1024 * 1024

export interface Value {
  id: number
  key: string
  size: number
  /** Of the body; a copy has its source's. */
  seed: number
  /** Null: not known yet (copies). */
  etag: string | null
  encrypted: boolean
}

export class Values {
  readonly #values: Value[] = []

  make(key: string, size: number, how: { parts?: boolean; encrypted?: boolean } = {}): Value {
    const id = this.#values.length
    const body = bytes(size, id)
    const etag = how.parts === true ? partsEtag(body) : md5(body)
    return this.#add({ id, key, size, seed: id, etag, encrypted: how.encrypted ?? false })
  }

  copy(key: string, { size, seed }: Value): Value {
    return this.#add({ id: this.#values.length, key, size, seed, etag: null, encrypted: false })
  }

  get(id: number): Value | undefined {
    return this.#values[id]
  }

  get count(): number {
    return this.#values.length
  }

  #add(value: Value): Value {
    this.#values.push(value)
    return value
  }
}

export const bodyOf = ({ size, seed }: Value): Buffer => bytes(size, seed)

export function partsOf(body: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(body.length / PART_BYTES) }, (_, i) => body.subarray(i * PART_BYTES, (i + 1) * PART_BYTES))
}

function partsEtag(body: Buffer): string {
  const parts = partsOf(body)
  return `${md5(Buffer.concat(parts.map((part) => Buffer.from(md5(part), 'hex'))))}-${parts.length}`
}

export const headersOf = ({ id, encrypted }: Value): Record<string, string> => ({
  'x-amz-meta-op': String(id), 'content-type': contentType(id), ...(encrypted ? { 'x-amz-server-side-encryption': 'AES256' } : {}),
})

export const contentType = (id: number): string => `application/x-op-${id}`
