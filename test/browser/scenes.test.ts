/**
 * Every scene of the page, on a desk and on a phone, in light, in dark and in the reader's own colours, with less
 * motion; and the whole of it by keyboard alone.
 */
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DESK, isAccessible, looksFine, PHONE } from './look.ts';
import { isSkipped, titled, usePage } from './rig.ts';

describe.skipIf(isSkipped)(titled('the scenes of the page'), () => {
  const { rig, at, says, picture, isDone, isFree, open, ask, jobShown, door } = usePage();

  /** A job that stands in its second stage; the door to the rest is returned. */
  async function runInto(prompt: string): Promise<ReturnType<typeof door>> {
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask(prompt, { preset: '7x', seed: 7 });
    await picture('selection').waitFor();
    await says('#status', 'Stage 2 of 3');
    return second;
  }

  /** What moves now, by the elements that do. */
  const moving = (): Promise<unknown> =>
    rig.page.evaluate(
      `document.getAnimations().filter((each) => each.playState === 'running').map((each) => each.effect.target.outerHTML.slice(0, 80))`,
    );

  test('the key form', async () => {
    await rig.page.goto(rig.stack.url);
    await at('#key').waitFor();
    await looksFine(rig.page, 'key');
    await at('#key').fill('nonsense');
    await at('#key').press('Enter');
    await says('#alert', 'The key is not valid');
    await isAccessible(rig.page, 'a key that is refused');
  });

  test('the form', async () => {
    await open();
    await at('#money[aria-busy="false"]').waitFor();
    await at('#vocabulary summary').click();
    await at('#prompt').fill('a purple zebra');
    await at('#unknown').waitFor();
    await looksFine(rig.page, 'form');
  });

  test('a job that runs', async () => {
    const second = await runInto('a red apple');
    await looksFine(rig.page, 'running');
    expect(await moving()).toEqual([]);
    second.open();
    await isDone();
  });

  test('a picture, and the history of those before', async () => {
    await open();
    await ask('a yellow banana', { seed: 5 });
    await isDone();
    await ask('a red apple', { seed: 7 });
    await says('#history li:nth-child(2)', 'a yellow banana');
    await isDone();
    await says('#history li:first-child', 'seed 7');
    await at('#numbers-card summary').click();
    await looksFine(rig.page, 'done');
  });

  test('a picture on a window of 320 pixels, as at four times the size: nothing sticks out', async () => {
    await rig.page.setViewportSize({ width: 320, height: 640 });
    await open();
    await ask('a red apple', { seed: 7 });
    await isDone();
    await isFree();
    await at('#play').waitFor();
    expect(await rig.page.evaluate('document.documentElement.scrollWidth')).toBe(320);
    const boxes = (await rig.page.evaluate(
      `[...document.querySelectorAll('#money p, .buttons button:not([hidden]), #picture-card .title button:not([hidden]), #language')]
        .map((each) => each.getBoundingClientRect().toJSON())`,
    )) as { left: number; right: number }[];
    expect(boxes.length).toBeGreaterThan(9);
    for (const one of boxes) {
      expect(one.left).toBeGreaterThanOrEqual(0);
      expect(one.right).toBeLessThanOrEqual(320);
    }
    const [money, buttons] = (await rig.page.evaluate(
      `['#money', '.buttons'].map((one) => document.querySelector(one).getBoundingClientRect().toJSON())`,
    )) as { top: number; bottom: number }[];
    expect(buttons?.top).toBeGreaterThanOrEqual(money?.bottom ?? Infinity);
  });

  test('a job that failed', async () => {
    rig.proxy.inject([{ kind: 'forward' }], { kind: 'refuse' });
    await open();
    await ask('a red apple');
    await says('#alert', 'The stage server could not be reached');
    await isFree();
    await at('#again').waitFor();
    await looksFine(rig.page, 'failed');
  });

  test('the API reference: every group and operation in its contents, one of them opened, and the way back', async () => {
    await open();
    await at('nav a').filter({ hasText: 'API' }).click();
    const contents = rig.page.getByRole('navigation');
    const { paths, tags } = (await (await fetch(`${rig.stack.url}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, object>>;
      tags: { name: string }[];
    };
    await contents.getByText('Start a job', { exact: true }).waitFor();
    const groups = (await at('.nav-bar-tag').allInnerTexts()).map((text) => text.split('\n')[0]);
    expect(groups.slice(0, tags.length)).toEqual(tags.map(({ name }) => name));
    expect(await at('.nav-bar-path[data-content-id*="-/"]').count()).toBe(
      Object.values(paths).flatMap(Object.keys).length,
    );
    // no entry runs to the edge
    const rooms = (await rig.page.evaluate(
      `[...document.querySelector('openapi-explorer').shadowRoot.querySelectorAll('.nav-bar-path')].map((entry) => {
        const words = document.createRange();
        words.selectNodeContents(entry);
        return entry.getBoundingClientRect().right - words.getBoundingClientRect().right;
      })`,
    )) as number[];
    expect(Math.min(...rooms)).toBeGreaterThan(12);
    await contents.getByText('Start a job', { exact: true }).click();
    await rig.page.getByText('negative_prompt', { exact: true }).first().waitFor();
    await looksFine(rig.page, 'reference');
    await rig.page.getByRole('link', { name: 'Make a picture' }).click();
    await at('#request').waitFor();
  });

  test('in the reader’s own colours the choice, what runs and what is pressed can still be told apart', async () => {
    await rig.page.emulateMedia({ forcedColors: 'active' });
    const second = await runInto('a red apple');
    /** How an element is marked off, other than by colours that such a reader does not see. */
    const markOf = (selector: string): Promise<unknown> =>
      rig.page.evaluate(
        `(({ outlineStyle, outlineWidth, borderTopWidth, textDecorationLine }) => [outlineStyle, outlineWidth, borderTopWidth, textDecorationLine])(getComputedStyle(document.querySelector(${JSON.stringify(selector)})))`,
      );
    expect(await markOf('.presets label:has(:checked)')).not.toEqual(
      await markOf('.presets label:not(:has(:checked))'),
    );
    for (const size of [PHONE, DESK]) {
      await rig.page.setViewportSize(size);
      await isAccessible(rig.page, `${size.width}`);
    }
    second.open();
    await isDone();
    await ask('a yellow banana', { seed: 5 });
    await says('#history li:first-child', 'a yellow banana');
    await isDone();
    await says('#history li:has([aria-current])', 'a yellow banana');
    expect(await markOf('#history li:has([aria-current])')).not.toEqual(
      await markOf('#history li:not(:has([aria-current]))'),
    );
    // a bar in the colour of its ground shows nothing, nor do words on the ground that the system lays behind them
    const bars = (await rig.page.evaluate(
      `[...document.querySelectorAll('.bar i')].map((bar) => getComputedStyle(bar).backgroundColor)`,
    )) as string[];
    const ground = await rig.page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(bars.length).toBeGreaterThan(0);
    expect(bars).not.toContain(ground);
    const words = await rig.page.evaluate(
      `[...document.querySelectorAll('button, a, label, summary')].filter((each) => each.checkVisibility() && getComputedStyle(each).forcedColorAdjust === 'auto').map((each) => getComputedStyle(each).color)`,
    );
    expect(words).not.toContain(ground);
    if (process.env.SHOTS) await rig.page.screenshot({ path: join(process.env.SHOTS, 'forced.png'), fullPage: true });
  });

  test('where motion is welcome, something moves while a stage waits; where it is not, nothing does', async () => {
    await rig.page.emulateMedia({ reducedMotion: 'no-preference' });
    const second = await runInto('a red apple');
    await expect.poll(moving).not.toEqual([]);
    await rig.page.emulateMedia({ reducedMotion: 'reduce' });
    await expect.poll(moving).toEqual([]);
    second.open();
    await isDone();
  });

  describe('by keyboard alone', () => {
    const press = (key: string): Promise<void> => rig.page.keyboard.press(key);
    /** What has the focus, by its id or its words; nothing has it: "body". */
    const focused = (): Promise<string> =>
      rig.page.evaluate(`(({ id, tagName, textContent, name, value }) =>
        tagName === 'BODY' ? 'body' : id || (name ? name + '=' + value : tagName.toLowerCase() + ' ' + textContent.trim().slice(0, 30)))(document.activeElement)`);
    /** Presses Tab until the element has the focus; every stop on the way has it too, and is seen. */
    async function tabTo(id: string): Promise<void> {
      for (let stops = 0; stops < 80; stops++) {
        if ((await focused()) === id) return;
        await press('Tab');
        expect(await focused()).not.toBe('body');
      }
      throw new Error(`#${id} is not among 80 stops`);
    }

    test('from the key to the picture, another one, and away again: the focus is never lost', async () => {
      await rig.page.goto(rig.stack.url);
      await at('#key').waitFor();
      expect(await focused()).toBe('key');
      await rig.page.keyboard.type(rig.stack.key);
      await press('Enter');
      await at('#request').waitFor();
      await expect.poll(focused).toBe('prompt');

      await press('Control+a');
      await rig.page.keyboard.type('a red apple');
      const second = door();
      onTestFinished(() => second.open());
      rig.proxy.inject([{ kind: 'forward' }, second.fault]);
      await tabTo('generate');
      await press('Enter');
      await picture('selection').waitFor();
      await tabTo('cancel');
      await press('Enter');
      await at('#again').waitFor();
      expect(await focused()).toBe('again');
      second.open();
      await press('Enter');
      await isDone();
      await isFree();
      expect(await focused()).not.toBe('body');
      const { id } = await jobShown();

      // a dialog has the keyboard until Escape, which gives it back
      for (const [id, dialog] of [
        ['share', 'dialog.share'],
        ['full-screen', '#viewer'],
      ] as const) {
        await at(`#${id}`).focus();
        await press('Enter');
        await at(`${dialog}[open]`).waitFor();
        await expect
          .poll(() => rig.page.evaluate(`document.activeElement.closest('${dialog}') !== null`), { timeout: 10_000 })
          .toBe(true);
        await press('Escape');
        await at(dialog).waitFor({ state: 'hidden' });
        await expect.poll(focused).toBe(id);
      }

      // out of a text nothing is lost by Escape
      await rig.page.locator('#prompt').focus();
      await press('Escape');
      expect([await focused(), await at('#prompt').inputValue()]).toEqual(['prompt', 'a red apple']);

      rig.page.once('dialog', (dialog) => void dialog.accept());
      await at(`#history li[data-job="${id}"] button`).focus();
      await press('Enter');
      await at(`#history li[data-job="${id}"]`).waitFor({ state: 'detached' });
      await expect.poll(focused).not.toBe('body');

      await rig.page.locator('#forget-key').focus();
      await press('Enter');
      await at('#key').waitFor();
      expect(await focused()).toBe('key');
    });

    test('every stop of Tab is in sight and in the order of the page, and all can be reached', async () => {
      await open();
      await ask('a red apple', { seed: 7 });
      await isDone();
      await isFree();
      // Tab begins at the top
      await rig.page.reload();
      await isDone();
      const stops: string[] = [];
      const places: number[] = [];
      for (let i = 0; i < 120; i++) {
        await press('Tab');
        const now = await focused();
        if (now === 'body') break;
        stops.push(now);
        const { order, isSeen } = (await rig.page.evaluate(`(() => {
          const { left, top, width, height } = document.activeElement.getBoundingClientRect();
          return {
            order: [...document.querySelectorAll('*')].indexOf(document.activeElement),
            isSeen: width > 0 && height > 0 && left < innerWidth && top < innerHeight && left + width > 0 && top + height > 0,
          };
        })()`)) as { order: number; isSeen: boolean };
        expect(isSeen, now).toBe(true);
        places.push(order);
      }
      expect(places).toEqual(places.toSorted((a, b) => a - b));
      expect(stops[0]).toBe('skip');
      expect(stops).toEqual(
        expect.arrayContaining(['prompt', 'seed', 'compare', 'generate', 'play', 'download', 'language', 'copy']),
      );
      expect(stops.some((stop) => stop.startsWith('a a red apple'))).toBe(true);
      // the skip link leads past the form
      await rig.page.evaluate('scrollTo(0, 0)');
      await at('#skip').focus();
      await press('Enter');
      expect(await focused()).toBe('results');
    });
  });
});
