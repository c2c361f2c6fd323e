/** The settings of this process: its environment, its host, and the secrets kept in its state folder. */
import { generateSecrets, keepSecrets, readSecrets, type GeneratedSecrets } from '../secrets/generated.ts'
import { loadConfig, type Environment, type LoadedConfig } from './load.ts'
import { platformFacts } from './platform.ts'

/**
 * @param mayGenerate on the embedded default, whether missing secrets may be made and kept (a node may, `anvil admin` may not:
 *   it would make keys that the node's data does not have)
 * @throws Error when the kept secrets are damaged, cannot be read or cannot be written
 */
export function loadNodeConfig(env: Environment, { mayGenerate }: { mayGenerate: boolean }): LoadedConfig {
  const facts = platformFacts()
  const fresh = generateSecrets()
  const loaded = loadConfig(env, facts, fresh)
  if ('mistakes' in loaded || loaded.config.globalDatabaseUrl !== null) return loaded
  const kept = mayGenerate ? keepSecrets(loaded.config.stateDir, fresh) : requireSecrets(loaded.config.stateDir)
  return loadConfig(env, facts, kept)
}

/** Nothing lies in the state folder yet. */
export class NoDeploymentError extends Error {
  override readonly name = 'NoDeploymentError'
}

function requireSecrets(stateDir: string): GeneratedSecrets {
  const kept = readSecrets(stateDir)
  if (kept) return kept
  throw new NoDeploymentError(
    `there is no deployment in ${stateDir} (ANVIL_STATE_DIR): start a node with \`anvil --init-cluster\`, or set GLOBAL_DATABASE_URL and REGIONAL_DATABASE_URL`,
  )
}
