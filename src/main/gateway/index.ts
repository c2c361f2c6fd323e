/** The S3 gateway: what the rest of Anvil may use of it. */
export { authorize } from './auth/authorize.ts'
export { setUwsLimits } from './http/load-uws.ts'
export { anyPort, assertPortFree } from './http/port.ts'
export { createGateway } from './gateway.ts'
export type { Gateway, GatewayCounters, GatewayHealth, GatewayLogger, GatewayOptions } from './gateway.ts'
