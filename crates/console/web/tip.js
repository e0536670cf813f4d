// The small text beside the pointer.

import { byId, el } from "./dom.js";
import { pick, t, time } from "./i18n.js";
import { tidy } from "./tidy.js";
import { state } from "./store.js";

/** @param {Node[]} content @param {MouseEvent} event */
export function showTip(content, event) {
  const tip = byId("tip");
  tip.replaceChildren(...content);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const x = Math.min(event.clientX + 14, innerWidth - width - 8);
  const y = event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, y)}px`;
}

export function hideTip() {
  byId("tip").hidden = true;
}

/** What became of a message. @param {import("./film.js").Film} film @param {import("./types.js").Message} message */
export function fateOf(film, message) {
  if (message.fate === "cut") return t("lostCut");
  if (message.fate === "by hand") return t("lostHand");
  if (message.fate === "nobody") return t("lostNobody");
  if (message.fate !== null) return t("lostChance");
  if (!message.at.length) return t("lost");
  const unheard = film.arrivals.get(message.f)?.some((arrival) => !arrival.heard);
  return `${message.at.map((at) => t("arrives", { time: time(at) })).join(", ")}${unheard ? ` · ${t("unheard")}` : ""}`;
}

/** @param {import("./film.js").Film} film @param {import("./types.js").Message} message @returns {Node[]} */
export function messageTip(film, message) {
  const what = pick(state.words.messages[message.name]);
  return [
    el("strong", {}, `${message.name}  ${film.names[message.h]} → ${film.names[message.to]}`),
    ...(message.text ? [el("div", { class: "mono" }, tidy(message.text, message.name))] : []),
    ...(what ? [el("div", {}, what)] : []),
    el("div", {}, `${t("sentAt", { time: time(message.t) })}, ${fateOf(film, message)}`),
  ];
}
