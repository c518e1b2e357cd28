/**
 * The page in a real browser, against the running stack with the embedded model. The stage server's far side can be
 * held up or broken off, so that what happens in between can be looked at.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, onTestFinished } from 'vitest';
import { findChromium, launchChromium, NO_CHROMIUM } from '../../scripts/local/chromium.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import { startStage } from '../../scripts/local/stage.ts';
import type { JobView } from '../../src/job/job.ts';
import { type FaultyStage, startFaultyStage } from '../e2e/faulty-stage.ts';
import { DESK } from './look.ts';

export const TOKEN = 'page-token';
/** the machine may be busy with other things */
export const PATIENCE_MS = 90_000;

const executablePath = findChromium();
if (!executablePath) console.warn(`test/browser is skipped: ${NO_CHROMIUM}`);

/** Whether the tests of a file are skipped, and what it is called then. */
export const isSkipped = executablePath === null;
export const titled = (title: string): string => (isSkipped ? `${title} (skipped: ${NO_CHROMIUM})` : title);

/** What a request is made with. */
interface Asked {
  readonly preset?: string;
  readonly isCompared?: boolean;
  readonly seed?: number;
}

/** What a page's rig is made with. */
interface RigOptions {
  /** variables of the Worker, over those that make it give up soon */
  readonly vars?: Readonly<Record<string, string>>;
}

/** A browser with a page for each test of a file, and the stack behind it. Made by `usePage` within a `describe`. */
export interface Rig {
  readonly folder: string;
  readonly stack: Stack;
  readonly proxy: FaultyStage;
  readonly context: BrowserContext;
  readonly page: Page;
  /** what the page asked for since the test began */
  readonly asked: readonly string[];
}

export function usePage({ vars }: RigOptions = {}) {
  let folder: string;
  let real: ReturnType<typeof startStage>;
  let proxy: FaultyStage;
  let stack: Stack;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let asked: string[];
  /** what its console said and what it threw */
  let complaints: string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ralu-page-'));
    real = startStage({ engine: 'native', port: await keptPort(), token: TOKEN });
    [proxy, browser] = await Promise.all([real.ready.then(startFaultyStage), launchChromium(executablePath as string)]);
    stack = await startStack({
      persistTo: join(folder, 'main'),
      bundle: inject('bundle'),
      stage: { url: proxy.url, token: TOKEN },
      vars: { STAGE_ATTEMPTS: '2', STAGE_SILENCE_SECONDS: '120', QUEUE_SECONDS: '3', ...vars },
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
    context = await browser.newContext({ viewport: DESK, reducedMotion: 'reduce' });
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
  /** a stage's own picture in the strip, not a rough one of it on the way */
  const picture = (stage: number | 'selection'): Locator =>
    at(`.stage[data-stage="${stage}"] img[src]:not(.rough)`).first();
  const isDone = (): Promise<void> => at('.stage').last().locator('img[src*="/image.png?token="]').waitFor();
  const isFree = (): Promise<void> => at('#generate[aria-disabled="false"]').waitFor();

  async function open({ url, key }: Pick<Stack, 'url' | 'key'> = stack): Promise<void> {
    await page.goto(`${url}/#key=${key}`);
    await at('#request').waitFor();
  }

  async function ask(prompt: string, { preset, isCompared = false, seed }: Asked = {}): Promise<void> {
    await at('#prompt').fill(prompt);
    if (seed !== undefined) await at('#seed').fill(String(seed));
    // beside the plain model itself there is nothing to choose
    if (!isCompared && (await at('#compare').isEnabled())) await at('#compare').uncheck();
    if (preset) await at(`#presets input[value="${preset}"]`).check();
    if (isCompared) await at('#compare').check();
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

  const rig: Rig = {
    get folder() {
      return folder;
    },
    get stack() {
      return stack;
    },
    get proxy() {
      return proxy;
    },
    get context() {
      return context;
    },
    get page() {
      return page;
    },
    get asked() {
      return asked;
    },
  };
  return { rig, at, says, picture, isDone, isFree, open, ask, jobShown, door };
}
