// One key: its value, and its versions against each other.

import { copy, el } from "./dom.js";
import { t } from "./i18n.js";
import { say } from "./toast.js";
import { ask, nameOf } from "./live-api.js";
import { boxed, difference, json, readable } from "./live-diff.js";
import { w } from "./live-words.js";

/** @typedef {import("./live-api.js").Entry} Entry */

/** A value for people, with what can be done to it. @param {import("./live-api.js").Shown} value @param {boolean} pretty @param {() => void} turn */
export function valueOf(value, pretty, turn) {
  const shown = readable(value, pretty);
  return el("section", {},
    el("div", { class: "row value-head" }, el("h3", {}, w("keyValue")),
      json(value) !== null && el("button", { type: "button", class: "chip", "data-hold": "json", "aria-pressed": String(pretty), onclick: turn }, w("keyJson")),
      value.bytes > 0 && el("button", { type: "button", class: "chip", "data-hold": "copy", onclick: async () => say(await copy(shown) ? t("copied") : t("copyFailed")) }, w("keyCopy"))),
    value.text === null && el("p", { class: "muted" }, w("keyHex")),
    value.bytes === 0 ? el("p", { class: "empty" }, w("keyNoValue")) : boxed(w("keyValue"), shown),
    value.cut && el("p", { class: "muted" }, w("keyCut", { n: 64 << 10 })));
}

export class KeyPanel {
  /** @param {{lease: (id: string) => void, failed: (error: unknown) => string}} page */
  constructor(page) {
    this.page = page;
    this.title = el("h2", { tabindex: -1 });
    this.body = el("div", { class: "panel-body live-scroll key-body", tabindex: 0, role: "group", "data-label": "keyValue" });
    this.panel = el("section", { class: "panel live-key", "data-label": "keyValue" }, el("div", { class: "panel-head" }, this.title), this.body);
    /** @type {import("./live-api.js").Shown|null} */
    this.key = null;
    /** @type {import("./live-api.js").Versions|null} */
    this.versions = null;
    this.gone = false;
    this.error = "";
    this.pretty = false;
    /** Revisions whose difference is open; at first the newest. @type {Set<number>} */
    this.open = new Set();
    this.asked = 0;
  }

  /** @param {import("./live-api.js").Shown} key */
  async choose(key) {
    this.key = key;
    this.versions = null;
    this.gone = false;
    this.open.clear();
    this.body.scrollTop = 0;
    await this.load();
  }

  forget() {
    this.asked++;
    [this.key, this.versions, this.gone, this.error] = [null, null, false, ""];
    this.draw();
  }

  async load() {
    const { key } = this;
    if (!key) return;
    const asked = ++this.asked;
    try {
      const answer = /** @type {import("./live-api.js").Versions} */ (await ask("/history", { key: key.raw }));
      if (asked !== this.asked) return;
      this.error = "";
      this.gone = answer.versions.length === 0;
      if (!this.gone || !this.versions) {
        // The newest is open, unless it was closed by hand.
        const newest = this.versions?.versions[0];
        if (answer.versions[0] && (!newest || this.open.has(newest.mod))) this.open.add(answer.versions[0].mod);
        this.versions = answer;
      }
    } catch (error) {
      if (asked !== this.asked) return;
      this.error = this.page.failed(error);
    }
    this.draw();
  }

  /** The cluster has gone on: has this key? */
  async follow() {
    const { key, versions } = this;
    if (!key || !versions) return;
    try {
      const { found } = /** @type {import("./live-api.js").Found} */ (await ask("/key", { key: key.raw }));
      if (key === this.key && (found?.mod ?? 0) !== (this.gone ? 0 : versions.versions[0]?.mod)) await this.load();
    } catch { /* The next change will show it; the bar above says why nothing comes. */ }
  }

  draw() {
    const { key, versions } = this;
    this.title.textContent = key ? nameOf(key) : w("keyValue");
    if (!key) return this.body.replaceChildren(el("p", { class: "empty" }, w("keyPick")));
    const newest = versions?.versions[0];
    const held = document.activeElement?.getAttribute("data-hold");
    this.body.replaceChildren(...[
      this.error && el("p", { class: "fault" }, `✕ ${this.error}`),
      this.gone && el("p", { class: "event bad" }, newest ? w("keyGone") : w("keyNotThere")),
      newest && this.facts(newest),
      newest?.value && valueOf(newest.value, this.pretty, () => { this.pretty = !this.pretty; this.draw(); }),
      newest && versions && this.history(versions),
    ].filter((one) => one instanceof Node));
    if (held) /** @type {HTMLElement|null} */ (this.body.querySelector(`[data-hold="${held}"]`))?.focus({ preventScroll: true });
  }

  /** @param {Entry} entry */
  facts(entry) {
    const { lease } = entry;
    /** @type {[string, string|Node][]} */
    const rows = [
      [w("keyVersion"), String(entry.version)],
      [w("keyCreated"), w("keyAtRevision", { n: entry.create })],
      [w("keyModified"), w("keyAtRevision", { n: entry.mod })],
      [w("keyLease"), lease ? el("button", { type: "button", class: "link mono", "data-hold": "lease", onclick: () => this.page.lease(lease) }, lease) : "–"],
      [w("keySize"), w("keyBytes", { n: entry.value?.bytes ?? 0 })],
    ];
    return el("dl", { class: "key-facts" }, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  /** @param {import("./live-api.js").Versions} answer */
  history({ versions, ends }) {
    const oldest = versions[versions.length - 1];
    const end = ends === "created" ? w("endCreated", { n: oldest.create }) : ends === "compacted" ? w("endCompacted") : w("endMore", { n: versions.length });
    return el("section", {}, el("h3", {}, w("keyHistory")),
      el("ol", { class: "versions" }, ...versions.map((version, i) => el("li", {}, this.version(version, versions[i + 1], ends)))),
      el("p", { class: "history-end" }, end));
  }

  /** @param {Entry} version @param {Entry|undefined} before @param {string} ends */
  version(version, before, ends) {
    const { value } = version;
    const told = before ? difference(before, version, this.pretty)
      : { summary: w(ends === "created" ? "keyFirst" : "keyOldest"), body: () => boxed(w("keyValue"), value ? readable(value, this.pretty) : "") };
    const place = el("div");
    const fill = () => { if (!place.firstChild) place.append(told.body()); };
    const made = /** @type {HTMLDetailsElement} */ (el("details", { open: this.open.has(version.mod) },
      el("summary", { "data-hold": `v${version.mod}` }, el("b", {}, w("keyVersionOf", { n: version.version })), ` · ${w("keyAtRevision", { n: version.mod })} · `, el("span", { class: "muted" }, told.summary)), place));
    if (made.open) fill();
    made.addEventListener("toggle", () => {
      if (made.open) {
        this.open.add(version.mod);
        fill();
      } else this.open.delete(version.mod);
    });
    return made;
  }
}
