/** Types only: the compiler refuses an addon whose generated types (native/addon/index.d.ts) do not fit the contract. */
import type * as Generated from '../../native/addon/index.d.ts'
import type { Native } from '../shared/native.ts'

type Fits<Actual extends Expected, Expected> = [Actual, Expected]

export type AddonFitsContract = Fits<Pick<typeof Generated, keyof Native>, Native>
/** Nothing crosses that the contract does not name. */
export type ContractNamesAll = Fits<keyof typeof Generated, keyof Native>
