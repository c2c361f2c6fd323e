/** Multicast as mDNS needs it. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

/** The group of mDNS. */
const GROUP = '224.0.0.251'

/** Whether a datagram to the group comes back to this machine. */
export async function multicastWorks(port: number): Promise<boolean> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    socket.bind(port)
    await once(socket, 'listening')
    socket.addMembership(GROUP)
    socket.setMulticastLoopback(true)
    const heard = once(socket, 'message').then(() => true)
    socket.send(Buffer.from('anybody there?'), port, GROUP)
    return await Promise.race([heard, sleep(2000, false)])
  } catch {
    return false // no interface with multicast, or no route
  } finally {
    socket.close()
  }
}
