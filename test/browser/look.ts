/** What a page must be in whatever state it is: readable for everybody, on a desk and on a phone, in light and in dark. */
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { seriousIn } from './axe.ts';

export const DESK = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
/** The desk in light comes last: it is how pages are opened. */
const SIZES = [PHONE, DESK];
const SCHEMES = ['dark', 'light'] as const;

/**
 * On a phone and on a desk, in dark and in light: axe finds nothing serious, and nothing sticks out to the side.
 * Pictures of it go to the folder named in SHOTS, for people to look at. Ends on the desk, in light.
 */
export async function looksFine(page: Page, name: string): Promise<void> {
  for (const size of SIZES) {
    await page.setViewportSize(size);
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate('scrollTo(0, 0)');
      if (process.env.SHOTS)
        await page.screenshot({
          path: join(process.env.SHOTS, `${name}-${size.width}-${colorScheme}.png`),
          fullPage: true,
        });
      expect(await seriousIn(page), `${name}, ${size.width}, ${colorScheme}`).toEqual([]);
      expect(await page.evaluate('document.documentElement.scrollWidth'), `${name}, ${size.width}`).toBe(size.width);
    }
  }
}
