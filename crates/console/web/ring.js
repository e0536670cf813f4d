// The cluster: nodes on a ring, drawn from the state at the moment that is shown.

import { attr, byId, el, svg, text } from "./dom.js";
import { lang, t, time } from "./i18n.js";
import { KINDS, KIND_KEY, LETTER } from "./kinds.js";
import { Couriers } from "./couriers.js";
import { openLinkMenu, openNodeMenu } from "./menus.js";
import { changes, films, state, watch } from "./store.js";
import { showTip } from "./tip.js";

const HEIGHT = 376;

/** The word for an epoch in this engine. @param {string} engine */
export function epochWord(engine) {
  return t(engine === "zab" ? "epoch" : "term");
}

/** @param {string} engine @param {string} role @param {boolean} [pre] whether it only asks who would vote for it */
export function roleWord(engine, role, pre = false) {
  if (engine === "zab" && role === "candidate") return t("looking");
  if (pre && role === "candidate") return t("preCandidate");
  if (engine === "zab" && role === "learner") return t("observer");
  return role === "leader" || role === "follower" || role === "candidate" || role === "learner" ? t(role) : role;
}

/** The engine of the group that is shown in a column. @param {import("./film.js").Film} film @param {number} side */
export function engineOf(film, side) {
  return film.groups.find((group) => group.id === state.group[side])?.engine ?? film.run.engine;
}

/** The colour of an epoch, by name. @param {number} epoch */
export function epochColour(epoch) {
  return `--e${epoch <= 0 ? 0 : ((epoch - 1) % 8) + 1}`;
}

/** @typedef {{x: number, y: number, angle: number}} Point */

class Ring {
  /** @param {number} side */
  constructor(side) {
    this.side = side;
    /** @type {import("./film.js").Film|null} */
    this.film = null;
    this.language = "";
    /** @type {[number, number][]|null|undefined} */
    this.shownCuts = undefined;
    this.panel = byId(`ring-${side}`);
    this.note = el("span", { class: "note" });
    this.groups = /** @type {HTMLSelectElement} */ (el("select", { onchange: () => this.chooseGroup() }));
    this.title = el("h2");
    this.links = svg("g");
    this.couriers = new Couriers();
    this.nodes = svg("g");
    this.drawing = svg("svg", { role: "group", class: "ring-drawing" }, this.links, this.nodes, this.couriers.layer);
    /** The drawing is as wide, in its own units, as the panel's shape allows. */
    this.width = 560;
    this.legend = el("ul", { class: "legend" });
    this.panel.append(
      el("div", { class: "panel-head" }, this.title, this.note, el("span", { class: "gap" }), this.groups),
      el("div", { class: "panel-body ring-body" }, /** @type {any} */ (this.drawing)),
      this.legend,
    );
    this.couriers.listen(this.drawing);
    new ResizeObserver(([entry]) => this.shape(entry.contentRect)).observe(this.drawing);
    /** @type {{group: SVGElement, button: SVGElement, body: SVGElement, arc: SVGElement, epoch: SVGElement, role: SVGElement, commit: SVGElement, crown: SVGElement, cross: SVGElement, name: SVGElement}[]} */
    this.marks = [];
    /** @type {Map<string, SVGElement>} */
    this.cutMarks = new Map();
    /** Each pair's line, and its mark for when both directions are cut. @type {{a: number, b: number, link: SVGElement, mark: SVGElement}[]} */
    this.severed = [];
    /** @type {Point[]} */
    this.places = [];
    this.radius = 30;
  }

  /** @param {DOMRectReadOnly} box */
  shape(box) {
    const width = Math.round(Math.max(450, Math.min(640, (HEIGHT * box.width) / Math.max(1, box.height))));
    if (Math.abs(width - this.width) < 8) return;
    this.width = width;
    this.film = null;
    this.draw();
  }

  chooseGroup() {
    state.group[this.side] = Number(this.groups.value);
    changes("films", "time", "select");
  }

