/** The order of test files: in each group those first that take long, so that none of them is left alone at the end. */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Seconds that files take which take long, most of them waiting; a file that is not named takes less than any. */
export const SECONDS: Readonly<Record<string, number>> = {
  'contract/diffusers': 31,
  'contract/conformance': 26,
  'contract/process': 16,
  'worker/admin': 23,
  'worker/watch': 23,
  'worker/keys': 21,
  'worker/line': 19,
  'worker/stranded': 15,
  'worker/placement': 14,
  'worker/object': 12,
  'browser/tools': 127,
  'browser/trouble': 90,
  'browser/scenes': 89,
  'browser/page': 88,
  'browser/frame': 63,
  'browser/money': 51,
  'browser/race': 28,
  'browser/share': 27,
  'clients/admin': 31,
  'clients/schemathesis': 28,
  'clients/document': 18,
  'clients/generators': 26,
  'clients/tools-python': 17,
  'clients/replicate': 15,
  'e2e/kill-anywhere': 73,
  'e2e/paying-minute': 60,
  'e2e/outside': 46,
  'e2e/paying': 45,
  'e2e/kill': 36,
  'e2e/restart': 35,
  'e2e/faults': 47,
  'e2e/paying-kill': 31,
  'e2e/gateway': 29,
  'e2e/ctrl-c': 28,
  'e2e/meter': 27,
  'e2e/smoke': 25,
  'e2e/main-job': 24,
  'e2e/alarm': 14,
  'e2e/diffusers': 14,
  'fleet/crowd/operate': 76,
  'fleet/crowd/away': 72,
  'fleet/crowd/trouble': 68,
  'fleet/crowd/line': 67,
  'fleet/crowd/updates': 52,
  'fleet/crowd/apart': 37,
};

const secondsOf = ({ moduleId }: TestSpecification): number =>
  SECONDS[/\/test\/(.+)\.test\.ts$/.exec(moduleId)?.[1] ?? ''] ?? 0;

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    return (await super.sort(files)).toSorted((a, b) => group(a) - group(b) || secondsOf(b) - secondsOf(a));
  }
}
