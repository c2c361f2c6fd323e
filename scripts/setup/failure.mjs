/** A failure that the person at the terminal can act on: printed without a stack. */
export class SetupFailure extends Error {}
