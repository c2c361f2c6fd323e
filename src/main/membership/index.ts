/** Who is in the cluster: SWIM over the transport. */
export { createMembership, type MembershipOptions } from './membership.ts'
