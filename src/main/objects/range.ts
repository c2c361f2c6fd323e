/** Byte ranges of objects: what the client asked for against what is there. Pure. */
import { AnvilError } from '../../shared/errors.ts'
import type { ReadRange } from './contract.ts'

export interface ResolvedRange {
  start: number
  /** Exclusive. */
  end: number
  partial: boolean
}

/** @throws AnvilError InvalidRange. Ranges by part are resolved by the caller, who knows the parts. */
export function resolveRange(range: Exclude<ReadRange, { kind: 'part' }>, size: number): ResolvedRange {
  switch (range.kind) {
    case 'whole':
      return { start: 0, end: size, partial: false }
    case 'bytes':
      if (range.first >= size) throw invalidRange(`bytes=${range.first}-${range.last ?? ''}`, size)
      return { start: range.first, end: range.last === null ? size : Math.min(range.last + 1, size), partial: true }
    case 'suffix':
      if (range.length === 0 || size === 0) throw invalidRange(`bytes=-${range.length}`, size)
      return { start: Math.max(0, size - range.length), end: size, partial: true }
  }
}

export const invalidRange = (range: string, size: number): AnvilError =>
  new AnvilError('InvalidRange', 'The requested range is not satisfiable', { details: { range, size } })
