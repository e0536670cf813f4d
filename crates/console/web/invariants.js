// Every invariant that the simulator judges, and whether it has held up to the moment that is shown.

import { el, text } from "./dom.js";
import { pick, t, time } from "./i18n.js";
import { badge } from "./detail.js";
import { films, selectStep, showGroupOf, state, watch } from "./store.js";

/** @param {HTMLElement} page */
export function startInvariants(page) {
  const summary = el("p", { class: "summary", role: "status" });
  const list = el("ul", { class: "invariants" });
  page.append(summary, list);
  let drawn = "";
  watch(["time", "films", "select", "words"], () => {
    /** @type {Map<string, {t: number, text: string, side: number, event: number}>} */
    const broken = new Map();
    films().forEach((film, side) => {
      for (const violation of film.raw.violations) if (violation.t <= state.now) broken.set(violation.id, { ...violation, side });
    });
    const ids = Object.keys(state.words.invariants);
    for (const id of broken.keys()) if (!ids.includes(id)) ids.unshift(id);
    // What is broken stands first.
    ids.sort((a, b) => Number(broken.has(b)) - Number(broken.has(a)));
    badge("invariants", broken.size ? String(broken.size) : "✓", broken.size > 0);
    const key = `${[...broken.keys()]} ${ids.length} ${document.documentElement.lang} ${state.branch}`;
    if (key === drawn || page.hidden) return;
    drawn = key;
    text(summary, broken.size ? t("invariantsBroken", { n: broken.size }) : t("invariantsHeld", { n: ids.length }));
    summary.className = broken.size ? "summary bad" : "summary good";
    list.replaceChildren(...ids.map((id) => {
      const fault = broken.get(id);
      const jump = fault && (() => {
        const step = films()[fault.side]?.steps.find((one) => one.events.includes(fault.event));
        showGroupOf(fault.text, fault.side);
        if (step) selectStep(step, fault.side);
      });
      return el("li", { class: fault ? "bad" : "good" },
        el("span", { class: "mark-text" }, fault ? `✕ ${t("broken")}` : `✓ ${t("held")}`), el("span", { class: "badge" }, id), el("span", { class: "sentence" }, pick(state.words.invariants[id]),
          fault ? el("span", { class: "fault" }, ` ${t("brokenAt", { time: time(fault.t) })}: ${fault.text} `, el("button", { type: "button", class: "link", onclick: jump }, t("goThere"))) : null));
    }));
  });
}
