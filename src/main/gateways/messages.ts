/** What the main thread and a gateway thread say to each other. */
import type { ClientConfig } from 'pg'
import type { PgId } from '../../shared/ids.ts'
import type { Config } from '../config/contract.ts'
import type { GatewayHealth } from '../gateway/index.ts'
import type { ClusterEvent } from '../membership/contract.ts'
import type { MetricValues } from '../observability/thread-metrics.ts'
import type { DriveView } from '../placement/groups.ts'

/** What all gateways of a process are told when it changes. */
export interface NodeView {
  drives: DriveView
  health: GatewayHealth
  ready: GatewayHealth
}

export interface ThreadData {
  /** `gateway-1` and so on. */
  thread: string
  config: Config
  global: ClientConfig
  regional: ClientConfig
  view: NodeView
}

export interface GatewayReport {
  /** Groups with an upload in them. */
  inUse: PgId[]
  /** When the oldest running read started, by `monotonicMs`; null: none runs. */
  oldestReadMs: number | null
}

export type ToThread =
  | { type: 'view'; view: NodeView }
  /** Something was changed in another thread, or on another node. */
  | { type: 'event'; event: ClusterEvent }
  /** Groups were sealed: the open ones are looked up anew. */
  | { type: 'reset-slots' }
  | { type: 'listen' }
  | { type: 'report' }
  | { type: 'metrics' }
  | { type: 'drain'; ms: number }
  | { type: 'close' }

/**
 * Each request is answered by the message of its name, or by `failed`; so is what nobody catches in the thread, which goes
 * on until it is closed: libuv aborts the process when a thread goes with its sockets open.
 */
export type FromThread =
  | { type: 'created' }
  /** This thread has changed something that others may know by heart. Answers nothing. */
  | { type: 'event'; event: ClusterEvent }
  | { type: 'failed'; error: Error }
  | { type: 'listen'; port: number }
  | { type: 'report'; report: GatewayReport }
  | { type: 'metrics'; values: MetricValues }
  | { type: 'drain' }
