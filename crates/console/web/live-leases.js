// The leases of the cluster, and what is left of each.

import { attr, el, text } from "./dom.js";
import { ask, nameOf } from "./live-api.js";
import { w } from "./live-words.js";

/** The cluster is asked this often; in between the page counts by itself. */
const EVERY_MS = 3000;

export class LeasesPage {
  /** @param {{key: (key: import("./live-api.js").Shown) => void, failed: (error: unknown) => string}} page */
  constructor(page) {
    this.view = page;
    this.note = el("span", { class: "note" });
    this.notice = el("p", { class: "live-notice" });
    this.rows = el("tbody");
    this.table = el("table", { class: "lease-table" }, el("thead", {}, el("tr", {}, ...["leaseId", "leaseLeft", "leaseKeys"].map((key) => el("th", { scope: "col", "data-t": key })))), this.rows);
    this.page = el("div", { class: "live-leases" }, el("section", { class: "panel", "data-label": "liveLeases" },
      el("div", { class: "panel-head" }, el("h2", { "data-t": "liveLeases" }), this.note), this.notice,
      el("div", { class: "panel-body live-scroll", tabindex: 0, role: "group", "data-label": "liveLeases" }, this.table)));
    /** @type {import("./live-api.js").Lease[]} */
    this.leases = [];
    this.count = 0;
    this.at = 0;
    this.error = "";
    this.busy = false;
    this.asked = 0;
    this.loaded = false;
    this.drawn = "";
    this.chosen = "";
  }

  forget() {
    this.asked++;
    [this.leases, this.count, this.error, this.busy, this.loaded] = [[], 0, "", false, false];
    this.draw();
  }

  async load() {
    if (this.busy) return;
    this.busy = true;
    const asked = ++this.asked;
    try {
      const answer = await ask("/leases");
      if (asked !== this.asked) return;
      [this.leases, this.count, this.error] = [answer.leases, answer.count, ""];
      this.loaded = true;
    } catch (error) {
      if (asked !== this.asked) return;
      this.error = this.view.failed(error);
    }
    this.at = Date.now();
    this.busy = false;
    this.draw();
  }

  /** A second has gone by. */
  tick() {
    if (Date.now() - this.at >= EVERY_MS) void this.load();
    else this.count_();
  }

  /** Sets the bars to this moment. */
  count_() {
    const gone = Math.floor((Date.now() - this.at) / 1000);
    this.leases.forEach((lease, i) => {
      const [bar, words] = this.rows.children[i].children[1].children;
      const left = Math.max(0, lease.left - gone);
      attr(bar, "value", left);
      text(words, left > 0 ? w("leaseOf", { left, all: lease.granted }) : w("leaseOver"));
    });
  }

  /** @param {boolean} [anew] */
  draw(anew = false) {
    const drawn = JSON.stringify(this.leases.map((lease) => [lease.id, lease.granted, lease.keys, lease.count])) + this.chosen;
    if (drawn !== this.drawn || anew) {
      this.drawn = drawn;
      const held = document.activeElement?.getAttribute("data-hold");
      this.rows.replaceChildren(...this.leases.map((lease) => el("tr", { class: lease.id === this.chosen && "here" },
        el("th", { scope: "row", class: "mono" }, lease.id),
        el("td", { class: "left" }, el("progress", { max: Math.max(1, lease.granted), value: 0, "aria-label": `${w("leaseLeft")}: ${lease.id}` }), el("span")),
        el("td", {}, ...(lease.keys.length ? lease.keys.map((key) => (key.cut ? el("span", { class: "mono" }, nameOf(key)) : el("button", { type: "button", class: "link mono", "data-hold": `${lease.id} ${key.raw}`, onclick: () => this.view.key(key) }, nameOf(key)))) : [w("leaseNoKeys")]),
          lease.count > lease.keys.length && el("span", { class: "muted" }, w("leaseMore", { n: lease.count - lease.keys.length }))))));
      if (held) /** @type {HTMLElement|null} */ (this.rows.querySelector(`[data-hold="${held}"]`))?.focus({ preventScroll: true });
    }
    this.count_();
    text(this.note, this.loaded && !this.error ? w("leaseCount", { shown: this.leases.length, all: this.count }) : "");
    text(this.notice, this.error ? `✕ ${this.error}` : this.loaded && !this.leases.length ? w("leaseNone") : "");
    attr(this.notice, "class", this.error ? "live-notice fault" : "live-notice");
    this.notice.hidden = !this.notice.textContent;
    this.table.hidden = !this.leases.length;
  }
}
