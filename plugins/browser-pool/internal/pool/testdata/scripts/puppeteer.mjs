// A plain Puppeteer script: node puppeteer.mjs ENDPOINT SITE WHO
import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';

const [browserWSEndpoint, site, who] = process.argv.slice(2);
const browser = await puppeteer.connect({ browserWSEndpoint });
assert.equal((await browser.pages()).length, 0, 'no page of others');
assert.equal(browser.browserContexts().length, 1, 'only the default context');

for (const context of [browser.defaultBrowserContext(), await browser.createBrowserContext()]) {
  const page = await context.newPage();
  await page.goto(`${site}/form?who=${who}`);
  await page.type('#name', who);
  await Promise.all([page.waitForNavigation(), page.click('#send')]);
  assert.equal(await page.$eval('h1', h => h.textContent), `Hello ${who}`);
  assert.equal(await page.evaluate(() => document.cookie), `who=${who}`);
  assert.deepEqual((await context.cookies()).map(c => c.value), [who]);

  const frame = await page.waitForFrame(f => f.url().endsWith('/frame'));
  assert.equal(await frame.$eval('p', p => p.textContent), 'in a frame');

  assert.ok((await page.screenshot()).length > 1000, 'a picture');

  await page.setRequestInterception(true);
  page.on('request', r => (r.url().endsWith('/data') ? r.respond({ body: 'intercepted' }) : r.continue()));
  assert.equal(await page.evaluate(() => fetch('/data').then(r => r.text())), 'intercepted');
  await page.setRequestInterception(false);

  const [popup] = await Promise.all([new Promise(resolve => page.once('popup', resolve)), page.click('#popup')]);
  assert.equal(await popup.waitForFunction(() => document.title).then(h => h.jsonValue()), 'popup');
  await popup.close();

  await assert.rejects(page.goto('file:///etc/passwd'), /only pages of http/);
  assert.equal((await context.pages()).length, 1);
}
for (const target of browser.targets()) {
  assert.ok(['about:blank', ''].includes(target.url()) || target.url().startsWith(site), target.url());
}
await browser.close();
console.log('done');
