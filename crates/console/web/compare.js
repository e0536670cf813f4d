// Two engines on the same faults: how they did, number beside number.

import { el } from "./dom.js";
import { t, time } from "./i18n.js";
import { countUntil } from "./track.js";
import { films, state, watch } from "./store.js";

/** @param {HTMLElement} page */
export function startCompare(page) {
  let drawn = "";
  watch(["time", "films", "select", "words"], () => {
    if (page.hidden || !state.both) return;
    const shown = films();
    // The numbers up to now need not follow every frame.
    const key = `${shown.map((film) => film.raw.hash)} ${Math.floor(state.now / 20_000)} ${state.group} ${document.documentElement.lang} ${state.branch}`;
    if (key === drawn) return;
    drawn = key;
    const all = shown.map((film, side) => measure(film, state.group[side], film.end));
    const now = shown.map((film, side) => measure(film, state.group[side], state.now));
    const row = (/** @type {import("./i18n.js").Key} */ key, /** @type {(one: ReturnType<typeof measure>) => string|number} */ value) =>
      el("tr", {}, el("th", { scope: "row" }, t(key)), ...now.map((one) => el("td", {}, String(value(one)))), ...all.map((one) => el("td", {}, String(value(one)))));
    page.replaceChildren(
      el("p", { class: "muted" }, t("compareHint")),
      el("table", { class: "compare" },
        el("thead", {}, el("tr", {}, el("td", { rowspan: 2 }), el("th", { colspan: 2, scope: "colgroup" }, t("nowHere")), el("th", { colspan: 2, scope: "colgroup" }, t("wholeRun"))),
          el("tr", {}, ...[0, 1].flatMap(() => [el("th", { scope: "col" }, t("raft")), el("th", { scope: "col" }, t("zab"))]))),
        el("tbody", {},
          row("firstLeader", (one) => (one.led === null ? t("never") : `${one.leader} · ${time(one.led)}`)),
          row("messagesToLeader", (one) => one.before),
          row("messagesSent", (one) => one.sent),
          row("elections", (one) => one.elections),
          row("lastEpoch", (one) => one.epoch),
          row("entriesCommitted", (one) => one.committed),
          row("answered", (one) => one.answered),
          row("slowest", (one) => (one.slowest ? time(one.slowest) : "–")))),
      el("h3", {}, t("phases")),
      el("ul", { class: "plain" }, ...(/** @type {const} */ (["phaseElect", "phaseSync", "phaseBroadcast", "phaseWords"])).map((key) => el("li", {}, t(key)))));
  });
}

/** @param {import("./film.js").Film} film @param {number} group @param {number} until */
function measure(film, group, until) {
  let led = null;
  let leader = "";
  let elections = 0;
  let epoch = 0;
  let committed = 0;
  for (let h = 0; h < film.hosts; h++) {
    const track = film.states[h].get(group);
    if (!track) continue;
    let before = "";
    for (let i = 0; i < track.times.length && track.times[i] <= until; i++) {
      const { role, epoch: own, commit } = track.values[i];
      if (role === "leader" && before !== "leader") {
        elections++;
        if (led === null || track.times[i] < led) [led, leader] = [track.times[i], film.names[h]];
      }
      before = role;
      epoch = Math.max(epoch, own);
      committed = Math.max(committed, commit);
    }
  }
  let sent = 0;
  let before = 0;
  for (let i = countUntil(film.times, until) - 1; i >= 0; i--) {
    if (film.messages[i].g !== group) continue;
    sent++;
    if (led !== null && film.messages[i].t <= led) before++;
  }
  const done = film.operations.filter((one) => one.to !== null && one.to <= until && one.outcome === "ok");
  const slowest = done.reduce((most, one) => Math.max(most, Number(one.to) - one.from), 0);
  return { led, leader, elections, epoch, committed, sent, before, answered: done.length, slowest };
}
