/** The metadata of this region for one `anvil admin` command. */
import type { ObjectMetadata } from '../metadata/contract.ts'
import { openObjectMetadata } from '../metadata/index.ts'
import { withDatabases } from './admin-databases.ts'

export async function withMetadata<T>(work: (metadata: ObjectMetadata, stateDir: string) => Promise<T>): Promise<T> {
  const quiet = { debug() {}, info() {}, warn() {}, error() {} }
  return withDatabases(async ({ config, regional }) => {
    const metadata = await openObjectMetadata({ connection: regional, logger: quiet })
    try {
      return await work(metadata, config.stateDir)
    } finally {
      await metadata.close()
    }
  })
}
