// What one can do to a run: every action by its sentence, and as the line of the list of actions that it is.

import { fork } from "./branches.js";
import { t } from "./i18n.js";
import { nextValue } from "./run.js";
import { branch, state } from "./store.js";

/** @typedef {import("./film.js").Film} Film */
/** @typedef {{label: string, group: string, lines: string[], short?: string, at?: number, only?: number, title?: string}} Choice */

/** Does it, on a branch of its own. @param {Choice} choice */
export function perform(choice) {
  void fork(choice.lines, choice.title ?? choice.label, choice.at ?? state.now, choice.only ?? null);
}

/** @param {Film} film @param {number} side @param {number} h @param {number} ms @returns {Choice[]} */
export function nodeActions(film, side, h, ms) {
  const a = film.names[h];
  const others = film.names.map((_, i) => i).filter((i) => i !== h);
  const cut = new Set((film.cuts.at(state.now) ?? []).map(([from, to]) => `${from} ${to}`));
  const down = film.life[h].at(state.now)?.is === "down";
  const spare = h >= (film.run.nodes ?? film.hosts);
  const shown = film.stateAt(h, state.group[side], state.now);
  const learner = shown?.role === "learner";
  const process = t("groupProcess");
  const net = t("groupNet");
  /** @type {Choice[]} */
  const choices = [];
  const add = (/** @type {string} */ group, /** @type {string} */ label, /** @type {string} */ line, /** @type {string} */ short = "") => choices.push({ group, label, lines: [line], ...(short ? { short } : {}) });
  if (down) add(process, t("aStart", { a }), `start who=${h}`);
  else {
    add(process, t("aCrash", { a, ms }), `crash who=${h} down_ms=${ms}`);
    add(process, t("aKill", { a, ms }), `kill who=${h} down_ms=${ms}`);
    add(process, t("aPause", { a, ms }), `pause who=${h} ms=${ms}`);
  }
  add(t("groupClock"), t("aJump", { a, ms: jumpOf(film) }), `jump who=${h} ms=${jumpOf(film)}`);
  add(t("groupClock"), t("aDrift", { a }), `drift who=${h} ppm=50000`);
  for (const b of others) {
    const label = { a, b: film.names[b] };
    const back = { a: film.names[b], b: a };
    if (cut.has(`${h} ${b}`)) add(net, t("aMend", label), `mend from=${h} to=${b}`, `✓ ${a} → ${film.names[b]}`);
    else add(net, t("aCut", label), `cut from=${h} to=${b}`, `✂ ${a} → ${film.names[b]}`);
    if (cut.has(`${b} ${h}`)) add(net, t("aMend", back), `mend from=${b} to=${h}`, `✓ ${film.names[b]} → ${a}`);
    else add(net, t("aCut", back), `cut from=${b} to=${h}`, `✂ ${film.names[b]} → ${a}`);
  }
  add(net, t("aIsolate", { a }), `isolate who=${h}`);
  add(net, t("aDeaf", { a }), `deaf who=${h}`);
  add(net, t("aMute", { a }), `mute who=${h}`);
  if (cut.size) add(net, t("aHeal"), "heal");
  for (const choice of clientActions(film, h)) choices.push(choice);
  add(t("groupMembers"), t("aTransfer", { a }), `transfer to=${h}`);
  if (spare || (shown && shown.voters.length > 0 && !shown.voters.includes(film.life[h].at(state.now)?.node ?? h + 1) && !learner)) {
    add(t("groupMembers"), t("aLearner", { a }), `add-learner host=${h}`);
    add(t("groupMembers"), t("aVoter", { a }), `add-voter host=${h}`);
  }
  if (learner || spare) add(t("groupMembers"), t("aPromote", { a }), `promote host=${h}`);
  add(t("groupMembers"), t("aRemove", { a }), `remove who=${h}`);
  if (!down) add(t("groupDisk"), t("aSnapshot", { a }), `snapshot who=${h}`);
  add(t("groupDisk"), t("aLoseDisk", { a, ms }), `lose-disk who=${h} down_ms=${ms}`);
  add(t("groupDisk"), t("aRot", { a, ms }), `rot who=${h} down_ms=${ms}`);
  add(t("groupDisk"), t("aDiskSlow", { a, ms }), `disk-slow who=${h} more_ms=20 ms=${ms}`);
  add(t("groupDisk"), t("aDiskHang", { a, ms }), `disk-hang who=${h} ms=${ms}`);
  add(t("groupDisk"), t("aDiskFull", { a, ms }), `disk-full who=${h} ms=${ms}`);
  add(t("groupDisk"), t("aDiskFail", { a, ms }), `disk-fail who=${h} down_ms=${ms}`);
  return choices;
}

