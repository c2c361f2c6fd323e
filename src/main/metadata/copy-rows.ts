/**
 * Encodes rows for `COPY … FROM STDIN (FORMAT binary)`.
 * https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format": signature, flags, tuples (a count of fields, each with
 * its length and its bytes in the type's send format), and a count of -1 at the end.
 */
const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')

export class CopyRows {
  #bytes: Buffer
  #at = 0

  constructor(capacityBytes = 64 * 1024) {
    this.#bytes = Buffer.allocUnsafe(capacityBytes)
    this.#at = SIGNATURE.copy(this.#bytes, 0)
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at
  }

  row(fields: number): void {
    this.#need(2)
    this.#at = this.#bytes.writeInt16BE(fields, this.#at)
  }

  null(): void {
    this.#need(4)
    this.#at = this.#bytes.writeInt32BE(-1, this.#at)
  }

  bool(value: boolean): void {
    this.#need(5)
    this.#at = this.#bytes.writeInt32BE(1, this.#at)
    this.#at = this.#bytes.writeUInt8(value ? 1 : 0, this.#at)
  }

  int2(value: number): void {
    this.#need(6)
    this.#at = this.#bytes.writeInt32BE(2, this.#at)
    this.#at = this.#bytes.writeInt16BE(value, this.#at)
  }

  int4(value: number | null): void {
    if (value === null) return this.null()
    this.#need(8)
    this.#at = this.#bytes.writeInt32BE(4, this.#at)
    this.#at = this.#bytes.writeInt32BE(value, this.#at)
  }

  /** Up to 2^53. */
  int8(value: number | null): void {
    if (value === null) return this.null()
    this.#need(12)
    this.#at = this.#bytes.writeInt32BE(8, this.#at)
    this.#at = this.#bytes.writeInt32BE(Math.floor(value / 0x1_0000_0000), this.#at)
    this.#at = this.#bytes.writeUInt32BE(value >>> 0, this.#at)
  }

  /** 32 hex digits. */
  uuid(hex: string): void {
    this.#need(20)
    this.#at = this.#bytes.writeInt32BE(16, this.#at)
    this.#at += this.#bytes.write(hex, this.#at, 16, 'hex')
  }

  text(value: string | null): void {
    if (value === null) return this.null()
    this.#need(4 + value.length * 3)
    const written = this.#bytes.write(value, this.#at + 4, 'utf8')
    this.#bytes.writeInt32BE(written, this.#at)
    this.#at += 4 + written
  }

  bytea(value: Buffer | null): void {
    if (value === null) return this.null()
    this.#need(4 + value.length)
    this.#at = this.#bytes.writeInt32BE(value.length, this.#at)
    this.#at += value.copy(this.#bytes, this.#at)
  }

  /** Ends the rows; the result is valid as long as this object. */
  end(): Buffer {
    this.#need(2)
    this.#at = this.#bytes.writeInt16BE(-1, this.#at)
    return this.#bytes.subarray(0, this.#at)
  }

  #need(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + bytes))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}
