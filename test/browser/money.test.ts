/** What the page says of money: the price before, the receipt after, the balance, and what it says when nobody pays. */
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { startStack } from '../../scripts/local/stack.ts';
import type { JobView } from '../../src/job/job.ts';
import { looksFine } from './look.ts';
import { isSkipped, TOKEN, titled, usePage } from './rig.ts';

/** of the embedded model, whatever that of the deployment is */
const TARIFF = '{"version": "test", "nano_usd_per_tflop": 250000000, "minimum_micro_usd": 5}';

describe.skipIf(isSkipped)(titled('money on the page'), () => {
  const { rig, at, says, isDone, open } = usePage({ vars: { TARIFF } });
  const isQuoted = (): Promise<void> => at('#money[aria-busy="false"]').waitFor();

  const openWith = (key: string): Promise<void> => open({ url: rig.stack.url, key });
  async function ask(path: string, key: string, body: object): Promise<{ key: { key: string } | string }> {
    const response = await fetch(rig.stack.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path} answered ${response.status} ${await response.text()}`);
    return (await response.json()) as { key: { key: string } | string };
  }
  /** A key of a new account that pays like this. */
  const openAccount = async (billing: object): Promise<string> =>
    ((await ask('/v1/accounts', rig.stack.adminKey, { name: 'test', billing })).key as { key: string }).key;

  test('the price stands above the button before anything is asked for, and follows the form', async () => {
    const quotes: { prompt: string; preset: string }[] = [];
    rig.page.on('request', (request) => {
      if (request.url().endsWith('/quote')) quotes.push(request.postDataJSON());
    });
    await open();
    await says('#price', 'At most $0.010732');
    await says('#plain-price', 'The plain model: $0.062667');
    await at('#compare').check();
    await says('#price', 'At most $0.073399');
    await says('#plain-price', '$0.010732 + plain model $0.062667');
    await at('#compare').uncheck();
    await at('#presets input[value="4x"]').check();
    await says('#price', 'At most $0.01692');
    // neither what is drawn nor the seed has a price, and neither is told before it is asked for
    await at('#prompt').fill('something private');
    await at('#seed').fill('7');
    await at('#presets input[value="plain"]').check();
    await says('#price', 'At most $0.062667');
    expect(quotes.map(({ preset }) => preset)).toEqual(['7x', '4x', 'plain']);
    expect(new Set(quotes.map(({ prompt }) => prompt))).toEqual(new Set(['a picture']));
    expect(await at('#generate').getAttribute('aria-describedby')).toBe('price plain-price balance');
  });

  test('a quote that is overtaken is given up, and the button stays where it is', async () => {
    await rig.page.route('**/v1/jobs/quote', async (route) => {
      // the first preset's never comes
      if (route.request().postDataJSON().preset === '4x') return;
      await route.continue();
    });
    const given: string[] = [];
    rig.page.on('requestfailed', (request) => given.push(request.postDataJSON().preset));
    const { promise, resolve } = Promise.withResolvers<void>();
    onTestFinished(() => resolve());
    await rig.page.route('**/v1/account', async (route) => {
      await promise;
      await route.continue();
    });
    await open();
    const place = async () => (await at('#generate').boundingBox())?.y;
    const before = await place();
    await says('#price', 'At most $0.010732');
    resolve();
    await says('#balance', /^Balance: \$\d/);
    expect(await place()).toBe(before);
    const asked = rig.page.waitForRequest((request) => request.url().endsWith('/quote'));
    await at('#presets input[value="4x"]').check();
    await asked;
    await at('#presets input[value="5x"]').check();
    await says('#price', 'At most $0.014192');
    expect(given).toEqual(['4x']);
  });

  test('the receipt shows what was paid, line by line, and what the plain model would have cost', async () => {
    const key = await openAccount({ mode: 'postpaid', credit_limit_usd: '1' });
    await openWith(key);
    await says('#balance', 'Owed so far: $0 of at most $1');
    await isQuoted();
    await isQuoted();
    await looksFine(rig.page, 'money-before');
    await at('#seed').fill('7');
    await at('#generate').click();
    await isDone();
    await says('#facts', /Paid\$0\.008\d{3} [\d.]+× less than plain/);
    await says('#facts', /plain\$0\.049\d{3}/);
    await says('#announcement', /It cost \$0\.008\d{3}\./);
    await says('#balance', /^Owed so far: \$0\.008\d{3} of at most \$1$/);
    await at('#numbers-card summary').click();
    await says('#numbers', /\$0\.008\d{3} paid; \$0\.25 a TFLOP, a picture at least \$0\.000005 \(tariff test\)/);
    const rows = await at('#numbers .paid tr').allInnerTexts();
    expect(rows.map((row) => row.split('\t')[0])).toEqual([
      '',
      'Stage 1',
      'Picture 1',
      'Stage 2',
      'Picture 2',
      'Stage 3',
      'Picture 3',
      'Text',
      'Paid, rounded',
      'The plain model',
    ]);
    const id = /job_[0-9a-z]+/.exec(rig.page.url())?.[0];
    const job = await fetch(`${rig.stack.url}/v1/jobs/${id}`, { headers: { authorization: `Bearer ${key}` } });
    const { receipt } = (await job.json()) as JobView;
    expect(await at('#numbers .note').allTextContents()).toEqual([`Engine of 7x: ${receipt?.engine}`]);
    expect(rows[1]).toMatch(/^Stage 1\t64\t2\t0\.0018\d TFLOPs\t\$0\.0004\d+$/);
    await isQuoted();
    await looksFine(rig.page, 'money-after');
    if (process.env.SHOTS) await at('#numbers').screenshot({ path: join(process.env.SHOTS, 'numbers.png') });
    // a reload draws the same from the events
    await rig.page.reload();
    await says('#facts', /Paid\$0\.008\d{3}/);
  });

  test('a cancelled job says what it cost', async () => {
    await open();
    await at('#presets input[value="plain"]').check();
    await at('#generate').click();
    await at('#stages progress').first().waitFor();
    await at('#cancel').click();
    await says('#announcement', /^Cancelled\. It cost \$0/);
    await says('#facts', /Paid\$0/);
    // once to those who look
    expect(await at('#status').textContent()).toBe('Cancelled.');
    expect(await at('#moment').textContent()).not.toContain('$');
  });

  test('an account without credit is told before and after, in words', async () => {
    await openWith(await openAccount({ mode: 'prepaid' }));
    await says('#balance', 'Balance: $0: too little for this');
    await at('#generate').click();
    await says(
      '#alert',
      'Nothing was started: too little credit. The request may cost 0.010732 USD, and the account has 0.000000 USD left. Whoever runs this service can add some.',
    );
    await at('#generate[aria-disabled="false"]').waitFor();
    expect(rig.page.url()).toBe(`${rig.stack.url}/`);
    // in sight, whatever the height of the form
    for (const part of ['#alert', '#price', '#generate']) {
      const box = await at(part).boundingBox();
      expect([(box?.y ?? -1) >= 0, (box?.y ?? 0) + (box?.height ?? 0) <= 800]).toEqual([true, true]);
    }
    await isQuoted();
    await looksFine(rig.page, 'money-unpaid');
  });

  test('a key that may only read gets no price, and the rest of the page', async () => {
    const { key } = await ask('/v1/account/keys', rig.stack.key, { name: 'reader', scopes: ['read'] });
    await openWith(key as string);
    await says('#price', 'This key may not ask for a price.');
    await says('#balance', /^Balance: \$\d/);
    expect(await at('#alert').isVisible()).toBe(false);
  });

  test('where nothing is charged the work stands in the place of the price, and no receipt has a price', async () => {
    const free = await startStack({
      persistTo: join(rig.folder, 'free'),
      bundle: inject('bundle'),
      stage: { url: rig.proxy.url, token: TOKEN },
      vars: { TARIFF: '' },
    });
    onTestFinished(() => free.close());
    await open(free);
    await says('#price', '0.0341 TFLOPs of work');
    await says('#plain-price', 'The plain model: 0.203 TFLOPs');
    await says('#balance', 'This service charges nothing.');
    await at('#generate').click();
    await isDone();
    await says('#facts', 'TFLOPs');
    expect(await at('#facts').innerText()).not.toContain('Paid');
    await at('#numbers-card summary').click();
    expect(await at('#numbers .paid').count()).toBe(0);
    await isQuoted();
    await looksFine(rig.page, 'money-free');
  });

  test('nothing of an account stays when its key goes', async () => {
    await open();
    await says('#balance', /^Balance: \$\d/);
    await isQuoted();
    await at('#forget-key').click();
    await at('#key').waitFor();
    expect(await at('#money').textContent()).toMatch(/^\s*$/);
  });
});
