// A planted bug's failing seed opens in the Lab, and the invariant that broke is shown at the step that broke it; and every mission can be played to its end.

import { address, check, end, open, shoot } from './browser.mjs';

async function seed(engine, number, plant, invariant) {
  const { browser, page } = await open(`#seed=${number}&engine=${engine}&plant=${plant}`);
  await page.getByRole('group', { name: 'Next' }).getByRole('button', { name: 'violation', exact: true }).click();
  await page.getByRole('tab', { name: /^Invariants/ }).click();
  const panel = page.getByRole('tabpanel', { name: /^Invariants/ });
  const text = await panel.innerText();
  const row = text.split('\n').join(' ');
  const at = /broken at ([\d.]+ \S+)/.exec(row)?.[1];
  check(row.includes(invariant) && at !== undefined, `${plant}, seed ${number}: ${invariant} is shown as broken at ${at}`);
  const clock = await page.locator('#clock').innerText();
  check(clock.startsWith(at?.split(' ')[0] ?? '?'), `and the timeline stands there: ${clock}`);
  await shoot(page, `7-${plant}-breaks-${invariant}`);
  await browser.close();
}

await seed('raft', 155, 'B01', 'I8');

const lessons = await (await fetch(`${address}api/lessons`)).json();
const missions = lessons.filter((lesson) => lesson.kind === 'mission');
check(missions.length >= 6 && missions.every((mission) => mission.playable), `${missions.length} missions can be played in this build`);
const { browser, page } = await open('', { reducedMotion: 'reduce' });
for (const mission of missions) {
  await page.goto(`${address}#lesson=${mission.id}`);
  await page.reload();
  const panel = page.locator('#lesson');
  await panel.getByRole('heading', { name: mission.title.en }).waitFor();
  const { steps } = await (await fetch(`${address}api/lessons/${mission.id}`)).json();
  for (const [number, step] of steps.entries()) {
    const right = step.predict?.options.find((option) => option.right);
    if (right) await panel.getByRole('button', { name: right.text.en, exact: true }).click();
    if (number + 1 < steps.length) await panel.locator('button.primary').click();
  }
  await page.getByRole('tab', { name: /^Invariants/ }).click();
  const text = await page.getByRole('tabpanel', { name: /^Invariants/ }).innerText();
  check(/broken/.test(text), `${mission.id}: ends with a broken invariant`);
}
await browser.close();
end();
