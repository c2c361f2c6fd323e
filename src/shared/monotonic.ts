/** Milliseconds of this host's monotonic clock: the same in every thread of the process, and never set back. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n)
