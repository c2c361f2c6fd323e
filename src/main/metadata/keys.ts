/**
 * Keys as Postgres orders them: `COLLATE "C"` over UTF-8 compares bytes, which is the order of code points (not of
 * JavaScript's UTF-16 units).
 */
import { AnvilError } from '../../shared/errors.ts'
import { MAX_KEY_BYTES } from '../../shared/limits.ts'

const MAX_CODE_POINT = 0x10ffff
const LAST_BEFORE_SURROGATES = 0xd7ff
const FIRST_AFTER_SURROGATES = 0xe000

/** Whether Postgres can hold the text: valid Unicode without NUL. */
export const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes('\0')

/** @throws AnvilError InvalidArgument for a key that no object can have */
export function checkKey(key: string): void {
  if (key === '' || !isStorable(key) || Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new AnvilError('InvalidArgument', 'a key is 1 to 1024 bytes of UTF-8 without NUL', { details: { argument: 'key' } })
  }
}

/** @throws AnvilError InvalidArgument */
export function checkText(name: string, text: string): void {
  if (!isStorable(text)) throw new AnvilError('InvalidArgument', `${name} holds NUL or invalid Unicode`, { details: { argument: name } })
}

/** The least text that is greater than every text with this prefix; null when there is none. */
export function successor(prefix: string): string | null {
  const points = Array.from(prefix)
  for (let at = points.length - 1; at >= 0; at--) {
    const point = points[at]!.codePointAt(0)!
    if (point === MAX_CODE_POINT) continue
    const next = point === LAST_BEFORE_SURROGATES ? FIRST_AFTER_SURROGATES : point + 1
    return points.slice(0, at).join('') + String.fromCodePoint(next)
  }
  return null
}

/** The least text that is greater than `text`: keys hold no NUL, so U+0001 is the least that can follow. */
export const after = (text: string): string => `${text}\u0001`

/** Order of `COLLATE "C"`. */
export const compareKeys = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
