/**
 * A simple query of several statements that begins with `COPY … FROM STDIN`, sent together with its rows: one round trip
 * and one implicit transaction. pg-copy-streams waits for the server's CopyInResponse before it sends rows; the protocol
 * does not ask for that (a server that refuses the COPY skips the rows), so this class sends at once.
 *
 * pg's own types are enough for `client.query(roundTrip)`: it is a Submittable.
 */
import type { Connection } from 'pg'

/** https://www.postgresql.org/docs/18/protocol-message-formats.html */
const COPY_DATA = 0x64
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4])
const CHUNK_BYTES = 256 * 1024

export class CopyRoundTrip {
  /** Rows of the last statement that returns any, fields as text. */
  readonly done: Promise<(string | null)[][]>
  readonly #text: string
  readonly #rows: Buffer
  #answer: (string | null)[][] = []
  #resolve!: (rows: (string | null)[][]) => void
  #reject!: (error: Error) => void

  constructor(text: string, rows: Buffer) {
    this.#text = text
    this.#rows = rows
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  submit(connection: Connection): void {
    const stream = connection.stream
    stream.cork()
    connection.query(this.#text)
    for (let at = 0; at < this.#rows.length; at += CHUNK_BYTES) {
      const chunk = this.#rows.subarray(at, at + CHUNK_BYTES)
      const head = Buffer.allocUnsafe(5)
      head[0] = COPY_DATA
      head.writeInt32BE(chunk.length + 4, 1)
      stream.write(head)
      stream.write(chunk)
    }
    stream.write(COPY_DONE)
    stream.uncork()
  }

  // What pg's client calls as the answer comes in. After an error it calls `handleError` and nothing else.
  handleCopyInResponse(): void {}
  handleRowDescription(): void {
    this.#answer = []
  }
  handleDataRow(message: { fields: (string | null)[] }): void {
    this.#answer.push(message.fields)
  }
  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleError(error: Error): void {
    this.#reject(error)
  }
  handleReadyForQuery(): void {
    this.#resolve(this.#answer)
  }
}
