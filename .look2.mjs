import { chromium } from 'playwright-core';
const address = process.argv[2]; const [base, key] = address.split('/#key=');
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
const ask = async (path, body) => (await fetch(base + path, body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) })).json();
const make = async (body) => { const { id } = await ask('/v1/jobs', body); await ask(`/v1/jobs/${id}?wait=60`); return (await ask(`/v1/jobs/${id}/shares`, {})).url; };
const urls = {
  long: await make({ prompt: 'a red apple, '.repeat(100), width: 256, height: 128, seed: 1 }),
  tall: await make({ prompt: 'تفاحة حمراء على خلفية زرقاء', width: 128, height: 256, seed: 1, output_format: 'webp' }),
  plain: await make({ prompt: 'a fox', preset: 'plain', seed: 1, output_format: 'jpeg' }),
};
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
for (const [name, url] of Object.entries(urls)) for (const [w, size, forced] of [['d', {width:1280,height:800}], ['p', {width:390,height:844}], ['f', {width:900,height:800}, 'active']]) {
  const context = await browser.newContext({ viewport: size, ...(forced && { forcedColors: forced }) });
  const page = await context.newPage();
  page.on('console', (m) => console.log(name, m.type(), m.text()));
  await page.goto(url);
  await page.screenshot({ path: `/tmp/share-${name}-${w}.png`, fullPage: true });
  await context.close();
}
console.log(await (await fetch(urls.long)).text().then(t=>t.length), urls);
await browser.close();
