/** A client that writes bytes and reads answers, with no HTTP library to keep it from doing wrong. */
import net from 'node:net'

export interface RawAnswer {
  status: number
  headers: Record<string, string>
  body: string
}

export class RawSocket {
  readonly socket: net.Socket
  closed = false
  #chunks: Buffer[] = []
  #size = 0
  #wake = Promise.withResolvers<void>()

  private constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('data', (data) => {
      this.#chunks.push(data)
      this.#size += data.length
      this.#notify()
    })
    // A reset is one of the ways in which a connection ends here; what was received until then counts.
    socket.on('error', () => {
      this.#notify()
    })
    socket.on('close', () => {
      this.closed = true
      this.#notify()
    })
  }

  static open(port: number): Promise<RawSocket> {
    const socket = net.connect(port, '127.0.0.1')
    const raw = new RawSocket(socket)
    return new Promise((resolve, reject) => {
      socket.once('connect', () => {
        resolve(raw)
      })
      socket.once('error', reject)
    })
  }

  /** What has been received and not yet taken. Joined only when it is looked at, so that large bodies cost no more than once. */
  get received(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!
  }

  send(...parts: (string | Uint8Array)[]): this {
    for (const part of parts) this.socket.write(part)
    return this
  }

  /** The next answer; interim ones are handed out as they are. Bodies by Content-Length or chunked. @throws when the connection ends before */
  async answer({ head = false } = {}): Promise<RawAnswer> {
    const end = await this.#until(() => this.received.indexOf('\r\n\r\n'))
    const [line = '', ...fields] = this.received.toString('latin1', 0, end).split('\r\n')
    const headers = Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]))
    this.#take(end + 4)
    const status = Number(line.split(' ')[1])
    if (headers['transfer-encoding'] === 'chunked') return { status, headers, body: await this.#chunked() }
    const length = head || status < 200 || status === 204 || status === 304 ? 0 : Number(headers['content-length'] ?? 0)
    await this.#until(() => (this.#size >= length ? 0 : -1))
    const body = this.received.toString('utf8', 0, length)
    this.#take(length)
    return { status, headers, body }
  }

  async ended(): Promise<void> {
    while (!this.closed) await this.#wake.promise
  }

  close(): void {
    this.socket.destroy()
  }

  async #chunked(): Promise<string> {
    for (let body = ''; ;) {
      const end = await this.#until(() => this.received.indexOf('\r\n'))
      const size = Number.parseInt(this.received.toString('latin1', 0, end), 16)
      await this.#until(() => (this.#size >= end + 4 + size ? 0 : -1))
      body += this.received.toString('utf8', end + 2, end + 2 + size)
      this.#take(end + 4 + size)
      if (size === 0) return body
    }
  }

  async #until(found: () => number): Promise<number> {
    for (;;) {
      const at = found()
      if (at >= 0) return at
      if (this.closed) throw new Error('the connection ended without an answer')
      await this.#wake.promise
    }
  }

  #take(bytes: number): void {
    this.#chunks = [this.received.subarray(bytes)]
    this.#size -= bytes
  }

  #notify(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

/** Waits for something that happens soon. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries === 300) throw new Error(`in three seconds not: ${what}`)
    await pause(10)
  }
}