  /** Builds what only changes with the film or the language. @param {import("./film.js").Film} film */
  build(film) {
    this.film = film;
    this.shownCuts = undefined;
    this.language = lang();
    const count = film.hosts;
    this.radius = count <= 5 ? 31 : count <= 7 ? 29 : count <= 9 ? 27 : 25;
    // The panel is wider than it is high, and so is the ring.
    const centre = { x: this.width / 2, y: HEIGHT / 2 };
    attr(this.drawing, "viewBox", `0 0 ${this.width} ${HEIGHT}`);
    attr(this.panel, "aria-label", state.both ? `${t("cluster")} · ${t(engineOf(film, this.side) === "zab" ? "zab" : "raft")}` : t("cluster"));
    const across = count === 1 ? 0 : Math.min(190, this.width / 2 - 158);
    const down = count === 1 ? 0 : 122;
    this.places = Array.from({ length: count }, (_, h) => {
      const angle = (h / count) * 2 * Math.PI - Math.PI / 2;
      return { x: centre.x + across * Math.cos(angle), y: centre.y + 4 + down * Math.sin(angle), angle };
    });
    text(this.title, state.both ? t(engineOf(film, this.side) === "zab" ? "zab" : "raft") : t("cluster"));
    this.groups.replaceChildren(...film.groups.map((group) => {
      const name = group.name === "records" || group.name === "keys" || group.name === "tree" ? t(group.name) : group.name;
      return el("option", { value: group.id, selected: group.id === state.group[this.side] }, `${name} · ${t(group.engine === "zab" ? "zab" : "raft")}`);
    }));
    attr(this.groups, "aria-label", t("group"));
    this.legend.replaceChildren(...KINDS.filter((kind) => kind !== "other").map((kind) => el("li", {}, el("span", { class: `dot k-${kind}` }, LETTER[kind]), t(KIND_KEY[kind]))));
    attr(this.legend, "aria-label", t("legend"));
    this.buildLinks(count);
    this.buildNodes(film);
    this.couriers.use(film, this.side, this.places, this.radius);
  }

