/** GetBucketAcl and GetObjectAcl: the owner has full control, and there is no other ACL. s3cmd and others ask for it. */
import { xmlAnswer } from '../http/answer.ts'
import { element, parent, s3Document } from '../xml/writer.ts'
import { headExisting } from './existing.ts'
import { ownerXml } from './list-objects.ts'
import type { Operation } from './operation.ts'

const XSI = 'http://www.w3.org/2001/XMLSchema-instance'

export const getAcl: Operation = {
  name: 'GetAcl',
  access: { kind: 'own' },
  async run(call) {
    if (call.key === '') call.demand('bucket:read', call.bucket)
    else {
      call.demand('object:read', call.bucket, call.key)
      await headExisting(call)
    }
    const grantee = ownerXml(call, 'Grantee').replace('<Grantee>', `<Grantee xmlns:xsi="${XSI}" xsi:type="CanonicalUser">`)
    return xmlAnswer(s3Document('AccessControlPolicy',
      ownerXml(call) + parent('AccessControlList', parent('Grant', grantee + element('Permission', 'FULL_CONTROL')))))
  },
}
