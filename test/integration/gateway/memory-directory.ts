/** A Directory in memory, for tests of the gateway alone. */
import type { App, Bucket, Directory, Grant } from '../../../src/main/directory/contract.ts'
import { AnvilError } from '../../../src/shared/errors.ts'
import type { BucketId, TenantId } from '../../../src/shared/ids.ts'

export class MemoryDirectory implements Directory {
  readonly apps = new Map<string, App>()
  readonly buckets = new Map<string, Bucket>()
  #lastId = 0

  addApp(clientId: string, secrets: string[], grants: Grant[] = [{ action: '*', resource: '*' }], tenant = 1): App {
    const app: App = { clientId, tenantId: tenant as TenantId, name: clientId, secrets, grants, disabled: false }
    this.apps.set(clientId, app)
    return app
  }

  async app(accessKeyId: string): Promise<App | null> {
    return this.apps.get(accessKeyId) ?? null
  }

  async bucket(name: string): Promise<Bucket | null> {
    return this.buckets.get(name) ?? null
  }

  async listBuckets(tenantId: TenantId, { prefix = '', after = '', limit = Number.POSITIVE_INFINITY } = {}): Promise<Bucket[]> {
    return [...this.buckets.values()]
      .filter((bucket) => bucket.tenantId === tenantId && bucket.name.startsWith(prefix) && bucket.name > after)
      .sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, limit)
  }

  async createBucket({ name, tenantId, region }: { name: string; tenantId: TenantId; region: string }): Promise<Bucket> {
    const taken = this.buckets.get(name)
    if (taken !== undefined) throw new AnvilError(taken.tenantId === tenantId ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists', 'taken')
    const bucket: Bucket = { id: ++this.#lastId as BucketId, name, tenantId, region, regionEndpoint: region === 'mars' ? 'http://mars.test:9000' : '', createdMs: Date.now(), publicAccess: false, defaultEncryption: false }
    this.buckets.set(name, bucket)
    return bucket
  }

  async removeBucket(id: BucketId): Promise<void> {
    for (const [name, bucket] of this.buckets) if (bucket.id === id) this.buckets.delete(name)
  }

  async setDefaultEncryption(id: BucketId, on: boolean): Promise<void> {
    this.#change(id, { defaultEncryption: on })
  }

  async setPublicAccess(id: BucketId, on: boolean): Promise<void> {
    this.#change(id, { publicAccess: on })
  }

  #change(id: BucketId, change: Partial<Bucket>): void {
    for (const [name, bucket] of this.buckets) if (bucket.id === id) this.buckets.set(name, { ...bucket, ...change })
  }
}
