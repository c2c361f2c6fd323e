/** Asks the node that runs on this host, over its admin socket. */
import { request } from 'node:http'
import { adminSocketPath } from '../admin-socket.ts'
import { AdminError } from '../directory/admin-error.ts'

/** @throws AdminError when no node answers for this state folder, or it answers an error */
export function askNode(stateDir: string, method: 'GET' | 'POST', path: string, timeoutMs?: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: adminSocketPath(stateDir), method, path }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const body = JSON.parse(Buffer.concat(chunks).toString()) as { error?: string }
        if (response.statusCode === 200) resolve(body)
        else reject(new AdminError(body.error ?? `the node answered ${response.statusCode}`))
      })
    })
    call.on('error', (error) => reject(new AdminError(`no node runs on ${stateDir} (ANVIL_STATE_DIR): ${error.message}`)))
    if (timeoutMs !== undefined) call.setTimeout(timeoutMs, () => call.destroy(new Error(`no answer within ${timeoutMs} ms`)))
    call.end()
  })
}
