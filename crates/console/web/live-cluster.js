// How each member stands, and what has changed since the page looks.

import { el, text } from "./dom.js";
import { whisper } from "./toast.js";
import { LiveRing, memberWord } from "./live-ring.js";
import { clock, size, w } from "./live-words.js";

/** @typedef {import("./live-api.js").Member} Member @typedef {import("./live-api.js").Cluster} Cluster @typedef {import("./live-words.js").LiveKey} LiveKey */
/** A change: when, and the sentence in the language of the moment. @typedef {{at: number, key: LiveKey, values: Record<string, string|number>, look: string}} Change */

const CHANGES_MAX = 200;

/** A member that does not answer may come without its id and its name: its endpoint is what stays. @param {Member} member */
const keyOf = (member) => member.endpoint ?? member.id ?? member.name;
/** @param {Member} member */
const answers = (member) => member.role !== "down" && member.role !== "unseen" && member.role !== "refused";
/** How a member says that it answers, but not to us. */
const REFUSAL = /user name is empty|permission denied|auth token/;

export class ClusterPage {
  constructor() {
    this.ring = new LiveRing();
    this.cards = el("ul", { class: "members" });
    this.list = el("ol", { class: "changes" });
    this.none = el("p", { class: "empty" });
    this.page = el("div", { class: "live-cluster" }, this.ring.panel,
      el("section", { class: "panel live-members", "data-label": "liveMembers" },
        el("div", { class: "panel-head" }, el("h2", { "data-t": "liveMembers" })),
        el("div", { class: "panel-body live-scroll", tabindex: 0, role: "group", "data-label": "liveMembers" }, this.cards)),
      el("section", { class: "panel live-changes", "data-label": "liveChanges" },
        el("div", { class: "panel-head" }, el("h2", { "data-t": "liveChanges" }), el("span", { class: "note", "data-t": "liveChangesHint" })),
        el("div", { class: "panel-body live-scroll", tabindex: 0, role: "group", "data-label": "liveChanges" }, this.none, this.list)));
    this.began = Date.now();
    /** @type {Cluster|null} */
    this.now = null;
    /** What was last heard of each. @type {Map<string, {member: Member, at: number}>} */
    this.seen = new Map();
    /** @type {Change[]} */
    this.changes = [];
    /** @type {string|null} */
    this.leader = null;
    this.term = 0;
    this.drawn = "";
  }

