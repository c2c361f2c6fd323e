/** The Range header of a read, and x-amz-copy-source-range. */
import type { ReadRange } from '../../objects/contract.ts'
import { invalidArgument } from '../errors.ts'

const form = /^bytes=(\d*)-(\d*)$/

/**
 * A header that is not one byte range is ignored, as S3 (and RFC 9110 §14.2) do: several ranges, other units, an end
 * before its start.
 */
export function parseRange(header: string | undefined): ReadRange {
  const match = form.exec(header?.replaceAll(' ', '') ?? '')
  if (match === null) return { kind: 'whole' }
  const [, first, last] = match as unknown as [string, string, string]
  if (first === '') return last === '' ? { kind: 'whole' } : { kind: 'suffix', length: bounded(last) }
  if (last === '') return { kind: 'bytes', first: bounded(first), last: null }
  return bounded(last) < bounded(first) ? { kind: 'whole' } : { kind: 'bytes', first: bounded(first), last: bounded(last) }
}

/** Numbers beyond what a double holds exactly are beyond any object, too. */
const bounded = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER - 1)

/** UploadPartCopy takes exactly `bytes=first-last`. @throws S3Error InvalidArgument */
export function parseCopyRange(header: string | undefined): ReadRange {
  if (header === undefined) return { kind: 'whole' }
  const match = /^bytes=(\d+)-(\d+)$/.exec(header)
  if (match === null || bounded(match[2]!) < bounded(match[1]!)) {
    throw invalidArgument(
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
      'x-amz-copy-source-range', header,
    )
  }
  return { kind: 'bytes', first: bounded(match[1]!), last: bounded(match[2]!) }
}

/** partNumber of a GET or HEAD, or of an upload. @throws S3Error InvalidArgument */
export function parsePartNumber(text: string, most: number): number {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (number < 1 || number > most) throw invalidArgument(`Part number must be an integer between 1 and ${most}, inclusive`, 'partNumber', text)
  return number
}
