/** The query of a request, decoded once. */
import { invalidArgument } from '../errors.ts'
import { decodeQueryPart } from './percent.ts'

export class Query {
  /** In the order sent. */
  readonly entries: readonly (readonly [name: string, value: string])[]

  /** @throws S3Error InvalidURI */
  constructor(rawQuery: string) {
    this.entries = rawQuery === ''
      ? []
      : rawQuery.split('&').filter((part) => part !== '').map((part) => {
        const equals = part.indexOf('=')
        return equals === -1
          ? [decodeQueryPart(part), ''] as const
          : [decodeQueryPart(part.slice(0, equals)), decodeQueryPart(part.slice(equals + 1))] as const
      })
  }

  has(name: string): boolean {
    return this.entries.some(([n]) => n === name)
  }

  /** The first value of that name; undefined when there is none. */
  get(name: string): string | undefined {
    return this.entries.find(([n]) => n === name)?.[1]
  }

  /** A count between 0 and `most`; larger ones are `most`, as S3 does. @throws S3Error InvalidArgument */
  count(name: string, most: number): number {
    const text = this.get(name)
    if (text === undefined || text === '') return most
    if (!/^\d{1,10}$/.test(text) || Number(text) > 0x7fffffff) {
      throw invalidArgument(`Provided ${name} not an integer or within integer range`, name, text)
    }
    return Math.min(Number(text), most)
  }
}
