import { describe, expect, it } from 'vitest';
import { fitSize, refuseEnlarge, viewEnlarged } from '../../src/job/enlarge.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { imageOf, newRecord } from '../../src/job/record.ts';
import type { Size } from '../../src/numerics/grid.ts';
import { FLUX, value } from './requests.ts';

const size = (text: string): Size => {
  const [width, height] = text.split('x').map(Number) as [number, number];
  return { width, height };
};
const SMALL = {
  id: 'small',
  sizes: ['256x256', '256x128', '128x256'].map(size),
  size_rule: null,
  token_pixels: 16,
};

describe('a size that a tool has built in', () => {
  it('stays as it is where the model makes it', () => {
    expect(fitSize(size('256x128'), SMALL)).toEqual({ ...size('256x128'), enlarge: undefined, note: null });
  });

  it.each([
    ['1024x1024', '256x256', 'made at 256x256 and enlarged 4 times'],
    ['1792x1024', '256x128', 'made at 256x128 and enlarged 8 times; 12.5 percent of its width were cut off'],
    ['128x128', '256x256', 'made at 256x256 and reduced to 50 percent'],
    ['256x200', '256x256', 'made at 256x256; 21.88 percent of its height were cut off'],
  ])('%s is made at %s, and the caller is told', (wanted, from, told) => {
    expect(fitSize(size(wanted), SMALL)).toEqual({
      ...size(from),
      enlarge: size(wanted),
      note: `model small makes no ${wanted}: the picture was ${told}`,
    });
  });
});

describe('a picture at another size', () => {
  it('is at most 8 times larger or smaller, at most 2048 pixels a side, and at most half is cut off', () => {
    const why = (from: string, to: string) => refuseEnlarge(size(from), size(to), { isAllowed: true })?.rule ?? null;
    expect(why('256x256', '2048x2048')).toBeNull();
    expect(why('1024x1024', '128x128')).toBeNull();
    expect(why('256x256', '1024x512')).toBeNull();
    expect(why('256x256', '2049x2048')).toBe('a side may have at most 2048 pixels');
    expect(why('128x128', '2048x2048')).toBe(
      '128x128 can be made at most 8 times larger or smaller along a side, and this is 16 times',
    );
    expect(why('1024x1024', '100x100')).toMatch('and this is 0.09766 times');
    expect(why('256x256', '1024x400')).toBe('at most 50 percent of 256x256 may be cut off, and this is 61');
    const together = (count: number) => refuseEnlarge(size('256x256'), size('2048x2048'), { isAllowed: true, count });
    expect([together(2), together(3)?.rule]).toEqual([
      null,
      'the pictures of a request may have 10485760 pixels together, and these 3 have more',
    ]);
    expect(refuseEnlarge(size('256x256'), size('512x512'), { isAllowed: false })).toEqual({
      field: 'enlarge',
      value: '512x512',
      rule: 'this deployment encodes every picture at the size it is made at',
    });
  });

  it('is told with what it was computed at', () => {
    expect(viewEnlarged({ ...size('256x128'), enlarge: size('1792x1024') })).toEqual({
      from: '256x128',
      to: '1792x1024',
      factor: 8,
    });
    expect(viewEnlarged({ ...size('1024x1024'), enlarge: size('300x300') })?.factor).toBe(0.293);
    expect(viewEnlarged(size('256x256'))).toBeNull();
  });
});

describe('a request for a picture at another size', () => {
  const tools = { allowEngineChange: false, tariff: null, draw: () => 1, mayEnlarge: true };
  const draft = (input: Partial<RequestInput>, changes: Partial<typeof tools> = {}) =>
    draftRequest({ prompt: 'a red apple', ...input }, FLUX, { ...tools, ...changes });
  const jobOf = (input: Partial<RequestInput>) => value(draft(input)).plan(new Map())[0]!;

  it('is planned, counted and priced at the size it is computed at, and needs servers that can', () => {
    const [plain, enlarged] = [jobOf({}), jobOf({ enlarge: size('2048x2048') })];
    expect(enlarged.plan).toEqual({ ...plain.plan, features: ['enlarge'] });
    expect(enlarged.request).toEqual({ ...plain.request, enlarge: size('2048x2048') });
    expect(value(draft({ enlarge: size('2048x2048') })).flops).toBe(value(draft({})).flops);
  });

  it('tells the size of the file, not that of the job', () => {
    const { request, plan } = jobOf({ enlarge: size('2048x1536') });
    const record = newRecord({ id: 'j', account: 'a', request, plan, deadlineAt: null, webhook: null }, 0);
    expect(imageOf(record, 7)).toMatchObject({ width: 2048, height: 1536, bytes: 7 });
    expect([request.width, request.height]).toEqual([1024, 1024]);
  });

  it('is none where the sizes are one', () => {
    expect(jobOf({ enlarge: size('1024x1024') })).toEqual(jobOf({}));
  });

  it('is refused where the deployment allows none, and where it is too far', () => {
    expect(draft({ enlarge: size('2048x2048') }, { mayEnlarge: false })).toMatchObject({
      ok: false,
      refusal: { field: 'enlarge' },
    });
    expect(draft({ enlarge: size('4096x4096') })).toMatchObject({ ok: false, refusal: { field: 'enlarge' } });
    expect(draft({ width: 1000, height: 1000, enlarge: size('4096x4096') })).toMatchObject({
      ok: false,
      refusal: { field: 'width, height' },
    });
  });
});
