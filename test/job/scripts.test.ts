/** Scripts that a model does not read are told before anything is computed. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logLines } from '../../src/job/log-lines.ts';
import { viewPlan } from '../../src/job/plan.ts';
import { unreadScripts } from '../../src/job/scripts.ts';
import { viewQuote } from '../../src/job/view.ts';
import { FLUX, planOn, requestOn, value } from './requests.ts';

describe('the scripts of a text', () => {
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom('a', 'я', '林', 'か', 'α', 'ᚠ', '🍎', '3'), fc.string({ unit: 'grapheme' })),
  });

  test('are those of its parts', () => {
    fc.assert(
      fc.property(text, text, (one, other) => {
        const both = new Set([...unreadScripts(one, ['Latin']), ...unreadScripts(other, ['Latin'])]);
        expect(new Set(unreadScripts(one + other, ['Latin']))).toEqual(both);
      }),
    );
  });

  test('that the model reads are not told, and those alone', () => {
    const scripts = ['Latin', 'Cyrillic', 'Han', 'Hiragana', 'Greek'];
    fc.assert(
      fc.property(text, fc.subarray(scripts), (written, read) => {
        const told = unreadScripts(written, read);
        expect(told.filter((script) => read.includes(script))).toEqual([]);
        expect([...told, ...read]).toEqual(expect.arrayContaining([...unreadScripts(written, scripts)]));
      }),
    );
  });

  test.each([
    ['a red apple, “naïve” Ångström – 3 × ½ ¿ 1️⃣ 🍎👩🏽‍🚀🇨🇱 ㊗️ ⓜ ① ｆｕｌｌ e\u0301', []],
    ['', []],
    ['一个苹果', ['Han']],
    ['赤いリンゴ, a fox', ['Han', 'Hiragana', 'Katakana']],
    ['красный лис и סוס', ['Cyrillic', 'Hebrew']],
    ['사과 και थ', ['Devanagari', 'Greek', 'Hangul']],
    ['ᚠᚢ fox', ['another script']],
  ])('%j are, where Latin is read, %j', (written, scripts) => {
    expect(unreadScripts(written, ['Latin'])).toEqual(scripts);
  });

  test('without a name count as read where the model reads such a one', () => {
    expect(unreadScripts('ᚠᚢ fox', ['Latin', 'Runic'])).toEqual([]);
  });

  test('are found in the longest prompt at once', () => {
    const longest = Array.from({ length: 32_000 }, (_, i) => String.fromCodePoint(0x4e00 + (i % 20_000))).join('');
    const begin = performance.now();
    expect(unreadScripts(longest, ['Latin'])).toEqual(['Han']);
    expect(performance.now() - begin).toBeLessThan(500);
  });
});

describe('a plan', () => {
  const latin = { ...FLUX, scripts: ['Latin'] };
  const planned = (facts: typeof FLUX, prompt: string) => value(planOn(facts, { preset: '7x' }, { prompt })).warnings;
  const WARNING = 'flux-1-dev reads only Latin, so it does not read the Han in the prompt';

  test('warns of what its model does not read, in a sentence', () => {
    expect(planned(latin, '一个苹果')).toEqual([WARNING]);
    expect(planned({ ...FLUX, scripts: ['Latin', 'Greek', 'Canadian_Aboriginal'] }, '一か')).toEqual([
      'flux-1-dev reads only Latin, Greek and Canadian Aboriginal, so it does not read the Han and Hiragana in the prompt',
    ]);
  });

  test('warns of nothing where all is read, or the model does not say what it reads', () => {
    expect(planned(latin, 'a 🍎, naïve')).toEqual([]);
    expect(planned(FLUX, '一个苹果')).toEqual([]);
  });

  test('shows its warnings in the quote and in the lines of the job', () => {
    const request = requestOn(latin, { preset: '7x' }, { prompt: '一个苹果' });
    const plan = value(planOn(latin, { preset: '7x' }, { prompt: '一个苹果' }));
    expect(viewQuote(request, plan, { pace: null, queue: null }).plan.warnings).toEqual([WARNING]);
    const data = { ...viewPlan(plan, request), model: 'flux-1-dev', seed: 0, width: 1024, height: 1024, cost: null };
    expect(logLines([{ type: 'plan', data, seq: 1, at: 5 }]).map(({ level, message }) => [level, message])).toEqual([
      ['INFO', expect.stringContaining('3 stages')],
      ['WARN', WARNING],
    ]);
  });
});
