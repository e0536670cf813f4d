// The keys of the cluster: a page at a time, those with a prefix.

import { attr, el, text } from "./dom.js";
import { whisper } from "./toast.js";
import { ask, nameOf, rawOf } from "./live-api.js";
import { KeyPanel } from "./live-key.js";
import { w } from "./live-words.js";

const PAGE = 50;
/** What one answer of the server holds at most: more is not refreshed by itself. */
const ANSWER_MAX = 200;

export class KeysPage {
  /** @param {{lease: (id: string) => void, failed: (error: unknown) => string}} page */
  constructor(page) {
    this.view = page;
    this.key = new KeyPanel(page);
    this.prefix = /** @type {HTMLInputElement} */ (el("input", { type: "text", id: "live-prefix", autocomplete: "off", spellcheck: "false", "data-hint": "keyPrefixHint", "data-title": "keyPrefixTitle" }));
    this.note = el("span", { class: "note" });
    this.refresh = el("button", { type: "button", "data-t": "keyRefresh", onclick: () => this.load() });
    this.notice = el("p", { class: "live-notice" });
    this.rows = el("tbody");
    this.table = el("table", { class: "key-table" },
      el("thead", {}, el("tr", {}, ...["keyKey", "keyVersion", "keyMod", "keyLease"].map((key) => el("th", { scope: "col", "data-t": key })))), this.rows);
    this.more = /** @type {HTMLButtonElement} */ (el("button", { type: "button", class: "more", "data-t": "keyMore", onclick: () => this.next() }));
    this.page = el("div", { class: "live-keys" },
      el("section", { class: "panel", "data-label": "liveKeys" },
        el("div", { class: "panel-head" }, el("label", { for: "live-prefix", "data-t": "keyPrefix" }), this.prefix, this.note, el("span", { class: "gap" }), this.refresh),
        this.notice,
        el("div", { class: "panel-body live-scroll", tabindex: 0, role: "group", "data-label": "keyList" }, this.table, this.more)),
      this.key.panel);
    /** @type {import("./live-api.js").Entry[]} */
    this.keys = [];
    this.count = 0;
    this.hasMore = false;
    this.revision = 0;
    this.newest = 0;
    this.error = "";
    this.asked = 0;
    this.busy = false;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    let timer;
    this.prefix.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.keys = [];
        void this.load();
      }, 200);
    });
    this.rows.addEventListener("keydown", (event) => this.rove(event));
  }

  /** Begins anew, with as many keys as there were. */
  async load() {
    const limit = Math.min(ANSWER_MAX, Math.max(PAGE, this.keys.length));
    await this.ask({ prefix: rawOf(this.prefix.value), limit }, []);
  }

  /** What one user saw is not for the next. */
  forget() {
    this.asked++;
    [this.keys, this.count, this.hasMore, this.error, this.busy] = [[], 0, false, "", false];
    this.key.forget();
    this.draw();
  }

  async next() {
    const last = this.keys[this.keys.length - 1];
    const had = this.keys.length;
    if (last) await this.ask({ prefix: rawOf(this.prefix.value), after: last.key.raw, limit: PAGE }, this.keys);
    // Where "more" was, the first of the new ones is.
    if (this.keys.length > had) /** @type {HTMLElement} */ (this.rows.children[had].querySelector("button"))?.focus();
  }

  /** @param {Record<string, string|number>} query @param {import("./live-api.js").Entry[]} before */
  async ask(query, before) {
    const asked = ++this.asked;
    this.busy = true;
    try {
      const page = /** @type {import("./live-api.js").KeyPage} */ (await ask("/keys", query));
      if (asked !== this.asked) return;
      const filtered = query.prefix !== rawOf("") || before.length > 0;
      this.keys = [...before, ...page.keys];
      // Behind a key, the server counts only what follows.
      this.count = before.length + page.count;
      this.hasMore = page.more;
      this.revision = before.length ? this.revision : page.revision;
      this.newest = Math.max(this.newest, page.revision);
      this.error = "";
      if (filtered) whisper(w("keyCount", { shown: this.keys.length, all: this.count }));
    } catch (error) {
      if (asked !== this.asked) return;
      this.error = this.view.failed(error);
    } finally {
      if (asked === this.asked) this.busy = false;
    }
    this.draw();
  }

  /** The cluster is at this revision now. @param {number} revision */
  take(revision) {
    // A cluster that was begun anew counts from the start.
    if (revision === this.newest && !this.error) return;
    this.newest = revision;
    if (this.busy) return;
    if (this.keys.length <= ANSWER_MAX) void this.load();
    else this.draw();
    void this.key.follow();
  }

  /** @param {KeyboardEvent} event */
  rove(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const buttons = /** @type {HTMLElement[]} */ ([...this.rows.querySelectorAll("button")]);
    const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const next = buttons[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (at < 0 || !next) return;
    event.preventDefault();
    next.focus();
  }

  /** @param {import("./live-api.js").Shown} key @param {boolean} [go] whether the focus goes along */
  async choose(key, go = false) {
    const chosen = this.key.choose(key);
    this.mark();
    await chosen;
    if (go || matchMedia("(max-width: 960px)").matches) {
      this.key.panel.scrollIntoView({ block: "start" });
      this.key.title.focus({ preventScroll: true });
    }
  }

  mark() {
    for (const row of this.rows.children) {
      const here = row.getAttribute("data-raw") === this.key.key?.raw;
      attr(row, "class", here ? "here" : null);
      const button = row.querySelector("button");
      if (button) attr(button, "aria-current", here ? "true" : null);
    }
  }

  draw() {
    const held = document.activeElement?.closest("[data-raw]")?.getAttribute("data-raw");
    this.rows.replaceChildren(...this.keys.map(({ key, version, mod, lease }) => el("tr", { "data-raw": key.raw },
      el("th", { scope: "row" }, key.cut ? el("span", { class: "mono" }, nameOf(key)) : el("button", { type: "button", class: "link mono", onclick: () => this.choose(key) }, nameOf(key))),
      el("td", {}, String(version)), el("td", {}, String(mod)), el("td", { class: "mono" }, lease ?? "–"))));
    this.mark();
    if (held) [...this.rows.children].find((row) => row.getAttribute("data-raw") === held)?.querySelector("button")?.focus({ preventScroll: true });
    const stuck = this.hasMore && this.keys[this.keys.length - 1]?.key.cut === true;
    this.more.hidden = !this.hasMore || stuck;
    text(this.note, this.error ? "" : w("keyCount", { shown: this.keys.length, all: this.count }));
    text(this.notice, this.error ? `✕ ${this.error}` : stuck ? w("keyTooLong") : !this.keys.length ? w(this.prefix.value ? "keyNone" : "keyEmpty")
      : this.newest !== this.revision && this.keys.length > ANSWER_MAX ? w("keyChanged", { n: this.revision }) : "");
    attr(this.notice, "class", this.error ? "live-notice fault" : "live-notice");
    this.notice.hidden = !this.notice.textContent;
    this.table.hidden = !this.keys.length;
    this.key.draw();
  }
}
