/** A Chromium that is on this machine, for tests and commands that need a browser. None is downloaded. */
import { existsSync } from 'node:fs';
import type { Browser } from 'playwright-core';

const USUAL_PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/**
 * Its path: the one in `CHROMIUM`, or the first found in the usual places; null where there is none. Throws when
 * `CHROMIUM` names nothing.
 */
export function findChromium(): string | null {
  const named = process.env.CHROMIUM;
  if (named && !existsSync(named)) throw new RangeError(`CHROMIUM names ${named}, and there is nothing`);
  return named || (USUAL_PLACES.find((place) => existsSync(place)) ?? null);
}

export const NO_CHROMIUM = 'there is no Chromium: install one (apt-get install chromium) or name it in CHROMIUM';

/** It, running, without a window. Playwright loads only here. */
export async function launchChromium(executablePath: string): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  // a container's root has no sandbox to give; the pages are our own
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
}
