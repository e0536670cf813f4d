// The tree of branches, and how the one that is shown differs from another.

import { el } from "./dom.js";
import { t, time } from "./i18n.js";
import { forget, show } from "./branches.js";
import { difference } from "./difference.js";
import { branch, changes, goTo, state, watch } from "./store.js";

/** Which branch the shown one is compared with; its parent unless another was chosen. @type {number|null} */
let against = null;

/** @param {import("./types.js").Branch} one */
export function branchName(one) {
  return one.parent === null ? t("main") : `${one.label} · ${time(one.at)}`;
}

/** @param {HTMLElement} page */
export function startBranchesView(page) {
  const tree = el("ul", { class: "tree" });
  const other = el("div", { class: "difference" });
  page.append(el("div", { class: "tree-box" }, el("p", { class: "muted", "data-t": "branchHint" }, t("branchHint")), tree), other);
  watch(["branches", "films", "words"], () => {
    if (page.hidden) return;
    const roots = state.branches.filter((one) => one.parent === null);
    tree.replaceChildren(...roots.map(node));
    const shown = branch();
    const compared = state.branches.find((one) => one.id === against && one.id !== shown?.id) ?? state.branches.find((one) => one.id === shown?.parent) ?? state.branches.find((one) => one.id !== shown?.id);
    if (!shown || !compared) {
      other.replaceChildren();
      return;
    }
    const pick = el("select", { "aria-label": t("compare"), onchange: (/** @type {Event} */ event) => { against = Number(/** @type {HTMLSelectElement} */ (event.target).value); changes("branches"); } },
      ...state.branches.filter((one) => one.id !== shown.id).map((one) => el("option", { value: one.id, selected: one.id === compared.id }, branchName(one))));
    other.replaceChildren(el("h3", {}, t("compare")), pick, ...shown.films.flatMap((film, side) => {
      const before = compared.films[side];
      if (!before) return [];
      const { part, logs } = difference(before, film, state.group[side]);
      return [
        el("h4", {}, state.both ? t(side === 0 ? "raft" : "zab") : t("differsFrom", { name: branchName(compared) })),
        part ? el("p", {}, t("partAt", { time: time(part.t), text: part.text }), " ", el("button", { type: "button", class: "link", onclick: () => goTo(part.t) }, t("goThere"))) : el("p", {}, t("same")),
        el("p", { class: "muted" }, t("finalLogs")),
        logs.length ? el("ul", { class: "plain" }, ...logs.map((line) => el("li", {}, t("logsDiffer", { ...line, a: line.a || t("logNone"), b: line.b || t("logNone") })))) : el("p", {}, t("logsSame")),
      ];
    }));
  });
}

/** @param {import("./types.js").Branch} one @returns {HTMLElement} */
function node(one) {
  const shown = one.id === state.branch;
  const children = state.branches.filter((other) => other.parent === one.id);
  return el("li", {},
    el("div", { class: `tree-node${shown ? " shown" : ""}` },
      el("button", { type: "button", "aria-current": shown ? "true" : null, onclick: () => show(one.id) }, el("span", { class: "tree-dot", "aria-hidden": "true" }), one.parent === null ? t("main") : one.label, one.parent === null ? null : el("span", { class: "muted" }, ` ${t("branchOf", { time: time(one.at) })}`)),
      shown ? el("span", { class: "badge" }, t("current")) : null,
      one.parent === null ? null : el("button", { type: "button", class: "quiet small", "aria-label": `${t("forget")}: ${one.label}`, onclick: () => forget(one.id) }, t("forget"))),
    children.length ? el("ul", {}, ...children.map(node)) : null);
}
