/** This node as a member of its cluster: the UDP port for peers, the transport, membership, and the drives of all members. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DeploymentId } from '../shared/ids.ts'
import type { NativePlane } from '../shared/native-plane.ts'
import { announcementOf, ClusterDrives } from './cluster/cluster-drives.ts'
import type { Config } from './config/contract.ts'
import { publicAddrsOf } from './config/load.ts'
import { platformFacts } from './config/platform.ts'
import type { LocalDrives } from './drives/local-drives.ts'
import { createMembership } from './membership/index.ts'
import type { Membership } from './membership/contract.ts'
import type { ObjectMetadata } from './metadata/contract.ts'
import type { Logger } from './observability/logger.ts'
import { StartError } from './start-error.ts'
import type { Transport } from './transport/contract.ts'
import type { NodeIdentity } from './transport/identity.ts'
import { startTransport } from './transport/index.ts'
import { VERSION } from './version.ts'

/** How long a start waits for the others. */
const FOUND_WITHIN_MS = 3000
const LOOK_MS = 20

/** The port for peers is bound; nobody is told of this node yet. */
export interface PeerPort {
  /** PUBLIC_ADDRS, or what the bind address gives: multiaddrs without /p2p. */
  publicAddrs: string[]
  bound: { host: string; port: number }
  close(): Promise<void>
}

export interface PeerPortOptions {
  config: Config
  identity: NodeIdentity
  /** Of this process: in its lease, in its member record and to the shard planes of its peers. */
  processId: string
  deploymentId: DeploymentId
  plane: NativePlane
  logger: Logger
}

/** @throws StartError when the address is taken */
export async function openPeerPort(options: PeerPortOptions): Promise<PeerPort> {
  const { config, identity, processId, deploymentId, plane } = options
  const [host, port] = hostAndPort(config.quicBindAddr)
  let bound
  try {
    bound = await plane.startPlane({
      host, port, identitySeed: identity.seed, nodeId: identity.nodeId, processId, deploymentId, region: config.region, clusterSecrets: config.clusterSecrets,
    })
  } catch (error) {
    throw new StartError([`QUIC_BIND_ADDR is ${config.quicBindAddr}, must be an address that this node can listen on alone: ${(error as Error).message}`])
  }
  return { bound, publicAddrs: publicAddresses(config, bound.port), close: () => plane.stopPlane() }
}

export interface Peers {
  membership: Membership
  drives: ClusterDrives
  transport: Transport
  /** Resolves when the nodes that the database believes to live answer, or soon after: until then this node knows few drives. */
  found(): Promise<void>
  /** Says goodbye; what runs goes on. */
  leave(): Promise<void>
  close(): Promise<void>
}

export interface PeersOptions extends PeerPortOptions {
  port: PeerPort
  local: LocalDrives
  metadata: Pick<ObjectMetadata, 'nodes'>
}

/** Joins the others, as many as there are: from now on they see this node. */
export async function joinPeers(options: PeersOptions): Promise<Peers> {
  const { config, identity, processId, deploymentId, plane, logger, port, local, metadata } = options
  const { region, zone, clusterSecrets, bootstrapAddrs } = config
  const transport = await startTransport({
    identity, processId, deploymentId, region, clusterSecrets, listen: { host: '127.0.0.1', port: 0 }, publicAddrs: port.publicAddrs,
    mdns: config.mdns ? {} : null, logger,
  })
  let membership: Membership
  try {
    plane.setPlaneRelay(transport.listening.port)
    membership = await createMembership({
      identity, transport, bootstrapAddrs, logger,
      record: {
        processId, region, zone, addrs: port.publicAddrs, grpcAddr: config.publicGrpcAddr, version: VERSION, startedMs: Date.now(),
        drives: announcementOf(local.all),
      },
      knownNodes: () => metadata.nodes(),
    })
  } catch (error) {
    await transport.close()
    throw error
  }
  const drives = new ClusterDrives({ nodeId: identity.nodeId, zone, local, membership, plane, logger })
  return {
    membership, drives, transport,
    async found() {
      const deadlineMs = performance.now() + FOUND_WITHIN_MS
      // a node whose lease runs on may have died a moment ago
      const others = (await metadata.nodes()).filter((node) => node.lease === 'held' && node.nodeId !== identity.nodeId)
      const missing = () => others.filter(({ nodeId }) => !drives.answers(nodeId))
      while (missing().length > 0 && performance.now() < deadlineMs) await sleep(LOOK_MS)
      for (const { nodeId, addrs } of missing()) logger.warn({ node: nodeId, addrs }, `node ${nodeId} has a lease in the database and does not answer`)
    },
    leave: () => membership.leave(),
    async close() {
      await membership.leave()
      drives.stop()
      plane.setPlaneRelay(0)
      await transport.close()
    },
  }
}

/** Of `/ip4/HOST/udp/PORT/quic-v1`. */
function hostAndPort(bindAddr: string): [host: string, port: number] {
  const [, , host = '', , port] = bindAddr.split('/')
  return [host, Number(port)]
}

function publicAddresses({ publicAddrs, quicBindAddr }: Config, port: number): string[] {
  const addrs = publicAddrs.length > 0 ? publicAddrs : publicAddrsOf(quicBindAddr.replace('/udp/0/', `/udp/${port}/`), platformFacts())
  // the member record carries the node's id
  return addrs.map((addr) => addr.replace(/\/p2p\/.*$/, ''))
}
