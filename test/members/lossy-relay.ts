/** A UDP relay before one member that loses some of what passes, in both directions. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'

export interface LossyRelay {
  port: number
  /** Datagrams that did not come out. */
  lost(): number
  close(): void
}

export async function openLossyRelay(host: string, target: { host: string; port: number }, loss: number): Promise<LossyRelay> {
  const front = createSocket('udp4')
  const backs = new Map<string, Socket>()
  let lost = 0
  const loses = (): boolean => {
    if (Math.random() >= loss) return false
    lost++
    return true
  }
  front.on('message', (bytes, from) => {
    if (!loses()) backFor(from).send(bytes, target.port, target.host)
  })
  front.bind(0, host)
  await once(front, 'listening')

  function backFor(from: RemoteInfo): Socket {
    const key = `${from.address}:${from.port}`
    const known = backs.get(key)
    if (known !== undefined) return known
    const back = createSocket('udp4')
    back.on('message', (bytes) => {
      if (!loses()) front.send(bytes, from.port, from.address)
    })
    // nobody behind it: as lost as a lost datagram
    back.on('error', () => {
      lost++
    })
    backs.set(key, back)
    return back
  }

  return {
    port: front.address().port,
    lost: () => lost,
    close: () => {
      front.close()
      for (const back of backs.values()) back.close()
    },
  }
}
