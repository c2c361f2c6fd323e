/** Every S3 operation of one node over the SDK and over plain HTTP. One node serves all groups; each has its own buckets. */
import { after, before, describe } from 'node:test'
import { NodeProcess } from '../support/node-process.ts'
import { bucketTests } from './objects/buckets.ts'
import { checksumTests } from './objects/checksums.ts'
import { conditionTests } from './objects/conditions.ts'
import type { Context } from './objects/context.ts'
import { copyTests } from './objects/copies.ts'
import { encryptionTests } from './objects/encryption.ts'
import { keyTests } from './objects/keys.ts'
import { listingTests } from './objects/listing.ts'
import { multipartTests } from './objects/multipart.ts'
import { notBuiltTests } from './objects/not-built.ts'
import { putGetTests } from './objects/put-get.ts'
import { rangeTests } from './objects/ranges.ts'
import { signingTests } from './objects/signing.ts'

const context = {} as Context

before(async () => {
  context.node = await NodeProcess.started()
  context.s3 = context.node.s3()
})
after(() => context.node?.dispose())

describe('buckets', () => bucketTests(context))
describe('put and get', () => putGetTests(context))
describe('keys', () => keyTests(context))
describe('ranges and read conditions', () => rangeTests(context))
describe('checksums', () => checksumTests(context))
describe('signatures', () => signingTests(context))
describe('encryption', () => encryptionTests(context))
describe('copies', () => copyTests(context))
describe('listings', () => listingTests(context))
describe('multipart uploads', () => multipartTests(context))
describe('conditional writes', () => conditionTests(context))
describe('what is not built', () => notBuiltTests(context))
