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

/**
 * What a page of ours has no use for. The pop-up of the address bar is a page of its own, loaded for each new context
 * whether it is seen or not, and dearer than ours. The others are Playwright's own list, as far as it concerns Chromium
 * on the systems above: of two such switches the last one counts alone.
 */
const UNUSED_FEATURES = [
  'WebUIOmniboxPopup',
  'WebUIOmniboxAimPopup',
  'AimEnabled',
  'AvoidCorsURLLoaderRestartOnRedirect',
  'AvoidUnnecessaryBeforeUnloadCheckSync',
  'DestroyProfileOnBrowserClose',
  'HttpsFirstBalancedModeAutoEnable',
  'HttpsUpgrades',
  'LensOverlay',
  'MediaRouter',
  'NetworkTimeServiceQuerying',
  'OptimizationHints',
  'PaintHolding',
  'PreconnectToSearch',
  'ThirdPartyStoragePartitioning',
];

/** It, running, without a window. Playwright loads only here. */
export async function launchChromium(executablePath: string): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  // a container's root has no sandbox to give; the pages are our own
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath, args: [...sandbox, `--disable-features=${UNUSED_FEATURES.join()}`] });
}
