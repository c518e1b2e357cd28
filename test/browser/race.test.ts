/** The race that is shown before there is a picture: the recording, and nothing else, is what the page says. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../../scripts/local/bundle.ts';
import type { Recording } from '../../src/job/recording.ts';
import { isAccessible } from './look.ts';
import { isSkipped, titled, usePage } from './rig.ts';

const recording = JSON.parse(await readFile(join(ROOT, 'playground/race/recording.json'), 'utf8')) as Recording;
const receipts = recording.runs.map(({ events }) => {
  const last = events.at(-1);
  if (last?.type !== 'done') throw new RangeError('a recorded run ends with done');
  return last.data.receipt;
});
const [own = 0, plain = 0] = receipts.map(({ stages }) => stages.reduce((sum, { compute_ms }) => sum + compute_ms, 0));
const [ownWhole = 0, plainWhole = 0] = receipts.map(({ wall_ms }) => wall_ms.total);
const times = (ratio: number): string => `${ratio >= 10 ? Math.round(ratio) : ratio.toFixed(1)}×`;
const RESULT = `${times(plain / own)} faster denoising; ${times(plainWhole / ownWhole)} for the whole request.`;
/** Where the clocks stop. */
const CLOCKS = [ownWhole, plainWhole].map((ms) => `${(ms / 1000).toFixed(2)} s`);

