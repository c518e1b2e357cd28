/** The page's tools: emoji, settings out of a picture, the full screen, pictures side by side, clips. */
import { readFile } from 'node:fs/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isAccessible, PHONE } from './look.ts';
import { isSkipped, PATIENCE_MS, titled, usePage } from './rig.ts';

/** What a video says of itself, and the colours in the middle of its picture at some moments. */
interface Played {
  readonly width: number;
  readonly height: number;
  readonly colours: readonly (readonly number[])[];
}

describe.skipIf(isSkipped)(titled('the page’s tools'), () => {
  const {
    rig,
    at,
    says,
    isDone,
    isFree,
    open: openPage,
    ask,
    jobShown,
    door,
  } = usePage({
    // several jobs wait for one another
    vars: { QUEUE_SECONDS: '900' },
  });

  /** The tools come when somebody does something. */
  async function open(): Promise<void> {
    await openPage();
    await rig.page.mouse.move(200, 300);
    await at('link[href="style/tools.css"]').waitFor({ state: 'attached' });
  }

  const post = async (body: object): Promise<Buffer> => {
    const response = await fetch(`${rig.stack.url}/v1/images/generations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${rig.stack.key}`, 'content-type': 'application/json', accept: 'image/*' },
      body: JSON.stringify(body),
    });
    expect(response.status, await response.clone().text()).toBe(200);
    return Buffer.from(await response.arrayBuffer());
  };

  /** Files come to the page as `how` says. */
  const bring = (how: 'drop' | 'paste', name: string, bytes: Buffer): Promise<void> =>
    rig.page.evaluate(
      `(() => {
        const held = new DataTransfer();
        const bytes = Uint8Array.from(atob(${JSON.stringify(bytes.toString('base64'))}), (one) => one.charCodeAt(0));
        held.items.add(new File([bytes], ${JSON.stringify(name)}));
        const all = { bubbles: true, cancelable: true };
        if (${how === 'paste'}) document.body.dispatchEvent(new ClipboardEvent('paste', { ...all, clipboardData: held }));
        else for (const type of ['dragover', 'drop'])
          document.body.dispatchEvent(new DragEvent(type, { ...all, dataTransfer: held }));
      })()`,
    );

  const form = async () => ({
    prompt: await at('#prompt').inputValue(),
    seed: await at('#seed').inputValue(),
    size: await at('#size').inputValue(),
    preset: await at('#presets input:checked').inputValue(),
    r: await at('#ratio').inputValue(),
  });

  test('an emoji is offered as the word that the model reads, and one that it has none for is underlined', async () => {
    await open();
    await at('#prompt').fill('🍎 and 🍎 on a 🦓');
    await says('#unknown', 'It does not know: 🦓.');
    expect(await at('#mirror u').allTextContents()).toEqual(['🦓']);
    expect(await at('#spelling button').allTextContents()).toEqual(['🍎 → apple']);
    await at('#spelling button').press('Enter');
    expect(await at('#prompt').inputValue()).toBe('apple and apple on a 🦓');
    expect(await at('#spelling').isVisible()).toBe(false);
    expect(await rig.page.evaluate('document.activeElement.id')).toBe('prompt');
  });

  test.each([
    ['png', 'drop'],
    ['webp', 'paste'],
    ['jpeg', 'choose'],
  ] as const)('a picture in %s gives the form its settings by %s, and is sent nowhere', async (format, how) => {
    const picture = await post({
      prompt: 'a blue fox',
      seed: 12,
      size: '256x128',
      output_format: format,
      ralu: { preset: '4x', r: 0.4 },
    });
    await open();
    await at('#prompt').fill('half a thou');
    const sent: string[] = [];
    rig.page.on('request', (request) => request.method() === 'POST' && sent.push(new URL(request.url()).pathname));
    const name = `fox.${format}`;
    if (how === 'choose') await at('#picture-file').setInputFiles({ name, mimeType: 'image/jpeg', buffer: picture });
    else await bring(how, name, picture);
    await says('#found', `The form has the settings of ${name}: 4x, 256 × 128, seed 12.`);
    expect(await form()).toEqual({ prompt: 'a blue fox', seed: '12', size: '256x128', preset: '4x', r: '0.4' });
    const told = (await at('#found').textContent()) ?? '';
    if (format === 'png') {
      expect(told).not.toContain('Not in the form');
      await at('#generate').click();
      await isDone();
      const { request } = await jobShown();
      expect(request).toMatchObject({ preset: '4x', r: [0.4], seed: 12, width: 256, height: 128 });
      const shown = (await at('.stage').last().locator('img[src]').first().getAttribute('src')) as string;
      const again = await (await fetch(new URL(shown, rig.stack.url))).arrayBuffer();
      expect(Buffer.from(again).equals(picture)).toBe(true);
    } else expect(told).toContain(`Not in the form: output_format "${format}"`);
    expect(sent.filter((path) => path !== '/v1/jobs/quote')).toEqual(format === 'png' ? ['/v1/jobs'] : []);
  });

  test('a file that says nothing, or too much, leaves the form as it was and says why', async () => {
    await open();
    await at('#prompt').fill('half a thought');
    await bring('drop', 'notes.txt', Buffer.from('a red apple'));
    await says('#found', 'This file is not a PNG, WebP or JPEG picture.');
    const silent = await post({ prompt: 'a blue fox', seed: 1, ralu: { metadata: false } });
    await bring('drop', 'silent.png', silent);
    await says('#found', 'This picture does not say how it was made.');
    await at('#picture-file').setInputFiles({
      name: 'big.png',
      mimeType: 'image/png',
      buffer: Buffer.alloc(33 * 2 ** 20),
    });
    await says('#found', 'The file has 33 MB. At most 32 MB are read.');
    expect((await form()).prompt).toBe('half a thought');
    await at('#prompt').pressSequentially('!');
    await at('#found').waitFor({ state: 'hidden' });
  });

  test('what is dragged over the page is told where it goes, and not when it leaves', async () => {
    await open();
    const drag = (type: string) =>
      rig.page.evaluate(`(() => {
        const held = new DataTransfer();
        held.items.add(new File([], 'a.png'));
        document.body.dispatchEvent(new DragEvent('${type}', { bubbles: true, cancelable: true, dataTransfer: held }));
        return document.body.className;
      })()`);
    expect(await drag('dragover')).toBe('dropping');
    expect(await drag('dragleave')).toBe('');
  });

  test('on the full screen the arrow keys go through the history; the page then shows the last one', async () => {
    await open();
    for (const [seed, prompt] of ['a red apple', 'a blue fox', 'a car'].entries()) {
      await ask(prompt, { seed });
      await says('#history li:first-child', prompt);
      await isFree();
      await at('#full-screen').waitFor();
    }
    const listed = await at('#history li').count();
    await at('#full-screen').click();
    await at('#viewer[open]').waitFor();
    await says('#viewer', `“a car” · 7x · seed 2`);
    await says('#viewer .place', `Picture 1 of ${listed}`);
    await rig.page.keyboard.press('ArrowLeft');
    await rig.page.keyboard.press('ArrowRight');
    await says('#viewer', '“a blue fox” · 7x · seed 1');
    await rig.page.evaluate('document.querySelector("#viewer img").decode()');
    await isAccessible(rig.page, 'the viewer', '#viewer');
    // what was opened last is closed, and the focus is where it was
    await at('#viewer button').filter({ hasText: 'Previous' }).click();
    await says('#viewer', '“a car”');
    await rig.page.keyboard.press('Escape');
    await at('#viewer').waitFor({ state: 'hidden' });
    await expect.poll(() => rig.page.evaluate('document.fullscreenElement')).toBeNull();
    expect(await rig.page.evaluate('document.activeElement.id')).toBe('full-screen');

    await at('#full-screen').press('Enter');
    await says('#viewer', '“a car”');
    await rig.page.keyboard.press('ArrowRight');
    await rig.page.keyboard.press('ArrowRight');
    await says('#viewer', '“a red apple” · 7x · seed 0');
    await at('#viewer button').filter({ hasText: 'Close' }).click();
    await expect.poll(async () => (await jobShown()).prompt, { timeout: PATIENCE_MS }).toBe('a red apple');
    await isDone();
    await expect.poll(() => rig.page.evaluate('document.activeElement.id')).toBe('results');
  });

  test('on the full screen the number of pictures is told when all are listed', async () => {
    await rig.page.route('**/v1/jobs?limit=12*', async (route) => {
      const url = route.request().url().replace('limit=12', 'limit=1');
      await route.fulfill({ response: await route.fetch({ url }) });
    });
    await open();
    for (const seed of [0, 1]) {
      await ask('a car', { seed });
      await says('#history li:first-child', `seed ${seed}`);
      await isFree();
    }
    await at('#full-screen').click();
    await at('#viewer[open]').waitFor();
    expect(await at('#viewer .place').textContent()).toBe('');
    const next = at('#viewer button').filter({ hasText: 'Next' });
    expect(await next.getAttribute('aria-disabled')).toBe('false');
    await next.click();
    await says('#viewer .place', /^Picture 2/);
  });

  const tiles = async () => (await at('.group b').allTextContents()).map((name) => name.replace(/ · pinned$/, '*'));
  const isOver = async (count: number): Promise<void> => {
    await expect.poll(() => at('.group img[src]').count(), { timeout: PATIENCE_MS }).toBe(count);
    await isFree();
  };

  async function askSeveral(many: 'seeds' | 'presets', prompt: string, seed: string): Promise<void> {
    await at('#many').selectOption(many);
    await at('#prompt').fill(prompt);
    await at('#seed').fill(seed);
    await at('#prompt').press('Control+Enter');
  }

  test('four pictures with seeds of their own stand side by side; pressed, one is shown; a reload shows them again', async () => {
    await open();
    await at('#many').selectOption('seeds');
    expect(await at('#compare').isDisabled()).toBe(true);
    await says('#plain-price', '4 pictures. With the plain model: ');
    const price = async () => Number(/[\d.]+/.exec((await at('#price').textContent()) ?? '')?.[0]);
    const ofFour = await price();
    await askSeveral('seeds', 'a red apple', '7');
    await says('#status', /^[1-3] of 4 pictures (is|are) there\.$/);
    await isOver(4);
    await says('#announcement', 'All 4 pictures are there.');
    expect(await at('#status').isVisible()).toBe(false);
    expect(await tiles()).toEqual(['seed 7', 'seed 8', 'seed 9', 'seed 10']);
    await says('.group li:last-child', /[\d.]+ m?s of denoising/);
    expect((await jobShown()).seed).toBe(7);
    await at('.group a').nth(2).click();
    await expect.poll(async () => (await jobShown()).seed, { timeout: PATIENCE_MS }).toBe(9);
    expect(await at('.group a[aria-current]').count()).toBe(1);
    await isDone();
    await rig.page.reload();
    await isOver(4);
    expect((await jobShown()).seed).toBe(9);
    expect(await at('.group a[aria-current]').textContent()).toContain('seed 9');
    // the form is for one again, at a quarter of the price
    await says('#plain-price', 'The plain model:');
    expect(await price()).toBeCloseTo(ofFour / 4, 6);
    await at('#history a').last().click();
    await at('#group-card').waitFor({ state: 'hidden' });
  });

  test('one that is pinned stands beside those with each preset, which have one seed', async () => {
    await open();
    await ask('a blue fox', { seed: 3, preset: '4x' });
    await isDone();
    await isFree();
    await at('#pin').click();
    expect(await at('#pin').getAttribute('aria-pressed')).toBe('true');
    const presets = (await rig.page.evaluate(
      '[...document.querySelectorAll("#presets input")].map(({ value }) => value)',
    )) as string[];
    await askSeveral('presets', 'a blue apple', '');
    await isOver(1 + presets.length);
    const names = await tiles();
    expect(names[0]).toMatch(/^“a blue fox” · 4x · seed 3\*$/);
    // they have one prompt and one seed
    expect(names.slice(1)).toEqual(presets);
    await isAccessible(rig.page, 'pictures side by side');
    // what comes next has it beside it too
    await at('#many').selectOption('one');
    await ask('a car', { seed: 1 });
    await isOver(2);
    expect((await tiles()).map((name) => name.split(' · ')[0])).toEqual(['“a blue fox”', '“a car”']);
    // the full screen leaves it there, with one of the history too
    await at('#full-screen').click();
    await says('#viewer', '“a car”');
    await rig.page.keyboard.press('ArrowRight');
    await rig.page.keyboard.press('Escape');
    await expect.poll(async () => (await jobShown()).prompt, { timeout: PATIENCE_MS }).toBe('a blue apple');
    // the other one is asked for anew, and the names are told when both are known
    await expect.poll(async () => (await tiles())[0], { timeout: PATIENCE_MS }).toBe(names[0]);
    await isOver(2);
    expect(await at('.group a[aria-current]').count()).toBe(1);
  });

  test('a pin stays through a reload and the back button, and a name until all are known', async () => {
    await open();
    await at('#size').selectOption({ index: 0 });
    await ask('a blue fox', { seed: 3 });
    await isDone();
    await at('#pin').click();
    await isFree();
    await ask('a car', { seed: 1 });
    await isOver(2);
    const pair = ['“a blue fox” · seed 3*', '“a car” · seed 1'];
    expect(await tiles()).toEqual(pair);
    await rig.page.reload();
    await expect.poll(tiles, { timeout: PATIENCE_MS }).toEqual(pair);
    await at('#pin[aria-pressed="false"]').waitFor();

    // the next one is told late: until then the pinned one keeps the name it has
    await at('#size').selectOption({ index: 0 });
    const { promise, resolve } = Promise.withResolvers<void>();
    onTestFinished(() => resolve());
    await isFree();
    const before = rig.page.url();
    let asked = 0;
    await rig.page.route(/\/v1\/jobs\/job_[0-9a-z]+$/, async (route) => {
      const [id = ''] = /job_[0-9a-z]+$/.exec(route.request().url()) ?? [];
      // what is shown comes a little late, what stands beside it later
      if (!before.includes(id)) await (asked++ === 0 ? rig.page.waitForTimeout(300) : promise);
      await route.continue();
    });
    await ask('a dog', { seed: 2 });
    await rig.page.waitForURL((url) => url.href !== before);
    const named: (string | undefined)[] = [];
    for (let look = 0; look < 10; look++) {
      named.push((await tiles())[0]);
      await rig.page.waitForTimeout(100);
    }
    expect([...new Set(named)]).toEqual([pair[0]]);
    resolve();
    await isOver(2);
    expect(await tiles()).toEqual([pair[0], '“a dog” · seed 2']);

    await rig.page.goBack();
    await expect.poll(tiles, { timeout: PATIENCE_MS }).toEqual(pair);
    await at('.group a').first().click();
    await at('#pin[aria-pressed="true"]').click();
    await expect.poll(tiles, { timeout: PATIENCE_MS }).toEqual(pair.map((name) => name.replace('*', '')));
  });

  test('a pinned picture that was erased elsewhere is pinned no longer', async () => {
    await open();
    await at('#size').selectOption({ index: 0 });
    await ask('a blue fox', { seed: 3 });
    await isDone();
    await at('#pin').click();
    await isFree();
    const { id } = await jobShown();
    const headers = { authorization: `Bearer ${rig.stack.key}` };
    expect((await fetch(`${rig.stack.url}/v1/jobs/${id}`, { method: 'DELETE', headers })).status).toBe(204);
    await ask('a car', { seed: 1 });
    await says('#alert', 'One of the pictures side by side is gone');
    await at('#group-card').waitFor({ state: 'hidden' });
    await isFree();
    await ask('a dog', { seed: 2 });
    await expect.poll(async () => (await jobShown()).prompt, { timeout: PATIENCE_MS }).toBe('a dog');
    await isDone();
    expect(rig.page.url()).not.toContain('~');
  });

  test('of pictures side by side one that was erased in another tab is left; the last one stands alone', async () => {
    await open();
    await askSeveral('seeds', 'a red apple', '11');
    await isOver(4);
    await isFree();
    const other = await rig.context.newPage();
    other.on('dialog', (dialog) => void dialog.accept());
    await other.goto(`${rig.stack.url}/#key=${rig.stack.key}`);
    const erase = (seed: number): Promise<void> =>
      other
        .locator('#history li')
        .filter({ hasText: `seed ${seed}` })
        .first()
        .locator('button')
        .click();
    // beside the large one
    await erase(12);
    await expect.poll(tiles, { timeout: PATIENCE_MS }).toEqual(['seed 11', 'seed 13', 'seed 14']);
    await says('#alert', 'One of the pictures side by side is gone');
    expect((await jobShown()).seed).toBe(11);
    // the large one
    await erase(11);
    await expect.poll(async () => (await jobShown()).seed, { timeout: PATIENCE_MS }).toBe(13);
    await isDone();
    await says('#alert', 'One of the pictures side by side is gone');
    await erase(14);
    await at('#group-card').waitFor({ state: 'hidden' });
    expect(rig.page.url()).not.toContain('~');
    expect((await jobShown()).seed).toBe(13);
    expect(await at('#picture-card').isVisible()).toBe(true);
  });

  test('an address whose large picture was erased leads to one of those beside it', async () => {
    await open();
    await askSeveral('seeds', 'a red apple', '21');
    await isOver(4);
    await isFree();
    const { id } = await jobShown();
    const headers = { authorization: `Bearer ${rig.stack.key}` };
    expect((await fetch(`${rig.stack.url}/v1/jobs/${id}`, { method: 'DELETE', headers })).status).toBe(204);
    await rig.page.reload();
    await says('#alert', 'One of the pictures side by side is gone');
    await isOver(3);
    await isDone();
    expect((await jobShown()).seed).toBe(22);
    expect(await at('.group a[aria-current]').textContent()).toContain('seed 22');
  });

  test('beside a pin each job is asked to stop once, however often Cancel is pressed', async () => {
    await open();
    await at('#size').selectOption({ index: 0 });
    await ask('a blue fox', { seed: 3 });
    await isDone();
    await at('#pin').click();
    await isFree();
    const first = door();
    rig.proxy.inject([first.fault]);
    await ask('a car', { seed: 1 });
    await says('.group li:last-child small', /queued|running/);
    const stopped: string[] = [];
    rig.page.on('request', (request) => {
      if (request.url().endsWith('/cancel')) stopped.push(request.url());
    });
    await at('#cancel').click();
    await at('#cancel').dispatchEvent('click');
    first.open();
    await at('#again').waitFor();
    await isFree();
    expect(stopped).toHaveLength(1);
  });

  test('a key that is revoked while pictures are made ends the asking; with another one all goes on as it was', async () => {
    const made = await fetch(`${rig.stack.url}/v1/account/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${rig.stack.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'for a while' }),
    });
    const { id, key } = (await made.json()) as { id: string; key: string };
    const first = door();
    rig.proxy.inject([first.fault]);
    await openPage({ url: rig.stack.url, key });
    await rig.page.mouse.move(200, 300);
    await askSeveral('seeds', 'a red apple', '1');
    await says('.group li:last-child small', /queued|running/);
    await at('#presets input[value="4x"]').check();
    await at('#prompt').fill('what I am writing');
    await at('#ratio').fill('0.3');
    const address = rig.page.url();
    await rig.page.setViewportSize(PHONE);
    let refused = 0;
    rig.page.on('response', (response) => {
      if (response.status() === 401) refused++;
    });
    const headers = { authorization: `Bearer ${rig.stack.key}` };
    expect((await fetch(`${rig.stack.url}/v1/account/keys/${id}`, { method: 'DELETE', headers })).status).toBe(204);
    await at('#key-form').waitFor();
    await says('#alert', /key/);
    const said = await at('#alert').textContent();
    // those that were asked for together, and nothing after them; a silent job is asked for after six seconds
    await rig.page.waitForTimeout(500);
    const before = refused;
    await rig.page.waitForTimeout(8000);
    expect([before > 0, refused]).toEqual([true, before]);
    expect(await at('#alert').textContent()).toBe(said);
    expect(await at('.group a').count()).toBe(4);
    const { y = -1, height = 0 } = (await at('#key').boundingBox()) ?? {};
    expect([y >= 0, y + height <= PHONE.height]).toEqual([true, true]);
    // its events come by a link, which needs no key
    first.open();
    await says('#announcement', 'The picture is there');
    await rig.page.waitForTimeout(500);
    expect(await at('#alert').textContent()).toBe(said);
    expect(await at('#status').isVisible()).toBe(false);
    await at('#key').fill(rig.stack.key);
    await at('#key').press('Enter');
    await at('#request').waitFor();
    expect(rig.page.url()).toBe(address);
    await says('#announcement', 'All 4 pictures are there.');
    const form = ['#prompt', '#ratio', '#many', '#presets input:checked'].map((field) => at(field).inputValue());
    expect(await Promise.all(form)).toEqual(['what I am writing', '0.3', 'seeds', '4x']);
  });

  test('who leaves pictures that are being made side by side may ask for the next', async () => {
    const first = door();
    await open();
    await at('#size').selectOption({ index: 0 });
    await ask('a blue fox', { seed: 3 });
    await isDone();
    await at('#pin').click();
    await isFree();
    rig.proxy.inject([first.fault]);
    await ask('a car', { seed: 1 });
    await says('#status', /Stage 1 of \d/);
    await at('.group img[src]').waitFor();
    await rig.page.evaluate('location.hash = ""');
    await at('#welcome').waitFor();
    await isFree();
    await at('#cancel[aria-disabled="true"]').waitFor();
    first.open();
  });

  test('the name of one with a long prompt is short, and nothing is drawn before it has its style', async () => {
    const style = Promise.withResolvers<void>();
    await rig.page.route('**/style/tools.css', async (route) => {
      await style.promise;
      await route.continue();
    });
    await openPage();
    await askSeveral('seeds', 'apple '.repeat(1000), '1');
    await expect.poll(async () => (await jobShown()).status, { timeout: PATIENCE_MS }).toBe('done');
    expect(await at('#group-card').count()).toBe(1);
    expect(await at('#group-card').isVisible()).toBe(false);
    style.resolve();
    await isOver(4);
    await at('#pin').click();
    await at('#many').selectOption('one');
    await ask('a car');
    await isOver(2);
    const heights = (await rig.page.evaluate(
      '[...document.querySelectorAll(".group b")].map((name) => name.clientHeight)',
    )) as number[];
    expect(Math.max(...heights)).toBeLessThan(80);
  });

  test('cancelled are all that run side by side', async () => {
    await open();
    const first = door();
    rig.proxy.inject([first.fault]);
    await askSeveral('seeds', 'a red apple', '1');
    await expect.poll(() => at('.group small').allTextContents(), { timeout: PATIENCE_MS }).toHaveLength(4);
    await expect
      .poll(async () => (await at('.group small').allTextContents()).includes(''), { timeout: PATIENCE_MS })
      .toBe(false);
    await at('#cancel').click();
    first.open();
    await isFree();
    await at('#again').waitFor();
    const states = await at('.group small').allTextContents();
    expect(states.filter((state) => state !== 'cancelled' && !state.endsWith('of denoising'))).toEqual([]);
    expect(states).toContain('cancelled');
    // all of them once more
    await at('#again').click();
    await isOver(states.length);
    expect(await tiles()).toEqual(['seed 1', 'seed 2', 'seed 3', 'seed 4']);
  });

  test('a picture that is erased is shown no longer, alone or beside others', async () => {
    rig.page.on('dialog', (dialog) => void dialog.accept());
    await open();
    await ask('a blue fox', { seed: 5 });
    await isDone();
    await says('#history li:first-child', 'seed 5');
    const address = rig.page.url();
    await at('#history li:first-child button').click();
    await at('#picture-card').waitFor({ state: 'hidden' });
    expect(new URL(rig.page.url()).hash).toBe('');
    expect(await at('#alert').isVisible()).toBe(false);
    await rig.page.goto(address);
    await says('#alert', 'There is no such picture: it was erased');
    expect(await at('#alert').textContent()).not.toContain('job_');

    await askSeveral('seeds', 'a red apple', '6');
    await isOver(4);
    await at('#history li[data-job]').filter({ hasText: 'seed 6' }).first().locator('button').click();
    await expect.poll(async () => (await jobShown()).seed, { timeout: PATIENCE_MS }).toBe(7);
    await expect.poll(tiles, { timeout: PATIENCE_MS }).toEqual(['seed 7', 'seed 8', 'seed 9']);
  });

  /** Plays a video in a page of its own. */
  async function playBack(type: string, file: Buffer, moments: readonly number[]): Promise<Played> {
    const page = await rig.context.newPage();
    const played = await page.evaluate(`(async () => {
      const video = Object.assign(document.createElement('video'), { muted: true });
      video.src = 'data:${type};base64,${file.toString('base64')}';
      await new Promise((resolve, reject) => {
        video.onloadeddata = resolve;
        video.onerror = () => reject(new Error(video.error.message));
      });
      const { videoWidth: width, videoHeight: height } = video;
      const pen = Object.assign(document.createElement('canvas'), { width, height }).getContext('2d');
      const colours = [];
      for (const moment of ${JSON.stringify(moments)}) {
        video.currentTime = moment;
        await new Promise((resolve) => { video.onseeked = resolve; });
        pen.drawImage(video, 0, 0);
        colours.push([...pen.getImageData(width / 2, height / 2, 1, 1).data].slice(0, 3));
      }
      return { width, height, colours };
    })()`);
    await page.close();
    return played as Played;
  }

  test('a clip is saved that shows the stages, and can be stopped', async () => {
    await open();
    await ask('a red apple', { seed: 2 });
    await isDone();
    await isFree();
    const saved = rig.page.waitForEvent('download', { timeout: PATIENCE_MS });
    await at('#save-clip').click();
    await says('#save-clip', 'Stop the clip');
    await at('#clip-progress').waitFor();
    const download = await saved;
    const [, extension] = /^a-red-apple-2\.(mp4|webm)$/.exec(download.suggestedFilename()) ?? [];
    const file = await readFile(await download.path());
    const magic = extension === 'mp4' ? file.subarray(4, 8).toString('latin1') : file.subarray(0, 4).toString('hex');
    expect(magic).toBe(extension === 'mp4' ? 'ftyp' : '1a45dfa3');
    await says('#announcement', 'The clip is saved.');
    await says('#save-clip', 'Save clip');
    expect(await at('#clip-progress').isVisible()).toBe(false);

    // the first stage's apple, under its edges, and the finished one
    const moments = [0.5, 0.7, 0.9, 1.1, 2.1, 4.6, 4.9, 5.2];
    const { width, height, colours } = await playBack(`video/${extension}`, file, moments);
    expect([width, height]).toEqual([720, 868]);
    const redness = ([red = 0, green = 0]: readonly number[]): number => red - green;
    // the reddest of a scene: a busy machine also records moments in which one turns into the next
    const reddest = (scene: readonly (readonly number[])[]) =>
      scene.toSorted((a, b) => redness(b) - redness(a))[0] as readonly number[];
    const [first, dimmed, last] = [reddest(colours.slice(0, 4)), colours[4]!, reddest(colours.slice(5))];
    for (const seen of [first, last]) expect(redness(seen)).toBeGreaterThan(80);
    expect(dimmed[0]!).toBeLessThan(first[0]! / 2);

    let downloads = 0;
    rig.page.on('download', () => downloads++);
    await at('#save-clip').click();
    await at('#save-clip').filter({ hasText: 'Stop the clip' }).click();
    await says('#announcement', 'No clip was saved.');
    await says('#save-clip', 'Save clip');
    expect(downloads).toBe(0);
  });

  test('a browser that cannot record is offered no clip', async () => {
    await rig.page.addInitScript('delete window.MediaRecorder');
    await open();
    await ask('a red apple');
    await isDone();
    await at('#download').waitFor();
    expect(await at('#save-clip').isVisible()).toBe(false);
  });
});
