// ZooKeeper's tree, a level at a time, and how its servers stand.

import { attr, el, text } from "./dom.js";
import { whisper } from "./toast.js";
import { Refused, ask, rawPath } from "./live-api.js";
import { valueOf } from "./live-key.js";
import { clock, w } from "./live-words.js";

/** @typedef {import("./live-api.js").Znode} Znode @typedef {import("./live-api.js").ZkServer} ZkServer @typedef {import("./live-words.js").LiveKey} LiveKey */

/** The servers are asked this often; the tree when somebody goes somewhere, for each question to it is a session. */
const EVERY_MS = 3000;

/** @param {number} zxid */
const hex = (zxid) => `0x${zxid.toString(16)}`;
/** @param {number} at */
const date = (at) => (at ? new Date(at).toLocaleString("sv-SE") : "–");

export class ZnodesPage {
  /** @param {{offered: (has: boolean) => void, failed: (error: unknown) => string}} page */
  constructor(page) {
    this.view = page;
    this.serversNotice = el("p", { class: "live-notice" });
    this.serverRows = el("tbody");
    this.serverTable = el("table", { class: "server-table" },
      el("thead", {}, el("tr", {}, ...["zkServer", "zkState", "zkConnections", "zkSessions", "zkWatches", "zkEphemerals", "zkZnodes"].map((key) => el("th", { scope: "col", "data-t": key })))), this.serverRows);
    this.crumbs = el("nav", { class: "crumbs mono", "data-label": "zkPath" });
    this.note = el("span", { class: "note" });
    this.refresh = el("button", { type: "button", "data-t": "keyRefresh", onclick: () => this.load() });
    this.notice = el("p", { class: "live-notice" });
    this.rows = el("tbody");
    this.table = el("table", { class: "key-table" }, el("thead", {}, el("tr", {}, el("th", { scope: "col", "data-t": "zkChildren" }))), this.rows);
    this.title = el("h2", { tabindex: -1 });
    this.body = el("div", { class: "panel-body live-scroll key-body", tabindex: 0, role: "group", "data-label": "zkNode" });
    this.page = el("div", { class: "live-keys live-znodes" },
      el("section", { class: "panel live-servers", "data-label": "zkServers" },
        el("div", { class: "panel-head" }, el("h2", { "data-t": "zkServers" })), this.serversNotice,
        el("div", { class: "panel-body live-scroll", tabindex: 0, role: "group", "data-label": "zkServers" }, this.serverTable)),
      el("section", { class: "panel", "data-label": "liveZnodes" },
        el("div", { class: "panel-head" }, this.crumbs, this.note, el("span", { class: "gap" }), this.refresh), this.notice,
        el("div", { class: "panel-body live-scroll", tabindex: 0, role: "group", "data-label": "zkChildren" }, this.table)),
      el("section", { class: "panel", "data-label": "zkNode" }, el("div", { class: "panel-head" }, this.title), this.body));
    this.path = "/";
    /** What was last heard of it. @type {Znode|null} */
    this.node = null;
    this.error = "";
    this.at = 0;
    this.asked = 0;
    this.pretty = false;
    /** @type {ZkServer[]|null} */
    this.servers = null;
    this.serversError = "";
    this.serversAt = 0;
    this.busy = false;
    this.rows.addEventListener("keydown", (event) => this.rove(event));
  }

  /** Asks the servers how they stand; that also tells whether there is a tree. */
  async stand() {
    if (this.busy) return;
    this.busy = true;
    try {
      const answer = await ask("/zookeeper");
      [this.servers, this.serversError] = [answer.servers, ""];
      this.view.offered(true);
    } catch (error) {
      this.serversError = this.view.failed(error);
      if (error instanceof Refused && error.status === 404) this.view.offered(false);
    }
    this.serversAt = Date.now();
    this.busy = false;
    this.drawServers();
  }

  /** A second has gone by. */
  tick() {
    if (Date.now() - this.serversAt >= EVERY_MS) void this.stand();
  }

  /** Asks for the znode of this path, anew or for the first time. */
  async load() {
    const asked = ++this.asked;
    try {
      const node = /** @type {Znode} */ (await ask("/znodes", { path: rawPath(this.path) }));
      if (asked !== this.asked) return;
      [this.node, this.error, this.at] = [node, "", Date.now()];
    } catch (error) {
      if (asked !== this.asked) return;
      this.error = this.view.failed(error);
    }
    this.draw();
  }

