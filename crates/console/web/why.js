// Why: the step that is selected, its reasons in words, with the rule, the paper and the code, and what came and went.

import { attr, el, marked } from "./dom.js";
import { lang, pick, t, time } from "./i18n.js";
import { openMessageMenu } from "./menus.js";
import { kindOf, isAnswer, LETTER } from "./kinds.js";
import { focused, focusedGroup, selectMessage, selectStep, state, watch } from "./store.js";
import { fateOf } from "./tip.js";
import { engineOfGroup, headline, lineOf, reason } from "./telling.js";
import { tidy } from "./tidy.js";

/** @typedef {import("./film.js").Film} Film */
/** @typedef {import("./types.js").FilmEvent} FilmEvent */
/** @typedef {import("./types.js").Step} Step */

const AROUND = 30;
// While time runs, nobody reads faster than this, in ms.
const PACE = 160;
const ROW = 24;
let refocus = false;
let listHeight = 300;
let listTop = 0;

/** @param {HTMLElement} page */
export function startWhy(page) {
  const list = el("ol", { class: "steps" });
  const telling = el("div", { class: "telling", tabindex: 0 });
  page.append(list, telling);
  // One stop for the tab key; the arrows go up and down from there.
  list.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    const item = list.querySelector(".here")?.closest("li");
    const next = event.key === "ArrowDown" ? item?.nextElementSibling : item?.previousElementSibling;
    next?.querySelector("button")?.click();
    refocus = true;
  });
  new ResizeObserver(() => { listHeight = list.clientHeight; }).observe(list);
  telling.addEventListener("scroll", () => { telling.dataset.moved = "yes"; });
  let drawn = "";
  let drawnAt = 0;
  watch(["time", "films", "select", "words"], () => {
    const film = focused();
    if (!film) return;
    if (state.follow) followTime(film);
    if (page.hidden) return;
    const { step, side, message } = state.selected;
    const key = `${film.raw.hash} ${film.run.actions} ${step ? `${step.t} ${step.h}` : "-"} ${side} ${focusedGroup()} ${lang()} ${message?.m ?? ""} ${Object.keys(state.words.reasons).length}`;
    const at = performance.now();
    if (key === drawn || (state.playing && at - drawnAt < PACE)) return;
    drawn = key;
    drawnAt = at;
    attr(list, "aria-label", t("stepsNear"));
    attr(telling, "aria-label", t("why"));
    drawList(list, film, step);
    if (step) tell(telling, film, step, side);
    else telling.replaceChildren(el("p", { class: "empty" }, t("whyEmpty")));
    if (telling.dataset.moved) telling.scrollTop = 0;
    delete telling.dataset.moved;
  });
}

/** As time goes on, the selection is the last step that decided something. @param {Film} film */
function followTime(film) {
  const until = film.stepsUntil(state.now);
  const { step } = state.selected;
  // A step of this very moment that was chosen stays.
  if (step && step.t === state.now && film.steps.includes(step, Math.max(0, until - 64))) return;
  for (let i = until - 1; i >= Math.max(0, until - 400); i--) {
    if (interesting(film, film.steps[i])) {
      state.selected.step = film.steps[i];
      return;
    }
  }
  state.selected.step = until > 0 ? film.steps[until - 1] : null;
}

/** Whether stepping stops here. @param {Film} film @param {Step} step */
export function interesting(film, step) {
  if (step.weight < 2) return false;
  const group = focusedGroup();
  // What happens only in groups that are not shown does not count.
  return step.groups === 0 || group === 0 || (step.groups & (1 << group)) !== 0 || step.events.some((index) => film.events[index].g === undefined && film.events[index].k !== "recv" && film.events[index].k !== "disk" && film.events[index].k !== "disked");
}

/** @param {HTMLElement} list @param {Film} film @param {Step|null} step */
function drawList(list, film, step) {
  const all = film.steps;
  const here = step ? all.indexOf(step, Math.max(0, film.stepsUntil(step.t) - 64)) : film.stepsUntil(state.now) - 1;
  const shown = [];
  for (let i = here; i >= 0 && shown.length < AROUND / 2; i--) if (i === here || interesting(film, all[i])) shown.unshift(i);
  for (let i = here + 1; i < all.length && shown.length < AROUND; i++) if (interesting(film, all[i])) shown.push(i);
  list.replaceChildren(...shown.filter((i) => i >= 0).map((i) => {
    const one = all[i];
    return el("li", {}, el("button", { type: "button", class: `step${i === here ? " here" : ""}`, tabindex: i === here ? 0 : -1, "aria-current": i === here ? "step" : null, onclick: () => selectStep(one) },
      el("span", { class: "step-time" }, time(one.t)), el("b", {}, one.h < 0 ? "·" : film.names[one.h]), el("span", {}, headline(film, one, focusedGroup()))));
  }));
  if (refocus) {
    refocus = false;
    /** @type {HTMLElement|null} */ (list.querySelector(".here"))?.focus({ preventScroll: true });
  }
  // Rows are of one height, so the place is known without laying out; it is set only when it changes, for setting it lays out, too.
  const top = Math.max(0, shown.indexOf(here) * ROW - listHeight / 2);
  if (top !== listTop) list.scrollTop = listTop = top;
}

