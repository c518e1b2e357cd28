import { chromium } from 'playwright-core';
const address = process.argv[2];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
let url;
for (const [name, size, scheme] of [['desk', {width:1280,height:800}, 'light'], ['phone', {width:390,height:844}, 'dark'], ['deskdark', {width:1280,height:800}, 'dark'], ['phonelight', {width:390,height:844}, 'light']]) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.on('console', (m) => console.log(name, m.type(), m.text()));
  page.on('pageerror', (e) => console.log(name, 'ERR', e.message));
  await page.goto(address);
  if (!url || name === 'phone') {
    await page.locator('#request').waitFor();
    if (!url) { await page.fill('#prompt', 'a red apple on a blue background'); await page.fill('#seed','7'); await page.press('#prompt', 'Control+Enter'); }
    else await page.locator('#history li a').first().click();
    await page.locator('#share:visible').waitFor({timeout: 60000});
    await page.locator('#share').scrollIntoViewIfNeeded();
    await page.screenshot({ path: `/tmp/share-${name}-0.png` });
    await page.click('#share');
    await page.locator('dialog.share').waitFor();
    await page.screenshot({ path: `/tmp/share-${name}-1.png` });
    await page.locator('dialog.share button.main').click();
    await page.locator('.shares li').first().waitFor();
    await page.waitForTimeout(300);
    await page.screenshot({ path: `/tmp/share-${name}-2.png` });
    url = await page.locator('.shares li input').first().inputValue();
  }
  const anon = await browser.newContext({ viewport: size, colorScheme: scheme });
  const seen = await anon.newPage();
  seen.on('console', (m) => console.log(name, 'shared', m.type(), m.text()));
  await seen.goto(url);
  await seen.screenshot({ path: `/tmp/share-${name}-3.png`, fullPage: true });
  if (name==='desk') { await seen.goto(url.slice(0,-1)+'x'); await seen.screenshot({ path: `/tmp/share-${name}-4.png` }); }
  await context.close(); await anon.close();
}
console.log(url);
await browser.close();
