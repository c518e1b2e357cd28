/** The page: pictures as they come, comparison, history, code. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { ROOT } from '../../scripts/local/bundle.ts';
import { openAccount } from '../../scripts/local/secrets.ts';
import { startStack } from '../../scripts/local/stack.ts';
import { looksFine } from './look.ts';
import { startPrefix } from './prefix.ts';
import { isSkipped, PATIENCE_MS, TOKEN, titled, usePage } from './rig.ts';

const run = promisify(execFile);

describe.skipIf(isSkipped)(titled('the page'), () => {
  const { rig, at, says, picture, isDone, isFree, open, ask, jobShown, door } = usePage();

  test('the key comes in the fragment, is taken out of the address, and never stands in one that is asked for', async () => {
    await open();
    expect(rig.page.url()).toBe(`${rig.stack.url}/`);
    expect(await rig.page.evaluate('sessionStorage.getItem("ralu-key")')).toBe(rig.stack.key);
    await ask('a red apple');
    await isDone();
    expect(rig.asked.filter((url) => url.includes(rig.stack.key))).toEqual([]);
    const { headers } = await rig.page.request.get(rig.stack.url).then((response) => ({ headers: response.headers() }));
    expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
  });

  test('the key has left address and history before the page has loaded', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    onTestFinished(() => resolve());
    await rig.page.route('**/main.js', async (route) => {
      await promise;
      await route.continue();
    });
    await rig.page.goto(`${rig.stack.url}/#key=${rig.stack.key}`, { waitUntil: 'commit' });
    await expect.poll(() => rig.page.evaluate('location.href'), { timeout: PATIENCE_MS }).toBe(`${rig.stack.url}/`);
    resolve();
    await at('#request').waitFor();
    const { entries } = await (await rig.context.newCDPSession(rig.page)).send('Page.getNavigationHistory');
    expect(entries.map(({ url }) => url)).toEqual(['about:blank', `${rig.stack.url}/`]);
  });

  test('a key in the address replaces one in use only where the person says so', async () => {
    const other = await openAccount(rig.stack.url, rig.stack.adminKey, 'other');
    const used = () => rig.page.evaluate('sessionStorage.getItem("ralu-key")');
    const questions: string[] = [];
    let answer = false;
    rig.page.on('dialog', async (dialog) => {
      questions.push(dialog.message());
      await (answer ? dialog.accept() : dialog.dismiss());
    });
    await open();
    // in the open page, then in one that loads
    const ways = [
      (key: string) => rig.page.goto(`${rig.stack.url}/#key=${key}`),
      async (key: string) => {
        await rig.page.goto('about:blank');
        await rig.page.goto(`${rig.stack.url}/#key=${key}`);
      },
    ];
    for (const [i, way] of ways.entries()) {
      answer = false;
      await way(other);
      await expect.poll(() => questions.length).toBe(2 * i + 1);
      await at('#request').waitFor();
      expect([await used(), rig.page.url()]).toEqual([rig.stack.key, `${rig.stack.url}/`]);
      answer = true;
      await way(other);
      await expect.poll(() => questions.length).toBe(2 * i + 2);
      await expect.poll(used).toBe(other);
      expect(rig.page.url()).toBe(`${rig.stack.url}/`);
      await rig.page.evaluate(`sessionStorage.setItem("ralu-key", ${JSON.stringify(rig.stack.key)})`);
    }
    // the same key is no other one
    await rig.page.goto('about:blank');
    await open();
    expect(questions.filter((text) => !text.includes('another key'))).toEqual([]);
    expect(questions).toHaveLength(4);
  });

  test('without a key the page asks for one, and says what is wrong with it', async () => {
    await rig.page.goto(rig.stack.url);
    await at('#key').fill('nonsense');
    await at('#key').press('Enter');
    await says('#alert', 'The key is not valid');
    await at('#key').fill(rig.stack.key);
    await at('#key').press('Enter');
    await at('#request').waitFor();
    expect(await at('#alert').isVisible()).toBe(false);
    await at('#forget-key').click();
    await at('#key').waitFor();
    expect(await rig.page.evaluate('sessionStorage.length')).toBe(0);
  });

  test('each stage is seen when it is there, in order, with its tokens, steps and milliseconds', async () => {
    const [second, third] = [door(), door()];
    rig.proxy.inject([{ kind: 'forward' }, second.fault, third.fault]);
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });

    await picture(1).waitFor();
    await picture('selection').waitFor();
    await says('#status', 'Stage 2 of 3');
    expect(await picture(2).count()).toBe(0);
    await says('.stage[data-stage="1"]', /64 tokens · 2 steps\s*[\d.]+ m?s/);
    await says('.stage[data-stage="selection"]', /6 of 64 blocks\s*\d+ edge pixels/);
    // held in the large frame, edges and blocks lie over the picture, and can be taken off it
    await at('.stage[data-stage="selection"] button').click();
    const edges = at('#hero img[alt^="Edges found"]');
    await edges.waitFor();
    await at('.layers button').filter({ hasText: 'Edges' }).click();
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

  test('a reload in the middle of a job goes on with it', async () => {
    const second = door();
    rig.proxy.inject([{ kind: 'forward' }, second.fault]);
    await open();
    await ask('a red apple');
    await picture('selection').waitFor();
    const address = rig.page.url();
    await rig.page.reload();
    await picture('selection').waitFor();
    expect(rig.page.url()).toBe(address);
    expect(await at('#prompt').inputValue()).toBe('a red apple');
    second.open();
    await isDone();
    expect((await jobShown()).status).toBe('done');
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
    expect(rig.page.url()).toMatch(/#job_[0-9a-z]{32,64}\+job_[0-9a-z]{32,64}$/);
    const address = rig.page.url();
    await rig.page.reload();
    await slider.waitFor();
    expect(rig.page.url()).toBe(address);

    // the same again, slower: the picture is not there yet, then it is
    await at('#play').click();
    await says('#status', /Playing [\d.]+× (slower|faster) than it was/);
    await at('#hero img[src*="/image.png?token="]').first().waitFor({ state: 'detached' });
    await at('#play').click();
    await slider.waitFor();

    await at('#numbers-card summary').click();
    await looksFine(rig.page, 'compared');
  });

  test('a picture is saved under a readable name, and one that is gone says so', async () => {
    await open();
    await ask('a red apple', { seed: 9 });
    await isDone();
    const [saved] = await Promise.all([rig.page.waitForEvent('download'), at('#download').click()]);
    expect(saved.suggestedFilename()).toBe('a-red-apple-9.png');
    const { id } = await jobShown();
    const headers = { authorization: `Bearer ${rig.stack.key}` };
    expect((await readFile(await saved.path())).subarray(1, 4).toString()).toBe('PNG');
    await fetch(`${rig.stack.url}/v1/jobs/${id}`, { method: 'DELETE', headers });
    await at('#download').click();
    await says('#alert', 'The picture is gone');
  });

  test('what the model knows can be pressed; what it has not learned is marked while one writes', async () => {
    await open();
    await at('#prompt').fill('a purple zebra on a red background');
    expect(await at('#mirror u').allTextContents()).toEqual(['zebra']);
    await says('#unknown', 'It does not know: zebra.');
    // the line is where the word is
    const lines = await rig.page.evaluate(`[...document.querySelectorAll('#prompt, #mirror')].map((element) => {
      const { paddingLeft, borderLeftWidth, font, lineHeight } = getComputedStyle(element);
      return [paddingLeft, borderLeftWidth, font, lineHeight, element.clientWidth].join();
    })`);
    expect(new Set(lines as string[]).size).toBe(1);
    await at('#ideas button').filter({ hasText: 'a fox on a pink background' }).click();
    expect(await at('#prompt').inputValue()).toBe('a fox on a pink background');
    expect([await at('#unknown').isVisible(), await at('#mirror u').count()]).toEqual([false, 0]);
    await at('#prompt').fill('a');
    await at('#vocabulary summary').click();
    expect((await at('#words h3').allTextContents()).slice(0, 3)).toEqual(['objects', 'colours', 'backgrounds']);
    // all of them are there to see
    expect(await rig.page.evaluate('(({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)(words)')).toBe(0);
    for (const word of ['red', 'apple']) await at(`#words button >> text="${word}"`).first().click();
    expect(await at('#prompt').inputValue()).toBe('a red apple');
    await at('#ideas button').filter({ hasText: 'Surprise me' }).click();
    expect(await at('#mirror u').count()).toBe(0);
    await ask(await at('#prompt').inputValue(), { seed: 1 });
    await isDone();
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
    const other = await rig.context.newPage();
    const pictures: string[] = [];
    other.on('request', (request) => /\/(thumbnail|image\.)/.test(request.url()) && pictures.push(request.url()));
    await other.goto(`${rig.stack.url}/#key=${rig.stack.key}`);
    await other.locator('#history li:first-child').filter({ hasText: 'seed 11' }).waitFor();
    await ask('a yellow banana', { seed: 12 });
    await other.locator('#history li:first-child').filter({ hasText: 'seed 12' }).waitFor();
    await other.locator('#history li:nth-child(2)').filter({ hasText: 'seed 11' }).waitFor();
    const { id } = await jobShown();
    await expect.poll(() => pictures.some((url) => url.includes(id))).toBe(true);
    expect(pictures).toEqual([...new Set(pictures)]);
    // a small one is enough there
    expect(pictures.filter((url) => !url.includes(`/thumbnail?token=`))).toEqual([]);
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
    rig.page.once('dialog', (dialog) => void dialog.accept());
    await at(`#history li[data-job="${id}"] button`).click();
    await at(`#history li[data-job="${id}"]`).waitFor({ state: 'detached' });
    expect(
      (await fetch(`${rig.stack.url}/v1/jobs/${id}`, { headers: { authorization: `Bearer ${rig.stack.key}` } })).status,
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
      Promise.all([rig.page.waitForRequest('**/v1/jobs?limit=*'), ask('a yellow banana', { seed })]);
    const erasing = door();
    await rig.page.route(`**/v1/jobs/${id}`, async (route) => {
      await erasing.fault.until;
      await route.continue();
    });
    rig.page.once('dialog', (dialog) => void dialog.accept());
    await Promise.all([rig.page.waitForRequest(`**/v1/jobs/${id}`), item.locator('button').click()]);
    await drawAnew(7);
    await says('#history li:first-child', 'seed 7');

    const listing = door();
    await rig.page.route('**/v1/jobs?limit=*', async (route) => {
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
      persistTo: join(rig.folder, 'below'),
      bundle: inject('bundle'),
      stage: { url: rig.proxy.url, token: TOKEN },
      vars: { PUBLIC_URL: prefix.url },
    });
    onTestFinished(() => below.close());
    prefix.lead(below.url);
    await rig.page.goto(`${prefix.url}/#key=${below.key}`);
    await at('#request').waitFor();
    expect(rig.page.url()).toBe(`${prefix.url}/`);
    await ask('a red apple', { seed: 7 });
    await isDone();
    await at('#history li img').waitFor();
    await rig.page.reload();
    await isDone();
    await at('#language').selectOption('curl');
    expect(await at('#code').innerText()).toContain(`${prefix.url}/v1/`);
    expect(rig.asked.filter((url) => !url.startsWith(`${prefix.url}/`) && !url.startsWith('data:'))).toEqual([]);
  });

  test('the request as code makes the very picture shown, in each language, and holds no key', async () => {
    await open();
    await at('#ratio').fill('0.25');
    await ask('an "apple" that isn’t $RED & it\'s \\ fine', { seed: 3 });
    await isDone();
    const id = (await jobShown()).id;
    const env = { ...process.env, RALU_API_KEY: rig.stack.key };
    const shown = await fetch(`${rig.stack.url}/v1/jobs/${id}/image`, {
      headers: { authorization: `Bearer ${rig.stack.key}` },
    });
    const picture = await shown.bytes();
    // packages are looked up from where a command runs
    const work = await mkdtemp(join(ROOT, 'node_modules/.cache/code-'));
    onTestFinished(() => rm(work, { recursive: true, force: true }));
    const written = async (language: string): Promise<string> => {
      await at('#language').selectOption(language);
      const code = (await at('#code').textContent()) as string;
      expect(code).not.toContain(rig.stack.key);
      return code;
    };
    // a form that is changed afterwards and a reload change nothing of what was sent
    await at('#prompt').fill('something else');
    await rig.page.reload();
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
