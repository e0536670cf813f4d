// Where two films part, and how they end.

import { lineOf } from "./telling.js";

/** @typedef {import("./film.js").Film} Film */

/**
 * @param {Film} before @param {Film} after @param {number} group
 * @returns {{part: {t: number, text: string}|null, logs: {name: string, index: number, a: string, b: string}[]}}
 */
export function difference(before, after, group) {
  const length = Math.min(before.events.length, after.events.length);
  let at = 0;
  while (at < length && same(before.events[at], after.events[at])) at++;
  let part = null;
  const event = after.events[at] ?? before.events[at];
  // A film that is only longer does not differ.
  if (event && (at < length || event.t < Math.min(before.end, after.end))) {
    part = { t: event.t, text: `${event.h === undefined || event.h === null ? "" : `${after.names[event.h]} · `}${lineOf(after, event) || event.k}` };
  }
  const logs = [];
  for (let h = 0; h < Math.min(before.hosts, after.hosts); h++) {
    const a = before.logAt(h, group, before.end);
    const b = after.logAt(h, group, after.end);
    const last = Math.max(a.base + a.entries.length, b.base + b.entries.length);
    for (let index = Math.max(a.base, b.base) + 1; index <= last; index++) {
      const [x, y] = [a.entries[index - a.base - 1], b.entries[index - b.base - 1]];
      if (x && y && x[0] === y[0] && x[1] === y[1]) continue;
      const word = (/** @type {import("./types.js").Entry|undefined} */ entry) => (entry ? `${entry[0]}.${index} ${entry[1] || entry[2]}` : "");
      logs.push({ name: after.names[h], index, a: word(x), b: word(y) });
      break;
    }
  }
  return { part, logs };
}

/** @param {import("./types.js").FilmEvent} a @param {import("./types.js").FilmEvent} b */
function same(a, b) {
  return a.t === b.t && a.k === b.k && a.h === b.h && JSON.stringify(a) === JSON.stringify(b);
}
