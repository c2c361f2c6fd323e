/**
 * What one node thinks of one member, and which of two thoughts is the newer. The order is total, so that all come to the
 * same view whatever arrives first: incarnation, then left, dead, suspect, alive.
 */
import type { MemberState } from '../membership/contract.ts'
import type { SignedRecord } from './contract.ts'

/** Immutable. */
export interface View {
  readonly signed: SignedRecord
  /** `left` exactly when the record says so. */
  readonly state: MemberState
}

const RANKS: Record<MemberState, number> = { alive: 0, suspect: 1, dead: 2, left: 3 }

/** The newer of two views of one member. Commutative, associative, idempotent; never a lower incarnation than either. */
export function mergeViews(a: View, b: View): View {
  const newest = compareRecords(a.signed, b.signed) >= 0 ? a : b
  const other = newest === a ? b : a
  if (a.signed.record.incarnation !== b.signed.record.incarnation || newest.signed.leaving) return newest
  return RANKS[other.state] > RANKS[newest.state] ? { signed: newest.signed, state: other.state } : newest
}

/** Whether a statement about (member, incarnation) changes a view of the same incarnation. */
export const outranks = (state: MemberState, than: MemberState): boolean => RANKS[state] > RANKS[than]

export const viewOf = (signed: SignedRecord, state: MemberState): View => ({ signed, state: signed.leaving ? 'left' : state === 'left' ? 'dead' : state })

/** By incarnation. Two records of one incarnation are two processes with one key: any order will do that all agree on. */
export function compareRecords(a: SignedRecord, b: SignedRecord): number {
  if (a === b) return 0
  return a.record.incarnation - b.record.incarnation || Number(a.leaving) - Number(b.leaving) || Buffer.compare(a.body, b.body)
}
