// The panel with the tabs: why, invariants, clients, branches, and the differences of two engines.

import { byId, el, text } from "./dom.js";
import { t } from "./i18n.js";
import { state, watch, changes } from "./store.js";
import { startWhy } from "./why.js";
import { startInvariants } from "./invariants.js";
import { startHistory } from "./history.js";
import { startBranchesView } from "./branches-view.js";
import { startCompare } from "./compare.js";

/** @typedef {"why"|"invariants"|"history"|"branches"|"compare"} Tab */

/** @type {[Tab, (page: HTMLElement) => void][]} */
const TABS = [["why", startWhy], ["invariants", startInvariants], ["history", startHistory], ["branches", startBranchesView], ["compare", startCompare]];

/** @type {Map<Tab, {tab: HTMLElement, page: HTMLElement}>} */
const made = new Map();

/** @param {Tab} chosen @param {"tab"|"page"|""} [focus] where the focus goes */
export function openTab(chosen, focus = "") {
  for (const [name, { tab, page }] of made) {
    tab.setAttribute("aria-selected", String(name === chosen));
    tab.tabIndex = name === chosen ? 0 : -1;
    page.hidden = name !== chosen;
  }
  if (focus === "tab") made.get(chosen)?.tab.focus();
  if (focus === "page") made.get(chosen)?.page.focus();
  changes("select", "branches");
}

/** What a tab says beside its name. @param {Tab} name @param {string} badge @param {boolean} bad */
export function badge(name, badge, bad) {
  const tab = made.get(name)?.tab;
  const place = tab?.querySelector(".tab-badge");
  if (!place) return;
  text(place, badge);
  place.className = `tab-badge${bad ? " bad" : ""}`;
}

export function startDetail() {
  for (const [name, start] of TABS) {
    const tab = el("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `page-${name}`, onclick: () => openTab(name),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        const shown = TABS.map(([other]) => other).filter((other) => !made.get(other)?.tab.hidden);
        const at = shown.indexOf(name);
        const next = event.key === "ArrowRight" ? shown[(at + 1) % shown.length] : event.key === "ArrowLeft" ? shown[(at + shown.length - 1) % shown.length] : null;
        if (next) {
          event.preventDefault();
          event.stopPropagation();
          openTab(next, "tab");
        }
      },
    }, el("span", { "data-t": name }, t(name)), el("span", { class: "tab-badge" }));
    const page = el("div", { class: `page page-${name}`, role: "tabpanel", id: `page-${name}`, "aria-labelledby": `tab-${name}`, tabindex: 0 });
    made.set(name, { tab, page });
    byId("tabs").append(tab);
    byId("pages").append(page);
    start(page);
  }
  openTab("why");
  watch(["films"], () => {
    const compare = made.get("compare");
    if (!compare) return;
    compare.tab.hidden = !state.both;
    if (!state.both && !compare.page.hidden) openTab("why");
  });
}
