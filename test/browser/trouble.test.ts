/** The page when something goes wrong: the connection, the stage server, the request, the key. */
import { join } from 'node:path';
import type { Request } from 'playwright-core';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { startStack } from '../../scripts/local/stack.ts';
import { startFaultyStage } from '../e2e/faulty-stage.ts';
import { isSkipped, PATIENCE_MS, TOKEN, titled, usePage } from './rig.ts';
import { layWire } from './wire.ts';

describe.skipIf(isSkipped)(titled('the page in trouble'), () => {
  const { rig, at, says, picture, isDone, isFree, open, ask, jobShown, door } = usePage();

  test('a script that the model does not read is told while the first stage waits', async () => {
    const first = door();
    rig.proxy.inject([first.fault]);
    await open();
    await ask('a fox 和苹果', { preset: '7x', seed: 7 });
    await says('#facts .warning', 'reads only Latin, so it does not read the Han in the prompt');
    expect(await picture(1).count()).toBe(0);
    first.open();
    await isDone();
    await says('#facts .warning', 'skipped words the model does not know: 和, 苹, 果');
    expect(await at('#facts .warning').count()).toBe(2);
  });

  test('a connection that breaks in the middle goes on after the last event seen', async () => {
    const wire = await layWire(rig.stack.url);
    const second = door();
    onTestFinished(() => wire.close());
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open({ url: wire.url, key: rig.stack.key });
    await ask('a red apple');
    await picture('selection').waitFor();
    const again = rig.page.waitForRequest((request) => request.url().includes('/events?token='));
    wire.cut();
    expect(Number((await (await again).allHeaders())['last-event-id'])).toBeGreaterThan(3);
    second.open();
    await isDone();
    expect(await at('#alert').isVisible()).toBe(false);
  });

  /** The next time that the page looks whether the service answers, it does not. */
  async function missProbe(): Promise<void> {
    let isMissed = false;
    await rig.page.route('**/icon.svg', (route) => {
      if (isMissed || route.request().method() !== 'HEAD') return route.continue();
      isMissed = true;
      return route.abort();
    });
  }

  test('what follows a job is asked for until it comes', async () => {
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await rig.page.route('**/follow.js', (route) => route.abort(), { times: 2 });
    await missProbe();
    await open();
    await ask('a red apple');
    await says('#alert', 'The service does not answer');
    await picture('selection').waitFor();
    // what is mended is not complained of while the job runs
    expect(await at('#alert').isVisible()).toBe(false);
    second.open();
    await isDone();
  });

  test('what draws pictures is asked for until it comes, though the job has ended', async () => {
    await open();
    await ask('a red apple');
    await isDone();
    await isFree();
    await missProbe();
    await rig.page.route(
      '**/show/pictures.js',
      async (route) => {
        // every event has been told
        await says('#announcement', 'The picture is there');
        await route.abort();
      },
      { times: 1 },
    );
    await rig.page.reload();
    await says('#alert', 'The service does not answer');
    await isDone();
    await at('#alert').waitFor({ state: 'hidden' });
  });

  test('a picture that Back leads to is asked for until the connection is there again', async () => {
    await open();
    await ask('a red apple', { seed: 1 });
    await isDone();
    await isFree();
    await ask('a blue fox', { seed: 2 });
    await isDone();
    await isFree();
    await rig.context.setOffline(true);
    await rig.page.goBack();
    await says('#alert', 'The service does not answer');
    // what was there stays until then
    expect(await at('#picture-card').isVisible()).toBe(true);
    await rig.context.setOffline(false);
    await expect.poll(() => rig.page.title(), { timeout: PATIENCE_MS }).toBe('a red apple – RALU');
    await isDone();
    expect(await at('#alert').isVisible()).toBe(false);
  });

  test('a part of the page whose failure the browser keeps comes with the page loaded anew; what is written stays', async () => {
    await open();
    await ask('a red apple', { seed: 1 });
    await isDone();
    await isFree();
    // a module that threw is kept by every browser, one that could not be fetched by some
    await rig.page.route(
      '**/keep/share.js',
      (route) => route.fulfill({ contentType: 'text/javascript', body: 'throw new Error("kept")' }),
      { times: 1 },
    );
    await at('#presets input[value="4x"]').check();
    await at('#prompt').fill('what I am writing');
    await at('#seed').fill('77');
    await at('#many').selectOption('seeds');
    const isAnew = rig.page.waitForEvent('load');
    await at('#share').click();
    await isAnew;
    await isDone();
    const form = ['#prompt', '#seed', '#many', '#presets input:checked'].map((field) => at(field).inputValue());
    expect(await Promise.all(form)).toEqual(['what I am writing', '77', 'seeds', '4x']);
    await at('#share').click();
    await at('dialog.share').waitFor();
    expect(await rig.page.evaluate('Object.keys(sessionStorage)')).toEqual(['ralu-key']);
  });

  test('a part of the page that never comes is told, and the page is not loaded anew again and again', async () => {
    await open();
    await ask('a red apple', { seed: 1 });
    await isDone();
    let loads = 0;
    rig.page.on('load', () => loads++);
    await rig.page.route('**/keep/share.js', (route) => route.abort());
    const isAnew = rig.page.waitForEvent('load');
    await at('#share').click();
    await isAnew;
    await isDone();
    await at('#share').click();
    await says('#alert', 'A part of the page cannot be loaded');
    expect(loads).toBe(1);
  });

  test('a second press starts nothing while the job of the first is on its way', async () => {
    await open();
    let started = 0;
    rig.page.on('request', (request) => {
      if (request.method() === 'POST' && request.url().endsWith('/v1/jobs')) started++;
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    onTestFinished(() => resolve());
    await rig.page.route(/\/v1\/jobs\/job_[0-9a-z]+$/, async (route) => {
      await promise;
      await route.continue();
    });
    const isAsked = rig.page.waitForRequest(/\/v1\/jobs\/job_[0-9a-z]+$/);
    await ask('a red apple');
    await isAsked;
    await at('#prompt').press('Control+Enter');
    await rig.page.waitForTimeout(500);
    resolve();
    await isDone();
    await isFree();
    expect(started).toBe(1);
  });

  test('a press whose answer is lost starts nothing twice when it is repeated; the one after that is another', async () => {
    await open();
    const newest = async () => {
      const headers = { authorization: `Bearer ${rig.stack.key}` };
      const answer = await fetch(`${rig.stack.url}/v1/jobs?limit=1`, { headers });
      return ((await answer.json()) as { data: readonly { id: string }[] }).data[0]?.id;
    };
    const before = await newest();
    await rig.page.route(
      '**/v1/jobs',
      async (route) => {
        await route.fetch();
        await route.abort();
      },
      { times: 1 },
    );
    await ask('a red apple');
    await says('#alert', 'The service does not answer');
    const started = await newest();
    expect(started).not.toBe(before);
    await at('#generate').click();
    await isDone();
    expect(await newest()).toBe(started);
    expect((await jobShown()).id).toBe(started);
    await isFree();
    await at('#generate').click();
    await expect.poll(newest, { timeout: PATIENCE_MS }).not.toBe(started);
    await isDone();
  });

  test('a comparison that is cancelled while it starts leaves the address that comes next alone', async () => {
    const [start, stop] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    onTestFinished(() => {
      for (const { resolve } of [start, stop]) resolve();
    });
    const isPlain = (request: Request) => request.headers()['idempotency-key']?.startsWith('plain-beside-') === true;
    await rig.page.route('**/v1/jobs', async (route) => {
      if (isPlain(route.request())) await start.promise;
      await route.continue();
    });
    await rig.page.route('**/cancel', async (route) => {
      await stop.promise;
      await route.continue();
    });
    await open();
    const isStarting = rig.page.waitForRequest(isPlain);
    await ask('a red apple', { isCompared: true });
    await isStarting;
    await at('#cancel').click();
    const isStopping = rig.page.waitForRequest('**/cancel');
    start.resolve();
    await isStopping;
    await rig.page.evaluate('location.hash = ""');
    await at('#welcome').waitFor();
    const isStopped = rig.page.waitForResponse('**/cancel');
    stop.resolve();
    await (await isStopped).finished();
    await rig.page.waitForTimeout(300);
    expect(new URL(rig.page.url()).hash).toBe('');
  });

  test('a key that is forgotten takes the account with it, what was on its way too', async () => {
    await open();
    await ask('a red apple');
    await isDone();
    await isFree();
    const { promise, resolve } = Promise.withResolvers<void>();
    onTestFinished(() => resolve());
    await rig.page.route(/\/v1\/jobs\?limit=/, async (route) => {
      await promise;
      await route.continue();
    });
    const isAsked = rig.page.waitForRequest(/\/v1\/jobs\?limit=/);
    await rig.page.reload();
    await isAsked;
    await expect.poll(() => rig.page.title(), { timeout: PATIENCE_MS }).toBe('a red apple – RALU');
    await at('#forget-key').click();
    const hasCome = rig.page.waitForResponse(/\/v1\/jobs\?limit=/);
    resolve();
    await (await hasCome).finished();
    await rig.page.waitForTimeout(300);
    expect(await at('#history-card').isVisible()).toBe(false);
    expect(await rig.page.title()).not.toContain('apple');
  });

  test('a link that has expired is renewed', async () => {
    let links = 0;
    await rig.page.route('**/events?token=*', (route) =>
      links++ === 0 ? route.fulfill({ status: 401, body: 'The link has expired' }) : route.continue(),
    );
    await open();
    await ask('a red apple');
    await isDone();
    expect(links).toBe(2);
  });

  test('cancel stops the job, and the page is free for the next', async () => {
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await picture('selection').waitFor();
    await at('#cancel').click();
    await isFree();
    await says('#announcement', 'Cancelled.');
    await says('#status', 'Cancelled.');
    await says('#moment h3', 'Cancelled');
    await says('#moment', 'In stage 2 of 3, after step ');
    // half a picture saved no work, and what was there stays
    expect(await at('#facts').innerText()).not.toContain('less');
    expect(await at('#hero .frame > img[src]').count()).toBeGreaterThan(0);
    expect((await jobShown()).status).toBe('cancelled');
    await says('#history li:first-child', 'cancelled');
  });

  test('a connection that dies without a word is told, and taken up again', async () => {
    const wire = await layWire(rig.stack.url);
    const second = door();
    onTestFinished(() => wire.close());
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open({ url: wire.url, key: rig.stack.key });
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
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await says('#status', /Stage 2 of 3, step 1 of 3\. Nothing has been heard for \d+ s\./);
    second.open();
    await isDone();
  });

  test('what came to no picture is tried again as it was sent, with one press', async () => {
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
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
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await picture('selection').waitFor();
    await rig.page.route('**/cancel', (route) => route.abort());
    await at('#cancel').click();
    await says('#alert', 'The service does not answer');
    second.open();
    await isDone();
    await at('#alert').waitFor({ state: 'hidden' });
  });

  test('what went wrong, what happens and the buttons are in sight, wherever the page stands', async () => {
    const inSight = async (selector: string): Promise<boolean> => {
      const box = await at(selector).boundingBox();
      const { height } = rig.page.viewportSize() as { height: number };
      return box !== null && box.y >= 0 && box.y + box.height <= height;
    };
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    for (const size of [
      { width: 1280, height: 800 },
      { width: 390, height: 844 },
      { width: 1024, height: 600 },
    ]) {
      await rig.page.setViewportSize(size);
      await rig.page.evaluate('scrollTo(0, 0)');
      await ask(' ');
      expect([await inSight('#alert'), await inSight('#generate')], JSON.stringify(size)).toEqual([true, true]);
    }
    await ask('a red apple');
    await picture('selection').waitFor();
    for (const top of [0, 10_000]) {
      await rig.page.evaluate(`scrollTo(0, ${top})`);
      await expect.poll(() => inSight('#status')).toBe(true);
      expect(await inSight('#cancel')).toBe(true);
    }
    second.open();
    await isDone();
  });

  test('a link to a job says what it needs where there is no key; afterwards one can write at once', async () => {
    await open();
    await ask('a red apple');
    await isDone();
    const address = rig.page.url();
    await rig.page.evaluate('sessionStorage.clear()');
    await rig.page.goto('about:blank');
    await rig.page.goto(address);
    await says('#key-why', 'the account’s key opens it');
    await at('#key').fill(rig.stack.key);
    await at('#key').press('Enter');
    await isDone();
    expect(await rig.page.evaluate('document.activeElement.id')).toBe('prompt');
  });

  test('a prompt that cannot be drawn is answered with a sentence', async () => {
    await open();
    await ask('   ');
    await says('#alert', 'Write a prompt first');
    expect(await at('#prompt').getAttribute('aria-invalid')).toBe('true');
    await ask('a'.repeat(32_001));
    await says('#alert', 'The prompt has 32,001 characters. At most 32,000 are possible.');
    await at('#seed').fill('-1');
    await ask('a red apple');
    await says('#alert', 'The seed must be a whole number');
    // it is told as long as it holds
    await at('#presets input[value="plain"]').check();
    expect(await at('#alert').isVisible()).toBe(true);
    await at('#seed').fill('');
    await at('#alert').waitFor({ state: 'hidden' });
    expect(await at('#seed').getAttribute('aria-invalid')).toBeNull();
  });

  test('a stage server that goes away in the middle is told as it happens, and how the job ended', async () => {
    rig.proxy.inject([{ kind: 'forward' }], { kind: 'refuse' });
    await open();
    await ask('a red apple');
    await says('#moment .trouble', 'The stage server cannot be reached; trying again.');
    await says('#alert', 'The stage server could not be reached');
    await isFree();
    expect(await picture(1).count()).toBe(1);
    await says('#history li:first-child', 'failed');
  });

  test('with no stage server in reach the page says so, and goes on asking', async () => {
    const away = await startFaultyStage('http://127.0.0.1:9');
    const alone = await startStack({
      persistTo: join(rig.folder, 'alone'),
      bundle: inject('bundle'),
      stage: { url: away.url, token: TOKEN },
    });
    onTestFinished(async () => {
      await alone.close();
      await away.close();
    });
    await rig.page.goto(`${alone.url}/#key=${alone.key}`);
    await says('#alert', 'No stage server can be reached');
    expect(await at('#request').isVisible()).toBe(false);
    await expect
      .poll(() => rig.asked.filter((url) => url.endsWith('/v1/models')).length, { timeout: PATIENCE_MS })
      .toBeGreaterThan(1);
  });
});
