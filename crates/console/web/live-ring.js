// The members on a ring, as the runs draw theirs.

import { attr, el, svg, text } from "./dom.js";
import { t } from "./i18n.js";
import { epochColour, roleWord } from "./ring.js";
import { w } from "./live-words.js";

const WIDTH = 500;
const RADIUS = 31;
const CROWN = "M-9 4 L-11 -5 L-5 -1 L0 -8 L5 -1 L11 -5 L9 4 Z";
const R7 = RADIUS * 0.7;

/** The word for what a member is. @param {import("./live-api.js").Member} member */
export function memberWord(member) {
  return member.role === "down" ? t("down") : member.role === "unseen" ? w("liveUnseen") : member.role === "refused" ? w("liveRefused") : roleWord("raft", member.role);
}

export class LiveRing {
  constructor() {
    this.note = el("span", { class: "note" });
    this.drawing = svg("svg", { role: "img", class: "ring-drawing" });
    this.panel = el("section", { class: "panel live-ring", "data-label": "liveRing" },
      el("div", { class: "panel-head" }, el("h2", { "data-t": "cluster" }), this.note),
      el("div", { class: "panel-body ring-body" }, /** @type {any} */ (this.drawing)));
    this.height = 376;
    /** @type {import("./live-api.js").Member[]} */
    this.members = [];
    new ResizeObserver(([{ contentRect: box }]) => {
      const height = Math.round(Math.max(330, Math.min(520, (WIDTH * box.height) / Math.max(1, box.width))));
      if (Math.abs(height - this.height) < 8) return;
      this.height = height;
      this.draw(this.members);
    }).observe(this.drawing);
  }

  /** @param {import("./live-api.js").Member[]} members */
  draw(members) {
    this.members = members;
    const count = members.length;
    const centre = this.height / 2;
    const across = count === 1 ? 0 : WIDTH / 2 - 150;
    const down = count === 1 ? 0 : Math.min(centre - 66, across * 1.4);
    const places = members.map((_, i) => {
      const angle = (i / count) * 2 * Math.PI - Math.PI / 2;
      return { angle, x: WIDTH / 2 + across * Math.cos(angle), y: centre + 4 + down * Math.sin(angle) };
    });
    attr(this.drawing, "viewBox", `0 0 ${WIDTH} ${this.height}`);
    attr(this.drawing, "aria-label", w("liveRingLabel", { all: members.map((member) => `${member.name} ${memberWord(member)}`).join(", ") }));
    const links = places.flatMap((a, i) => places.slice(i + 1).map((b) => svg("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, class: "link" })));
    this.drawing.replaceChildren(...links, ...members.map((member, i) => this.node(member, places[i])));
    const leader = members.find((member) => member.role === "leader");
    text(this.note, leader ? `${leader.name} · ${t("leader")} · ${t("term")} ${leader.term}` : "");
  }

  /** @param {import("./live-api.js").Member} member @param {{x: number, y: number, angle: number}} place */
  node(member, { x, y, angle }) {
    const silent = member.role === "down";
    const state = silent ? "down" : member.role === "unseen" || member.role === "refused" ? "unborn" : "up";
    const [dx, dy] = [Math.cos(angle), Math.sin(angle)];
    const middle = Math.abs(dx) < 0.35;
    const anchor = middle ? "middle" : dx > 0 ? "start" : "end";
    const [lx, ly] = [dx * (RADIUS + 18), middle ? (dy < 0 ? -RADIUS - 27 : RADIUS + 24) : dy * (RADIUS + 15)];
    const short = member.name.length > 9 ? `…${member.name.slice(-7)}` : member.name;
    const made = svg("g", { class: `node is-${state} role-${member.role}${member.role === "leader" ? " leads" : ""}`, transform: `translate(${x} ${y})` },
      svg("circle", { r: RADIUS, class: "node-body" }),
      member.role === "leader" && svg("path", { class: "crown", d: CROWN, transform: `translate(0 ${3 - RADIUS * 0.64}) scale(${RADIUS / 40})` }),
      silent && svg("path", { class: "node-cross", d: `M${-R7} ${-R7}L${R7} ${R7}M${R7} ${-R7}L${-R7} ${R7}` }),
      svg("text", { class: short.length > 5 ? "node-name long" : "node-name", y: 3 }, short),
      svg("text", { class: "node-epoch", y: 16 }, member.term === undefined ? "–" : `${t("term")} ${member.term}`),
      svg("text", { class: "node-role", x: lx, y: ly, "text-anchor": anchor }, memberWord(member)),
      svg("text", { class: "node-commit", x: lx, y: ly + 14, "text-anchor": anchor }, state === "up" ? t("commitShort", { n: member.index ?? 0 }) : ""));
    made.style.setProperty("--epoch", `var(${epochColour(member.term ?? 0)})`);
    return made;
  }
}
