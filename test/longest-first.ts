/** The order of test files: in each group those first that take long, so that none of them is left alone at the end. */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Seconds that files take which take long, most of them waiting; a file that is not named takes less than any. */
export const SECONDS: Readonly<Record<string, number>> = {
  'billing/histories': 43,
  'contract/conformance': 30,
  'contract/process': 25,
  'engine/model': 28,
  'engine/load': 15,
  'engine/parts': 14,
  'worker/admin': 33,
  'worker/billing-accounts': 30,
  'worker/watch': 27,
  'worker/object': 25,
  'worker/keys': 23,
  'worker/openapi': 21,
  'worker/stranded': 19,
  'worker/accounts': 16,
  'worker/placement': 15,
  'worker/jobs': 14,
  'browser/page': 75,
  'browser/tools': 70,
  'browser/scenes': 60,
  'browser/trouble': 60,
  'browser/money': 30,
  'browser/frame': 30,
  'browser/share': 20,
  'browser/race': 17,
  'clients/schemathesis': 60,
  'clients/admin': 54,
  'clients/tools-python': 45,
  'clients/openai': 41,
  'clients/document': 31,
  'clients/generators': 26,
  'clients/tools': 25,
  'clients/replicate': 24,
  'clients/queues-python': 20,
  'clients/fal': 20,
  'e2e/kill-anywhere': 63,
  'e2e/paying-minute': 61,
  'e2e/outside': 55,
  'e2e/paying': 45,
  'e2e/main-job': 37,
  'e2e/faults': 34,
  'e2e/smoke': 31,
  'e2e/ctrl-c': 30,
  'e2e/gateway': 30,
  'e2e/kill': 28,
  'e2e/paying-kill': 28,
  'e2e/meter': 27,
  'e2e/alarm': 15,
  'fleet/crowd/away': 85,
  'fleet/crowd/trouble': 75,
  'fleet/crowd/operate': 70,
  'fleet/crowd/line': 60,
  'fleet/crowd/updates': 45,
  'fleet/crowd/apart': 45,
  'fleet/crowd/spread': 20,
};

const secondsOf = ({ moduleId }: TestSpecification): number =>
  SECONDS[/\/test\/(.+)\.test\.ts$/.exec(moduleId)?.[1] ?? ''] ?? 0;

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    return (await super.sort(files)).toSorted((a, b) => group(a) - group(b) || secondsOf(b) - secondsOf(a));
  }
}
