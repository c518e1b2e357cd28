/**
 * The page in a real browser, against the running stack with the embedded model. The stage server's far side can be
 * held up or broken off, so that what happens in between can be looked at.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import { ROOT } from '../../scripts/local/bundle.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { openAccount } from '../../scripts/local/secrets.ts';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import { startStage } from '../../scripts/local/stage.ts';
import type { JobView } from '../../src/job/job.ts';
import { type FaultyStage, startFaultyStage } from '../e2e/faulty-stage.ts';
import { findChromium, NO_CHROMIUM } from './chromium.ts';
import { startPrefix } from './prefix.ts';
import { layWire } from './wire.ts';

const TOKEN = 'page-token';
/** the machine may be busy with other things */
const PATIENCE_MS = 90_000;
const run = promisify(execFile);
const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const executablePath = findChromium();
if (!executablePath) console.warn(`test/browser is skipped: ${NO_CHROMIUM}`);

describe.skipIf(!executablePath)(executablePath ? 'the page' : `the page (skipped: ${NO_CHROMIUM})`, () => {
  let folder: string;
  let real: ReturnType<typeof startStage>;
  let proxy: FaultyStage;
  let stack: Stack;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  /** what the page asked for, what its console said and what it threw, since the test began */
  let asked: string[];
  let complaints: string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ralu-page-'));
    real = startStage({ engine: 'native', port: await keptPort(), token: TOKEN });
    [proxy, browser] = await Promise.all([
      real.ready.then(startFaultyStage),
      // a container's root has no sandbox to give; the page is our own
      chromium.launch({
        executablePath: executablePath as string,
        args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
      }),
    ]);
    stack = await startStack({
      persistTo: join(folder, 'main'),
      bundle: inject('bundle'),
      stage: { url: proxy.url, token: TOKEN },
      vars: { STAGE_ATTEMPTS: '2', STAGE_SILENCE_SECONDS: '120', QUEUE_SECONDS: '3' },
    });
  });

  afterAll(async () => {
    await browser?.close();
    await stack?.close();
    await proxy?.close();
    await real?.child.stop();
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
    context.setDefaultTimeout(PATIENCE_MS);
    page = await context.newPage();
    asked = [];
    complaints = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
  });

  afterEach(async () => {
    proxy.inject([]);
    await context.close();
    // refusals that a test is about show up in the console as failed loads; a broken policy or script never may
    expect(complaints.filter((text) => !text.startsWith('Failed to load resource'))).toEqual([]);
    expect(asked.filter((url) => !url.startsWith('http://127.0.0.1') && !url.startsWith('data:'))).toEqual([]);
  });

  const at = (selector: string): Locator => page.locator(selector);
  const says = (selector: string, text: string | RegExp): Promise<void> =>
    at(selector).filter({ hasText: text }).waitFor();
  const picture = (stage: number | 'selection'): Locator => at(`.stage[data-stage="${stage}"] img[src]`).first();
  const isDone = (): Promise<void> => at('.stage').last().locator('img[src*="/image.png?token="]').waitFor();
  const isFree = (): Promise<void> => at('#generate[aria-disabled="false"]').waitFor();

  async function open({ url, key }: Pick<Stack, 'url' | 'key'> = stack): Promise<void> {
    await page.goto(`${url}/#key=${key}`);
    await at('#request').waitFor();
  }

  async function ask(
    prompt: string,
    { preset, isCompared = false, seed }: { preset?: string; isCompared?: boolean; seed?: number } = {},
  ): Promise<void> {
    await at('#prompt').fill(prompt);
    if (seed !== undefined) await at('#seed').fill(String(seed));
    if (preset) await at(`#presets input[value="${preset}"]`).check();
    await at('#compare').setChecked(isCompared);
    await at('#prompt').press('Control+Enter');
  }

  async function jobShown(): Promise<JobView> {
    const id = /job_[0-9a-z]{32,64}/.exec(page.url())?.[0];
    return (await (
      await fetch(`${stack.url}/v1/jobs/${id}`, { headers: { authorization: `Bearer ${stack.key}` } })
    ).json()) as JobView;
  }

  /** A door that a stage's result waits behind; opened at the latest when the test ends. */
  function door(): { readonly fault: { readonly kind: 'hold'; readonly until: Promise<void> }; open(): void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    onTestFinished(() => resolve());
    return { fault: { kind: 'hold', until: promise }, open: resolve };
  }

  test('the key comes in the fragment, is taken out of the address, and never stands in one that is asked for', async () => {
    await open();
    expect(page.url()).toBe(`${stack.url}/`);
    expect(await page.evaluate('sessionStorage.getItem("ralu-key")')).toBe(stack.key);
    await ask('a red apple');
    await isDone();
    expect(asked.filter((url) => url.includes(stack.key))).toEqual([]);
    const { headers } = await page.request.get(stack.url).then((response) => ({ headers: response.headers() }));
    expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
  });

  test('the key has left address and history before the page has loaded', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    onTestFinished(() => resolve());
    await page.route('**/main.js', async (route) => {
      await promise;
      await route.continue();
    });
    await page.goto(`${stack.url}/#key=${stack.key}`, { waitUntil: 'commit' });
    await expect.poll(() => page.evaluate('location.href'), { timeout: PATIENCE_MS }).toBe(`${stack.url}/`);
    resolve();
    await at('#request').waitFor();
    const { entries } = await (await context.newCDPSession(page)).send('Page.getNavigationHistory');
    expect(entries.map(({ url }) => url)).toEqual(['about:blank', `${stack.url}/`]);
  });

  test('a key in the address replaces one in use only where the person says so', async () => {
    const other = await openAccount(stack.url, stack.adminKey, 'other');
    const used = () => page.evaluate('sessionStorage.getItem("ralu-key")');
    const asked: string[] = [];
    let answer = false;
    page.on('dialog', async (dialog) => {
      asked.push(dialog.message());
      await (answer ? dialog.accept() : dialog.dismiss());
    });
    await open();
    // in the open page, then in one that loads
    const ways = [
      (key: string) => page.goto(`${stack.url}/#key=${key}`),
      async (key: string) => {
        await page.goto('about:blank');
        await page.goto(`${stack.url}/#key=${key}`);
      },
    ];
    for (const [i, way] of ways.entries()) {
      answer = false;
      await way(other);
      await expect.poll(() => asked.length).toBe(2 * i + 1);
      await at('#request').waitFor();
      expect([await used(), page.url()]).toEqual([stack.key, `${stack.url}/`]);
      answer = true;
      await way(other);
      await expect.poll(() => asked.length).toBe(2 * i + 2);
      await expect.poll(used).toBe(other);
      expect(page.url()).toBe(`${stack.url}/`);
      await page.evaluate(`sessionStorage.setItem("ralu-key", ${JSON.stringify(stack.key)})`);
    }
    // the same key is no other one
    await page.goto('about:blank');
    await open();
    expect(asked.filter((text) => !text.includes('another key'))).toEqual([]);
    expect(asked).toHaveLength(4);
  });

  test('without a key the page asks for one, and says what is wrong with it', async () => {
    await page.goto(stack.url);
    await at('#key').fill('nonsense');
    await at('#key').press('Enter');
    await says('#alert', 'The key is not valid');
    await at('#key').fill(stack.key);
    await at('#key').press('Enter');
    await at('#request').waitFor();
    expect(await at('#alert').isVisible()).toBe(false);
    await at('#forget-key').click();
    await at('#key').waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
  });

  test('each stage is seen when it is there, in order, with its tokens, steps and milliseconds', async () => {
    const [second, third] = [door(), door()];
    proxy.inject([{ kind: 'forward' }, second.fault, third.fault]);
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });

    await picture(1).waitFor();
    await picture('selection').waitFor();
    await says('#status', 'Stage 2 of 3');
    expect(await picture(2).count()).toBe(0);
    await says('.stage[data-stage="1"]', /64 tokens · 2 steps\s*[\d.]+ m?s/);
    await says('.stage[data-stage="selection"]', /6 of 64 blocks\s*\d+ edge pixels/);
    // edges and blocks lie over the picture, and can be taken off it
    const edges = at('.stage img[alt^="Edges found"]');
    await edges.waitFor();
    await at('button').filter({ hasText: 'Edges' }).click();
    await edges.waitFor({ state: 'hidden' });

    second.open();
    await picture(2).waitFor();
    expect(await picture(3).count()).toBe(0);
    await says('.stage[data-stage="2"]', '82 tokens · 3 steps');

    third.open();
    await isDone();
    await says('.stage[data-stage="3"]', /256 tokens · 5 steps\s*[\d.]+ m?s/);
    await says('#facts', /[\d.]+×\s*less/);
    await says('#facts', 'TFLOPs');
    await says('#announcement', 'The picture is there');
    // from 1 down, and up again at both boundaries
    await expect.poll(() => at('#plot .jump').count()).toBe(2);
    expect(await at('#plot-words').textContent()).toMatch(
      /stage 1 from 1\.00 to 0\.80, stage 2 from 0\.89 to 0\.70, stage 3 from 0\.89 to 0\.00/,
    );
    expect((await jobShown()).seed).toBe(7);
  });

  test('a script that the model does not read is told while the first stage waits', async () => {
    const first = door();
    proxy.inject([first.fault]);
    await open();
    await ask('a fox 和苹果', { preset: '7x', seed: 7 });
    await says('#facts .warning', 'reads only Latin, so it does not read the Han in the prompt');
    expect(await picture(1).count()).toBe(0);
    first.open();
    await isDone();
    await says('#facts .warning', 'skipped words the model does not know: 和, 苹, 果');
    expect(await at('#facts .warning').count()).toBe(2);
  });

  test('a reload in the middle of a job goes on with it', async () => {
    const second = door();
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await picture('selection').waitFor();
    const address = page.url();
    await page.reload();
    await picture('selection').waitFor();
    expect(page.url()).toBe(address);
    expect(await at('#prompt').inputValue()).toBe('a red apple');
    second.open();
    await isDone();
    expect((await jobShown()).status).toBe('done');
  });

  test('a connection that breaks in the middle goes on after the last event seen', async () => {
    const wire = await layWire(stack.url);
    const second = door();
    onTestFinished(() => wire.close());
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open({ url: wire.url, key: stack.key });
    await ask('a red apple');
    await picture('selection').waitFor();
    const again = page.waitForRequest((request) => request.url().includes('/events?token='));
    wire.cut();
    expect(Number((await (await again).allHeaders())['last-event-id'])).toBeGreaterThan(3);
    second.open();
    await isDone();
    expect(await at('#alert').isVisible()).toBe(false);
  });

  test('a link that has expired is renewed', async () => {
    let links = 0;
    await page.route('**/events?token=*', (route) =>
      links++ === 0 ? route.fulfill({ status: 401, body: 'The link has expired' }) : route.continue(),
    );
    await open();
    await ask('a red apple');
    await isDone();
    expect(links).toBe(2);
  });

  test('cancel stops the job, and the page is free for the next', async () => {
    const second = door();
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await picture('selection').waitFor();
    await at('#cancel').click();
    await isFree();
    await says('#announcement', 'Cancelled.');
    expect((await jobShown()).status).toBe('cancelled');
    await says('#history li:first-child', 'cancelled');
  });

  test('compared, the plain model runs afterwards; both pictures lie under one slider, with the measured speed-up', async () => {
    await open();
    await ask('a red apple', { isCompared: true, seed: 2 });
    const slider = at('#hero input[type="range"]');
    await slider.waitFor();
    await isFree();
    await says('#facts', /Denoising, measured[\d.]+×/);
    await says('#facts', /Whole request, measured[\d.]+×/);
    await says('#plot', /plain · /);
    expect(await at('#hero img[src*="/image.png?token="]').count()).toBe(2);
    await slider.press('End');
    await expect.poll(() => slider.getAttribute('aria-valuetext')).toBe('100 percent');
    expect(page.url()).toMatch(/#job_[0-9a-z]{32,64}\+job_[0-9a-z]{32,64}$/);
    const address = page.url();
    await page.reload();
    await slider.waitFor();
    expect(page.url()).toBe(address);

    // the same again, slower: the picture is not there yet, then it is
    await at('#play').click();
    await says('#status', /Playing [\d.]+× (slower|faster) than it was/);
    await at('#hero img[src*="/image.png?token="]').first().waitFor({ state: 'detached' });
    await at('#play').click();
    await slider.waitFor();

    await looksFine();
  });

  /**
   * Pictures of it go to the folder named in SHOTS, for people to look at: axe finds nothing serious, and nothing
   * sticks out to the side: in light, in dark and on a phone.
   */
  async function looksFine(): Promise<void> {
    await at('#numbers-card summary').click();
    for (const { colorScheme, width } of [
      { colorScheme: 'light', width: 1280 },
      { colorScheme: 'dark', width: 1280 },
      { colorScheme: 'light', width: 360 },
    ] as const) {
      await page.setViewportSize({ width, height: 800 });
      await page.emulateMedia({ colorScheme });
      await page.evaluate('scrollTo(0, 0)');
      if (process.env.SHOTS)
        await page.screenshot({ path: join(process.env.SHOTS, `page-${colorScheme}-${width}.png`), fullPage: true });
      await page.evaluate(axeSource);
      const { violations } = (await page.evaluate('axe.run()')) as {
        violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[];
      };
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      expect(
        serious.map(({ id, nodes }) => ({
          id,
          at: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`),
        })),
      ).toEqual([]);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    }
  }

  test('a connection that dies without a word is told, and taken up again', async () => {
    const wire = await layWire(stack.url);
    const second = door();
    onTestFinished(() => wire.close());
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open({ url: wire.url, key: stack.key });
    await ask('a red apple');
    await picture('selection').waitFor();
    wire.hold(true);
    await says('#status', 'No connection to the service; trying again. Stage 2 of 3');
    wire.hold(false);
    second.open();
    await isDone();
    await at('#status').waitFor({ state: 'hidden' });
  });

  test('a stage server that says nothing is told, and how long it has been silent', async () => {
    const second = door();
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await says('#status', /Stage 2 of 3, step 1 of 3\. Nothing has been heard for \d+ s\./);
    second.open();
    await isDone();
  });

  test('what came to no picture is tried again as it was sent, with one press', async () => {
    const second = door();
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple', { seed: 4 });
    await picture('selection').waitFor();
    const before = (await jobShown()).id;
    await at('#cancel').click();
    await at('.stage[data-stage="2"][data-state="stopped"]').waitFor();
    second.open();
    await at('#prompt').fill('another prompt');
    await at('#again').click();
    await isDone();
    const again = await jobShown();
    expect([again.id === before, again.prompt, again.seed]).toEqual([false, 'a red apple', 4]);
    expect(await at('#again').isVisible()).toBe(false);
    // what somebody was writing is still there
    expect(await at('#prompt').inputValue()).toBe('another prompt');
  });

  test('a cancel that fails is told, and no longer once the job has ended', async () => {
    const second = door();
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await picture('selection').waitFor();
    await page.route('**/cancel', (route) => route.abort());
    await at('#cancel').click();
    await says('#alert', 'The service does not answer');
    second.open();
    await isDone();
    await at('#alert').waitFor({ state: 'hidden' });
  });

  test('what went wrong, what happens and the buttons are in sight, wherever the page stands', async () => {
    const inSight = async (selector: string): Promise<boolean> => {
      const box = await at(selector).boundingBox();
      const { height } = page.viewportSize() as { height: number };
      return box !== null && box.y >= 0 && box.y + box.height <= height;
    };
    const second = door();
    proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    for (const size of [
      { width: 1280, height: 800 },
      { width: 390, height: 844 },
      { width: 1024, height: 600 },
    ]) {
      await page.setViewportSize(size);
      await page.evaluate('scrollTo(0, 0)');
      await ask(' ');
      expect([await inSight('#alert'), await inSight('#generate')], JSON.stringify(size)).toEqual([true, true]);
    }
    await ask('a red apple');
    await picture('selection').waitFor();
    for (const top of [0, 10_000]) {
      await page.evaluate(`scrollTo(0, ${top})`);
      await expect.poll(() => inSight('#status')).toBe(true);
      expect(await inSight('#cancel')).toBe(true);
    }
    second.open();
    await isDone();
  });

  test('a picture is saved under a readable name, and one that is gone says so', async () => {
    await open();
    await ask('a red apple', { seed: 9 });
    await isDone();
    const [saved] = await Promise.all([page.waitForEvent('download'), at('#download').click()]);
    expect(saved.suggestedFilename()).toBe('a-red-apple-9.png');
    const { id } = await jobShown();
    const headers = { authorization: `Bearer ${stack.key}` };
    expect((await readFile(await saved.path())).subarray(1, 4).toString()).toBe('PNG');
    await fetch(`${stack.url}/v1/jobs/${id}`, { method: 'DELETE', headers });
    await at('#download').click();
    await says('#alert', 'The picture is gone');
  });

  test('the plain model is not compared with itself', async () => {
    await open();
    await at('#compare').check();
    await at('#presets input[value="plain"]').check();
    expect(await at('#compare').isDisabled()).toBe(true);
    await says('#compare-note', 'This is the plain model.');
    await at('#presets input[value="7x"]').check();
    expect([await at('#compare').isDisabled(), await at('#compare').isChecked()]).toEqual([false, true]);
  });

  test('the history of another tab follows, without loading its pictures again', async () => {
    await open();
    await ask('a red apple', { seed: 11 });
    await says('#history li:first-child', 'seed 11');
    await isDone();
    const other = await context.newPage();
    await other.goto(`${stack.url}/#key=${stack.key}`);
    await other.locator('#history li:first-child').filter({ hasText: 'seed 11' }).waitFor();
    const pictures: string[] = [];
    other.on('request', (request) => request.url().includes('/image.png') && pictures.push(request.url()));
    await ask('a yellow banana', { seed: 12 });
    await other.locator('#history li:first-child').filter({ hasText: 'seed 12' }).waitFor();
    await other.locator('#history li:nth-child(2)').filter({ hasText: 'seed 11' }).waitFor();
    await expect.poll(() => pictures.length).toBe(1);
  });

  test('a link to a job says what it needs where there is no key; afterwards one can write at once', async () => {
    await open();
    await ask('a red apple');
    await isDone();
    const address = page.url();
    await page.evaluate('sessionStorage.clear()');
    await page.goto('about:blank');
    await page.goto(address);
    await says('#key-why', 'the account’s key opens it');
    await at('#key').fill(stack.key);
    await at('#key').press('Enter');
    await isDone();
    expect(await page.evaluate('document.activeElement.id')).toBe('prompt');
  });

  test('a prompt that cannot be drawn is answered with a sentence', async () => {
    await open();
    await ask('   ');
    await says('#alert', 'Write a prompt first');
    expect(await at('#prompt').getAttribute('aria-invalid')).toBe('true');
    await ask('a'.repeat(32_001));
    await says('#alert', 'Prompt is too long (32,001 of 32,000 characters).');
    await at('#seed').fill('-1');
    await ask('a red apple');
    await says('#alert', 'The seed must be a whole number');
  });

  test('a stage server that goes away in the middle is told as it happens, and how the job ended', async () => {
    proxy.inject([{ kind: 'forward' }], { kind: 'refuse' });
    await open();
    await ask('a red apple');
    await says('#alert', 'The stage server could not be reached');
    await isFree();
    expect(await picture(1).count()).toBe(1);
    await says('#history li:first-child', 'failed');
  });

  test('with no stage server in reach the page says so, and goes on asking', async () => {
    const away = await startFaultyStage('http://127.0.0.1:9');
    const alone = await startStack({
      persistTo: join(folder, 'alone'),
      bundle: inject('bundle'),
      stage: { url: away.url, token: TOKEN },
    });
    onTestFinished(async () => {
      await alone.close();
      await away.close();
    });
    await page.goto(`${alone.url}/#key=${alone.key}`);
    await says('#alert', 'No stage server can be reached');
    expect(await at('#request').isVisible()).toBe(false);
    await expect
      .poll(() => asked.filter((url) => url.endsWith('/v1/models')).length, { timeout: PATIENCE_MS })
      .toBeGreaterThan(1);
  });

  test('the history leads back to a picture, and erases it', async () => {
    await open();
    await ask('a yellow banana', { seed: 5 });
    await isDone();
    const { id } = await jobShown();
    await says('#history li:first-child', 'a yellow banana');
    await ask('a red apple');
    await says('#history li:first-child', 'a red apple');
    await at(`#history a[href="#${id}"]`).click();
    await expect.poll(() => at('#prompt').inputValue(), { timeout: PATIENCE_MS }).toBe('a yellow banana');
    await isDone();
    expect(await at('#seed-shown').textContent()).toBe('5');
    page.once('dialog', (dialog) => void dialog.accept());
    await at(`#history li[data-job="${id}"] button`).click();
    await at(`#history li[data-job="${id}"]`).waitFor({ state: 'detached' });
    expect(
      (await fetch(`${stack.url}/v1/jobs/${id}`, { headers: { authorization: `Bearer ${stack.key}` } })).status,
    ).toBe(404);
  });

  test('a list of the history that is told late neither hides that a job was erased nor brings it back', async () => {
    await open();
    await ask('a red apple', { seed: 6 });
    await isDone();
    const { id } = await jobShown();
    const item = at(`#history li[data-job="${id}"]`);
    await says('#history li:first-child', 'seed 6');
    const drawAnew = (seed: number): Promise<unknown> =>
      Promise.all([page.waitForRequest('**/v1/jobs?limit=*'), ask('a yellow banana', { seed })]);
    const erasing = door();
    await page.route(`**/v1/jobs/${id}`, async (route) => {
      await erasing.fault.until;
      await route.continue();
    });
    page.once('dialog', (dialog) => void dialog.accept());
    await Promise.all([page.waitForRequest(`**/v1/jobs/${id}`), item.locator('button').click()]);
    await drawAnew(7);
    await says('#history li:first-child', 'seed 7');

    const listing = door();
    await page.route('**/v1/jobs?limit=*', async (route) => {
      const list = await route.fetch();
      await listing.fault.until;
      await route.fulfill({ response: list });
    });
    await isDone();
    await drawAnew(8);
    erasing.open();
    await item.waitFor({ state: 'detached' });
    listing.open();
    await says('#history li:first-child', 'seed 8');
    expect(await item.count()).toBe(0);
  });

  test('below a path that a proxy takes away the page is the same, its pictures, its history and its code', async () => {
    const prefix = await startPrefix('/pictures/ralu');
    onTestFinished(() => prefix.close());
    const below = await startStack({
      persistTo: join(folder, 'below'),
      bundle: inject('bundle'),
      stage: { url: proxy.url, token: TOKEN },
      vars: { PUBLIC_URL: prefix.url },
    });
    onTestFinished(() => below.close());
    prefix.lead(below.url);
    await page.goto(`${prefix.url}/#key=${below.key}`);
    await at('#request').waitFor();
    expect(page.url()).toBe(`${prefix.url}/`);
    await ask('a red apple', { seed: 7 });
    await isDone();
    await at('#history li img').waitFor();
    await page.reload();
    await isDone();
    await at('#language').selectOption('curl');
    expect(await at('#code').innerText()).toContain(`${prefix.url}/v1/`);
    expect(asked.filter((url) => !url.startsWith(`${prefix.url}/`) && !url.startsWith('data:'))).toEqual([]);
  });

  test('the request as code makes the very picture shown, in each language, and holds no key', async () => {
    await open();
    await at('#ratio').fill('0.25');
    await ask('an "apple" that isn’t $RED & it\'s \\ fine', { seed: 3 });
    await isDone();
    const id = (await jobShown()).id;
    const env = { ...process.env, RALU_API_KEY: stack.key };
    const shown = await fetch(`${stack.url}/v1/jobs/${id}/image`, {
      headers: { authorization: `Bearer ${stack.key}` },
    });
    const picture = await shown.bytes();
    // packages are looked up from where a command runs
    const work = await mkdtemp(join(ROOT, 'node_modules/.cache/code-'));
    onTestFinished(() => rm(work, { recursive: true, force: true }));
    const written = async (language: string): Promise<string> => {
      await at('#language').selectOption(language);
      const code = (await at('#code').textContent()) as string;
      expect(code).not.toContain(stack.key);
      return code;
    };
    // a form that is changed afterwards and a reload change nothing of what was sent
    await at('#prompt').fill('something else');
    await page.reload();
    await isDone();
    for (const language of ['curl', 'javascript', 'stream', 'fal', 'replicate']) {
      const code = await written(language);
      if (language === 'curl') await run('sh', ['-c', code], { env, cwd: work });
      else await run(process.execPath, ['--input-type=module', '-e', code], { env, cwd: work });
      const file = join(work, 'picture.png');
      expect((await readFile(file)).equals(picture), language).toBe(true);
      await rm(file);
    }
    expect(await readdir(work)).toEqual(['stage-1.png', 'stage-2.png']);
    expect(await written('python')).toContain('extra_body={"seed": 3, "ralu": {"preset": "7x", "r": [0.25]}}');
  });
});
