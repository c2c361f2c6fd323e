/** Where things lie in the checkout. Nothing outside it is ever written. */
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
export const modulesDir = path.join(root, 'node_modules')
export const cacheDir = path.join(root, '.cache')
/** Stamps, logs and the lock of the setup itself. */
export const setupDir = path.join(cacheDir, 'setup')
/** uWebSockets.js as prepared for this host; read by src/main/gateway/http/load-uws.ts. */
export const uwsDir = path.join(cacheDir, 'uws')
/** The Node 24 that runs everything but the setup: a locked package, no install script needed. */
export const node24 = path.join(modulesDir, `node-linux-${process.arch}`, 'bin', 'node')
