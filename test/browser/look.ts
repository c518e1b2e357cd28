/** What a page must be in whatever state it is: readable for all, on a desk and on a phone, in light and in dark. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const DESK = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
/** The desk in light comes last: it is how pages are opened. */
const SIZES = [PHONE, DESK];
const SCHEMES = ['dark', 'light'] as const;
/**
 * Resolves when every colour has changed: after the listeners to the scheme have been told, which is once a frame, the
 * transitions that they began, in shadow trees too, go on to their ends. A busy machine draws few frames.
 */
const SETTLED = `(async () => {
  const frame = () => new Promise((drawn) => requestAnimationFrame(drawn));
  const rootsIn = (root) =>
    [root, ...[...root.querySelectorAll('*')].flatMap(({ shadowRoot }) => (shadowRoot ? rootsIn(shadowRoot) : []))];
  const running = () =>
    rootsIn(document).flatMap((root) => root.getAnimations()).filter((animation) => animation instanceof CSSTransition);
  await frame();
  await frame();
  for (let going = running(); going.length > 0; going = running())
    await Promise.allSettled(going.map(({ finished }) => finished));
})()`;

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/** axe finds nothing serious on the page, or in the part that `selector` names. `state` is named where it does. */
export async function isAccessible(page: Page, state = '', selector = 'html'): Promise<void> {
  await page.evaluate(SETTLED);
  await page.evaluate(axeSource);
  // what it finds right is not gathered, and not sent
  const violations = (await page.evaluate(
    `axe.run(${JSON.stringify(selector)}, { resultTypes: ['violations'] }).then(({ violations }) => violations)`,
  )) as readonly Violation[];
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(
    serious.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]),
    state,
  ).toEqual([]);
}

/**
 * On a phone and on a desk, in dark and in light: axe finds nothing serious, and nothing sticks out to the side.
 * Pictures of it go to the folder named in SHOTS, for people to look at. Ends on the desk, in light.
 */
export async function looksFine(page: Page, name: string): Promise<void> {
  for (const size of SIZES) {
    await page.setViewportSize(size);
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(SETTLED);
      await page.evaluate('scrollTo(0, 0)');
      if (process.env.SHOTS)
        await page.screenshot({
          path: join(process.env.SHOTS, `${name}-${size.width}-${colorScheme}.png`),
          fullPage: true,
        });
      await isAccessible(page, `${name}, ${size.width}, ${colorScheme}`);
      expect(await page.evaluate('document.documentElement.scrollWidth'), `${name}, ${size.width}`).toBe(size.width);
    }
  }
}
