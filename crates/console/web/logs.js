// The logs: a row for each node, a column for each index, so that what differs stands above each other. Only what is in view is made.

import { attr, byId, el, text } from "./dom.js";
import { lang, t } from "./i18n.js";
import { engineOf, epochColour, epochWord } from "./ring.js";
import { films, state, watch } from "./store.js";

const CELL = 68;
// Where there are many rows a cell is one line, and wider.
const WIDE_CELL = 96;
const LABEL = 46;

/** @typedef {{box: HTMLElement, place: HTMLElement, what: HTMLElement, look: string}} Cell */

class Logs {
  /** @param {number} side */
  constructor(side) {
    this.side = side;
    this.panel = byId(`logs-${side}`);
    this.title = el("h2");
    this.note = el("span", { class: "note" });
    this.toEnd = el("button", { type: "button", onclick: () => { this.sticky = true; this.drawn = ""; this.draw(); } });
    this.space = el("div", { class: "logs-space" });
    this.scroll = el("div", { class: "logs-scroll panel-body", tabindex: 0, role: "group" }, this.space);
    this.key = el("p", { class: "logs-key" });
    this.panel.append(el("div", { class: "panel-head" }, this.title, this.note, el("span", { class: "gap" }), this.toEnd), this.scroll, this.key);
    /** @type {{label: HTMLElement, cells: Cell[], base: HTMLElement, commit: HTMLElement, behind: HTMLElement, row: HTMLElement}[]} */
    this.rows = [];
    /** Whether the end stays in view as the logs grow. */
    this.sticky = true;
    this.placing = false;
    /** The scroller's width and place, kept because asking for them in every frame would lay the page out again. */
    this.wide = 0;
    this.left = 0;
    this.drawn = "";
    this.unit = CELL;
    this.language = "";
    /** @type {import("./film.js").Film|null} */
    this.film = null;
    this.scroll.addEventListener("scroll", () => {
      this.left = this.scroll.scrollLeft;
      if (this.placing) {
        this.placing = false;
        return;
      }
      this.sticky = this.left + this.wide * 1.3 >= this.scroll.scrollWidth - this.unit;
      this.drawn = "";
      this.draw();
    });
    new ResizeObserver(() => { this.wide = this.scroll.clientWidth; this.drawn = ""; this.draw(); }).observe(this.scroll);
  }

  /** @param {import("./film.js").Film} film */
  build(film) {
    this.film = film;
    this.language = lang();
    text(this.title, state.both ? `${t("logs")} · ${t(engineOf(film, this.side) === "zab" ? "zab" : "raft")}` : t("logs"));
    text(this.toEnd, t("toEnd"));
    attr(this.panel, "aria-label", this.title.textContent);
    attr(this.scroll, "aria-label", t("logsLabel"));
    this.rows = film.names.map((name) => {
      const label = el("div", { class: "log-label" }, name);
      const base = el("div", { class: "log-base" }, el("span"));
      const commit = el("div", { class: "log-commit" });
      const behind = el("div", { class: "log-behind" });
      const row = el("div", { class: "log-row" }, label, base, commit, behind);
      return { label, base, commit, behind, row, cells: [] };
    });
    this.unit = film.hosts > 6 ? WIDE_CELL : CELL;
    this.space.classList.toggle("many", film.hosts > 6);
    this.space.replaceChildren(...this.rows.map(({ row }) => row));
    const sample = (/** @type {string} */ look, /** @type {import("./i18n.js").Key} */ key) => el("span", {}, el("i", { class: `sample ${look}` }), t(key));
    this.key.replaceChildren(sample("committed", "committed"), sample("applied", "applied"), sample("volatile", "notDurable"), sample("conflict", "conflict"));
    this.drawn = "";
  }

