// A browser on the Lab, and what every script here does with it. Only Debian's Chromium is driven; nothing is downloaded but the driver.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.LAB_MODULES ?? '.', 'index.js'));
const { chromium } = require('playwright-core');

export const [address, shots] = process.argv.slice(2);
export const axe = () => require.resolve('axe-core/axe.min.js');

let failures = 0;

/** Says whether something holds; the script goes on, and fails at its end. */
export function check(holds, what) {
  if (!holds) failures += 1;
  console.log(`${holds ? '  ok  ' : '  NO  '} ${what}`);
}

/** Opens the Lab; whatever the page itself finds wrong is a failure. */
export async function open(fragment = '', options = {}) {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.on('pageerror', (error) => check(false, `the page throws: ${error.message}`));
  page.on('console', (message) => {
    // A refused run answers 400, which the browser notes as well; the page shows it as a sentence.
    const refused = message.text().includes('status of 400');
    if (message.type() === 'error' && !refused) check(false, `the console says: ${message.text()}`);
  });
  page.on('request', (request) => {
    const url = request.url();
    const own = [address, 'data:', 'blob:'].some((start) => url.startsWith(start));
    if (!own) check(false, `the page asks elsewhere: ${url}`);
  });
  await page.goto(address + fragment);
  await ready(page);
  return { browser, context, page };
}

/** Waits until the page has a film to show. */
export async function ready(page) {
  await page.locator('#clock').filter({ hasText: ' / ' }).waitFor({ timeout: 20_000 });
  await page.locator('#ring-0 [data-host]').first().waitFor({ timeout: 20_000 });
}

/** A screenshot, for people to look at. */
export async function shoot(page, name) {
  await page.screenshot({ path: join(shots, `${name}.png`) });
}

/** Ends the script: well, or with a count of what did not hold. */
export function end() {
  console.log(failures === 0 ? 'all of it holds' : `${failures} things do not hold`);
  process.exit(failures === 0 ? 0 : 1);
}