describe.skipIf(isSkipped)(titled('the race'), () => {
  const { rig, at, says, isDone, open, ask } = usePage();

  const clocks = (): Promise<string[]> => at('.clock').allTextContents();
  const pictures = (): Promise<string[]> =>
    at('.lane .frame > img').evaluateAll((images) => images.map((image) => String(image.getAttribute('src'))));
  const fetched = (name: string): number => rig.asked.filter((url) => url.endsWith(`/${name}`)).length;

  test('without a key it starts by itself, once: both clocks run, and it ends in what the receipts measured', async () => {
    await rig.page.emulateMedia({ reducedMotion: 'no-preference' });
    const began = performance.now();
    await rig.page.goto(rig.stack.url);
    await says('#welcome button', 'Skip to the end');
    expect(await at('#key').isVisible()).toBe(true);
    await expect.poll(async () => Number.parseFloat((await clocks())[1] ?? '0')).toBeGreaterThan(0.05);
    expect(await at('.result').textContent()).toBe('');
    // the first is there while the plain model still runs
    await at('.lane.over').first().waitFor();
    expect(await at('.lane.over').count()).toBe(1);
    expect((await clocks())[0]).toBe(CLOCKS[0]);
    await says('.result', RESULT);
    const slowness = Number(/played (\d+)× slower/.exec((await at('#welcome').textContent()) ?? '')?.[1] ?? 1);
    expect(performance.now() - began).toBeGreaterThan(slowness * plainWhole);
    expect(await clocks()).toEqual(CLOCKS);
    for (const { picture } of recording.runs) expect((await pictures()).join()).toContain(picture.b64_json);
    const { machine, model, model_digest, rounds, recorded_on } = recording;
    const day = `${Number(recorded_on.slice(8))} `;
    await says('#welcome .note', `Recorded on ${day}`);
    await says(
      '#welcome .note',
      `on ${machine.cores} cores of ${machine.processor}, with ${model} (${model_digest.slice(0, 8)})`,
    );
    await says('#welcome .note', `The median of ${rounds} rounds.`);

    // out of sight and back in, it stays as it is; pressed, it begins anew
    await rig.page.evaluate('scrollTo(0, 10_000)');
    await rig.page.evaluate('scrollTo(0, 0)');
    await says('#welcome button', 'Watch again');
    await at('#welcome button').filter({ hasText: 'Watch again' }).click();
    await expect.poll(() => at('.result').textContent()).toBe('');
    await expect.poll(clocks).not.toEqual(CLOCKS);
    await at('#welcome button').filter({ hasText: 'Skip to the end' }).click();
    expect([await clocks(), await at('.result').textContent()]).toEqual([CLOCKS, RESULT]);
  });

  test('where motion is unwelcome it shows the end, until somebody wants to watch', async () => {
    await rig.page.goto(rig.stack.url);
    await says('.result', RESULT);
    await says('#welcome button', /^Watch$/);
    expect(await clocks()).toEqual(CLOCKS);
    await at('#welcome button')
      .filter({ hasText: /^Watch$/ })
      .press('Enter');
    await expect.poll(clocks).not.toEqual(CLOCKS);
    await says('#welcome button', 'Skip to the end');
    // what was pressed keeps the focus
    expect(await rig.page.evaluate('document.activeElement.textContent')).toBe('Skip to the end');
  });

  test('“Try it” leads to the key, and with one to the prompt; a picture takes the place of the race', async () => {
    await rig.page.goto(rig.stack.url);
    await at('#welcome button').filter({ hasText: 'Try it' }).click();
    expect(await rig.page.evaluate('document.activeElement.id')).toBe('key');
    const top = async () => (await at('main').boundingBox())?.y;
    const before = await top();
    await rig.page.goto('about:blank');
    await open();
    await says('.result', RESULT);
    // a button has come with the key, and its words end where the cards do
    expect(await top()).toBe(before);
    await says('#welcome .note', /by ONNX Runtime [\d.]+ on the CPU\./);
    await at('#welcome button').filter({ hasText: 'Try it' }).click();
    expect(await rig.page.evaluate('document.activeElement.id')).toBe('prompt');
    await ask('a red apple', { seed: 7 });
    await isDone();
    expect(await at('#welcome').isVisible()).toBe(false);
    await at('#forget-key').click();
    await says('.result', RESULT);
    expect(fetched('recording.json')).toBe(2);
  });

  test('a page with a picture fetches no race', async () => {
    await open();
    await ask('a red apple', { seed: 7 });
    await isDone();
    const address = rig.page.url();
    await rig.page.goto('about:blank');
    const before = fetched('recording.json');
    expect(before).toBe(1);
    await rig.page.goto(address);
    await isDone();
    expect([fetched('recording.json'), await at('#welcome').isVisible()]).toEqual([before, false]);
  });

  test('without a recording the page says the same in words', async () => {
    await rig.page.route('**/recording.json', (route) => route.fulfill({ status: 404, body: '{}' }));
    await rig.page.goto(rig.stack.url);
    await expect.poll(() => fetched('recording.json')).toBe(1);
    await says('#welcome h2', 'No picture yet');
    await says('#welcome', 'starts at half the resolution');
    expect(await at('#key').isVisible()).toBe(true);
  });

  test('on a phone it comes first, with the way to the key form; axe finds nothing serious, in light or in dark', async () => {
    for (const { colorScheme, width, height } of [
      { colorScheme: 'light', width: 390, height: 844 },
      { colorScheme: 'dark', width: 390, height: 844 },
      { colorScheme: 'dark', width: 1280, height: 800 },
    ] as const) {
      await rig.page.setViewportSize({ width, height });
      await rig.page.emulateMedia({ colorScheme });
      await rig.page.goto('about:blank');
      await rig.page.goto(rig.stack.url);
      await says('.result', RESULT);
      const top = async (selector: string): Promise<number> => (await at(selector).boundingBox())?.y ?? Number.NaN;
      expect(await top('#welcome')).toBeLessThan(200);
      expect(await rig.page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      await isAccessible(rig.page);
      if (process.env.SHOTS)
        await rig.page.screenshot({ path: join(process.env.SHOTS, `race-${colorScheme}-${width}.png`) });
      await at('#welcome button').filter({ hasText: 'Try it' }).click();
      await expect.poll(() => top('#key')).toBeLessThan(height - 40);
      expect(await top('#key')).toBeGreaterThanOrEqual(0);
    }
  });
});
