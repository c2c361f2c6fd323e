export interface Counts {
  passed: number
  failed: number
  skipped: number
}

export const noCounts: Readonly<Counts> = { passed: 0, failed: 0, skipped: 0 }

export function plus(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped }
}
