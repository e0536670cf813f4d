// Everything that the page offers, once: every lesson, every action, rewinding, links, keys alone, both languages, the rules of accessibility, and how large it is.

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

import { address, axe, check, end, open, ready, shoot } from './browser.mjs';

const BYTES_MAX = 110 * 1024;

/** How the cluster and its logs stand, as the page says it to those who do not see it; once what was pressed has been drawn. */
const stand = async (page) => {
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  return page.evaluate(() => [...document.querySelectorAll('#ring-0 [aria-label], #logs-0 [aria-label], #clock')].map((e) => e.getAttribute('aria-label') ?? e.textContent));
};

/** Chooses the action in this place of the list. Its words. */
async function choose(page, place) {
  await page.keyboard.press('/');
  await page.getByRole('combobox', { name: 'All actions' }).waitFor();
  const option = page.getByRole('listbox', { name: 'All actions' }).getByRole('option').nth(place);
  const words = await option.locator('span').first().innerText();
  await option.click();
  await page.getByText(/^Branch opened/).first().waitFor({ timeout: 10_000 });
  return words;
}

async function everyLesson() {
  const lessons = await (await fetch(`${address}api/lessons`)).json();
  check(lessons.filter((lesson) => lesson.kind === 'lesson').length >= 24, `${lessons.length} lessons and missions`);
  for (const language of ['en', 'zh']) {
    const { browser, page } = await open('', { reducedMotion: 'reduce', locale: language === 'zh' ? 'zh-CN' : 'en-GB' });
    for (const lesson of lessons.filter((each) => each.playable)) {
      await page.goto(`${address}#lesson=${lesson.id}&l=${language}`);
      await page.reload();
      const panel = page.locator('#lesson');
      await panel.getByRole('heading', { name: lesson.title[language] }).waitFor({ timeout: 10_000 });
      let steps = 1;
      for (;;) {
        const { predict } = (await (await fetch(`${address}api/lessons/${lesson.id}`)).json()).steps[steps - 1];
        if (predict) {
          const right = predict.options.find((option) => option.right);
          await panel.getByRole('button', { name: right.text[language], exact: true }).click();
          await panel.getByText(right.because[language].slice(0, 12)).first().waitFor();
        }
        if (steps === lesson.steps) break;
        await panel.locator('button.primary').click();
        steps += 1;
      }
      await panel.locator('button.primary').click();
      check(await panel.isHidden(), `${language}: ${lesson.id}, ${steps} steps`);
    }
    await browser.close();
  }
}

async function everyAction() {
  const { browser, page } = await open();
  await page.keyboard.press('e');
  await page.keyboard.press('/');
  const options = page.getByRole('listbox', { name: 'All actions' }).getByRole('option');
  const count = await options.count();
  await page.keyboard.press('Escape');
  const struck = new Set();
  for (let place = 0; place < count; place += 1) {
    struck.add((await choose(page, place)).replace(/S\d|k\d|\d+/g, '…'));
    await page.locator('#branch').selectOption({ index: 0 });
    if (place % 12 === 11) {
      // Each action is a branch of its own; a page with a hundred of them is nobody's.
      await page.goto(address);
      await page.reload();
      await ready(page);
      await page.keyboard.press('e');
    }
  }
  check(struck.size >= 25, `${count} actions, ${struck.size} kinds of them, each opens a branch`);
  await browser.close();
}

