/** A signed PUT over a bare socket, whose body is the caller's to send, or not. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { NodeProcess } from '../support/node-process.ts'
import { s3Path, sign, UNSIGNED } from '../support/sigv4.ts'

export interface RawUpload {
  socket: Socket
  /** All that the server has answered once its head is complete, or when the connection closed. */
  answer: Promise<string>
}

export interface RawUploadOptions {
  bucket: string
  key: string
  /** Content-Length that the head announces. */
  length: number
  headers?: Record<string, string>
  /** @default UNSIGNED-PAYLOAD */
  payloadHash?: string
  /** The last word on the head, after it was signed. */
  tamper?: (head: string) => string
}

export async function beginUpload(node: NodeProcess, options: RawUploadOptions): Promise<RawUpload> {
  const path = s3Path(options.bucket, options.key)
  const { headers } = sign({
    method: 'PUT', path, credentials: node.credentials, payloadHash: options.payloadHash ?? UNSIGNED,
    headers: { host: `127.0.0.1:${node.port}`, 'content-length': String(options.length), ...options.headers },
  })
  const head = `PUT ${path} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
  const upload = await openSocket(node)
  await send(upload.socket, Buffer.from(options.tamper === undefined ? head : options.tamper(head)))
  return upload
}

/** A connection to the node's S3 port. */
export async function openSocket(node: NodeProcess): Promise<RawUpload> {
  const socket = connect(node.port, '127.0.0.1')
  let text = ''
  const answer = new Promise<string>((resolve) => {
    socket.on('data', (data) => {
      text += data.toString('latin1')
      if (/^HTTP\/1\.1 (?!100)/m.test(text) && text.includes('\r\n\r\n')) resolve(text)
    })
    // a reset is one of the answers that hostile clients get
    socket.on('error', () => resolve(text))
    socket.on('close', () => resolve(text))
  })
  await once(socket, 'connect')
  return { socket, answer }
}

/** Resolves when the kernel has taken it; rejects when the server has closed. */
export const send = (socket: Socket, data: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => socket.write(data, (error) => (error ? reject(error) : resolve())))

/** Status of an answer; 0 when the connection was closed without one. */
export const statusIn = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/m.exec(answer.replace(/^HTTP\/1\.1 100[^]*?\r\n\r\n/, ''))?.[1] ?? 0)
