/** Scenarios of steps that build on each other: a step that fails ends its scenario. */
export interface Scenario {
  title: string
  play(stage: Stage): Promise<void>
}

/** What a scenario has to work with. */
export interface Stage {
  /** pid of the process that removes namespaces and containers in the end. */
  owner: number
  /** Of the whole test; removed in the end. */
  folder: string
  step<T>(name: string, work: () => Promise<T>): Promise<T>
  /** Figures that belong to the step before. */
  note(text: string): void
  /** Is done after the scenario, the last one first, also when a step has failed. */
  after(work: () => Promise<unknown>): void
}

export interface Tally {
  passed: number
  failed: number
}

/** Thrown through a scenario whose step has failed and been reported. */
class StepFailed extends Error {}

export async function playScenario(tally: Tally, scenario: Scenario, place: { owner: number; folder: string }): Promise<void> {
  console.log(`\n${scenario.title}`)
  const ends = new AsyncDisposableStack()
  async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const began = performance.now()
    try {
      const result = await work()
      tally.passed++
      console.log(`  ✔ ${name} (${seconds(began)})`)
      return result
    } catch (error) {
      tally.failed++
      console.log(`  ✖ ${name} (${seconds(began)})\n${indent(String((error as Error).stack ?? error))}`)
      throw new StepFailed(name, { cause: error })
    }
  }
  try {
    await scenario.play({
      ...place,
      step,
      note: (text) => console.log(indent(text)),
      after: (work) => ends.defer(async () => void (await work())),
    })
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error
  } finally {
    await ends.disposeAsync()
  }
}

function indent(text: string): string {
  return text.replace(/^/gm, '      ')
}

function seconds(began: number): string {
  return `${((performance.now() - began) / 1000).toFixed(1)} s`
}
