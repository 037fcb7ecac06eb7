// A plain Playwright script: node playwright.mjs ENDPOINT SITE WHO
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [endpoint, site, who] = process.argv.slice(2);
const browser = await chromium.connectOverCDP(endpoint);
assert.equal(browser.contexts().length, 1, 'only the default context');
assert.equal(browser.contexts()[0].pages().length, 0, 'no page of others');

for (const context of [browser.contexts()[0], await browser.newContext()]) {
  const page = await context.newPage();
  await page.goto(`${site}/form?who=${who}`);
  await page.setInputFiles('#file', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('of a buffer') });
  assert.equal(await page.evaluate(() => document.querySelector('#file').files[0].text()), 'of a buffer');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#get')]);
  assert.equal(await download.failure(), 'canceled', 'downloads are off');
  await page.fill('#name', who);
  await page.click('#send');
  await page.waitForURL('**/hello?*');
  assert.equal(await page.textContent('h1'), `Hello ${who}`);
  assert.equal(await page.evaluate(() => document.cookie), `who=${who}`);
  assert.deepEqual((await context.cookies()).map(c => c.value), [who]);

  const frame = page.frameLocator('iframe');
  assert.equal(await frame.locator('p').textContent(), 'in a frame');

  assert.ok((await page.screenshot()).length > 1000, 'a picture');

  await page.route('**/data', route => route.fulfill({ body: 'intercepted' }));
  assert.equal(await page.evaluate(() => fetch('/data').then(r => r.text())), 'intercepted');

  const [popup] = await Promise.all([page.waitForEvent('popup'), page.click('#popup')]);
  await popup.waitForLoadState();
  assert.equal(await popup.title(), 'popup');
  await popup.close();

  await assert.rejects(page.goto('file:///etc/passwd'), /only pages of http/);
  assert.equal(context.pages().length, 1);
}
await browser.close();
console.log('done');