/** A jump that outlasts every election timeout. @param {Film} film */
function jumpOf(film) {
  return 2 * (film.run.election_ms ?? 150);
}

/** @param {Film} film @param {number|"leader"} who @returns {Choice[]} */
function clientActions(film, who) {
  const run = branch()?.runs[0];
  const value = run ? nextValue(run) : 1;
  const a = who === "leader" ? t("theLeader") : film.names[who];
  const key = value % 6;
  const group = t("groupClient");
  const ask = (/** @type {number} */ call, /** @type {string} */ label) => ({ group, label, lines: [`request who=${who} call=${call} key=${key} value=${value}`] });
  return [
    ask(0, t("aPut", { a, key, value })), ask(1, t("aGet", { a, key })), ask(2, t("aStale", { a, key })), ask(3, t("aDelete", { a, key })),
    ask(4, t("aCas", { a, key, value, old: value - 1 })),
  ];
}

/** @param {Film} film @param {number} a @param {number} b @param {number} ms @returns {Choice[]} */
export function linkActions(film, a, b, ms) {
  const group = t("groupNet");
  const cut = new Set((film.cuts.at(state.now) ?? []).map(([from, to]) => `${from} ${to}`));
  /** @type {Choice[]} */
  const choices = [];
  for (const [x, y] of [[a, b], [b, a]]) {
    const names = { a: film.names[x], b: film.names[y] };
    choices.push(cut.has(`${x} ${y}`) ? { group, label: t("aMend", names), lines: [`mend from=${x} to=${y}`] } : { group, label: t("aCut", names), lines: [`cut from=${x} to=${y}`] });
  }
  const names = { a: film.names[a], b: film.names[b], ms };
  choices.push({ group, label: t("aSever", names), lines: [`sever a=${a} b=${b}`] });
  choices.push({ group, label: t("aFlap", names), lines: [`flap a=${a} b=${b} half_ms=${Math.max(1, Math.round(ms / 8))} ms=${ms}`] });
  if (cut.size) choices.push({ group, label: t("aHeal"), lines: ["heal"] });
  return choices;
}

/** @param {Film} film @param {import("./types.js").Message} message @param {number} side @param {number} ms @returns {Choice[]} */
export function messageActions(film, message, side, ms) {
  const { f: frame, t: at } = message;
  const which = t("messageTitle", { name: message.name, from: film.names[message.h], to: film.names[message.to] });
  const named = (/** @type {string} */ label) => ({ label, title: `${label} (${which})` });
  const group = t("groupMessage");
  // A frame's number means something in this engine's run only.
  const place = { group, at, only: side };
  return [
    { ...place, ...named(t("aLose")), lines: [`lose frame=${frame}`] },
    { ...place, ...named(t("aHold", { ms })), lines: [`hold frame=${frame} ms=${ms}`] },
    { ...place, ...named(t("aTwice", { ms })), lines: [`twice frame=${frame} ms=${ms}`] },
  ];
}

