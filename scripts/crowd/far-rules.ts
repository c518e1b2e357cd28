/** How a deployment stands whose objects are far apart: what a test and its Worker both know. */

/** What becomes of calls to dispatchers. */
export type DispatcherState =
  | 'well'
  /** every call of it throws, its alarm too */
  | 'throws'
  /** it does what it is asked for, and no answer arrives */
  | 'mute'
  /** its answers are none: wrong shapes, servers that there are not */
  | 'garbage';

/** How things stand: they may change while the deployment runs. */
export interface FarRules {
  /** milliseconds that a call takes there and back between two regions */
  readonly ms: number;
  /** the region where accounts are, and everything of which nobody says where it is */
  readonly home: string;
  readonly dispatchers: DispatcherState;
}

/** The binding that leads from an object to stage servers: an entry of BACKENDS names it in `binding`. */
export const FAR_BINDING = 'FAR';
/** Where a deployment is told its rules. */
export const FAR_PATH = '/far';
