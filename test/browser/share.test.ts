/** A picture shared from the page, and what somebody without a key sees of it. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isSkipped, PATIENCE_MS, titled, usePage } from './rig.ts';

const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds serious on a page. */
async function seriousOn(page: Page): Promise<readonly string[]> {
  await page.evaluate(axeSource);
  const { violations } = (await page.evaluate('axe.run()')) as {
    violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[];
  };
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}

const LOOKS = [
  { colorScheme: 'light', width: 1280, height: 800 },
  { colorScheme: 'dark', width: 390, height: 844 },
] as const;

describe.skipIf(isSkipped)(titled('a shared picture'), () => {
  const { rig, at, says, isDone, open, ask } = usePage();

  /** A page of somebody who has no key and was never here. */
  async function stranger(): Promise<Page> {
    const context = await (rig.context.browser() as Browser).newContext({ viewport: { width: 1280, height: 800 } });
    onTestFinished(() => context.close());
    context.setDefaultTimeout(PATIENCE_MS);
    return context.newPage();
  }

  /** In light on a desk and in dark on a phone: nothing serious, and nothing sticks out to the side. */
  async function looksFine(page: Page, name: string): Promise<void> {
    for (const { colorScheme, width, height } of LOOKS) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      if (process.env.SHOTS)
        await page.screenshot({ path: join(process.env.SHOTS, `share-${name}-${width}.png`), fullPage: true });
      expect(await seriousOn(page), `${name} ${colorScheme}`).toEqual([]);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    }
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
    await looksFine(rig.page, 'dialog');
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
    await looksFine(page, 'page');
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
    await looksFine(page, 'nothing');
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
    await says('#alert', 'There is no job');
    expect(await at('dialog').count()).toBe(0);
  });
});
