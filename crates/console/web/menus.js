// The menus of a node, of a link and of a message.

import { el } from "./dom.js";
import { t, time } from "./i18n.js";
import { linkActions, messageActions, nodeActions, perform } from "./actions.js";
import { openPopup } from "./popup.js";
import { films, goTo, selectStep, state } from "./store.js";
import { tidy } from "./tidy.js";
import { fateOf } from "./tip.js";

/** How long faults last, in ms, as chosen last. */
let howLong = 400;

/**
 * @param {string} title @param {() => import("./actions.js").Choice[]} choices @param {MouseEvent|Element} where
 * @param {{timed: boolean, head?: Node[]}} shape
 */
function openMenu(title, choices, where, { timed, head = [] }) {
  const lists = el("div", { class: "menu-lists" });
  /** @type {() => void} */
  let close = () => {};
  const fill = () => {
    /** @type {Map<string, HTMLElement>} */
    const groups = new Map();
    for (const choice of choices()) {
      let list = groups.get(choice.group);
      if (!list) {
        list = el("div", { class: "menu-group", role: "group", "aria-label": choice.group }, el("h4", { "aria-hidden": "true" }, choice.group));
        groups.set(choice.group, list);
      }
      list.append(el("button", { type: "button", role: "menuitem", class: choice.short ? "chip" : "item", title: choice.short ? choice.label : null, "aria-label": choice.short ? choice.label : null, onclick: () => { close(); perform(choice); } }, choice.short ?? choice.label));
    }
    lists.replaceChildren(...groups.values());
  };
  const duration = el("label", { class: "how-long" }, t("howLong"), el("input", {
    type: "number", min: 1, max: 60_000, value: howLong,
    oninput: (/** @type {Event} */ event) => {
      howLong = Math.max(1, Number(/** @type {HTMLInputElement} */ (event.target).value) || 1);
      fill();
    },
  }), "ms");
  fill();
  lists.setAttribute("role", "menu");
  lists.setAttribute("aria-label", title);
  const body = el("div", { class: "menu" }, el("div", { class: "menu-head" }, el("h3", {}, title), timed ? duration : null), ...head, lists);
  close = openPopup(body, where, title);
  /** @type {HTMLElement|null} */ (lists.querySelector("button"))?.focus();
}

/** @param {number} side @param {number} h @param {MouseEvent|Element} where */
export function openNodeMenu(side, h, where) {
  const film = films()[side];
  if (film) openMenu(t("actionsOf", { name: film.names[h] }), () => nodeActions(film, side, h, howLong), where, { timed: true });
}

/** @param {number} side @param {number} a @param {number} b @param {MouseEvent|Element} where */
export function openLinkMenu(side, a, b, where) {
  const film = films()[side];
  if (film) openMenu(t("linkTitle", { a: film.names[a], b: film.names[b] }), () => linkActions(film, a, b, howLong), where, { timed: true });
}

/** @param {number} side @param {import("./types.js").Message} message @param {MouseEvent|Element} where */
export function openMessageMenu(side, message, where) {
  const film = films()[side];
  if (!film) return;
  const stepAt = (/** @type {number} */ at, /** @type {number} */ h) => {
    for (let i = film.stepsUntil(at) - 1; i >= 0 && film.steps[i].t === at; i--) if (film.steps[i].h === h) return film.steps[i];
    return null;
  };
  const go = (/** @type {number} */ at, /** @type {number} */ h) => () => {
    const step = stepAt(at, h);
    const kept = state.selected.message;
    if (step) selectStep(step, side);
    else goTo(at);
    state.selected.message = kept;
  };
  const head = el("div", { class: "menu-about" },
    el("p", { class: "mono" }, tidy(message.text, message.name)), el("p", { class: "muted" }, `${t("sentAt", { time: time(message.t) })}, ${fateOf(film, message)} · ${t("frame", { f: message.f })}`),
    el("p", {}, el("button", { type: "button", class: "link", onclick: go(message.t, message.h) }, t("whyOfSend")),
      message.at.length ? el("button", { type: "button", class: "link", onclick: go(message.at[0], message.to) }, t("whyOfArrival")) : null));
  openMenu(t("messageTitle", { name: message.name, from: film.names[message.h], to: film.names[message.to] }), () => messageActions(film, message, side, howLong), where, { timed: true, head: [head] });
}
