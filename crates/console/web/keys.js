// The keys of the page.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { openTab } from "./detail.js";
import { openPalette } from "./palette.js";
import { openDialog, popupIsOpen } from "./popup.js";
import { openNodeMenu } from "./menus.js";
import { openSetup } from "./setup.js";
import { openLessons } from "./lessons.js";
import { jump, play, speed, step } from "./timeline.js";
import { beginning, changes, end, films, goTo, state } from "./store.js";

export function openHelp() {
  /** @type {[string, string][]} */
  const rows = [
    ["Space", t("keySpace")], ["← →", t("keyArrows")], ["Home End", t("keyHome")], ["E C F V", t("keyJump")], ["[ ]", t("keySpeed")],
    ["/  Ctrl-K", t("keyPalette")], ["1 … 9", t("keyNode")], ["W I H B", t("keyTabs")], ["L", t("keyLessons")], ["N", t("keyNew")], ["?", t("keyHelp")],
    ["↑ ↓ Enter Esc", t("keyMenu")], ["← → + − Home", t("keyLanes")],
  ];
  openDialog(t("keysTitle"), el("dl", { class: "keys", tabindex: 0 }, ...rows.flatMap(([keys, what]) => [el("dt", {}, ...keys.split(" ").filter(Boolean).map((key) => el("kbd", {}, key))), el("dd", {}, what)])));
}

/** @param {KeyboardEvent} event */
function press(event) {
  const { target } = event;
  if (popupIsOpen() || event.altKey) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !state.live) {
    event.preventDefault();
    openPalette();
    return;
  }
  // The cluster that runs now has no timeline to move along.
  if (event.ctrlKey || event.metaKey || (state.live && event.key !== "?")) return;
  const slides = target instanceof HTMLInputElement && target.type === "range";
  if ((target instanceof HTMLInputElement && !slides) || target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement) return;
  // A focused button is pressed by the space bar; an area that scrolls is scrolled by the arrows.
  if (event.key === " " && target instanceof Element && target.closest("button, [role=button], summary")) return;
  const scrolls = target instanceof Element && target.closest(".logs-scroll, .history-box");
  const keys = /** @type {Record<string, () => void>} */ ({
    " ": () => play(!state.playing),
    ArrowRight: () => { play(false); step(1, event.shiftKey); },
    ArrowLeft: () => { play(false); step(-1, event.shiftKey); },
    Home: () => goTo(beginning()),
    End: () => goTo(end()),
    e: () => jump("election"),
    c: () => jump("commit"),
    f: () => jump("fault"),
    v: () => jump("violation"),
    "[": () => speed(-1),
    "]": () => speed(1),
    "/": openPalette,
    "?": openHelp,
    w: () => openTab("why", "page"),
    i: () => openTab("invariants", "page"),
    h: () => openTab("history", "page"),
    b: () => openTab("branches", "page"),
    l: () => void openLessons(),
    n: openSetup,
  });
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const digit = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
  if (digit >= 0) {
    const { side } = state.selected;
    const node = document.querySelector(`#ring-${side} [data-host="${digit}"]`);
    if (node && films()[side]) {
      event.preventDefault();
      state.selected = { ...state.selected, host: digit };
      changes("select");
      openNodeMenu(side, digit, node);
    }
  } else if (keys[name] && !(scrolls && name.startsWith("Arrow"))) {
    event.preventDefault();
    keys[name]();
  }
}

export function startKeys() {
  document.addEventListener("keydown", press);
}
