/** What the objects of one isolate share: values alone, which any of them may use. */
import { makeFleetMemory } from '../src/fleet/said.ts';

/** What was heard of stage servers. */
export const heard = makeFleetMemory();