/** What concerns the cluster as a whole. @param {Film} film @param {number} ms @returns {Choice[]} */
function clusterActions(film, ms) {
  const group = t("groupNet");
  const leader = { a: t("theLeader"), ms };
  const hosts = film.names.map((_, h) => h);
  const half = Math.floor(hosts.length / 2);
  const sides = (/** @type {number[]} */ one) => ({ a: one.map((h) => film.names[h]).join(" "), b: hosts.filter((h) => !one.includes(h)).map((h) => film.names[h]).join(" ") });
  const mask = (/** @type {number[]} */ one) => one.reduce((bits, h) => bits + 2 ** h, 0);
  const led = film.leaderAt(state.group[state.selected.side], state.now);
  const cuts = [hosts.slice(0, half), hosts.slice(0, half + 1)];
  if (led !== null) {
    const withLeader = [led, ...hosts.filter((h) => h !== led)];
    cuts.unshift(withLeader.slice(0, half).sort((a, b) => a - b));
  }
  const seen = new Set();
  /** @type {Choice[]} */
  const choices = [
    { group: t("groupProcess"), label: t("aCrash", leader), lines: [`crash who=leader down_ms=${ms}`] },
    { group: t("groupProcess"), label: t("aKill", leader), lines: [`kill who=leader down_ms=${ms}`] },
    { group: t("groupProcess"), label: t("aPause", leader), lines: [`pause who=leader ms=${ms}`] },
    { group, label: t("aIsolate", leader), lines: ["isolate who=leader"] },
    { group, label: t("aHeal"), lines: ["heal"] },
    ...clientActions(film, "leader"),
  ];
  for (const one of cuts) {
    if (!one.length || one.length === hosts.length || seen.has(mask(one))) continue;
    seen.add(mask(one));
    choices.push({ group, label: t("aSplit", sides(one)), lines: [`split mask=${mask(one)}`] });
    choices.push({ group, label: t("aOneWay", sides(one)), lines: [`one-way mask=${mask(one)}`] });
  }
  const delay = film.run.delay_us ?? 5000;
  choices.push(
    { group, label: t("aStyleGood"), lines: [`style loss=0 duplicate=0 reorder=0 delay_us=${delay}`] },
    { group, label: t("aStyleLossy"), lines: [`style loss=100 duplicate=0 reorder=0 delay_us=${delay}`] },
    { group, label: t("aStyleSlow"), lines: ["style loss=0 duplicate=0 reorder=0 delay_us=40000"] },
    { group, label: t("aStyleWild"), lines: [`style loss=100 duplicate=100 reorder=200 delay_us=${delay}`] },
  );
  return choices;
}

/** Every action there is, for the palette. @param {Film} film @param {number} side @param {number} ms @returns {Choice[]} */
export function allActions(film, side, ms) {
  const hosts = film.names.map((_, h) => h);
  const choices = clusterActions(film, ms);
  if (state.selected.message) for (const choice of messageActions(film, state.selected.message, side, ms)) choices.push({ ...choice, label: choice.title ?? choice.label });
  for (const h of hosts) choices.push(...nodeActions(film, side, h, ms).map((choice) => ({ ...choice, short: undefined })));
  for (const a of hosts) {
    for (const b of hosts) {
      if (a < b) choices.push(...linkActions(film, a, b, ms).slice(2, 4));
      if (a !== b && b >= (film.run.nodes ?? film.hosts)) choices.push({ group: t("groupMembers"), label: t("aReplace", { a: film.names[a], b: film.names[b] }), lines: [`replace old=${a} new=${b}`] });
    }
    const half = hosts.filter((h) => h !== a).slice(0, Math.floor((hosts.length - 1) / 2));
    if (hosts.length >= 3) choices.push({ group: t("groupNet"), label: t("aBridge", { a: film.names[a] }), lines: [`bridge who=${a} mask=${half.reduce((bits, h) => bits + 2 ** h, 0)}`] });
  }
  return choices;
}
