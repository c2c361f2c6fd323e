/**
 * The tutorial's network: host A has 203.0.113.1, and every other host is a network namespace that a veth pair joins to
 * it. Behind a host there can be a container network, as a container engine makes it.
 */
import { Namespace } from './namespaces.ts'

export interface Host {
  label: string
  namespace: Namespace
  /** Where the others reach it: its IPv4 address, or its IPv6 address where it has no other. */
  address: string
}

export type Family = 'ip4' | 'ip6'

export const HOST_A = '203.0.113.1'
const PREFIX_BITS = 24
/** The same network in IPv6 (RFC 3849): `2001:db8::<number>`. */
const PREFIX_BITS_6 = 64
export const address6 = (number: number): string => `2001:db8::${number}`
/** The bridge on host A, which holds its address and the ends of the pairs. */
const BRIDGE = 'lan'
const FIRST_LABEL = 'a'

/** @param owner pid of the process that removes the namespaces */
export async function makeHostA(owner: number): Promise<Host> {
  const host = hostA(owner)
  await Namespace.add(owner, FIRST_LABEL)
  await host.namespace.ip('link', 'add', BRIDGE, 'type', 'bridge')
  await host.namespace.ip('addr', 'add', `${HOST_A}/${PREFIX_BITS}`, 'dev', BRIDGE)
  await addAddress6(host.namespace, 1, BRIDGE)
  await host.namespace.ip('link', 'set', BRIDGE, 'up')
  return host
}

export function hostA(owner: number): Host {
  return { label: FIRST_LABEL, namespace: Namespace.existing(owner, FIRST_LABEL), address: HOST_A }
}

/** Without the search for duplicates, which would leave the address unusable for a second. */
const addAddress6 = (namespace: Namespace, number: number, device: string): Promise<void> =>
  namespace.ip('addr', 'add', `${address6(number)}/${PREFIX_BITS_6}`, 'dev', device, 'nodad')

/** One more host, `203.0.113.<number>` and where it is wanted `2001:db8::<number>`: 2 is the tutorial's host B. */
export async function joinHost(owner: number, number: number, families: readonly Family[] = ['ip4']): Promise<Host> {
  const a = hostA(owner)
  const label = String.fromCodePoint('a'.charCodeAt(0) + number - 1)
  const namespace = await Namespace.add(owner, label)
  const address4 = `203.0.113.${number}`
  await namespace.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `to-${label}`, 'netns', a.namespace.name)
  await a.namespace.ip('link', 'set', `to-${label}`, 'master', BRIDGE, 'up')
  if (families.includes('ip4')) await namespace.ip('addr', 'add', `${address4}/${PREFIX_BITS}`, 'dev', 'eth0')
  if (families.includes('ip6')) await addAddress6(namespace, number, 'eth0')
  await namespace.ip('link', 'set', 'eth0', 'up')
  return { label, namespace, address: families.includes('ip4') ? address4 : address6(number) }
}

export interface ContainerNetwork {
  namespace: Namespace
  /** Of the container; only its host reaches it. */
  address: string
}

/**
 * A network of its own behind the host. What leaves it gets the host's address (masquerading, as container engines do);
 * what shall get in needs a forwarder on the host.
 */
export async function containerNetwork(owner: number, host: Host): Promise<ContainerNetwork> {
  const namespace = await Namespace.add(owner, `${host.label}-inside`)
  const [gateway, address] = ['10.88.0.1', '10.88.0.2']
  await namespace.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'inside0', 'netns', host.namespace.name)
  await host.namespace.ip('addr', 'add', `${gateway}/24`, 'dev', 'inside0')
  await host.namespace.ip('link', 'set', 'inside0', 'up')
  await namespace.ip('addr', 'add', `${address}/24`, 'dev', 'eth0')
  await namespace.ip('link', 'set', 'eth0', 'up')
  await namespace.ip('route', 'add', 'default', 'via', gateway)
  await host.namespace.run('sh', ['-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
  await host.namespace.run('iptables', ['-t', 'nat', '-A', 'POSTROUTING', '-s', '10.88.0.0/24', '!', '-o', 'inside0', '-j', 'MASQUERADE'])
  return { namespace, address }
}
