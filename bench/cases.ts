/** What is measured. */
import type { Operation } from './protocol.ts'

export const KIB = 1024
export const MIB = 1024 * KIB

export interface Case {
  operation: Operation
  sizeBytes: number
  connections: number
  signedPayload: boolean
}

interface SizePlan {
  sizeBytes: number
  connections: number[]
  /** Objects that GETs go through in turn. */
  objects: number
}

export interface Plan {
  sizes: SizePlan[]
  warmUpMs: number
  measureMs: number
}

export const FULL: Plan = {
  sizes: [
    { sizeBytes: 4 * KIB, connections: [1, 32, 128], objects: 4000 },
    { sizeBytes: 64 * KIB, connections: [1, 16, 64], objects: 1000 },
    { sizeBytes: MIB, connections: [1, 8, 32], objects: 200 },
    { sizeBytes: 64 * MIB, connections: [1, 4], objects: 8 },
  ],
  warmUpMs: 1500,
  measureMs: 6000,
}

export const QUICK: Plan = {
  sizes: FULL.sizes.map(({ sizeBytes, connections, objects }) => ({ sizeBytes, connections: [connections[1] ?? connections[0]!], objects: Math.ceil(objects / 10) })),
  warmUpMs: 500,
  measureMs: 1500,
}

/** In the order in which they run: of each size first what writes, then what reads. */
export function casesOf(plan: Plan): (Case & { objects: number })[] {
  return plan.sizes.flatMap(({ sizeBytes, connections, objects }) => [
    ...connections.map((count) => ({ operation: 'PUT' as const, sizeBytes, connections: count, signedPayload: false, objects })),
    // SHA-256 of the whole body, as SDKs without TLS send it
    { operation: 'PUT' as const, sizeBytes, connections: connections.at(Math.min(1, connections.length - 1))!, signedPayload: true, objects },
    ...connections.map((count) => ({ operation: 'GET' as const, sizeBytes, connections: count, signedPayload: false, objects })),
  ])
}

/** Large bodies need longer for the same number of answers. */
export const timesOf = ({ warmUpMs, measureMs }: Plan, { sizeBytes }: Case): { warmUpMs: number; measureMs: number } =>
  sizeBytes < 16 * MIB ? { warmUpMs, measureMs } : { warmUpMs, measureMs: measureMs * 2 }

export const sizeName = (bytes: number): string => (bytes >= MIB ? `${bytes / MIB} MiB` : `${bytes / KIB} KiB`)
