/** What is measured: a server with its credentials and the processes whose CPU counts. */
import type { Credentials } from '../test/support/sigv4.ts'

export interface Target {
  name: string
  port: number
  credentials: Credentials
  /** The server process itself. */
  pid(): number
  /** CPU seconds so far: of the server, and of its database processes. */
  cpu(): { server: number; database: number }
  /** Ends it and removes its data. */
  stop(): Promise<void>
}
