/** A picture shared from the page, and what somebody without a key sees of it. */
import type { Browser, Page } from 'playwright-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { looksFine } from './look.ts';
import { isSkipped, PATIENCE_MS, titled, usePage } from './rig.ts';

describe.skipIf(isSkipped)(titled('a shared picture'), () => {
  const { rig, at, says, isDone, open, ask } = usePage();

  /** A page of somebody who has no key and was never here. */
  async function stranger(): Promise<Page> {
    const context = await (rig.context.browser() as Browser).newContext({ viewport: { width: 1280, height: 800 } });
    onTestFinished(() => context.close());
    context.setDefaultTimeout(PATIENCE_MS);
    return context.newPage();
  }

  test('is seen by whoever has the link, without a key, until it is shared no more', async () => {
    await rig.context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await isDone();
    await at('#share').click();
    await at('dialog.share').waitFor();
    await at('dialog.share .main').click();
    await says('dialog.share [role="status"]', 'The link is made.');
    const url = await at('.shares input').inputValue();
    expect(url).toMatch(new RegExp(`^${rig.stack.url}/s/[0-9a-z.]+$`));
    await looksFine(rig.page, 'share-dialog');
    await at('.shares button').filter({ hasText: 'Copy link' }).click();
    await says('dialog.share [role="status"]', 'The link is on the clipboard.');
    expect(await rig.page.evaluate('navigator.clipboard.readText()')).toBe(url);

    const page = await stranger();
    const failed: string[] = [];
    page.on('response', (response) => response.status() >= 400 && failed.push(response.url()));
    await page.goto(url);
    await page.getByRole('heading', { level: 1, name: 'a red apple' }).waitFor();
    await page.getByText('× less work than the plain model').waitFor();
    expect(await page.locator('#key-form, form, script').count()).toBe(0);
    await looksFine(page, 'shared');
    // each picture is there: three stages, the selection in three layers, the finished one
    const pictures = page.locator('main img');
    expect(await pictures.count()).toBe(7);
    for (const picture of await pictures.all()) await picture.scrollIntoViewIfNeeded();
    await page.waitForFunction('[...document.images].every(({ naturalWidth }) => naturalWidth > 0)');
    expect(failed).toEqual([]);
    await page.getByRole('link', { name: 'Make your own' }).click();
    await page.locator('#key-form').waitFor();

    await at('.shares button').filter({ hasText: 'Stop sharing' }).click();
    await says('dialog.share [role="status"]', 'The link shows nothing any more.');
    expect(await at('.shares li').count()).toBe(0);
    expect((await page.goto(url))?.status()).toBe(404);
    await page.getByRole('heading', { level: 1, name: 'There is no picture here' }).waitFor();
    await looksFine(page, 'shared-nothing');
  });

  test('keeps its links when the dialog is opened again, and gives the keyboard back', async () => {
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await isDone();
    await at('#share').press('Enter');
    await at('dialog.share select').selectOption({ label: 'for one hour' });
    await at('dialog.share .main').press('Enter');
    await at('.shares li').waitFor();
    const url = await at('.shares input').inputValue();
    await rig.page.keyboard.press('Escape');
    await at('dialog.share').waitFor({ state: 'detached' });
    expect(await rig.page.evaluate('document.activeElement.id')).toBe('share');
    await at('#share').press('Enter');
    await at('.shares li').waitFor();
    expect(await at('.shares input').inputValue()).toBe(url);
  });

  test('that is gone says so in place of the dialog', async () => {
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await isDone();
    const id = /job_[0-9a-z]+/.exec(rig.page.url())?.[0];
    await fetch(`${rig.stack.url}/v1/jobs/${id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${rig.stack.key}` },
    });
    await at('#share').click();
    await says('#alert', 'The picture is gone');
    expect(await at('dialog.share').count()).toBe(0);
  });

  test('that cannot be opened without the service says so, until it can', async () => {
    await open();
    await ask('a red apple', { preset: '7x', seed: 7 });
    await isDone();
    await rig.context.setOffline(true);
    await at('#share').click();
    await says('#alert', 'The service does not answer.');
    await rig.context.setOffline(false);
    await at('#share').click();
    await at('dialog.share').waitFor();
    expect(await at('#alert').isVisible()).toBe(false);
  });
});
