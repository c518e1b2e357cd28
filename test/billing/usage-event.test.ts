import { describe, expect, test } from 'vitest';
import { type EndedFacts, usageEvent } from '../../src/billing/usage-event.ts';

const FACTS: EndedFacts = {
  model: 'm',
  preset: '4x',
  status: 'done',
  reason: null,
  width: 256,
  height: 256,
  stages: [{ stage: 1, tokens: 64, steps: 5, evaluations: 4 }],
  tflops_done: 0.5,
  tflops_paid: 0.25,
  quote_usd: '0.000100',
  tariff: '2026-11',
  compute_ms: 12,
  created_at: 1_795_743_640,
  finished_at_ms: 1_795_743_641_120,
};
const SETTLED = { captured: 68, keyId: '44f9c212', user: 'ann' };
const owner = (settled: typeof SETTLED | null) => ({ job: 'job_1', account: 'acct_1', settled });

describe('the event of an ended job', () => {
  test('has the attributes that CloudEvents 1.0 asks for, and the job as its id', () => {
    expect(usageEvent(FACTS, owner(SETTLED), 'https://example.com/pictures')).toEqual({
      specversion: '1.0',
      id: 'job_1',
      type: 'ralu.job.ended',
      source: 'https://example.com/pictures',
      subject: 'acct_1',
      time: '2026-11-27T01:40:41.120Z',
      datacontenttype: 'application/json',
      data: {
        account: 'acct_1',
        key: '44f9c212',
        user: 'ann',
        model: 'm',
        preset: '4x',
        status: 'done',
        reason: null,
        width: 256,
        height: 256,
        stages: [{ stage: 1, tokens: 64, steps: 5, evaluations: 4 }],
        tflops_done: 0.5,
        tflops_paid: 0.25,
        quote_usd: '0.000100',
        tariff: '2026-11',
        cost_usd: '0.000068',
        compute_ms: 12,
        created_at: 1_795_743_640,
        finished_at: 1_795_743_641,
      },
    });
  });

  test('is of `ralu` where the deployment does not say its address', () => {
    expect(usageEvent(FACTS, owner(SETTLED), '').source).toBe('ralu');
  });

  test('tells what the account charged: nothing paid where its hold was let go, no cost where nothing was held', () => {
    expect(usageEvent(FACTS, owner({ ...SETTLED, captured: 0 }), '').data).toMatchObject({
      tflops_paid: 0,
      cost_usd: '0.000000',
    });
    const free = { ...FACTS, quote_usd: null, tariff: null };
    expect(usageEvent(free, owner(null), '').data).toMatchObject({
      key: null,
      user: null,
      tflops_paid: 0,
      cost_usd: null,
    });
  });
});
