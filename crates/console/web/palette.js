// The palette: every action of the moment in one list, found by typing.

import { el } from "./dom.js";
import { t, time } from "./i18n.js";
import { sentenceOf } from "./acts.js";
import { allActions, perform } from "./actions.js";
import { openDialog } from "./popup.js";
import { focused, state } from "./store.js";

const MOST = 80;
const RAW = /^[a-z-]+( [a-z_]+=[\w-]+)*$/;

export function openPalette() {
  const film = focused();
  if (!film) return;
  let at = 0;
  /** @type {import("./actions.js").Choice[]} */
  let found = [];
  const input = /** @type {HTMLInputElement} */ (el("input", { type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list", "aria-autocomplete": "list", "aria-label": t("paletteLabel"), autocomplete: "off", spellcheck: "false", placeholder: t("paletteHint") }));
  const list = el("ul", { id: "palette-list", role: "listbox", "aria-label": t("paletteLabel"), class: "palette-list" });
  const when = el("p", { class: "muted" }, t("striking", { text: t("actions"), time: time(state.now) }));
  const close = openDialog(t("actions"), el("div", { class: "palette" }, input, list, when), "wide");

  function filter() {
    const typed = input.value.trim();
    // A number at the end says for how long, unless it belongs to a name.
    const long = /(?:^|\s)(\d{2,5})$/.exec(typed);
    const ms = long ? Number(long[1]) : 400;
    const words = (long ? typed.slice(0, long.index) : typed).toLowerCase().split(/\s+/).filter(Boolean);
    found = allActions(/** @type {import("./film.js").Film} */ (film), state.selected.side, ms).filter((choice) => {
      const text = `${choice.label} ${choice.group} ${choice.lines.join(" ")}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (RAW.test(typed) && typed.includes("=")) found.unshift({ label: sentenceOf(typed, /** @type {import("./film.js").Film} */ (film).names), group: t("asWritten"), lines: [typed] });
    at = 0;
    list.replaceChildren(...(found.length ? found.slice(0, MOST).map((choice, i) => el("li", { role: "option", id: `palette-${i}`, "aria-selected": "false", onclick: () => choose(i), onpointermove: () => mark(i, false) }, el("span", {}, choice.label), el("span", { class: "muted" }, choice.group)))
      : [el("li", { class: "empty", role: "option", "aria-selected": "false" }, t("paletteNone"))]));
    mark(0, true);
  }

  /** @param {number} i @param {boolean} scroll */
  function mark(i, scroll) {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = Math.max(0, Math.min(i, Math.min(found.length, MOST) - 1));
    const item = list.children[at];
    item?.setAttribute("aria-selected", "true");
    if (scroll) item?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `palette-${at}`);
  }

  /** @param {number} i */
  function choose(i) {
    const choice = found[i];
    if (!choice) return;
    close();
    perform(choice);
  }

  input.addEventListener("input", filter);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") mark(at + 1, true);
    else if (event.key === "ArrowUp") mark(at - 1, true);
    else if (event.key === "Enter") choose(at);
    else return;
    event.preventDefault();
  });
  filter();
  input.focus();
}
