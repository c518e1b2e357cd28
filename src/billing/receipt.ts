/** What a finished job did: work as reported by the stage servers, floating-point operations, wall time. Pure. */
import type { JobRequest, Plan, StageUsage } from '../job/job.ts';
