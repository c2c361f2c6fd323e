/** The files of a TLS certificate and its key, and whether they have changed. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'

export class CertificateFiles {
  readonly #files: { certFile: string; keyFile: string }
  #digest = ''

  constructor(files: { certFile: string; keyFile: string }) {
    this.#files = files
  }

  /** @throws Error when they cannot be read, or do not belong together */
  async read(): Promise<void> {
    this.#digest = await this.#load()
  }

  /**
   * True once for each new pair. Two files never change at the same moment: a certificate that does not fit its key is an
   * error once, and looked at again when either changes. @throws Error when the new pair cannot be used
   */
  async changed(): Promise<boolean> {
    const [cert, key] = await this.#contents()
    const digest = digestOf(cert, key)
    if (digest === this.#digest) return false
    this.#digest = digest
    createSecureContext({ cert, key })
    return true
  }

  async #load(): Promise<string> {
    const [cert, key] = await this.#contents()
    createSecureContext({ cert, key })
    return digestOf(cert, key)
  }

  #contents(): Promise<[Buffer, Buffer]> {
    return Promise.all([readFile(this.#files.certFile), readFile(this.#files.keyFile)])
  }
}

const digestOf = (cert: Buffer, key: Buffer): string => createHash('sha256').update(cert).update('\0').update(key).digest('hex')