  /** @param {Cluster} cluster */
  take(cluster) {
    const at = Date.now();
    const before = this.now;
    for (const member of cluster.members) {
      const last = this.seen.get(keyOf(member))?.member;
      if (member.role !== "down") continue;
      if (REFUSAL.test(member.error ?? "")) member.role = "refused";
      if (!member.id && last) [member.id, member.name] = [last.id, last.name];
      else if (member.name === member.endpoint) member.name = member.name.replace(/^.*:\/\//, "");
    }
    const told = before ? this.differences(before, cluster) : [];
    for (const member of cluster.members) if (answers(member)) this.seen.set(keyOf(member), { member, at });
    this.now = cluster;
    if (!before) [this.leader, this.term] = [cluster.leader, cluster.term ?? 0];
    this.tell(told);
    this.draw();
  }

  /** @param {Cluster} before @param {Cluster} after @returns {Omit<Change, "at">[]} */
  differences(before, after) {
    /** @type {Omit<Change, "at">[]} */
    const told = [];
    /** @param {LiveKey} key @param {Record<string, string|number>} values @param {string} [look] */
    const add = (key, values, look = "") => { told.push({ key, values, look }); };
    const old = new Map(before.members.map((member) => [keyOf(member), member]));
    for (const member of after.members) {
      const was = old.get(keyOf(member));
      old.delete(keyOf(member));
      const { name } = member;
      if (!was) add("evNew", { name });
      else if (member.role === "down" && was.role !== "down") add("evDown", { name, why: member.error ?? "" }, "bad");
      else if (member.role !== "down" && was.role === "down") add("evBack", { name }, "good");
      const last = this.seen.get(keyOf(member))?.member;
      if (last && answers(member) && last.version !== member.version) add("evVersion", { name, version: member.version ?? "" });
      if (last?.learner && member.learner === false) add("evRole", { name });
    }
    for (const member of old.values()) add("evGone", { name: member.name });
    // With nobody to ask, nobody can say who leads.
    if (after.members.some(answers) && (after.leader !== this.leader || (after.leader && (after.term ?? 0) > this.term))) {
      add(after.leader ? "evLead" : "evNobody", { name: this.nameOf(after, after.leader), term: after.term ?? 0 }, after.leader ? "" : "bad");
      [this.leader, this.term] = [after.leader, after.term ?? 0];
    }
    const named = (/** @type {Cluster} */ cluster) => new Map(cluster.alarms.map(({ member, alarm }) => [`${member} ${alarm}`, { name: this.nameOf(cluster, member), what: alarm }]));
    const [had, has] = [named(before), named(after)];
    for (const [key, values] of has) if (!had.has(key)) add("evAlarm", values, "bad");
    if (after.members.some(answers)) for (const [key, values] of had) if (!has.has(key)) add("evClear", values, "good");
    return told;
  }

  /** @param {Cluster} cluster @param {string|null} id */
  nameOf(cluster, id) {
    return cluster.members.find((member) => member.id === id)?.name ?? id ?? "";
  }

  /** Keeps what has changed, and says it. @param {Omit<Change, "at">[]} told */
  tell(told) {
    if (!told.length) return;
    for (const one of told) this.changes.unshift({ at: Date.now(), ...one });
    this.changes.length = Math.min(this.changes.length, CHANGES_MAX);
    whisper(told.map(({ key, values }) => w(key, values)).join(" "));
    this.drawChanges();
  }

  drawChanges() {
    text(this.none, w("liveChangesNone", { time: clock(this.began) }));
    this.none.hidden = this.changes.length > 0;
    this.list.replaceChildren(...this.changes.map(({ at, key, values, look }) => el("li", { class: look }, el("time", { datetime: new Date(at).toISOString() }, clock(at)), el("span", {}, `${look === "bad" ? "✕ " : look === "good" ? "✓ " : ""}${w(key, values)}`))));
  }

  /** Draws what is known; all of it if the language has changed. @param {boolean} [anew] */
  draw(anew = false) {
    if (anew) this.drawChanges();
    if (!this.now) return;
    const drawn = JSON.stringify([this.now.members, this.now.alarms]);
    if (drawn === this.drawn && !anew) return;
    this.drawn = drawn;
    this.ring.draw(this.now.members);
    const newest = Math.max(0, ...[...this.now.members, ...[...this.seen.values()].map(({ member }) => member)].map((member) => member.index ?? 0));
    const behind = this.now.members.map((member) => newest - (member.index ?? this.seen.get(keyOf(member))?.member.index ?? newest));
    const most = Math.max(100, ...behind);
    this.cards.replaceChildren(...this.now.members.map((member, i) => this.card(member, behind[i], most)));
    if (!this.changes.length) this.drawChanges();
  }

  /** @param {Member} member @param {number} behind @param {number} most */
  card(member, behind, most) {
    const seen = this.seen.get(keyOf(member));
    const silent = !answers(member);
    const known = silent ? seen?.member : member;
    const alarms = this.now?.alarms.filter((alarm) => alarm.member === member.id) ?? [];
    const follows = known?.leader && known.leader !== known.id && this.now ? this.nameOf(this.now, known.leader) : "";
    const bad = [
      member.role === "down" && w("liveDownWhy", { why: member.error ?? "" }),
      ...alarms.map(({ alarm }) => w("liveAlarm", { what: alarm })),
      ...(member.errors ?? []).map((what) => w("liveError", { what })),
    ].filter(Boolean);
    /** @type {[string, string|Node][]} */
    const rows = known ? [
      [w("liveTerm"), String(known.term)],
      [w("liveCommitted"), String(known.index)],
      [w("liveApplied"), `${known.applied}${(known.index ?? 0) > (known.applied ?? 0) ? ` (${w("liveUnapplied", { n: (known.index ?? 0) - (known.applied ?? 0) })})` : ""}`],
      [w("liveBehind"), this.lag(behind, most, silent)],
      [w("liveFollows"), follows || "–"],
      [w("liveData"), size(known.size ?? 0)],
      [w("liveVersion"), known.version ?? ""],
    ] : [];
    return el("li", { class: `member is-${member.role}${bad.length ? " bad" : ""}` },
      el("div", { class: "member-head" }, el("h3", {}, member.name), el("span", { class: "badge" }, `${member.role === "leader" ? "♛ " : member.role === "down" ? "✕ " : ""}${memberWord(member)}`)),
      el("p", { class: "mono muted" }, [member.endpoint, member.id].find((one) => one && !one.endsWith(member.name)) ?? ""),
      ...bad.map((sentence) => el("p", { class: "fault" }, `✕ ${sentence}`)),
      member.role === "refused" && el("p", { class: "muted" }, w("liveRefusedWhy", { why: member.error ?? "" })),
      member.role === "unseen" && el("p", { class: "muted" }, w("liveUnseenWhy")),
      silent && seen && el("p", { class: "muted" }, w("liveLast", { time: clock(seen.at) })),
      rows.length > 0 && el("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  }

  /** How far a member is behind the newest: in words, and as a bar that grows with it. @param {number} behind @param {number} most @param {boolean} least */
  lag(behind, most, least) {
    const fill = el("span");
    fill.style.width = `${behind > 0 ? Math.max(3, (100 * behind) / most) : 0}%`;
    const words = least ? (behind > 0 ? w("liveBehindLeast", { n: behind }) : w("liveBehindUnknown")) : behind <= 0 ? w("liveBehindNone") : behind === 1 ? w("liveBehindOne") : w("liveBehindMany", { n: behind });
    return el("span", { class: "lag" }, el("span", {}, words), el("span", { class: "lag-bar", "aria-hidden": "true" }, fill));
  }
}
