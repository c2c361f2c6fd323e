/** Objects of a test: of every size class, random, and looked at again whenever something has happened. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { type AnvilNode, s3 } from './anvil-node.ts'

/** Key of one that has shards on drives, of those that `put` makes. */
export const shardedKey = (prefix: string): string => `${prefix}/200000`

/** In the row, one stripe, several stripes. */
const SIZES = [0, 100, 4097, 200_000, 5 * 1024 * 1024 + 17]

export class StoredObjects {
  readonly bucket: string
  readonly #digests = new Map<string, string>()

  constructor(bucket: string) {
    this.bucket = bucket
  }

  get count(): number {
    return this.#digests.size
  }

  async makeBucket(node: AnvilNode): Promise<void> {
    await withClient(node, (client) => client.send(new CreateBucketCommand({ Bucket: this.bucket })))
  }

  /** One of each size, through this node. */
  async put(node: AnvilNode, prefix: string): Promise<void> {
    await withClient(node, async (client) => {
      for (const size of SIZES) {
        const body = randomBytes(size)
        const key = `${prefix}/${size}`
        await client.send(new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: body }))
        this.#digests.set(key, digest(body))
      }
    })
  }

  /** One object; false when the node refuses it for now (503). @throws Error for any other answer */
  async offer(node: AnvilNode, key: string, size: number): Promise<boolean> {
    const body = randomBytes(size)
    try {
      await withClient(node, (client) => client.send(new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: body })))
    } catch (error) {
      if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 503) return false
      throw error
    }
    this.#digests.set(key, digest(body))
    return true
  }

  /** Every object that was ever put, read through this node. */
  async check(node: AnvilNode): Promise<void> {
    await withClient(node, async (client) => {
      for (const [key, expected] of this.#digests) {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }))
        assert.ok(Body !== undefined)
        assert.equal(digest(await Body.transformToByteArray()), expected, `${key} through ${node.name}`)
      }
    })
  }
}

async function withClient<T>(node: AnvilNode, work: (client: S3Client) => Promise<T>): Promise<T> {
  const client = s3(node)
  try {
    return await work(client)
  } finally {
    client.destroy()
  }
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
