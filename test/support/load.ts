/** A fixed number of requests a second, whether or not the ones before have been answered: puts and gets of small objects. */
import { setTimeout as sleep } from 'node:timers/promises'
import { bytes } from './bytes.ts'
import type { NodeProcess } from './node-process.ts'
import { signedRequest } from './raw-http.ts'
import { s3Path } from './sigv4.ts'

export interface LoadOptions {
  bucket: string
  /** Requests go to them in turn. */
  nodes: () => readonly NodeProcess[]
  perSecond: number
  sizes: readonly number[]
}

export interface LoadRequest {
  kind: 'put' | 'get'
  key: string
  startedMs: number
  tookMs: number
  /** 0: no answer. */
  status: number
  /** A get that was answered 200 with other bytes than were written. */
  wrong: boolean
}

export class Load {
  /** Acknowledged writes: key to seed and size. */
  readonly written: Map<string, { seed: number; size: number }>
  readonly requests: LoadRequest[] = []
  readonly #options: LoadOptions
  readonly #running = new Set<Promise<void>>()
  readonly #loop: Promise<void>
  #stopped = false
  #count = 0

  /** @param written objects that are there already; those of the load are added */
  constructor(options: LoadOptions, written: Map<string, { seed: number; size: number }>) {
    this.#options = options
    this.written = written
    this.#loop = this.#go()
  }

  /** Resolves when every request has been answered. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#loop
    await Promise.all(this.#running)
  }

  /** Requests that began in a time and were not answered 200. */
  failures(fromMs: number, toMs = Infinity): LoadRequest[] {
    return this.requests.filter((one) => one.startedMs >= fromMs && one.startedMs < toMs && one.status !== 200)
  }

  async #go(): Promise<void> {
    const beganMs = performance.now()
    while (!this.#stopped) {
      const one = this.#request(this.#count++).finally(() => this.#running.delete(one))
      this.#running.add(one)
      await sleep(Math.max(0, beganMs + (this.#count * 1000) / this.#options.perSecond - performance.now()))
    }
  }

  async #request(number: number): Promise<void> {
    const { bucket, nodes, sizes } = this.#options
    const targets = nodes()
    const node = targets[number % targets.length]!
    const known = [...this.written.keys()]
    const kind = number % 2 === 0 || known.length === 0 ? 'put' : 'get'
    const key = kind === 'put' ? `load-${number}` : known[(number * 7919) % known.length]!
    const { seed, size } = kind === 'put' ? { seed: number, size: sizes[(number >> 1) % sizes.length]! } : this.written.get(key)!
    const request: LoadRequest = { kind, key, startedMs: performance.now(), tookMs: 0, status: 0, wrong: false }
    try {
      const body = kind === 'put' ? bytes(size, seed) : undefined
      const answer = await signedRequest(node.port, node.credentials, { method: kind.toUpperCase(), path: s3Path(bucket, key), body })
      request.status = answer.status
      request.wrong = kind === 'get' && answer.status === 200 && !answer.body.equals(bytes(size, seed))
      if (kind === 'put' && answer.status === 200) this.written.set(key, { seed, size })
    } catch {
      // no answer: status 0 says so
    }
    request.tookMs = performance.now() - request.startedMs
    this.requests.push(request)
  }
}