  draw() {
    const film = films()[this.side];
    if (!film || this.panel.hidden) return;
    if (film !== this.film || this.language !== lang()) this.build(film);
    const group = state.group[this.side];
    const now = state.now;
    const leader = film.leaderAt(group, now);
    const logs = film.names.map((_, h) => film.logAt(h, group, now));
    const states = film.names.map((_, h) => film.stateAt(h, group, now));
    const applied = film.names.map((_, h) => film.applied[h].get(group)?.at(now) ?? 0);
    const last = Math.max(1, ...logs.map((log) => log.base + log.entries.length));
    const lives = film.names.map((_, h) => film.life[h].at(now)?.is ?? "");
    const versions = film.names.map((_, h) => film.logs[h].get(group)?.versionAt(now) ?? -1);
    const key = `${group} ${leader} ${versions} ${states.map((one) => one && `${one.commit},${one.durable},${one.base}`)} ${applied} ${lives} ${state.pointed} ${state.selected.host} ${this.wide}`;
    if (key === this.drawn) return;
    this.drawn = key;
    // There is room beyond the end: as the logs grow the view moves on by some columns at a time, which is calmer and cheaper than by one.
    const right = LABEL + last * this.unit + 14;
    const width = Math.max(right + (right > this.wide ? this.wide * 0.3 : 0), this.wide);
    if (this.space.style.width !== `${width}px`) this.space.style.width = `${width}px`;
    if (this.sticky && (right > this.left + this.wide || right < this.left + this.wide * 0.6)) {
      const left = right <= this.wide ? 0 : Math.round(right - this.wide * 0.75);
      if (Math.abs(this.left - left) > 1) {
        this.placing = true;
        this.left = left;
        this.scroll.scrollLeft = left;
      }
    }
    const first = Math.max(1, Math.floor(this.left / this.unit));
    const count = Math.ceil(this.wide / this.unit) + 2;
    const engine = engineOf(film, this.side);
    const led = leader === null ? null : logs[leader];
    text(this.note, last > 1 || logs.some((log) => log.entries.length) ? "" : t("logEmpty"));
    this.rows.forEach((row, h) => {
      const log = logs[h];
      const one = states[h];
      const commit = one?.commit ?? 0;
      attr(row.row, "class", `log-row${h === leader ? " leads" : ""}${lives[h] === "down" ? " down" : ""}${state.pointed.includes(h) || (state.selected.side === this.side && state.selected.host === h) ? " pointed" : ""}`);
      attr(row.label, "title", h === leader ? `${film.names[h]} · ${t("leader")}` : film.names[h]);
      row.base.hidden = log.base <= 0;
      if (log.base > 0) {
        row.base.style.width = `${log.base * this.unit - 4}px`;
        row.base.style.left = `${LABEL + 2}px`;
        text(/** @type {Element} */ (row.base.firstElementChild), t("snapshotTo", { n: log.base }));
      }
      row.commit.hidden = commit <= 0;
      row.commit.style.left = `${LABEL + commit * this.unit - 1}px`;
      // A log that ends left of what is in view says so.
      const ends = log.base + log.entries.length;
      row.behind.hidden = ends === 0 || ends >= first;
      if (!row.behind.hidden) {
        row.behind.style.left = `${this.left + LABEL + 6}px`;
        text(row.behind, t("logBehind", { n: ends }));
      }
      let used = 0;
      for (let index = Math.max(first, log.base + 1); index < first + count && index <= log.base + log.entries.length; index++) {
        const [epoch, what, kind] = log.entries[index - log.base - 1];
        const cell = row.cells[used] ?? this.cell(row);
        used++;
        const differs = led !== null && h !== leader && index > led.base && (led.entries[index - led.base - 1]?.[0] ?? -1) !== epoch;
        const marks = [index <= commit ? "committed" : "uncommitted", index <= (applied[h] || 0) ? "applied" : "", one && index > one.durable ? "volatile" : "", differs ? "conflict" : ""].filter(Boolean);
        const shown = what || kind;
        // Most cells stay as they are from one frame to the next.
        const look = `${epoch}.${index} ${shown} ${marks} ${kind}`;
        if (cell.look === look) continue;
        cell.look = look;
        cell.box.hidden = false;
        cell.box.style.left = `${LABEL + (index - 1) * this.unit + 2}px`;
        cell.box.style.setProperty("--epoch", `var(${epochColour(epoch)})`);
        attr(cell.box, "class", `log-cell ${marks.join(" ")} ${kind}`);
        text(cell.place, `${epoch}.${index}`);
        text(cell.what, shown);
        const words = marks.map((mark) => t(mark === "volatile" ? "notDurable" : /** @type {import("./i18n.js").Key} */ (mark))).join(", ");
        attr(cell.box, "title", t("logCellLabel", { name: film.names[h], index, term: epochWord(engine), epoch, text: shown, marks: words }));
      }
      for (let i = used; i < row.cells.length; i++) {
        if (!row.cells[i].look) continue;
        row.cells[i].look = "";
        row.cells[i].box.hidden = true;
      }
    });
  }

  /** @param {{cells: Cell[], row: HTMLElement}} row @returns {Cell} */
  cell(row) {
    const place = el("b");
    const what = el("span");
    const cell = { box: el("div", {}, place, what), place, what, look: "" };
    row.cells.push(cell);
    row.row.append(cell.box);
    return cell;
  }
}

export function startLogs() {
  const logs = [new Logs(0), new Logs(1)];
  watch(["time", "films", "select", "words", "lesson"], () => logs.forEach((one) => one.draw()));
}
