/** Whether an app's grants allow an action. Pure. */
import type { Action, Authorize, Grant } from '../../directory/contract.ts'

/**
 * A grant's resource is one of
 * - `*`: everything of the tenant;
 * - `bucket`: the bucket itself and every key in it;
 * - `bucket/*`: every key in it, and listing it, but nothing of the bucket itself;
 * - `bucket/prefix/*`: keys that begin with `prefix/`, and listings whose prefix does.
 * Anything else grants nothing. `key` is undefined for actions on the bucket itself; for a listing it is the prefix asked
 * for, so that a grant on `bucket/logs/*` lists `logs/` and below and not the rest of the bucket.
 */
export const authorize: Authorize = (grants, action, bucket, key) => grants.some((grant) => covers(grant, action, bucket, key))

function covers(grant: Grant, action: Action, bucket: string, key: string | undefined): boolean {
  if (grant.action !== '*' && grant.action !== action) return false
  const { resource } = grant
  if (resource === '*' || resource === bucket) return true
  if (!resource.startsWith(`${bucket}/`) || !resource.endsWith('/*') || key === undefined) return false
  return key.startsWith(resource.slice(bucket.length + 1, -1))
}

/** Whether the grants allow the action anywhere: an app without any such grant is told so instead of an empty list. */
export const authorizedSomewhere = (grants: readonly Grant[], action: Action): boolean =>
  grants.some((grant) => grant.action === '*' || grant.action === action)
