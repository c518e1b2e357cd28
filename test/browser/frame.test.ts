/** The large frame and the filmstrip: the story as it happens, and any moment of it held. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isAccessible, PHONE } from './look.ts';
import { isSkipped, titled, usePage } from './rig.ts';

describe.skipIf(isSkipped)(titled('the large frame'), () => {
  const { rig, at, says, picture, isDone, isFree, open, ask, door } = usePage();

  const film = (key: string) => at(`.stage[data-stage="${key}"] button`);
  const source = (): Promise<string | null> => at('#hero .frame > img').first().getAttribute('src');
  const style = (selector: string, pseudo: string | null, property: string): Promise<unknown> =>
    rig.page.evaluate(
      `[...document.querySelectorAll(${JSON.stringify(selector)})].map((one) => getComputedStyle(one, ${JSON.stringify(pseudo)})[${JSON.stringify(property)}])`,
    );
  const back = () => at('#moment button').filter({ hasText: 'Back to' });

  test('the tokens wait, the first picture comes, its chosen squares become four, the mixed picture, the finished one', async () => {
    await rig.page.emulateMedia({ reducedMotion: 'no-preference' });
    const [first, second, third] = [door(), door(), door()];
    rig.proxy.inject([first.fault, second.fault, third.fault]);
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });

    await says('#moment h3', '1 · Low resolution');
    await at('#hero .tokens').waitFor();
    await at('#hero .live').waitFor();
    // the light passes while nothing else is told
    expect(await style('#hero .live', '::before', 'animationName')).toEqual(['pass']);

    first.open();
    await says('#moment h3', '2 · Mixed resolution');
    await at('#hero .splits').waitFor();
    expect(await at('#hero .splits rect').count()).toBe(4 * 6);
    expect(new Set((await style('#hero .splits rect', null, 'animationName')) as string[])).toEqual(new Set(['split']));
    await at('#hero img[alt^="Edges found"]').waitFor();
    await at('.stage[data-stage="2"][data-state="running"]').waitFor();

    second.open();
    await says('#moment h3', '3 · Full resolution');
    await at('#hero .splits').waitFor({ state: 'detached' });
    await expect.poll(source).toBe(await picture(2).getAttribute('src'));

    third.open();
    await isDone();
    await says('#moment h3', 'Finished');
    await says('#moment', /10 steps · [\d.]+ m?s in all/);
    expect(await source()).toContain('/image.png?token=');
    expect([await at('#hero .live').count(), await at('#hero .tokens').count()]).toEqual([0, 0]);
  });

  test('on a phone, where the form is above it, the picture that was asked for comes into sight', async () => {
    const first = door();
    rig.proxy.inject([first.fault]);
    await rig.page.setViewportSize(PHONE);
    await open();
    await at('.race').waitFor();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await says('#moment h3', '1 · Low resolution');
    const top = () => at('#hero .frame').evaluate((frame) => frame.getBoundingClientRect().top);
    await expect.poll(top).toBeLessThan(PHONE.height / 4);
    expect(await top()).toBeGreaterThanOrEqual(0);
    first.open();
    await isDone();
  });

  test('where motion is unwelcome the squares are four at once, and no light passes', async () => {
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await at('#hero .splits').waitFor();
    const motions = (await style('#hero .splits rect', null, 'animationName')) as string[];
    expect(new Set(motions)).toEqual(new Set(['none']));
    expect(await style('#hero .live', '::before', 'content')).toEqual(['none']);
    second.open();
    await isDone();
  });

  test('a moment that is held stays while the story goes on; let go, what happens now is there again', async () => {
    const [second, third] = [door(), door()];
    rig.proxy.inject([{ kind: 'forward' }, second.fault, third.fault]);
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await picture('selection').waitFor();
    await film('1').press('Enter');
    await at('.stage[data-stage="1"] [aria-pressed="true"]').waitFor();
    await says('#moment h3', '1 · Low resolution');
    await expect.poll(source).toBe(await picture(1).getAttribute('src'));
    expect(await at('#hero .splits').count()).toBe(0);

    second.open();
    await at('.stage[data-stage="3"][data-state="running"]').waitFor();
    await says('#moment h3', '1 · Low resolution');
    // one that has yet to come can be held too
    await film('3').click();
    await says('#moment h3', '3 · Full resolution');
    await says('#moment button', 'Back to what happens now');
    await film('3').click();
    await back().waitFor({ state: 'hidden' });

    await film('2').click();
    third.open();
    await isDone();
    await says('#moment h3', '2 · Mixed resolution');
    await says('#moment button', 'Back to the end');
    await back().press('Enter');
    await says('#moment h3', 'Finished');
    // the button is gone, what was held has the focus
    expect(await rig.page.evaluate('document.activeElement.parentElement.dataset.stage')).toBe('2');
    // the end is what is seen anyway
    await film('3').click();
    await rig.page.evaluate('new Promise(requestAnimationFrame)');
    expect(await film('3').getAttribute('aria-pressed')).toBe('false');
    await says('#moment h3', 'Finished');
  });

  test('another job, and a second look, begin with what happens now', async () => {
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await isDone();
    await film('selection').click();
    await says('#moment h3', 'Edges and blocks');
    await at('#play').click();
    await expect.poll(() => film('selection').getAttribute('aria-pressed')).toBe('false');
    await at('#play').click();
    await says('#moment h3', 'Finished');
    await film('1').click();
    await ask('a yellow banana', { preset: '7x', seed: 8 });
    await expect.poll(() => at('.film [aria-pressed="true"]').count()).toBe(0);
    await isFree();
    await says('#moment h3', 'Finished');
  });

  test('the plain model is one stage: a frame and a strip of one, and something moves for the whole wait', async () => {
    await open();
    await rig.page.evaluate(`
      const seen = (window.seen = new Set());
      new MutationObserver((changes) => {
        for (const { target } of changes) seen.add(target.value);
      }).observe(document.querySelector('#stages'), { subtree: true, attributeFilter: ['value'] });
    `);
    await ask('a red apple', { preset: 'plain', seed: 7 });
    await says('#moment h3', /^Full resolution$/);
    await says('#moment', '256 tokens · 50 steps');
    expect(await at('.stage').count()).toBe(1);
    await isDone();
    await says('#moment h3', 'Finished');
    // of its 50 steps those that are told a few times a second
    expect(await rig.page.evaluate('seen.size')).toBeGreaterThan(5);
  });

  test('the tools stay where they are while it is played again, and so does the frame when they come', async () => {
    const place = async (selector: string) => {
      const box = await at(selector).boundingBox();
      return box && [Math.round(box.x), Math.round(box.y)];
    };
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await picture('selection').waitFor();
    const before = await place('#hero .frame');
    second.open();
    await isDone();
    await isFree();
    await at('#save-clip').waitFor();
    expect(await place('#hero .frame')).toEqual(before);
    const places = () => Promise.all(['#play', '#pin', '#share', '#download'].map(place));
    const still = await places();
    await at('#play').click();
    await says('#play', 'Stop');
    expect(await places()).toEqual(still);
    await at('#play').click();
    await says('#play', 'Play again');
  });

  test('what it took stands beside the frame where there is room, and fits there with a comparison', async () => {
    await open();
    await ask('a red apple', { preset: '7x', seed: 7, isCompared: true });
    await isDone();
    await says('#play[aria-disabled="true"]', 'Play again');
    await isFree();
    await says('#facts', 'Denoising, measured');
    for (const [width, height] of [
      [1280, 800],
      [1440, 900],
    ] as const) {
      await rig.page.setViewportSize({ width, height });
      const [frame, facts, strip] = await Promise.all(
        ['#hero .frame', '#facts', '#stages'].map((selector) => at(selector).boundingBox()),
      );
      if (!frame || !facts || !strip) throw new Error('the picture is not there');
      expect(facts.x).toBeGreaterThan(frame.x + frame.width);
      expect(facts.y).toBeLessThan(frame.y + frame.height / 2);
      expect(strip.y + strip.height).toBeLessThanOrEqual(height);
    }
    // the plain model is not held against itself
    await ask('a red apple', { preset: 'plain', seed: 7 });
    await says('#moment h3', /^Full resolution$/);
    await isDone();
    await says('#facts', 'Paid');
    expect(await at('#facts .bar').count()).toBe(0);
  });

  test('no empty card is shown while what draws pictures is on its way', async () => {
    const drawing = door();
    await rig.page.route('**/pictures.js', async (route) => {
      await drawing.fault.until;
      await route.continue();
    });
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await rig.page.waitForRequest('**/pictures.js');
    expect(await at('#picture-card').isVisible()).toBe(false);
    expect(await at('#chart-card').isVisible()).toBe(false);
    expect(await at('#welcome').isVisible()).toBe(true);
    drawing.open();
    await isDone();
    expect(await at('#welcome').isVisible()).toBe(false);
  });

  test('every moment is in order at both sizes, for axe too', async () => {
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await isDone();
    for (const { width, height } of [
      { width: 1280, height: 800 },
      { width: 390, height: 844 },
    ]) {
      await rig.page.setViewportSize({ width, height });
      for (const key of ['selection', '2']) {
        await film(key).click();
        // the piece that is held is in sight within the strip
        const [piece, strip] = [await film(key).boundingBox(), await at('#stages').boundingBox()];
        if (!piece || !strip) throw new Error(`the strip at ${width} is not there`);
        expect([piece.x >= strip.x - 1, piece.x + piece.width <= strip.x + strip.width + 1]).toEqual([true, true]);
        await isAccessible(rig.page);
      }
      expect(await rig.page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      await at('#picture-card').scrollIntoViewIfNeeded();
      if (process.env.SHOTS) await rig.page.screenshot({ path: join(process.env.SHOTS, `frame-${width}.png`) });
      await back().click();
    }
    // the frame uses what the window gives it: all of it and the strip are in sight at once
    await rig.page.setViewportSize({ width: 1280, height: 800 });
    await rig.page.evaluate('scrollTo(0, 0)');
    const strip = await at('#stages').boundingBox();
    const frame = await at('#hero .frame').boundingBox();
    expect((strip?.y ?? 800) + (strip?.height ?? 0)).toBeLessThanOrEqual(800);
    expect(frame?.height).toBeGreaterThan(400);
  });
});
