/** The S3 gateway: what the rest of Anvil may use of it. */
export { authorize } from './auth/authorize.ts'
export { assertPortFree } from './http/port.ts'
export { createGateway } from './gateway.ts'
export type { Gateway, GatewayCounters, GatewayHealth, GatewayLogger, GatewayOptions } from './gateway.ts'