async function rewinding() {
  const { browser, page } = await open();
  await page.keyboard.press('e');
  await choose(page, 0);
  const marks = [];
  await page.keyboard.press('Home');
  for (let step = 0; step < 60; step += 1) {
    await page.keyboard.press('ArrowRight');
    marks.push(JSON.stringify(await stand(page)));
  }
  let same = true;
  for (let step = 58; step >= 0; step -= 1) {
    await page.keyboard.press('ArrowLeft');
    same &&= JSON.stringify(await stand(page)) === marks[step];
  }
  check(same, 'sixty steps back show what sixty steps forward showed');
  await page.keyboard.press('End');
  const last = JSON.stringify(await stand(page));
  await page.waitForURL(/#r=/);
  await page.waitForTimeout(500);
  const link = page.url();
  await browser.close();
  const again = await open();
  await again.page.goto(link);
  await again.page.reload();
  await ready(again.page);
  await again.page.keyboard.press('End');
  check(JSON.stringify(await stand(again.page)) === last, 'the address reopens the same run, with its action');
  await again.browser.close();
}

async function keysAlone() {
  const { browser, page } = await open('', { reducedMotion: 'reduce' });
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await press('e', '/');
  await page.keyboard.type('crash leader');
  await press('Enter');
  await page.getByText(/^Branch opened/).first().waitFor();
  check(true, 'an action is struck by the keyboard alone');
  await press('v', 'i', 'h', 'b', 'w', '?');
  check(await page.getByRole('dialog').isVisible(), '? shows the keys');
  await press('Escape', '2');
  check(await page.getByRole('menu').or(page.getByRole('dialog')).first().isVisible(), '2 opens what can be done to S2');
  await press('Escape');
  let focused = 0;
  for (let tab = 0; tab < 60; tab += 1) {
    await press('Tab');
    const seen = await page.evaluate(() => {
      const at = document.activeElement;
      if (!at || at === document.body) return null;
      const box = at.getBoundingClientRect();
      return { named: Boolean(at.getAttribute('aria-label') || at.textContent?.trim() || at.labels?.length || at.getAttribute('aria-labelledby')), seen: box.width > 0 };
    });
    if (seen?.named && seen.seen) focused += 1;
  }
  check(focused >= 25, `${focused} of 60 stops of the Tab key are visible and have a name`);
  await browser.close();
}

async function accessible() {
  const source = readFileSync(axe(), 'utf8');
  for (const [name, options, fragment] of [
    ['light', {}, ''],
    ['dark', { colorScheme: 'dark' }, ''],
    ['Chinese', { locale: 'zh-CN' }, '#l=zh'],
    ['a lesson', {}, '#lesson=raft-01-roles'],
    ['narrow', { viewport: { width: 390, height: 844 } }, ''],
  ]) {
    const { browser, page } = await open(fragment, options);
    await page.waitForTimeout(500);
    await page.keyboard.press('e');
    await page.evaluate(source);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    const grave = found.violations.filter((each) => ['serious', 'critical'].includes(each.impact));
    check(grave.length === 0, `axe, ${name}: ${grave.map((each) => `${each.id} (${each.nodes[0]?.target})`).join(', ') || 'nothing serious'}`);
    await shoot(page, `tour-${name.replace(' ', '-')}`);
    await browser.close();
  }
}

async function badLinks() {
  for (const fragment of ['#r=this-is-no-run', '#lesson=no-such-lesson', '#seed=nonsense&engine=paxos']) {
    const { browser, page } = await open(fragment);
    await page.waitForTimeout(600);
    const told = await page.locator('#toast').innerText();
    check(told.length > 20, `${fragment}: ${told.slice(0, 90)}`);
    await page.keyboard.press('e');
    check((await page.locator('#clock').innerText()).length > 3, 'and the page stays alive');
    await browser.close();
  }
}

/** What the runs need, and what is fetched only when somebody looks at a cluster. */
async function size() {
  const weigh = async (part, names) => {
    let bytes = 0;
    for (const name of names) {
      const body = await (await fetch(new URL(name, address))).text();
      bytes += gzipSync(body).length;
      for (const [, absolute, relative] of body.matchAll(part)) names.add(absolute ?? `/assets/${relative}`);
    }
    return bytes;
  };
  const shown = new Set(['/']);
  const bytes = await weigh(/(?:src|href)="(\/assets\/[^"]+)"|from\s*"\.\/([\w.-]+)"/g, shown);
  check(bytes < BYTES_MAX, `${shown.size} files, ${(bytes / 1024).toFixed(1)} KiB compressed`);
  const all = new Set(['/', '/assets/live.js', '/assets/live.css']);
  const whole = await weigh(/(?:src|href)="(\/assets\/[^"]+)"|from\s*"\.\/([\w.-]+)"/g, all);
  check(whole < 1.25 * BYTES_MAX, `with the view of a cluster ${all.size} files, ${(whole / 1024).toFixed(1)} KiB`);
}

const parts = [size, badLinks, rewinding, keysAlone, accessible, everyAction, everyLesson];
const wanted = process.argv.slice(4);
for (const part of parts.filter((each) => wanted.length === 0 || wanted.includes(each.name))) {
  console.log(part.name);
  await part();
}
end();
