// What the page holds, and who wants to know when it changes. Changes gather until the next frame, so that each panel draws once a frame at most.

/** @typedef {"time"|"films"|"select"|"words"|"branches"|"lesson"|"theme"|"view"} What */

export const state = {
  both: false,
  /** @type {import("./types.js").Branch[]} */
  branches: [],
  /** The branch that is shown, by its id. */
  branch: -1,
  /** The moment that is shown, in µs. */
  now: 0,
  playing: false,
  /** Whether the cluster that runs now is shown instead of a run. */
  live: false,
  /** How much slower than real time it plays. */
  slow: 20,
  /** The group that is shown, in each column. */
  group: [2, 2],
  /** @type {import("./types.js").Selection} */
  selected: { side: 0, step: null, message: null, host: null },
  /** Whether the selection goes along with time. */
  follow: true,
  /** @type {import("./types.js").Words} */
  words: { build: "", rules: {}, reasons: {}, invariants: {}, messages: {} },
  /** Hosts that a lesson points at. @type {number[]} */
  pointed: [],
};

/** @returns {import("./types.js").Branch|null} */
export function branch() {
  return state.branches.find((one) => one.id === state.branch) ?? null;
}

/** The films that are shown. @returns {import("./types.js").Film[]} */
export function films() {
  return branch()?.films ?? [];
}

/** The film of the column that has the selection. @returns {import("./types.js").Film|null} */
export function focused() {
  const shown = films();
  return shown[state.selected.side] ?? shown[0] ?? null;
}

/** The group shown in the column that has the selection. */
export function focusedGroup() {
  return state.group[state.selected.side] ?? state.group[0];
}

/** When the shown run ends. */
export function end() {
  return films().reduce((latest, film) => Math.max(latest, film.end), 0);
}

/** @type {{wants: Set<What>, draw: (changed: Set<What>) => void}[]} */
const watchers = [];
/** @type {Set<What>} */
let changed = new Set();
let asked = false;

/** Calls `draw` in the next frame after any of `wants` changed. @param {What[]} wants @param {(changed: Set<What>) => void} draw */
export function watch(wants, draw) {
  watchers.push({ wants: new Set(wants), draw });
}

/** @param {...What} what */
export function changes(...what) {
  for (const one of what) changed.add(one);
  if (!asked) {
    asked = true;
    requestAnimationFrame(flush);
  }
}

function flush() {
  asked = false;
  const now = changed;
  changed = new Set();
  for (const { wants, draw } of watchers) {
    for (const what of now) {
      if (wants.has(what)) {
        draw(now);
        break;
      }
    }
  }
}

/** When what is shown of it begins. */
export function beginning() {
  const shown = films();
  return shown.length ? Math.min(...shown.map((film) => film.begin)) : 0;
}

/** Goes to a moment. @param {number} t */
export function goTo(t) {
  state.now = Math.max(beginning(), Math.min(end(), t));
  changes("time");
}

/**
 * Selects a step and goes to it.
 * @param {import("./types.js").Step} step @param {number} [side]
 */
export function selectStep(step, side = state.selected.side) {
  state.selected = { side, step, message: null, host: step.h >= 0 ? step.h : null };
  state.follow = true;
  goTo(step.t);
  changes("select");
}

/** A judge names the group that it speaks of, as `g1: …`: that one is shown. @param {string} text @param {number} side */
export function showGroupOf(text, side) {
  const group = Number(/^g(\d+): /.exec(text)?.[1]);
  if (!group || state.group[side] === group || !films()[side]?.groups.some((one) => one.id === group)) return;
  state.group[side] = group;
  changes("films", "time", "select");
}

/** @param {import("./types.js").Message} message @param {number} side */
export function selectMessage(message, side) {
  state.selected = { ...state.selected, side, message };
  changes("select");
}
