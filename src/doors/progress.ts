/** How far a job is. Pure. */
import type { JobView } from '../job/job.ts';

const ROOM = /^stage(\d)$/;

/**
 * The share of a job's steps that are done, 0 to 1: those of finished stages, and `step` of the one under way. 1 for a
 * job that has its image, whatever it took.
 */
export function progressOf({ status, room, plan }: Pick<JobView, 'status' | 'room' | 'plan'>, step = 0): number {
  if (status === 'done') return 1;
  const steps = plan.stages.map((stage) => stage.steps);
  const all = steps.reduce((sum, count) => sum + count, 0);
  const stage = Number(ROOM.exec(room)?.[1] ?? 1);
  // tokens are selected between the first stage and the second
  const finished = room === 'select' ? 1 : stage - 1;
  const before = steps.slice(0, finished).reduce((sum, count) => sum + count, 0);
  return Math.min(1, (before + Math.min(step, steps[finished] ?? 0)) / all);
}
