// Events in words.

import { fill, pick, t, time } from "./i18n.js";
import { sentenceOf } from "./acts.js";
import { tidy, tidyDisk } from "./tidy.js";
import { epochWord, howWord, roleWord } from "./ring.js";
import { state } from "./store.js";

/** @typedef {import("./film.js").Film} Film */
/** @typedef {import("./types.js").FilmEvent} FilmEvent */

/** The reason of a `why` event, with its values filled in. @param {Film} film @param {FilmEvent} event */
export function reason(film, event) {
  const template = pick(state.words.reasons[event.what]);
  const values = event.values ?? {};
  if (template) {
    // `S{to}` is a node by its id; `{granted?this|that}` depends on a flag.
    return fill(template
      .replace(/\{(\w+)\?([^|{}]*)\|([^{}]*)\}/g, (_, name, yes, no) => (Number(values[name]) ? yes : no))
      .replace(/S\{(\w+)\}/g, (_, name) => film.nameOfNode(values[name])), values);
  }
  return `${event.what} ${Object.entries(values).map(([name, value]) => `${name} ${value}`).join(", ")}`;
}

/** @param {Film} film @param {number} g */
export function engineOfGroup(film, g) {
  return film.groups.find((group) => group.id === g)?.engine ?? film.run.engine;
}

/** One event in a line. @param {Film} film @param {FilmEvent} event @returns {string} */
export function lineOf(film, event) {
  const engine = engineOfGroup(film, event.g);
  switch (event.k) {
    case "start": return t("startLine", { n: event.life });
    case "runs": return t("runsLine");
    case "down": return t("downLine", { how: howWord(event.how) }) + (event.text ? ` · ${event.text}` : "");
    case "paused": return t("pausedLine", { time: time(event.until) });
    case "act": return t("actLine", { text: sentenceOf(event.text, film.names) });
    case "link": return event.cut.length ? t("linkLine", { links: event.cut.map(([a, b]) => `${film.names[a]}→${film.names[b]}`).join(" ") }) : t("linkNone");
    case "why": return reason(film, event);
    case "state": return t("stateLine", { role: roleWord(engine, event.role, event.pre), term: epochWord(engine), epoch: event.epoch, commit: event.commit, last: event.last });
    case "applied": return t("appliedLine", { index: event.index });
    case "log": return event.entries.length === 1 ? t("logLineOne", { from: event.from }) : event.entries.length ? t("logLine", { from: event.from, to: event.from + event.entries.length - 1 }) : t("logCut", { from: event.from - 1 });
    case "disk": return tidyDisk(event.text);
    case "disked": return event.error ? t("diskError", { text: event.error }) : "";
    case "ask": return t("askedLine", { c: event.c, text: event.text });
    case "answer": return t("answerLine", { c: event.c, text: event.text });
    case "broken": return t("brokenLine", { id: event.id, text: event.text });
    case "send": return `${event.name} → ${film.names[event.to]}`;
    case "note": return tidy(event.text, "");
    default: return event.text ?? "";
  }
}

// What says most about a step comes first.
const ORDER = ["broken", "down", "act", "start", "why", "paused", "link", "note", "ask", "answer", "log", "state", "applied", "runs", "recv", "send", "disk", "disked"];

/** A step in one line. @param {Film} film @param {import("./types.js").Step} step @param {number} group */
export function headline(film, step, group) {
  let best = null;
  let rank = ORDER.length;
  for (const index of step.events) {
    const event = film.events[index];
    const own = event.g === undefined || group === 0 || event.g === group || event.g === 0;
    const at = ORDER.indexOf(event.k) + (own ? 0 : 8);
    if (at < rank) {
      best = event;
      rank = at;
    }
  }
  if (!best) return "";
  if (best.k === "recv") {
    const message = film.frames.get(best.f)?.[0];
    return message ? `${film.names[message.h]} → ${message.name}` : "";
  }
  return best.k === "state" ? change(film, best) : lineOf(film, best);
}

/** What a change of state changed. @param {Film} film @param {FilmEvent} event */
function change(film, event) {
  const track = film.states[event.h].get(event.g);
  const before = track?.values[track.indexAt(event.t) - 1];
  const engine = engineOfGroup(film, event.g);
  const epoch = `${epochWord(engine)} ${event.epoch}`;
  if (!before || before.role !== event.role || before.pre !== (event.pre ?? false)) return t("becomes", { role: roleWord(engine, event.role, event.pre), epoch });
  if (before.epoch !== event.epoch) return epoch;
  if (before.leader !== event.leader) return event.leader === null ? t("followsNobody") : t("follows", { name: film.nameOfNode(event.leader) });
  return t("commitShort", { n: event.commit });
}
