// Branches: every action asks for another film, and the one before stays to be compared with.

import { film as askFilm } from "./api.js";
import { t, time } from "./i18n.js";
import { withActions } from "./run.js";
import { branch, changes, end, goTo, state } from "./store.js";
import { say } from "./toast.js";

/** @typedef {import("./types.js").Run} Run */

let nextId = 0;
/** Counts what is asked, so that only the newest answer is shown. */
let asking = 0;

/** @param {Run[]} runs */
async function filmsOf(runs) {
  document.body.dataset.working = "";
  try {
    return await Promise.all(runs.map(askFilm));
  } finally {
    delete document.body.dataset.working;
  }
}

/** The runs of both columns, or of the one. @param {Run} run @param {boolean} both */
export function runsOf(run, both) {
  return both ? [{ ...run, engine: "raft" }, { ...run, engine: "zab" }] : [run];
}

/**
 * Begins anew with these runs; false if the server refuses them, and then nothing changes.
 * @param {Run[]} runs @param {number} [at] the moment to show
 */
export async function begin(runs, at = 0) {
  const mine = ++asking;
  let films;
  try {
    films = await filmsOf(runs);
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return false;
  }
  if (mine !== asking) return false;
  const one = { id: nextId++, parent: null, at: 0, label: "", runs: films.map((film) => film.run), films };
  state.both = runs.length > 1;
  state.branches = [one];
  // The keys are shown, for they run on the engine that was chosen.
  state.group = [0, 1].map((side) => {
    const film = films[side] ?? films[0];
    return (film.groups.find((group) => group.id === 2) ?? film.groups[0]).id;
  });
  state.selected = { side: 0, step: null, message: null, host: null };
  show(one.id);
  goTo(at);
  return true;
}

/** Shows a branch. @param {number} id */
export function show(id) {
  state.branch = id;
  // Steps and messages belong to a film: those of another one mean nothing here.
  state.selected = { ...state.selected, side: Math.min(state.selected.side, (branch()?.films.length ?? 1) - 1), step: null, message: null };
  state.follow = true;
  state.now = Math.min(state.now, end());
  changes("films", "branches", "time", "select");
}

/**
 * Opens a branch on which these actions strike at `at`.
 * @param {string[]} lines @param {string} label @param {number} at @param {number|null} only the only column that they concern
 */
export async function fork(lines, label, at, only = null) {
  const parent = branch();
  if (!parent) return false;
  const mine = ++asking;
  const runs = parent.runs.map((run, side) => (only === null || only === side ? withActions(run, lines, at) : withActions(run, [], at)));
  let films;
  try {
    films = await filmsOf(runs);
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return false;
  }
  if (mine !== asking) return false;
  const one = { id: nextId++, parent: parent.id, at, label, runs: films.map((film) => film.run), films };
  state.branches.push(one);
  const host = state.selected.host;
  show(one.id);
  state.selected.host = host;
  goTo(at);
  // A run may be at a stage in which such an action strikes no more.
  const idle = films.every((film, side) => film.raw.hash === parent.films[side].raw.hash);
  say(t(idle ? "noEffect" : "acted", { text: label, time: time(at) }), idle);
  return true;
}

/** Asks for more of the same run: the films get longer, the branch stays. @param {number} ms */
export async function extend(ms) {
  const one = branch();
  if (!one) return;
  const mine = ++asking;
  try {
    const films = await filmsOf(one.runs.map((run) => ({ ...run, until_ms: (run.until_ms ?? Math.ceil(end() / 1000)) + ms })));
    if (mine !== asking) return;
    one.films = films;
    one.runs = films.map((film) => film.run);
    show(one.id);
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
  }
}

/** Removes a branch; those that came of it hang on its parent. @param {number} id */
export function forget(id) {
  const gone = state.branches.find((one) => one.id === id);
  if (!gone || gone.parent === null) return;
  for (const one of state.branches) if (one.parent === id) one.parent = gone.parent;
  state.branches = state.branches.filter((one) => one.id !== id);
  if (state.branch === id) show(gone.parent);
  else changes("branches");
}
