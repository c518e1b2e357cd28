/** What the page weighs over the wire and how soon it can be used, in a real Chromium that has seen nothing before. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Request } from 'playwright-core';
import { launchChromium } from '../local/chromium.ts';
import { startStack } from '../local/stack.ts';
import { median } from './median.ts';

/** A page that is opened, and when it can be used. */
interface Opened {
  readonly name: string;
  readonly path: string;
  /** true in the page once it can be used; text of an expression */
  readonly isUsable: string;
}

/** Bytes of bodies as they came over the wire. */
export interface Weight {
  readonly files: number;
  readonly bytes: number;
}

export interface PageFigures {
  readonly name: string;
  /** page, scripts, styles and pictures of the page itself, what it loads later too; without the recording */
  readonly shell: Weight;
  /** the recorded race */
  readonly recording: Weight;
  /** what the service answered */
  readonly answers: Weight;
  /** from the beginning of the navigation; median */
  readonly usableMs: number;
}

/** One file that was loaded. */
export interface Loaded {
  readonly path: string;
  readonly bytes: number;
}

/** Nothing is loaded any more after this long without a request. */
const QUIET_MS = 1000;
/** Longest wait for a page. */
const PATIENCE_MS = 60_000;

const kindOf = (path: string): 'shell' | 'recording' | 'answers' => {
  if (/(^|\/)recording[^/]*\.json$/.test(path)) return 'recording';
  return /^\/(v1\/|openapi\.json$)/.test(path) ? 'answers' : 'shell';
};

/** What was loaded, by what it is. Every file once: what a page asks for again comes out of the browser's memory. */
export function weigh(loaded: readonly Loaded[]): Pick<PageFigures, 'shell' | 'recording' | 'answers'> {
  const weightOf = (kind: ReturnType<typeof kindOf>): Weight => {
    const own = loaded.filter(({ path }) => kindOf(path) === kind);
    return { files: own.length, bytes: own.reduce((sum, { bytes }) => sum + bytes, 0) };
  };
  return { shell: weightOf('shell'), recording: weightOf('recording'), answers: weightOf('answers') };
}

/** Opens it in a context of its own, and waits until nothing is loaded any more. */
async function open(browser: Browser, url: string, { isUsable }: Opened): Promise<{ loaded: Loaded[]; ms: number }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const page = await context.newPage();
    const finished: Request[] = [];
    let lastAt = performance.now();
    page.on('request', () => {
      lastAt = performance.now();
    });
    page.on('requestfinished', (request) => finished.push(request));
    await page.goto(url, { waitUntil: 'commit' });
    // looked at with every frame; the page's clock began with the navigation
    const ms = await page.evaluate<number>(`new Promise((resolve, reject) => {
      const look = () => {
        if (${isUsable}) resolve(performance.now());
        else if (performance.now() > ${PATIENCE_MS}) reject(new Error('not usable after ${PATIENCE_MS} ms'));
        else requestAnimationFrame(look);
      };
      look();
    })`);
    while (performance.now() - lastAt < QUIET_MS) await page.waitForTimeout(QUIET_MS / 4);
    const loaded = await Promise.all(
      finished
        .filter((request) => request.url().startsWith('http'))
        .map(async (request) => ({
          path: new URL(request.url()).pathname,
          bytes: (await request.sizes()).responseBodySize,
        })),
    );
    return { loaded, ms };
  } finally {
    await context.close();
  }
}

/** Medians of `rounds`, each page once a round. `executablePath`: of the Chromium. */
export async function benchPage(executablePath: string, rounds: number): Promise<readonly PageFigures[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-bench-page-'));
  try {
    const stack = await startStack({ persistTo: folder });
    const browser = await launchChromium(executablePath).catch(async (error: unknown) => {
      await stack.close();
      throw error;
    });
    try {
      const pages: readonly Opened[] = [
        {
          name: 'the page, with a key',
          path: `/#key=${stack.key}`,
          isUsable: `document.querySelector('#request')?.hidden === false && document.querySelector('#generate')?.getAttribute('aria-disabled') === 'false'`,
        },
        {
          name: 'the page, without a key',
          path: '/',
          isUsable: `document.querySelector('#key-form')?.hidden === false`,
        },
        {
          name: 'the API reference',
          path: '/docs',
          isUsable: `document.querySelector('openapi-explorer')?.shadowRoot?.querySelector('.nav-bar-path') != null`,
        },
      ];
      const runs = pages.map((): Awaited<ReturnType<typeof open>>[] => []);
      for (let round = 0; round < rounds; round++)
        for (const [i, page] of pages.entries()) runs[i]!.push(await open(browser, stack.url + page.path, page));
      return pages.map(({ name }, i) => ({
        name,
        ...weigh(runs[i]!.at(-1)!.loaded),
        usableMs: median(runs[i]!.map(({ ms }) => ms)),
      }));
    } finally {
      await browser.close();
      await stack.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
