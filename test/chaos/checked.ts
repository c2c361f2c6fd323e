/** The store as a client sees it: keys with their histories, and the judgement of every answer. */
import type { NodeProcess } from '../support/node-process.ts'
import { s3Path } from '../support/sigv4.ts'
import { ask, type Answer, type Call } from './client.ts'
import type { Findings } from './findings.ts'
import { ABSENT, KeyHistory } from './history.ts'
import { bodyOf, contentType, type Value, Values } from './values.ts'
import type { Weather } from './weather.ts'

export const BUCKET = 'chaos'

/** Answers of a cluster that cannot do it now. */
const BUSY_CODES = new Set(['SlowDown', 'ServiceUnavailable'])

export class CheckedStore {
  readonly values = new Values()
  readonly histories = new Map<string, KeyHistory>()
  readonly counts: Record<string, number> = {}
  readonly #nodes: readonly NodeProcess[]
  readonly #findings: Findings
  readonly #weather: Weather

  constructor(nodes: readonly NodeProcess[], findings: Findings, weather: Weather) {
    this.#nodes = nodes
    this.#findings = findings
    this.#weather = weather
  }

  history(key: string): KeyHistory {
    let history = this.histories.get(key)
    if (history === undefined) this.histories.set(key, (history = new KeyHistory(key)))
    return history
  }

  /** A request whose answer may be success, one of `expected`, or that the cluster cannot do it now. */
  async ask(node: number, what: string, call: Call, expected: readonly string[] = []): Promise<Answer> {
    const answer = await ask(this.#nodes[node]!, call)
    this.#weather.note(node, what, answer)
    this.#judge(node, what, call, answer, expected)
    return answer
  }

  object(key: string): string {
    return s3Path(BUCKET, key)
  }

  /** GET or HEAD of an object, whole or a range; false where nothing was learnt. */
  async read(node: number, method: 'GET' | 'HEAD', key: string, range?: { from: number; to: number }): Promise<boolean> {
    const what = `${method} ${key} through node ${node}`
    const headers = range === undefined ? undefined : { range: `bytes=${range.from}-${range.to}` }
    const answer = await this.ask(node, range === undefined ? method : 'range', { method, path: this.object(key), headers }, ['404 NoSuchKey', '404 ', '416 InvalidRange'])
    const { status, beganMs, headMs: endedMs } = answer
    if (status === 404) {
      this.history(key).read({ value: ABSENT, what, beganMs, endedMs })
      return true
    }
    if (status !== 200 && status !== 206) return false
    const id = Number(answer.headers['x-amz-meta-op'] ?? NaN)
    const value = this.values.get(id)
    if (value === undefined || value.key !== key) {
      this.#findings.add('an object of another key', `${what}: value ${String(answer.headers['x-amz-meta-op'])}, etag ${answer.headers.etag}`)
      return false
    }
    this.history(key).read({ value: id, what: `${what} (value ${id})`, beganMs, endedMs })
    this.#compare(what, value, answer, method, range)
    return answer.whole
  }

  /** Everything that was ever told of every key. */
  checkHistories(sinceMs: number): void {
    for (const history of this.histories.values()) {
      const violation = history.violation()
      if (violation !== null) this.#findings.add('not linearizable', `${history.key}: ${violation}\n    ${history.story(sinceMs).slice(-40).join('\n    ')}`)
    }
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  #compare(what: string, value: Value, answer: Answer, method: string, range?: { from: number; to: number }): void {
    const wrong = (text: string): void => this.#findings.add('wrong data', `${what}: value ${value.id}, ${value.size} bytes: ${text}`)
    const { headers } = answer
    const etag = headers.etag?.replaceAll('"', '')
    value.etag ??= etag ?? null
    if (etag !== value.etag) wrong(`ETag ${etag} instead of ${value.etag}`)
    if (headers['content-type'] !== contentType(value.id)) wrong(`Content-Type ${headers['content-type']}`)
    const from = range?.from ?? 0
    const to = Math.min(range?.to ?? Infinity, value.size - 1)
    if (Number(headers['content-length']) !== to - from + 1) wrong(`Content-Length ${headers['content-length']} instead of ${to - from + 1}`)
    if (range !== undefined && headers['content-range'] !== `bytes ${from}-${to}/${value.size}`) wrong(`Content-Range ${headers['content-range']}`)
    if (method === 'HEAD') return
    const expected = bodyOf(value).subarray(from, to + 1)
    if (!answer.whole) {
      this.count('answers cut off in their body')
      if (!answer.body.equals(expected.subarray(0, answer.body.length))) wrong(`its first ${answer.body.length} bytes are others`)
    } else if (!answer.body.equals(expected)) {
      const at = answer.body.findIndex((byte, i) => byte !== expected[i])
      wrong(`${answer.body.length} bytes, others from ${at} of ${expected.length} on`)
    }
  }

  #judge(node: number, what: string, call: Call, answer: Answer, expected: readonly string[]): void {
    const { status, code, failure } = answer
    this.count(`${what} ${status === 0 ? 'unanswered' : status}`)
    const told = `${call.method} ${call.path}${call.query === undefined ? '' : ` ${JSON.stringify(call.query)}`} through node ${node}: ${status} ${code} ${failure} after ${Math.round(answer.endedMs - answer.beganMs)} ms, request ${String(answer.headers['x-amz-request-id'])}`
    const refused = status === 0 || (status === 503 && (BUSY_CODES.has(code) || call.method === 'HEAD'))
    if (refused || !(answer.whole || status >= 300)) {
      if (this.#weather.calmSince(answer.beganMs)) this.#findings.add('refused in calm weather', `${told} ${answer.body.toString().slice(0, 300)}`)
    } else if (status >= 300 && !expected.includes(`${status} ${code}`)) {
      this.#findings.add(`answer ${status} ${code}`, `${told} ${answer.body.toString().slice(0, 300)}`)
    }
  }
}
