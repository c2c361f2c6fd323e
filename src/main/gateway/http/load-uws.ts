/**
 * The one place that loads uWebSockets.js. On a glibc older than 2.38 the package's own library does not load; the setup
 * (scripts/setup/uws.mjs) then prepares a copy of it and a shim, and says so in .cache/uws/prepared.json. Where there is
 * no such file (the container image, whose glibc is new) the package is used as it is.
 *
 * A thread must close its listen sockets (`us_listen_socket_close`) and its apps (`close()`) before it ends, on every way
 * out: libuv aborts the whole process otherwise ("uv_loop_close() while having open handles").
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { isMainThread } from 'node:worker_threads'
import type * as Uws from 'uWebSockets.js'
import { MAX_HEADERS_BYTES } from '../../../shared/limits.ts'

export type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from 'uWebSockets.js'
export type UwsModule = typeof Uws

/** File names beside the manifest; null: nothing had to be prepared. */
interface Prepared {
  library: string | null
  shim: string | null
}

const preparedDir = path.resolve(import.meta.dirname, '../../../../.cache/uws')
const headersVariable = 'UWS_HTTP_MAX_HEADERS_SIZE'
let loaded: UwsModule | undefined

/** Once per thread: each has its own copy of the module's state, and its own event loop. */
export function loadUws(): UwsModule {
  loaded ??= load(readPrepared())
  return loaded
}

/**
 * Called on the main thread before gateway threads start. The library reads its limit with getenv(), once per process;
 * a worker's process.env is a copy that getenv() does not see, and without this the limit would silently be 4 KiB.
 */
export function setUwsLimits(): void {
  const wanted = String(MAX_HEADERS_BYTES)
  if (isMainThread) process.env[headersVariable] = wanted
  else if (process.env[headersVariable] !== wanted) throw new Error('setUwsLimits() must run on the main thread before a gateway thread starts')
}

function load({ library, shim }: Prepared): UwsModule {
  setUwsLimits()
  // Global, so that the dynamic linker finds the shim's symbols when it binds the library.
  if (shim !== null) process.dlopen({ exports: {} }, path.join(preparedDir, shim), os.constants.dlopen.RTLD_NOW | os.constants.dlopen.RTLD_GLOBAL)
  if (library === null) return createRequire(import.meta.url)('uWebSockets.js') as UwsModule
  const module = { exports: {} }
  process.dlopen(module, path.join(preparedDir, library), os.constants.dlopen.RTLD_NOW)
  return module.exports as UwsModule
}

function readPrepared(): Prepared {
  try {
    return JSON.parse(fs.readFileSync(path.join(preparedDir, 'prepared.json'), 'utf8')) as Prepared
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { library: null, shim: null }
    throw error
  }
}
