/** The export of the embedded Postgres on the drives: what it is made of, and how it is written. */
import type { Logger } from 'pino'
import type { DriveId } from '../shared/ids.ts'
import { GIB } from '../shared/limits.ts'
import type { Native } from '../shared/native.ts'
import type { PreparedDatabases } from './directory/index.ts'
import type { StorageRuntime } from './gateways/runtime.ts'
import { metadataExports, type MetadataExports } from './maintenance/metadata-exports.ts'
import { changeMark } from './metadata/transfer/change-mark.ts'
import { withExport } from './metadata/transfer/export.ts'
import { writeSystemBlobs } from './objects/system-blobs.ts'
import { VERSION } from './version.ts'

export interface EmbeddedExportOptions {
  native: Native
  databases: PreparedDatabases
  storage: StorageRuntime
  logger: Logger
  drives(): DriveId[]
  /** 0: never. */
  periodMs: number
}

/** What is larger is stored as several blobs. */
const MAX_BLOB_BYTES = 4 * GIB

/** Null with servers of one's own, which have backups of their own, and where it is switched off. */
export function embeddedExports({ native, databases, storage, logger, drives, periodMs }: EmbeddedExportOptions): MetadataExports | null {
  if (!databases.embedded || periodMs === 0) return null
  const { metadata, groups } = storage
  const { global, regional } = databases
  return metadataExports({
    native, metadata, logger, drives, periodMs,
    source: {
      changeMark: () => changeMark({ global, regional }),
      withExport: (work) => withExport({ global, regional }, VERSION, work),
      write: (bytes) => writeSystemBlobs({ native, groups, metadata, maxBlobBytes: MAX_BLOB_BYTES }, bytes),
    },
  })
}
