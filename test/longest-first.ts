/** The order of test files: in each group those first that take long, so that none of them is left alone at the end. */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Seconds that files take which take long, most of them waiting; a file that is not named takes less than any. */
export const SECONDS: Readonly<Record<string, number>> = {
  'contract/diffusers': 45,
  'contract/conformance': 26,
  'contract/process': 16,
  'worker/admin': 23,
  'worker/watch': 23,
  'worker/keys': 21,
  'worker/line': 35,
  'worker/stranded': 15,
  'worker/placement': 14,
  'worker/object': 12,
  'browser/tools': 180,
  'browser/trouble': 150,
  'browser/scenes': 95,
  'browser/page': 110,
  'browser/frame': 70,
  'browser/money': 35,
  'browser/race': 35,
  'browser/share': 33,
  'clients/admin': 31,
  'clients/schemathesis': 50,
  'clients/document': 28,
  'clients/generators': 26,
  'clients/tools-python': 33,
  'clients/replicate': 26,
  'e2e/kill-anywhere': 80,
  'e2e/paying-minute': 60,
  'e2e/outside': 46,
  'e2e/paying': 45,
  'e2e/kill': 50,
  'e2e/restart': 45,
  'e2e/faults': 50,
  'e2e/paying-kill': 40,
  'e2e/gateway': 29,
  'e2e/ctrl-c': 31,
  'e2e/meter': 32,
  'e2e/smoke': 25,
  'e2e/main-job': 32,
  'e2e/alarm': 14,
  'e2e/diffusers': 45,
  'fleet/crowd/operate': 84,
  'fleet/crowd/away': 85,
  'fleet/crowd/trouble': 76,
  'fleet/crowd/line': 56,
  'fleet/crowd/updates': 45,
  'fleet/crowd/apart': 46,
};

const secondsOf = ({ moduleId }: TestSpecification): number =>
  SECONDS[/\/test\/(.+)\.test\.ts$/.exec(moduleId)?.[1] ?? ''] ?? 0;

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    return (await super.sort(files)).toSorted((a, b) => group(a) - group(b) || secondsOf(b) - secondsOf(a));
  }
}
