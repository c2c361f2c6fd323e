/** anvil admin bucket … */
import type { Command } from 'commander'
import type { Client } from 'pg'
import type { TenantId } from '../../shared/ids.ts'
import { AdminError } from '../directory/admin-error.ts'
import { tenantId } from '../directory/admin-tenants.ts'
import { selectBucket, selectBuckets, updateBucket } from '../directory/buckets.ts'
import type { Bucket } from '../directory/contract.ts'
import { withDirectory } from './admin-databases.ts'
import { printLine, printRows } from './output.ts'

interface Switch {
  bucket: string
  allow?: boolean
  deny?: boolean
  on?: boolean
  off?: boolean
}

export function addBucketCommands(admin: Command): void {
  const bucket = admin.command('bucket').description('buckets of the deployment')
  bucket
    .command('list')
    .option('--tenant <name>', 'only of this tenant')
    .option('--json', 'print JSON')
    .action(async ({ tenant, json }: { tenant?: string; json?: boolean }) => {
      const rows = await withDirectory((client) => listBuckets(client, tenant ?? null))
      printRows(rows, ['name', 'tenant', 'region', 'publicAccess', 'defaultEncryption', 'createdAt'], { json })
    })
  bucket
    .command('set-public-access')
    .description('whether anyone may read and list the bucket without signing')
    .requiredOption('--bucket <name>')
    .option('--allow', 'anyone may read and list')
    .option('--deny', 'only apps that were granted it')
    .action(async ({ bucket: name, allow, deny }: Switch) => {
      const publicAccess = either('--allow', allow, '--deny', deny)
      await change(name, { publicAccess })
      printLine(`bucket ${name} is ${publicAccess ? 'public' : 'private'}`)
    })
  bucket
    .command('set-default-encryption')
    .description('whether new objects are encrypted (SSE-S3) without being asked')
    .requiredOption('--bucket <name>')
    .option('--on', 'encrypt new objects')
    .option('--off', 'encrypt only where the request asks for it')
    .action(async ({ bucket: name, on, off }: Switch) => {
      const defaultEncryption = either('--on', on, '--off', off)
      await change(name, { defaultEncryption })
      printLine(`new objects in bucket ${name} are ${defaultEncryption ? 'encrypted' : 'not encrypted unless asked for'}`)
    })
}

async function listBuckets(client: Client, tenant: string | null) {
  const of = tenant === null ? null : ((await tenantId(client, tenant)) as TenantId)
  const { rows } = await client.query<{ id: number; name: string }>('SELECT id, name FROM tenants')
  const names = new Map(rows.map((row) => [row.id, row.name]))
  const buckets: Bucket[] = []
  for (let after = ''; ; ) {
    const page = await selectBuckets(client, of, { after })
    buckets.push(...page)
    const last = page.at(-1)
    if (!last) break
    after = last.name
  }
  return buckets.map(({ createdMs, tenantId: id, ...rest }) => ({ ...rest, tenant: names.get(id) ?? String(id), createdAt: new Date(createdMs) }))
}

function either(yes: string, saidYes: boolean | undefined, no: string, saidNo: boolean | undefined): boolean {
  if (saidYes === saidNo) throw new AdminError(`give either ${yes} or ${no}`)
  return saidYes === true
}

async function change(name: string, what: Parameters<typeof updateBucket>[2]): Promise<void> {
  await withDirectory(async (client) => {
    const found = await selectBucket(client, name)
    if (!found || !(await updateBucket(client, found.id, what))) throw new AdminError(`there is no bucket ${name}`)
  })
}
