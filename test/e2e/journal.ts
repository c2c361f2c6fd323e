/**
 * Writers that remember what was acknowledged, and the check of it afterwards. Each key has one writer, so its possible
 * contents are: what was acknowledged last, or what was tried since without an answer.
 */
import assert from 'node:assert/strict'
import { bytes, sha256 } from '../support/bytes.ts'
import type { NodeProcess } from '../support/node-process.ts'
import { signedRequest, type RawAnswer } from '../support/raw-http.ts'
import { s3Path } from '../support/sigv4.ts'

const ABSENT = 'absent'

interface KeyState {
  acknowledged: string
  /** Outcomes of requests that got no answer after that. */
  unknown: Set<string>
}

export interface JournalOptions {
  bucket: string
  writers: number
  /** Keys of each writer; it goes through them again and again. */
  keysPerWriter: number
  sizes: readonly number[]
  /** Every n-th operation is a delete. 0: none. */
  deleteEvery?: number
}

export class Journal {
  readonly #node: NodeProcess
  readonly #options: JournalOptions
  readonly #keys = new Map<string, KeyState>()
  #writing: Promise<void>[] = []
  #stop = false
  /** Objects whose PUT was answered with success. */
  acknowledged = 0
  /** Requests without an answer, or with a 5xx. */
  unanswered = 0

  constructor(node: NodeProcess, options: JournalOptions) {
    this.#node = node
    this.#options = options
  }

  get keys(): number {
    return this.#keys.size
  }

  start(): void {
    if (this.#writing.length > 0) throw new Error('the writers run already')
    this.#stop = false
    this.#writing = Array.from({ length: this.#options.writers }, (_, writer) => this.#write(writer))
    // what a writer finds wrong is reported by `stop`, not as an unhandled rejection meanwhile
    for (const one of this.#writing) one.catch(() => {}) // `stop` awaits the same promise
  }

  /** Resolves when every writer has heard of its last request. */
  async stop(): Promise<void> {
    this.#stop = true
    await Promise.all(this.#writing)
    this.#writing = []
  }

  /** Reads every key back; fails at the first that holds anything but what it may, or when there is nothing at all to read. */
  async verify(): Promise<void> {
    const waiting = [...this.#keys]
    await Promise.all(Array.from({ length: 16 }, async () => {
      for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop()) await this.#verifyKey(...entry)
    }))
    assert.ok([...this.#keys.values()].some(({ acknowledged }) => acknowledged !== ABSENT), 'no object was there to be read')
  }

  async #verifyKey(key: string, state: KeyState): Promise<void> {
    const answer = await signedRequest(this.#node.port, this.#node.credentials, { method: 'GET', path: s3Path(this.#options.bucket, key) })
    const found = answer.status === 404 ? ABSENT : answer.status === 200 ? sha256(answer.body) : `status ${answer.status} ${answer.code}`
    const allowed = [state.acknowledged, ...state.unknown]
    assert.ok(allowed.includes(found), `${key} holds ${found} (${answer.body.length} bytes), allowed: ${allowed.join(', ')}\n${this.#node.logTail()}`)
    // what was found is what it is from now on
    this.#keys.set(key, { acknowledged: found, unknown: new Set() })
  }

  async #write(writer: number): Promise<void> {
    const { keysPerWriter, sizes, deleteEvery = 0 } = this.#options
    for (let turn = 0; !this.#stop; turn++) {
      const key = `writer${writer}/key${turn % keysPerWriter}`
      if (deleteEvery > 0 && turn % deleteEvery === deleteEvery - 1) await this.#attempt(key, 'DELETE', null)
      else await this.#attempt(key, 'PUT', bytes(sizes[turn % sizes.length]!, writer * 1_000_003 + turn))
    }
  }

  async #attempt(key: string, method: 'PUT' | 'DELETE', body: Buffer | null): Promise<void> {
    const outcome = body === null ? ABSENT : sha256(body)
    const state = this.#keys.get(key) ?? { acknowledged: ABSENT, unknown: new Set<string>() }
    this.#keys.set(key, state)
    state.unknown.add(outcome)
    let answer: RawAnswer | null = null
    try {
      answer = await signedRequest(this.#node.port, this.#node.credentials, {
        method, path: s3Path(this.#options.bucket, key), ...(body === null ? {} : { body }),
      })
    } catch {
      // the connection broke: nobody knows
    }
    if (answer === null || answer.status >= 500) {
      this.unanswered++
      // a node that is away refuses at once: no busy loop
      await new Promise((resolve) => setTimeout(resolve, 10))
      return
    }
    assert.ok(answer.status === 200 || answer.status === 204, `${method} ${key}: ${answer.status} ${answer.text}`)
    if (method === 'PUT') this.acknowledged++
    this.#keys.set(key, { acknowledged: outcome, unknown: new Set() })
  }
}
