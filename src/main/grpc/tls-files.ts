/** The certificate and key of the gRPC server, read again when the files change. The last pair that fitted goes on serving. */
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { experimental } from '@grpc/grpc-js'
import type { Logger } from 'pino'

type Provider = experimental.CertificateProvider
type Listener = Parameters<Provider['addIdentityCertificateListener']>[0]
type Pair = NonNullable<Parameters<Listener>[0]>

const LOOK_MS = 1000

export class TlsFiles implements Provider {
  readonly #files: { certFile: string; keyFile: string }
  readonly #logger: Logger
  readonly #listeners = new Set<Listener>()
  readonly #timer: NodeJS.Timeout
  #current: Pair
  /** The pair looked at last, also when it could not be used: told once. */
  #seen: Pair
  /** What was said of files that cannot be read, said once. */
  #said = ''

  /** @throws Error when the files cannot be read or do not belong together */
  static async open(files: { certFile: string; keyFile: string }, logger: Logger): Promise<TlsFiles> {
    const pair = await read(files)
    assertUsable(pair)
    return new TlsFiles(files, logger, pair)
  }

  private constructor(files: { certFile: string; keyFile: string }, logger: Logger, pair: Pair) {
    this.#files = files
    this.#logger = logger
    this.#current = pair
    this.#seen = pair
    this.#timer = setInterval(() => void this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  addIdentityCertificateListener(listener: Listener): void {
    this.#listeners.add(listener)
    process.nextTick(listener, this.#current)
  }

  removeIdentityCertificateListener(listener: Listener): void {
    this.#listeners.delete(listener)
  }

  /** Clients present no certificate: there is no authority to name. */
  addCaCertificateListener(): void {}
  removeCaCertificateListener(): void {}

  async #look(): Promise<void> {
    try {
      const pair = await read(this.#files)
      if (samePair(pair, this.#seen)) return
      this.#seen = pair
      assertUsable(pair)
      this.#current = pair
      this.#said = ''
      for (const listener of this.#listeners) listener(pair)
      this.#logger.info({ file: this.#files.certFile }, 'gRPC: the certificate was replaced')
    } catch (error) {
      if (String(error) === this.#said) return
      this.#said = String(error)
      this.#logger.warn({ err: error }, 'gRPC: the new certificate cannot be used, the one before goes on serving')
    }
  }
}

async function read({ certFile, keyFile }: { certFile: string; keyFile: string }): Promise<Pair> {
  const [certificate, privateKey] = await Promise.all([readFile(certFile), readFile(keyFile)])
  return { certificate, privateKey }
}

const assertUsable = ({ certificate, privateKey }: Pair): void => void createSecureContext({ cert: certificate, key: privateKey })

const samePair = (a: Pair, b: Pair): boolean => a.certificate.equals(b.certificate) && a.privateKey.equals(b.privateKey)
