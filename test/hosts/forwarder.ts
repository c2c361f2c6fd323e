/**
 * `forwarder.ts FROM TO PROTOCOL:PORT…`: publishes ports of one address on another, in user space, as the proxy of a
 * container engine does: TCP connections are joined, and each UDP sender gets a socket of its own towards the target.
 * Writes `ready` when it listens, and runs until it is killed.
 */
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { pipeline } from 'node:stream'

const UDP_IDLE_MS = 90_000

const [from, to, ...published] = process.argv.slice(2)
if (from === undefined || to === undefined) throw new Error('usage: forwarder.ts FROM TO PROTOCOL:PORT…')
await Promise.all(published.map((item) => publish(item, from, to)))
console.log('ready')

async function publish(item: string, from: string, to: string): Promise<void> {
  const [, protocol, digits] = /^(tcp|udp):(\d+)$/.exec(item) ?? []
  if (protocol === undefined) throw new Error(`${item} is not PROTOCOL:PORT`)
  const port = Number(digits)
  await (protocol === 'tcp' ? forwardTcp(port, from, to) : forwardUdp(port, from, to))
}

async function forwardTcp(port: number, from: string, to: string): Promise<void> {
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    const target = net.connect({ host: to, port, allowHalfOpen: true })
    // A connection that breaks on one side breaks on the other: that is all that there is to say about it.
    const broken = (error?: Error | null): void => {
      if (error == null) return
      client.destroy()
      target.destroy()
    }
    pipeline(client, target, broken)
    pipeline(target, client, broken)
  })
  await once(server.listen(port, from), 'listening')
}

async function forwardUdp(port: number, from: string, to: string): Promise<void> {
  const front = dgram.createSocket('udp4')
  const senders = new Map<string, Sender>()
  front.on('message', (datagram, { address, port: senderPort }) => {
    const key = `${address}:${senderPort}`
    const sender = senders.get(key) ?? senders.set(key, open(address, senderPort, key)).get(key)!
    sender.idle.refresh()
    // Towards a target that is not there a datagram is lost, as on any network.
    sender.socket.send(datagram, port, to, () => undefined)
  })
  front.bind(port, from)
  await once(front, 'listening')

  function open(address: string, senderPort: number, key: string): Sender {
    const socket = dgram.createSocket('udp4')
    const idle = setTimeout(() => {
      senders.delete(key)
      socket.close()
    }, UDP_IDLE_MS)
    socket.on('message', (datagram) => {
      idle.refresh()
      front.send(datagram, senderPort, address, () => undefined)
    })
    socket.on('error', () => idle.refresh()) // the target's port is closed for the moment
    return { socket, idle }
  }
}

interface Sender {
  socket: dgram.Socket
  idle: NodeJS.Timeout
}
