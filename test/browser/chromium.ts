/** A Chromium that is on this machine, for tests that need a browser. None is downloaded. */
import { existsSync } from 'node:fs';

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