  /** @param {string} path */
  async go(path) {
    this.path = path;
    [this.node, this.error] = [null, ""];
    this.body.scrollTop = 0;
    await this.load();
    if (this.path !== path) return;
    whisper(this.error || `${path}: ${w("zkChildrenOf", { n: /** @type {Znode|null} */ (this.node)?.stat.numChildren ?? 0 })}`);
    // Whoever goes down by keys goes on from there.
    (this.rows.querySelector("button") ?? this.title).focus({ preventScroll: true });
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

  drawServers() {
    const number = (/** @type {number|null|undefined} */ n) => el("td", {}, String(n ?? "–"));
    this.serverRows.replaceChildren(...(this.servers ?? []).map((server) => el("tr", {},
      el("th", { scope: "row", class: "mono" }, server.address),
      ...(server.error !== undefined ? [el("td", { colspan: 6 }, el("span", { class: "fault" }, `✕ ${w("liveDownWhy", { why: server.error })}`))]
        : [el("td", {}, server.state ?? "–"), number(server.connections), number(server.sessions), number(server.watches), number(server.ephemerals), number(server.znodes)]))));
    text(this.serversNotice, this.serversError ? `✕ ${this.serversError}` : this.servers ? "" : w("zkAsking"));
    attr(this.serversNotice, "class", this.serversError ? "live-notice fault" : "live-notice");
    this.serversNotice.hidden = !this.serversNotice.textContent;
    this.serverTable.hidden = !this.servers?.length;
  }

  /** Draws what is known. @param {boolean} [anew] */
  draw(anew = false) {
    if (anew) this.drawServers();
    const { node } = this;
    const held = document.activeElement?.getAttribute("data-hold");
    const names = this.path.split("/").filter(Boolean);
    const crumb = (/** @type {string} */ name, /** @type {string} */ path) => el("button", { type: "button", class: "link mono", "data-hold": `up ${path}`, "aria-current": path === this.path && "page", onclick: () => this.go(path) }, name);
    this.crumbs.replaceChildren(crumb("/", "/"), ...names.flatMap((name, i) => [...(i ? ["/"] : []), crumb(name, `/${names.slice(0, i + 1).join("/")}`)]));
    const below = this.path === "/" ? "/" : `${this.path}/`;
    this.rows.replaceChildren(...(node?.children ?? []).map(({ name }) => el("tr", {},
      el("th", { scope: "row" }, el("button", { type: "button", class: "link mono", "data-hold": `down ${below}${name}`, onclick: () => this.go(below + name) }, name)))));
    text(this.note, node ? `${w("zkChildrenOf", { n: node.stat.numChildren })} · ${w("liveStale", { time: clock(this.at) })}` : "");
    text(this.notice, this.error ? `✕ ${this.error}` : !node ? w("zkAsking") : node.more ? w("zkMore", { n: node.children.length }) : node.children.length ? "" : w("zkNone"));
    attr(this.notice, "class", this.error ? "live-notice fault" : "live-notice");
    this.notice.hidden = !this.notice.textContent;
    this.table.hidden = !node?.children.length;
    text(this.title, this.path);
    this.body.replaceChildren(...(node ? [valueOf(node.data, this.pretty, () => { this.pretty = !this.pretty; this.draw(); }), this.stat(node.stat)] : []));
    if (held) /** @type {HTMLElement|undefined} */ ([...this.page.querySelectorAll("[data-hold]")].find((one) => one.getAttribute("data-hold") === held))?.focus({ preventScroll: true });
  }

  /** @param {import("./live-api.js").Stat} stat */
  stat(stat) {
    const owner = stat.ephemeralOwner;
    /** @type {[string, LiveKey, string][]} */
    const rows = [
      ["czxid", "zkCzxid", hex(stat.czxid)],
      ["mzxid", "zkMzxid", hex(stat.mzxid)],
      ["pzxid", "zkPzxid", hex(stat.pzxid)],
      ["ctime", "zkCtime", date(stat.ctime)],
      ["mtime", "zkMtime", date(stat.mtime)],
      ["version", "zkVersion", String(stat.version)],
      ["cversion", "zkCversion", String(stat.cversion)],
      ["aversion", "zkAversion", String(stat.aversion)],
      ["ephemeralOwner", "zkOwner", owner ? w("zkSession", { id: owner }) : "–"],
      ["dataLength", "zkDataLength", String(stat.dataLength)],
      ["numChildren", "zkNumChildren", String(stat.numChildren)],
    ];
    return el("section", {}, el("h3", {}, w("zkStat")),
      el("table", { class: "stat-table" },
        el("thead", {}, el("tr", {}, ...["zkField", "zkContent", "zkMeaning"].map((key) => el("th", { scope: "col" }, w(/** @type {LiveKey} */ (key)))))),
        el("tbody", {}, ...rows.map(([name, meaning, value]) => el("tr", {},
          el("th", { scope: "row", class: "mono" }, name), el("td", { class: "mono" }, value), el("td", { class: "muted" }, w(meaning)))))));
  }
}
