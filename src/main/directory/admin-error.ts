/** What an operator asked for cannot be done. The message says why, in one line. */
export class AdminError extends Error {
  override readonly name = 'AdminError'
}
