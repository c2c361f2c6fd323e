/** Starts the transport: libp2p over QUIC, with the handshake that makes a connection a peer. */
export { startTransport, type TransportOptions } from './transport.ts'
