/** The listening socket, and for TLS the certificate behind it, which may change while the gateway runs. */
import type { GatewayLogger } from '../handler.ts'
import { CertificateFiles } from './certificate-files.ts'
import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket, UwsModule } from './load-uws.ts'

export interface ListenerOptions {
  host: string
  port: number
  tls: { certFile: string; keyFile: string } | null
  tlsPollMs: number | undefined
  logger: GatewayLogger
  onRequest: (res: HttpResponse, req: HttpRequest) => void
}

const TLS_POLL_MS = 10_000

interface Listening {
  app: TemplatedApp
  socket: us_listen_socket
}

export class Listener {
  readonly #uws: UwsModule
  readonly #options: ListenerOptions
  readonly #certificate: CertificateFiles | null
  #listening: Listening | null = null
  /** Apps whose certificate was replaced: their connections go on until they end. */
  readonly #retired: TemplatedApp[] = []
  #port: number
  #poll: NodeJS.Timeout | null = null
  #closed = false

  constructor(uws: UwsModule, options: ListenerOptions) {
    this.#uws = uws
    this.#options = options
    this.#port = options.port
    this.#certificate = options.tls === null ? null : new CertificateFiles(options.tls)
  }

  /** @throws Error when the address cannot be bound or the certificate cannot be used */
  async listen(): Promise<number> {
    await this.#certificate?.read()
    if (this.#port === 0) this.#port = this.#freePort()
    this.#listening = this.#open()
    if (this.#certificate !== null) {
      this.#poll = setInterval(() => {
        void this.#renew()
      }, this.#options.tlsPollMs ?? TLS_POLL_MS)
    }
    return this.#port
  }

  /** Takes no more connections; those that are there go on. */
  stop(): void {
    if (this.#poll !== null) clearInterval(this.#poll)
    this.#poll = null
    if (this.#listening !== null && !this.#closed) {
      this.#uws.us_listen_socket_close(this.#listening.socket)
      this.#retired.push(this.#listening.app)
      this.#listening = null
    }
  }

  /** Cuts every connection. */
  close(): void {
    this.stop()
    this.#closed = true
    for (const app of this.#retired.splice(0)) app.close()
  }

  #open(): Listening {
    const { host, onRequest, tls } = this.#options
    const app = tls === null ? this.#uws.App() : this.#uws.SSLApp({ cert_file_name: tls.certFile, key_file_name: tls.keyFile })
    app.any('/*', onRequest)
    let socket: us_listen_socket | false = false
    app.listen(host, this.#port, (opened) => {
      socket = opened
    })
    if (socket === false) {
      app.close()
      throw new Error(`cannot listen on ${host}:${this.#port}`)
    }
    return { app, socket }
  }

  /** A socket bound to port 0 cannot be shared, with a second app or thread: so the system's choice is bound by its number. */
  #freePort(): number {
    const { app, socket } = this.#open()
    const port = this.#uws.us_socket_local_port(socket)
    this.#uws.us_listen_socket_close(socket)
    app.close()
    return port
  }

  /**
   * The certificate belongs to an app, so a new one takes a new app. Both listen on the port for a moment (it is shared,
   * as among threads), then the old socket closes; established connections keep the old app.
   */
  async #renew(): Promise<void> {
    const { logger } = this.#options
    try {
      if (!(await this.#certificate!.changed()) || this.#listening === null) return
      const opened = this.#open()
      this.#uws.us_listen_socket_close(this.#listening.socket)
      this.#retired.push(this.#listening.app)
      this.#listening = opened
      logger.info({ certFile: this.#options.tls?.certFile }, 'the changed TLS certificate is in use')
    } catch (error) {
      logger.error({ err: error }, 'the changed TLS certificate cannot be used; the one before stays')
    }
  }
}
