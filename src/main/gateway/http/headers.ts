/**
 * Headers of a request: lower-case names, values as they came with the white space around them removed. A repeated header
 * keeps every value, in order; reading it as one joins them with a comma (RFC 9110 §5.2).
 */
export class RequestHeaders {
  readonly #values = new Map<string, string | string[]>()

  static of(entries: Iterable<readonly [string, string]>): RequestHeaders {
    const headers = new RequestHeaders()
    for (const [name, value] of entries) headers.add(name, value)
    return headers
  }

  add(name: string, value: string): void {
    const lower = name.toLowerCase()
    const before = this.#values.get(lower)
    if (before === undefined) this.#values.set(lower, value)
    else if (typeof before === 'string') this.#values.set(lower, [before, value])
    else before.push(value)
  }

  /** The value, or undefined when the header is absent. An empty header is ''. */
  get(name: string): string | undefined {
    const value = this.#values.get(name)
    return typeof value === 'string' || value === undefined ? value : value.join(',')
  }

  all(name: string): readonly string[] {
    const value = this.#values.get(name)
    return value === undefined ? [] : typeof value === 'string' ? [value] : value
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  names(): IterableIterator<string> {
    return this.#values.keys()
  }
}
