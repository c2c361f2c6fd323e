/** What the rest of a node uses of this folder. */
export { openDirectory, type CachedDirectory, type DirectoryOptions } from './cached-directory.ts'
export type { Change } from './change-feed.ts'
export { DeploymentError } from './deployment.ts'
export { prepareDatabases, type PreparedDatabases, type PrepareOptions } from './prepare-databases.ts'
