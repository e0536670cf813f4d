// A walk through the Lab by somebody who only reads what is written on the page: elects a leader, cuts the network, heals it, and reads why each step happened.

import { check, end, open, shoot } from './browser.mjs';

const { browser, page } = await open();
const button = (name) => page.getByRole('button', { name, exact: true });
/** What the page says of the step at which the timeline stands; not the list of steps beside it. */
const why = () => page.getByRole('tabpanel', { name: 'Why' });

async function said(pattern) {
  await why().getByText(pattern).first().waitFor({ timeout: 5_000 }).catch(() => {});
  return why().innerText();
}

/** Chooses an action by its words, as the list of actions writes them. */
async function act(words) {
  await page.getByRole('button', { name: /^Actions/ }).click();
  await page.getByRole('combobox', { name: 'All actions' }).fill(words);
  await page.getByRole('listbox', { name: 'All actions' }).getByRole('option').first().click();
  await page.getByText(/^Branch opened/).first().waitFor();
}

async function jumpTo(what) {
  await page.getByRole('group', { name: 'Next' }).getByRole('button', { name: what, exact: true }).click();
}

console.log('a leader is elected');
await page.getByRole('heading', { name: /^Cluster/ }).waitFor();
await shoot(page, '1-the-beginning');
await jumpTo('election');
const elected = await said(/it leads term/);
check(/majority|quorum/i.test(elected), 'the page says why: a majority granted its vote');
check(/crates\/raft\/src\/\w+\.rs:\d+/.test(elected), 'and shows the line of our source');
check(/§/.test(elected), "and the paper's section");
await shoot(page, '2-a-leader-is-elected');

console.log('a client writes');
await act('put through the leader');
await jumpTo('commit');
const committed = await said(/commit index/);
await shoot(page, '3-a-write-is-committed');
check(/commit index/i.test(committed), 'the page says why: the entry is on a majority of disks');

console.log('the network is cut, with the leader in the smaller half');
await act('split in two');
await jumpTo('election');
const second = await said(/it leads term 2/);
check(/it leads term 2/.test(second), 'a leader of term 2');
check(/majority|quorum/i.test(second), 'the larger half elects a leader of its own, and the page says why');
const leaders = await page.locator('[aria-label*=": leader,"]').count();
check(leaders === 2 || leaders === 1, `now ${leaders} believe that they lead, in two terms`);
await shoot(page, '4-the-network-is-cut');

console.log('it heals');
await act('mend every link');
await button('Step forward').click();
// The step that is told, not those in the list beside it.
const told = () => why().getByRole('article').filter({ hasText: /carries the larger term/ });
for (let step = 0; step < 40 && (await told().count()) === 0; step += 1) {
  await button('Step forward').click();
}
check((await told().count()) > 0, 'the old leader hears of a larger term, and the page says so');
await shoot(page, '5-the-network-has-healed');

console.log('and everything held');
await page.getByRole('tab', { name: /^Invariants/ }).click();
const panel = page.getByRole('tabpanel', { name: /^Invariants/ });
await panel.getByText(/hold so far|\d broken/).first().waitFor();
const invariants = await panel.innerText();
check(/hold so far/.test(invariants) && !/broken at/.test(invariants), 'every invariant holds');
await shoot(page, '6-every-invariant-holds');

await browser.close();
end();
