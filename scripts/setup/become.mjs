/** Goes on as Node 24: a child that gets our signals and whose end is ours. (Node 20 has no exec of its own.) */
import { spawn } from 'node:child_process'
import { node24 } from './paths.mjs'

export function becomeNode24(args) {
  const child = spawn(node24, args, { stdio: 'inherit' })
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      process.exitCode = code ?? 1
      if (signal !== null) process.stderr.write(`ended by ${signal}\n`)
      resolve()
    })
  })
}
