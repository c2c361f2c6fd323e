/**
 * The bytes of gossip: LEB128 numbers up to 2^53, and byte strings and UTF-8 texts with their length before them. A reader
 * never goes past its slice, and whatever follows the fields it knows is a newer version's and left unread.
 */

/** What arrived is no message of this format. */
export class WireError extends Error {
  constructor(what: string) {
    super(what)
    this.name = 'WireError'
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

export class Writer {
  private buffer: Buffer
  private length = 0

  constructor(sizeBytes = 256) {
    this.buffer = Buffer.allocUnsafe(sizeBytes)
  }

  byte(value: number): this {
    this.room(1)
    this.buffer[this.length++] = value
    return this
  }

  number(value: number): this {
    this.room(8)
    let rest = value
    while (rest >= 0x80) {
      this.buffer[this.length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.buffer[this.length++] = rest
    return this
  }

  uint32(value: number): this {
    this.room(4)
    this.length = this.buffer.writeUInt32LE(value >>> 0, this.length)
    return this
  }

  /** 48 bits. */
  key(value: number): this {
    this.room(6)
    this.length = this.buffer.writeUIntLE(value, this.length, 6)
    return this
  }

  raw(bytes: Uint8Array): this {
    this.room(bytes.length)
    this.buffer.set(bytes, this.length)
    this.length += bytes.length
    return this
  }

  bytes(bytes: Uint8Array): this {
    return this.number(bytes.length).raw(bytes)
  }

  text(text: string): this {
    const bytes = Buffer.byteLength(text)
    this.number(bytes)
    this.room(bytes)
    this.length += this.buffer.write(text, this.length, bytes, 'utf8')
    return this
  }

  end(): Uint8Array {
    return new Uint8Array(this.buffer.buffer, this.buffer.byteOffset, this.length)
  }

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.length + bytes, 2 * this.buffer.length))
    larger.set(this.buffer.subarray(0, this.length))
    this.buffer = larger
  }
}

/** Length of {@link Writer.number}. */
export function numberBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}

/** Length of {@link Writer.bytes}. */
export const prefixedBytes = (length: number): number => numberBytes(length) + length

/** Length of {@link Writer.text}. */
export const textBytes = (text: string): number => prefixedBytes(Buffer.byteLength(text))

/** Each method throws {@link WireError} when the slice ends first. */
export class Reader {
  private at = 0
  private readonly slice: Uint8Array

  constructor(slice: Uint8Array) {
    this.slice = slice
  }

  get left(): number {
    return this.slice.length - this.at
  }

  byte(): number {
    if (this.left < 1) throw new WireError('cut off')
    return this.slice[this.at++]!
  }

  number(max = Number.MAX_SAFE_INTEGER): number {
    let value = 0
    let factor = 1
    for (let i = 0; i < 8; i++) {
      const byte = this.byte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) {
        if (value > max) throw new WireError(`a number of at most ${max}, not ${value}`)
        return value
      }
      factor *= 0x80
    }
    throw new WireError('a number of more than 56 bits')
  }

  uint32(): number {
    const bytes = this.raw(4)
    return (bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24)) >>> 0
  }

  key(): number {
    const bytes = this.raw(6)
    return Buffer.from(bytes.buffer, bytes.byteOffset, 6).readUIntLE(0, 6)
  }

  /** A view, not a copy. */
  raw(bytes: number): Uint8Array {
    if (this.left < bytes) throw new WireError('cut off')
    this.at += bytes
    return this.slice.subarray(this.at - bytes, this.at)
  }

  bytes(maxBytes: number): Uint8Array {
    return this.raw(this.number(maxBytes))
  }

  text(maxBytes: number): string {
    const bytes = this.bytes(maxBytes)
    try {
      return utf8.decode(bytes)
    } catch {
      throw new WireError('a text that is not UTF-8')
    }
  }
}
