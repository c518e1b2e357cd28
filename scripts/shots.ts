/** `npm run shots`: the pictures of the page that the README shows, taken here and now. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { findChromium, launchChromium, NO_CHROMIUM } from './local/chromium.ts';
import { runCommand } from './local/command-line.ts';
import { type Stack, startStack } from './local/stack.ts';
import { animate, film } from './shots/clip.ts';
import { HELP, parseOptions, type ShotsOptions } from './shots/options.ts';

const WINDOW = { width: 1280, height: 800 };
/** of the clip, as the README shows it */
const CLIP_WIDTH = 840;
const CLIP_MAX_BYTES = 1_000_000;
/** what has just come fades in */
const SETTLED_MS = 1000;
/** longest wait for anything on the page */
const PATIENCE_MS = 120_000;

/** The page with a picture of the request: `isCompared`, with the plain model's beside it. */
async function makePicture(
  page: Page,
  { url, key }: Stack,
  { prompt, seed }: ShotsOptions,
  isCompared: boolean,
): Promise<void> {
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`${url}/#key=${key}`);
  await page.locator('#prompt').fill(prompt);
  await page.locator('#seed').fill(String(seed));
  await page.locator('#compare').setChecked(isCompared);
  await page.locator('#generate').click();
  await page.locator('#cancel[aria-disabled="false"]').waitFor();
  await page.locator('#generate[aria-disabled="false"]').waitFor();
  if (isCompared) await page.locator('#hero input[type="range"]').waitFor();
  // nobody is at the keyboard, and the form shows its beginning
  await page.evaluate('document.activeElement.blur()');
  await page.locator('#prompt').scrollIntoViewIfNeeded();
}

const open = async (browser: Browser, reducedMotion: 'reduce' | 'no-preference'): Promise<Page> =>
  (await browser.newContext({ viewport: WINDOW, colorScheme: 'light', reducedMotion })).newPage();

/** The page from its top to the end of the chart. */
async function photograph(browser: Browser, stack: Stack, options: ShotsOptions): Promise<Buffer> {
  // a browser that paints what moves takes the processor from the model, and the picture shows times
  const page = await open(browser, 'reduce');
  // the first picture of a stage server takes longer than those that follow
  await makePicture(page, stack, options, false);
  await makePicture(page, stack, options, true);
  await page.waitForTimeout(SETTLED_MS);
  const chart = await page.locator('#chart-card').boundingBox();
  if (chart === null) throw new Error('the page shows no chart');
  const height = Math.ceil(chart.y + chart.height + 20);
  const png = await page.screenshot({ fullPage: true, clip: { x: 0, y: 0, width: WINDOW.width, height } });
  await page.context().close();
  return sharp(png).jpeg({ quality: 88, mozjpeg: true }).toBuffer();
}

/** The picture comes about once more, in the large frame. */
async function clip(browser: Browser, stack: Stack, options: ShotsOptions): Promise<Buffer> {
  const page = await open(browser, 'no-preference');
  await makePicture(page, stack, options, false);
  const status = page.locator('#status');
  const frames = await film(page, async () => {
    await page.locator('#play').click();
    await page.mouse.move(0, 0);
    await status.filter({ hasText: 'Playing' }).waitFor();
    await status.waitFor({ state: 'hidden' });
    await page.waitForTimeout(SETTLED_MS);
  });
  await page.context().close();
  return animate(frames, { width: CLIP_WIDTH, maxBytes: CLIP_MAX_BYTES });
}

async function shots(options: ShotsOptions): Promise<number> {
  const executablePath = findChromium();
  if (executablePath === null) {
    console.error(`shots: ${NO_CHROMIUM}`);
    return 1;
  }
  await mkdir(options.out, { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), 'ralu-shots-'));
  const stack = await startStack({ persistTo: folder, engine: 'native' });
  try {
    const browser = await launchChromium(executablePath);
    try {
      for (const [name, take] of [
        ['page.jpg', photograph],
        ['page.webp', clip],
      ] as const) {
        const bytes = await take(browser, stack, options);
        const file = join(options.out, name);
        await writeFile(file, bytes);
        console.log(`${file}: ${Math.round(bytes.byteLength / 1000)} kB`);
      }
    } finally {
      await browser.close();
    }
    return 0;
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}

await runCommand({ command: 'npm run shots', help: HELP, parse: parseOptions, run: shots });