/** @param {HTMLElement} box @param {Film} film @param {Step} step @param {number} side */
function tell(box, film, step, side) {
  const events = step.events.map((index) => film.events[index]);
  const group = focusedGroup();
  const mine = events.filter((event) => event.g === undefined || event.g === 0 || group === 0 || event.g === group);
  const reasons = mine.filter((event) => event.k === "why");
  const received = events.filter((event) => event.k === "recv");
  const sent = mine.filter((event) => event.k === "send");
  const disk = events.filter((event) => event.k === "disk" || (event.k === "disked" && event.error));
  const states = mine.filter((event) => event.k === "state");
  const logs = mine.filter((event) => event.k === "log" || event.k === "applied");
  const other = events.filter((event) => ["start", "runs", "down", "paused", "act", "link", "ask", "answer", "note", "broken"].includes(event.k));
  const causes = el("div", { class: "causes" });
  for (const event of other) causes.append(el("p", { class: event.k === "broken" ? "event bad" : "event" }, lineOf(film, event)));
  for (const event of reasons) causes.append(reasonBox(film, event));
  if (!reasons.length && !other.length) causes.append(el("p", { class: "empty" }, t("whyNothing")));
  const effects = el("dl", { class: "effects" });
  const group_ = (/** @type {import("./i18n.js").Key} */ key, /** @type {Node[]} */ lines) => {
    if (lines.length) effects.append(el("dt", {}, t(key)), ...lines.map((line) => el("dd", {}, line)));
  };
  group_("received", received.flatMap((event) => {
    const messages = (film.frames.get(event.f) ?? []).filter((message) => group === 0 || message.g === group || message.g === 0);
    return messages.map((message) => messageLine(film, message, side, true, event.heard));
  }));
  group_("became", states.slice(-1).map((event) => document.createTextNode(lineOf(film, event))));
  group_("logChanged", logs.map((event) => document.createTextNode(lineOf(film, event))));
  group_("wrote", disk.map((event) => document.createTextNode(lineOf(film, event))));
  group_("sent", sent.map((event) => {
    const message = film.frames.get(event.f)?.find((one) => one.m === event.m);
    return message ? messageLine(film, message, side, false, true) : document.createTextNode(lineOf(film, event));
  }));
  const title = step.h < 0 ? t("clusterAt", { time: time(step.t) }) : t("stepOf", { name: film.names[step.h], time: time(step.t) });
  box.replaceChildren(el("h3", {}, title), el("div", { class: "two" }, causes, effects));
}

/** @param {Film} film @param {FilmEvent} event */
function reasonBox(film, event) {
  const known = state.words.reasons[event.what];
  const id = event.rule;
  const source = known && (engineOfGroup(film, event.g) === "zab" ? known.zab ?? known.raft : known.raft ?? known.zab);
  const rule = state.words.rules[id];
  return el("article", { class: "reason" },
    el("p", { class: "reason-text" }, ...marked(reason(film, event))),
    rule ? el("p", { class: "rule" }, el("span", { class: "badge" }, id), " ", pick(rule), " ", el("cite", {}, rule.paper)) : id ? el("p", { class: "rule" }, el("span", { class: "badge" }, id)) : null,
    source ? el("details", {}, el("summary", {}, el("code", {}, `${source.path}:${source.line}`)), codeBox(source)) : null);
}

/** The code with its line numbers, the line itself marked. @param {import("./types.js").Source} source */
function codeBox(source) {
  const lines = source.excerpt.replace(/\n$/, "").split("\n");
  const box = el("pre", { tabindex: 0, "aria-label": t("code") }, ...lines.map((line, i) => {
    const number = source.first + i;
    return el("span", { class: number === source.line ? "code-line here" : "code-line" }, el("i", {}, String(number)), line || " ");
  }));
  // It opens at the line, not at the function's beginning.
  requestAnimationFrame(() => box.closest("details")?.addEventListener("toggle", () => {
    const here = box.querySelector(".here");
    if (here instanceof HTMLElement) box.scrollTop = here.offsetTop - 60;
  }));
  return box;
}

/** @param {Film} film @param {import("./types.js").Message} message @param {number} side @param {boolean} incoming @param {boolean} heard */
function messageLine(film, message, side, incoming, heard) {
  const kind = kindOf(message.name);
  const press = (/** @type {MouseEvent} */ event) => {
    selectMessage(message, side);
    openMessageMenu(side, message, event.detail === 0 ? /** @type {Element} */ (event.currentTarget) : event);
  };
  return el("button", { type: "button", class: "message-line", "aria-haspopup": "menu", title: fateOf(film, message), onclick: press },
    el("span", { class: `dot k-${kind}${isAnswer(message.name) ? " answer" : ""}`, "aria-hidden": "true" }, LETTER[kind]),
    el("b", {}, `${incoming ? `${film.names[message.h]} →` : `→ ${film.names[message.to]}`} ${message.name}`),
    el("span", { class: "mono muted" }, tidy(message.text, message.name)),
    message.fate || !message.at.length ? el("em", { class: "bad-text" }, t("lost")) : heard ? null : el("em", { class: "bad-text" }, t("unheardShort")));
}
