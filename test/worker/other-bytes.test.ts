/** A stage that is sent again with other bytes, as after a deploy that asks for more: one run of it is left. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { readAttempts } from '../../durable-objects/job/attempts.ts';
import { readRow } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import type { SlotAnswer, SlotRequest } from '../../src/fleet/slots.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { call, createJob, SMALL, watch } from './call.ts';
import { enterJob } from './enter.ts';

const stubOf = (id: string): DurableObjectStub<JobObject> => env.JOBS.getByName(id);
const rowOf = (id: string) => runInDurableObject(stubOf(id), ({ rows }) => readRow(rows) as JobRecord);
const attemptsOf = (id: string) => runInDurableObject(stubOf(id), ({ rows }) => readAttempts(rows));

/** Dispatchers whose slots name no features: what is sent leaves out what came after version 1. */
const PLAIN = {
  getByName(name: string) {
    const dispatcher = env.DISPATCHERS.getByName(name);
    return {
      async ask(request: SlotRequest): Promise<SlotAnswer> {
        const answer = await dispatcher.ask(request);
        return answer.kind === 'slot' ? { kind: 'slot', slot: { ...answer.slot, features: [] } } : answer;
      },
    };
  },
};

async function firstStep(id: string): Promise<void> {
  for await (const { type } of watch(id)) if (type === 'step') return;
}

test('the run of before is stopped at its server, which runs the stage once more', async () => {
  const { id: pattern } = await createJob({ prompt: 'a fox', ...SMALL, N: [900], e: [1] });
  const row = await rowOf(pattern);
  await call(`/v1/jobs/${pattern}`, { method: 'DELETE' });
  const id = await newJobId(env.SIGNING_SECRET);
  await enterJob(row.account, id);
  await runInDurableObject(stubOf(id), async (instance) => {
    Object.defineProperty(instance, 'env', { value: { ...env, DISPATCHERS: PLAIN }, configurable: true });
    await instance.create({ ...row, id, deadlineSeconds: null, webhook: null });
  });
  await firstStep(id);
  const [before] = await attemptsOf(id);
  await runInDurableObject(stubOf(id), (_, state) => state.abort('crashed by a test')).catch(() => undefined);
  await stubOf(id).view(null);
  await expect.poll(async () => (await attemptsOf(id)).at(-1)?.number, { timeout: 5000 }).toBe(2);
  const after = await attemptsOf(id);
  expect(after.map(({ outcome }) => outcome)).toEqual(['sent']);
  expect(after[0]?.stageId).not.toBe(before?.stageId);
  const [{ url }] = JSON.parse(env.BACKENDS) as [{ url: string }];
  const forget = async (stageId: string | undefined): Promise<number> => {
    const init = { method: 'DELETE', headers: { authorization: 'Bearer stage-token' } };
    return (await fetch(new URL(`/v1/stages/${stageId}`, url), init)).status;
  };
  // the server has one slot: the later run has it, and nobody has the one of before
  await expect.poll(() => healthOf(url), { timeout: 5000 }).toMatchObject({ status: 'busy', queue: 0 });
  await expect.poll(() => forget(after[0]?.stageId), { timeout: 5000 }).toBe(204);
  expect(await forget(before?.stageId)).toBe(404);
  await call(`/v1/jobs/${id}`, { method: 'DELETE' });
});

/** How a stage server is, as one with its token sees it. */
const healthOf = async (url: string): Promise<unknown> =>
  (await fetch(new URL('/healthz', url), { headers: { authorization: 'Bearer stage-token' } })).json();
