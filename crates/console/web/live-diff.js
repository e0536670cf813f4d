// Two values against each other, line by line; bytes that are no text in hex.

import { el } from "./dom.js";
import { bytesOf } from "./live-api.js";
import { w } from "./live-words.js";

/** @typedef {import("./live-api.js").Shown} Shown */

/** Beyond this many comparisons the values stand beside each other instead. */
const WORK_MAX = 400_000;
/** Equal lines that stay around a difference. */
const AROUND = 3;

/** The offset, some bytes, and what of them is text. @param {Shown} value @param {number} wide */
function hex(value, wide) {
  const bytes = bytesOf(value);
  const lines = [];
  for (let at = 0; at < bytes.length; at += wide) {
    const row = [...bytes.subarray(at, at + wide)];
    const signs = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(wide * 3 - 1)}  ${signs}`);
  }
  return lines.join("\n");
}

/** JSON with a line for each value; null if it is none that would gain by it. @param {Shown} value */
export function json(value) {
  if (value.text === null || value.cut || !/^\s*[[{]/.test(value.text)) return null;
  try {
    JSON.parse(value.text);
  } catch {
    return null;
  }
  // Written anew sign by sign: numbers beyond what the page's own can hold stay as they are.
  let made = "";
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const part of value.text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g) ?? []) {
    if (part === "{" || part === "[") {
      depth += 1;
      made += part + line();
    } else if (part === "}" || part === "]") {
      depth -= 1;
      made = /[[{]\s*$/.test(made) ? made.trimEnd() + part : made + line() + part;
    } else made += part === "," ? part + line() : part === ":" ? ": " : part;
  }
  return made;
}

/** A value for people. @param {Shown} value @param {boolean} pretty @param {number} [wide] bytes on a line */
export function readable(value, pretty, wide = 16) {
  return (pretty ? json(value) : null) ?? value.text ?? hex(value, wide);
}

/** A value in a box that scrolls, by keys as well. @param {string} name @param {string} content */
export function boxed(name, content) {
  return el("pre", { class: "value", tabindex: 0, role: "group", "aria-label": name }, content);
}

/**
 * What has to be done to `a` to have `b`: lines that stay, go and come. Null if it were too much work.
 * @param {string[]} a @param {string[]} b @returns {[" "|"-"|"+", string][]|null}
 */
function steps(a, b) {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const [x, y] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  if (x.length * y.length > WORK_MAX) return null;
  // The longest common part of what follows, for each pair of places.
  const wide = y.length + 1;
  const common = new Uint32Array((x.length + 1) * wide);
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      common[i * wide + j] = x[i] === y[j] ? common[(i + 1) * wide + j + 1] + 1 : Math.max(common[(i + 1) * wide + j], common[i * wide + j + 1]);
    }
  }
  /** @type {[" "|"-"|"+", string][]} */
  const all = a.slice(0, head).map((line) => [" ", line]);
  for (let i = 0, j = 0; i < x.length || j < y.length;) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      all.push([" ", x[i++]]);
      j++;
    } else if (i < x.length && (j >= y.length || common[(i + 1) * wide + j] >= common[i * wide + j + 1])) all.push(["-", x[i++]]);
    else all.push(["+", y[j++]]);
  }
  for (const line of a.slice(a.length - tail, a.length)) all.push([" ", line]);
  return all;
}

/**
 * One version against the one before it: a summary, and what to show.
 * @param {import("./live-api.js").Entry} older @param {import("./live-api.js").Entry} newer @param {boolean} pretty
 * @returns {{summary: string, body: () => HTMLElement}}
 */
export function difference(older, newer, pretty) {
  const [a, b] = [/** @type {Shown} */ (older.value), /** @type {Shown} */ (newer.value)];
  if (a.raw === b.raw && a.bytes === b.bytes) return { summary: w("keySame"), body: () => boxed(w("keyValue"), readable(b, pretty)) };
  const both = pretty && json(a) !== null && json(b) !== null;
  const lines = a.text === null || b.text === null ? null : steps(readable(a, both).split("\n"), readable(b, both).split("\n"));
  if (!lines) {
    const side = (/** @type {string} */ title, /** @type {Shown} */ value) => el("div", {}, el("h4", {}, title), boxed(title, readable(value, pretty, 8)));
    return { summary: w("keyOther"), body: () => el("div", { class: "beside" }, side(w("keyBefore", { n: older.version }), a), side(w("keyAfter", { n: newer.version }), b)) };
  }
  const count = (/** @type {string} */ sign) => lines.filter(([one]) => one === sign).length;
  return { summary: w("keyLines", { more: count("+"), less: count("-") }), body: () => drawn(lines) };
}

/** @param {[" "|"-"|"+", string][]} lines */
function drawn(lines) {
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - AROUND), i + AROUND + 1).some(([sign]) => sign !== " "));
  const box = el("div", { class: "diff", tabindex: 0, role: "list", "aria-label": w("keyHistory") });
  for (let i = 0; i < lines.length; i++) {
    let to = i;
    while (to < lines.length && !near[to]) to++;
    if (to > i) {
      box.append(el("div", { class: "skipped", role: "listitem" }, `⋯ ${w("keyEqual", { n: to - i })}`));
      i = to - 1;
      continue;
    }
    const [sign, line] = lines[i];
    box.append(el("div", { class: sign === "+" ? "added" : sign === "-" ? "removed" : "", role: "listitem" },
      el("span", { class: "sign", "aria-hidden": "true" }, sign === "-" ? "−" : sign),
      sign !== " " && el("span", { class: "visually-hidden" }, `${w(sign === "+" ? "keyAdded" : "keyRemoved")}: `), line || " "));
  }
  return box;
}
