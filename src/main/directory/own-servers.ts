/**
 * ANVIL_STATE_DIR/database-servers.json: this node's metadata is on servers of its own. Started once more without
 * GLOBAL_DATABASE_URL and REGIONAL_DATABASE_URL, it would find its embedded Postgres as it was before the move, or make a
 * new deployment on an empty one; two truths about the same drives. So it refuses.
 */
import { join } from 'node:path'
import type { ClientConfig } from 'pg'
import { describe } from '../postgres/connection.ts'
import { readPrivateFile, writePrivateFile } from '../secrets/private-file.ts'
import { DeploymentError } from './deployment.ts'

const fileOf = (stateDir: string): string => join(stateDir, 'database-servers.json')

/** Durably; without users and passwords. */
export function noteOwnServers(stateDir: string, servers: { global: ClientConfig; regional: ClientConfig }): void {
  const text = `${JSON.stringify({ formatVersion: 1, global: describe(servers.global), regional: describe(servers.regional) }, null, 2)}\n`
  if (readPrivateFile(fileOf(stateDir)) !== text) writePrivateFile(fileOf(stateDir), text)
}

/** @throws DeploymentError */
export function refuseEmbeddedAfterMove(stateDir: string): void {
  const text = readPrivateFile(fileOf(stateDir))
  if (text === null) return
  let where = 'servers of its own'
  try {
    const { global, regional } = JSON.parse(text) as { global: string; regional: string }
    where = `${global} and ${regional}`
  } catch {
    // damaged: that it is there says enough
  }
  throw new DeploymentError(
    `the metadata of this node is on ${where}: set GLOBAL_DATABASE_URL and REGIONAL_DATABASE_URL. The embedded Postgres in ${stateDir} (ANVIL_STATE_DIR) is not used any more; `
    + `to go back to it in spite of everything written since, remove ${fileOf(stateDir)}`,
  )
}