  /** @param {number} count */
  buildLinks(count) {
    this.cutMarks.clear();
    this.severed = [];
    this.links.replaceChildren();
    for (let a = 0; a < count; a++) {
      for (let b = a + 1; b < count; b++) {
        const { x: x1, y: y1 } = this.places[a];
        const { x: x2, y: y2 } = this.places[b];
        const line = svg("line", { x1, y1, x2, y2, class: "link-hit", onclick: (/** @type {MouseEvent} */ event) => openLinkMenu(this.side, a, b, event) });
        const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2];
        const mark = svg("path", { class: "cut", d: `M${mx - 5} ${my - 5}l10 10m0 -10l-10 10`, visibility: "hidden" });
        const link = svg("line", { x1, y1, x2, y2, class: "link" });
        this.severed.push({ a, b, link, mark });
        this.links.append(link, line, mark);
      }
    }
    for (let a = 0; a < count; a++) {
      for (let b = 0; b < count; b++) {
        if (a !== b) this.cutMarks.set(`${a} ${b}`, this.cutMark(a, b));
      }
    }
  }

  /** The mark of a link cut from a to b: nearer to b, on the side on which its messages would fly. @param {number} a @param {number} b */
  cutMark(a, b) {
    const from = this.places[a];
    const to = this.places[b];
    const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
    const [ux, uy] = [(to.x - from.x) / length, (to.y - from.y) / length];
    const [ox, oy] = [-uy * 4, ux * 4];
    const start = this.radius + 8;
    const stop = length - this.radius - 14;
    const x = from.x + ux * stop + ox;
    const y = from.y + uy * stop + oy;
    const mark = svg("g", { class: "cut", visibility: "hidden" },
      svg("line", { x1: from.x + ux * start + ox, y1: from.y + uy * start + oy, x2: x, y2: y }),
      svg("path", { d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10` }));
    this.links.append(mark);
    return mark;
  }

  /** @param {import("./film.js").Film} film */
  buildNodes(film) {
    this.nodes.replaceChildren();
    const r = this.radius;
    this.marks = this.places.map(({ x, y, angle }, h) => {
      const out = r + 15;
      const [dx, dy] = [Math.cos(angle), Math.sin(angle)];
      const anchor = Math.abs(dx) < 0.35 ? "middle" : dx > 0 ? "start" : "end";
      const lx = dx * (out + 3);
      const ly = Math.abs(dx) < 0.35 ? (dy < 0 ? -out - 12 : out + 9) : dy * out;
      const crown = svg("path", { class: "crown", d: "M-9 4 L-11 -5 L-5 -1 L0 -8 L5 -1 L11 -5 L9 4 Z", transform: `translate(0 ${3 - r * 0.64}) scale(${r / 40})` });
      const parts = {
        body: svg("circle", { r, class: "node-body" }),
        arc: svg("circle", { r: r + 5, class: "timer", pathLength: 100, transform: "rotate(-90)" }),
        crown,
        cross: svg("path", { class: "node-cross", d: `M${-r * 0.7} ${-r * 0.7}L${r * 0.7} ${r * 0.7}M${r * 0.7} ${-r * 0.7}L${-r * 0.7} ${r * 0.7}` }),
        name: svg("text", { class: "node-name", y: r > 24 ? 3 : 2 }, film.names[h]),
        epoch: svg("text", { class: "node-epoch", y: r > 24 ? 16 : 13 }),
        role: svg("text", { class: "node-role", x: lx, y: ly, "text-anchor": anchor }),
        commit: svg("text", { class: "node-commit", x: lx, y: ly + 14, "text-anchor": anchor }),
      };
      // The button holds no text: its name says all of it, and more.
      const button = svg("g", {
        class: "node-button", tabindex: 0, role: "button", "aria-haspopup": "menu", "data-host": h,
        onclick: (/** @type {MouseEvent} */ event) => this.choose(h, event),
        onpointermove: (/** @type {PointerEvent} */ event) => showTip(this.about(h), event),
        oncontextmenu: (/** @type {MouseEvent} */ event) => { event.preventDefault(); this.choose(h, event); },
        onkeydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key === "Enter" || event.key === " ") {
            event.preventDefault();
            event.stopPropagation();
            this.choose(h, null);
          }
        },
      }, svg("circle", { r: r + 9, class: "halo" }), parts.body, parts.arc, parts.crown, parts.cross);
      const words = svg("g", { class: "node-words", "aria-hidden": "true" }, parts.name, parts.epoch, parts.role, parts.commit);
      const group = svg("g", { class: "node", transform: `translate(${x} ${y})` }, button, words);
      this.nodes.append(group);
      return { group, button, ...parts };
    });
  }

  /** A node in words, for the pointer. @param {number} h @returns {Node[]} */
  about(h) {
    const film = /** @type {import("./film.js").Film} */ (this.film);
    const shown = film.stateAt(h, state.group[this.side], state.now);
    const left = shown?.timer ? shown.timer - state.now : 0;
    const members = shown ? [...new Set([...shown.voters, ...shown.outgoing])].map((node) => film.nameOfNode(node)).join(" ") : "";
    return [
      el("strong", {}, this.marks[h].button.getAttribute("aria-label")),
      ...(left > 0 ? [el("div", {}, t("timerLeft", { time: time(left) }))] : []),
      ...(members ? [el("div", {}, t("votersAre", { names: members }))] : []),
    ];
  }

  /** @param {number} h @param {MouseEvent|null} event */
  choose(h, event) {
    state.selected = { ...state.selected, side: this.side, host: h, message: null };
    changes("select");
    openNodeMenu(this.side, h, event ?? this.marks[h].button);
  }

  draw() {
    const film = films()[this.side];
    if (!film) return;
    if (film !== this.film || this.language !== lang()) this.build(film);
    const now = state.now;
    const group = state.group[this.side];
    const engine = engineOf(film, this.side);
    const leader = film.leaderAt(group, now);
    for (let h = 0; h < film.hosts; h++) this.drawNode(film, h, group, engine, leader, now);
    this.drawCuts(film, now);
    const led = leader === null ? "" : film.stateAt(leader, group, now);
    text(this.note, led ? `${film.names[/** @type {number} */ (leader)]} · ${t("leader")} · ${epochWord(engine)} ${led.epoch}` : "");
    attr(this.drawing, "aria-label", t("ringLabel", { time: time(now) }));
    this.couriers.draw(now, group);
  }

  /** A pair that is cut both ways has one mark in the middle; a single direction has its own, near the end that hears nothing. @param {import("./film.js").Film} film @param {number} now */
  drawCuts(film, now) {
    const cuts = film.cuts.at(now);
    if (cuts === this.shownCuts) return;
    this.shownCuts = cuts;
    const cut = new Set((cuts ?? []).map(([a, b]) => `${a} ${b}`));
    // When very many are cut, the pale lines say enough.
    const many = cut.size > 24;
    for (const { a, b, link, mark } of this.severed) {
      const both = cut.has(`${a} ${b}`) && cut.has(`${b} ${a}`);
      attr(link, "class", both ? `link severed${many ? " many" : ""}` : "link");
      attr(mark, "visibility", both && !many ? "visible" : "hidden");
      for (const [from, to] of [[a, b], [b, a]]) {
        const one = this.cutMarks.get(`${from} ${to}`);
        if (one) attr(one, "visibility", !both && cut.has(`${from} ${to}`) ? "visible" : "hidden");
      }
    }
  }

  /** @param {import("./film.js").Film} film @param {number} h @param {number} group @param {string} engine @param {number|null} leader @param {number} now */
  drawNode(film, h, group, engine, leader, now) {
    const mark = this.marks[h];
    const life = film.life[h].at(now);
    const shown = film.stateAt(h, group, now);
    // A film that begins late need not tell of the start of those that run.
    const is = life?.is ?? (shown ? "up" : "unborn");
    const leads = leader === h;
    const role = shown?.role ?? "follower";
    const member = !shown || shown.voters.length + shown.learners.length === 0 || shown.voters.includes(life?.node ?? h + 1) || shown.learners.includes(life?.node ?? h + 1);
    const selected = state.selected.side === this.side && state.selected.host === h;
    const pointed = state.pointed.includes(h);
    attr(mark.group, "class", `node is-${is} role-${role}${leads ? " leads" : ""}${selected ? " selected" : ""}${pointed ? " pointed" : ""}${member ? "" : " outside"}`);
    const colour = `var(${epochColour(is === "unborn" ? 0 : shown?.epoch ?? 0)})`;
    if (mark.group.style.getPropertyValue("--epoch") !== colour) mark.group.style.setProperty("--epoch", colour);
    attr(mark.crown, "visibility", role === "leader" && is !== "down" ? "visible" : "hidden");
    attr(mark.cross, "visibility", is === "down" ? "visible" : "hidden");
    const runs = is === "up" || is === "paused";
    let left = 0;
    if (runs && shown && shown.timer !== null && shown.timer > now) {
      left = (100 * (shown.timer - now)) / Math.max(1, shown.timer - shown.timerFrom);
    }
    attr(mark.arc, "stroke-dasharray", `${Math.min(100, left).toFixed(1)} 101`);
    attr(mark.arc, "visibility", left > 0 ? "visible" : "hidden");
    const word = is === "down" ? t("down") : is === "paused" ? t("paused") : is === "starting" ? t("starting") : is === "unborn" ? t("isNew") : roleWord(engine, role, shown?.pre);
    text(mark.epoch, shown && is !== "unborn" ? `${epochWord(engine)} ${shown.epoch}` : "–");
    attr(mark.epoch, "class", (mark.epoch.textContent ?? "").length > 7 ? "node-epoch long" : "node-epoch");
    text(mark.role, word);
    text(mark.commit, shown && runs ? t("commitShort", { n: shown.commit }) : "");
    const label = is === "down" ? t("nodeDown", { name: film.names[h], how: howWord(life?.how ?? "") })
      : t("nodeLabel", { name: film.names[h], role: word, term: epochWord(engine), epoch: shown?.epoch ?? 0, last: shown?.last ?? 0, commit: shown?.commit ?? 0 });
    attr(mark.button, "aria-label", label);
  }
}

/** @param {string} how */
export function howWord(how) {
  return how === "crash" ? t("howCrash") : how === "kill" ? t("howKill") : t("howFatal");
}

export function startRings() {
  const rings = [new Ring(0), new Ring(1)];
  watch(["time", "films", "select", "words", "lesson"], () => rings.forEach((ring) => ring.draw()));
}
