// Messages on their way around the ring. All messages of one look are one path: moving two hundred of them touches a dozen elements.

import { attr, svg } from "./dom.js";
import { kindOf, isAnswer } from "./kinds.js";
import { openMessageMenu } from "./menus.js";
import { selectMessage, state } from "./store.js";
import { hideTip, messageTip, showTip } from "./tip.js";

// A lost message's mark stays for as long as this, in shares of its flight.
const LINGER = 1.6;
// How near the pointer has to be.
const REACH = 11;

/** The letters of the kinds as strokes around the middle. @type {Record<import("./kinds.js").Kind, string>} */
const STROKES = {
  data: "m2.2 -3.2h-4v6.4h4m-4 -3.2h3.2",
  ack: "m-2.7 3.2l2.7 -6.4l2.7 6.4m-4.5 -2.2h3.6",
  commit: "m2.4 -2.3a3.2 3.2 0 1 0 0 4.6",
  vote: "m-2.7 -3.1l2.7 6.3l2.7 -6.3",
  beat: "m-2.3 -3.2v6.4m4.6 -6.4v6.4m-4.6 -3.2h4.6",
  snap: "m2.2 -2.2c-1 -1.6 -4.4 -1.3 -4.2 .6c.2 1.9 4.2 1.2 4.2 3.1c0 2 -3.5 2.2 -4.6 .5",
  read: "m-1.9 3.2v-6.4h2.4a1.6 1.6 0 0 1 0 3.4h-2.4m2.2 0l2.1 3",
  other: "m0 -.6v1.2",
};

/** @typedef {{shape: SVGElement, letter: SVGElement|null, circles: string[], strokes: string[]}} Look */

export class Couriers {
  constructor() {
    this.layer = svg("g", { class: "couriers", "aria-hidden": "true" });
    /** @type {Map<string, Look>} */
    this.looks = new Map();
    /** Where each one is, for the pointer. @type {{x: number, y: number, message: import("./types.js").Message}[]} */
    this.flying = [];
    /** @type {import("./film.js").Film|null} */
    this.film = null;
    this.side = 0;
    /** @type {{x: number, y: number}[]} */
    this.places = [];
    this.radius = 30;
    this.size = 8;
  }

  /** @param {import("./film.js").Film} film @param {number} side @param {{x: number, y: number}[]} places @param {number} radius */
  use(film, side, places, radius) {
    this.film = film;
    this.side = side;
    this.places = places;
    this.radius = radius;
    this.size = film.hosts > 7 ? 7.2 : 8;
  }

  /** Lets the pointer find messages before it finds what lies below them. @param {SVGElement} drawing */
  listen(drawing) {
    drawing.addEventListener("click", (event) => {
      const message = this.near(drawing, event);
      if (!message) return;
      event.stopPropagation();
      selectMessage(message, this.side);
      openMessageMenu(this.side, message, event);
    }, true);
    drawing.addEventListener("pointermove", (event) => {
      const message = this.near(drawing, event);
      drawing.classList.toggle("near", message !== null);
      if (message && this.film) showTip(messageTip(this.film, message), event);
      // A node has a text of its own.
      else if (!(event.target instanceof Element && event.target.closest(".node-button"))) hideTip();
    });
    drawing.addEventListener("pointerleave", hideTip);
  }

  /** @param {SVGElement} drawing @param {MouseEvent} event */
  near(drawing, event) {
    const matrix = /** @type {SVGSVGElement} */ (drawing).getScreenCTM()?.inverse();
    if (!matrix) return null;
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    let best = REACH;
    let found = null;
    for (const one of this.flying) {
      const away = Math.hypot(one.x - x, one.y - y);
      if (away < best) [best, found] = [away, one.message];
    }
    return found;
  }

  /** @param {string} look @param {boolean} letters */
  look(look, letters) {
    let one = this.looks.get(look);
    if (!one) {
      const shape = svg("path", { class: "courier-shape" });
      const letter = letters ? svg("path", { class: "courier-letter" }) : null;
      this.layer.append(svg("g", { class: `courier ${look}` }, shape, letter));
      one = { shape, letter, circles: [], strokes: [] };
      this.looks.set(look, one);
    }
    return one;
  }

  /** @param {number} now @param {number} group */
  draw(now, group) {
    const film = this.film;
    if (!film) return;
    this.flying.length = 0;
    const most = (film.run.delay_us ?? 5000) * LINGER;
    film.underway(now - most, now, (message) => {
      // Messages of no group, such as those that open a link, are everybody's.
      if ((message.g !== group && message.g !== 0) || message.h === message.to) return;
      if (message.fate !== null || message.at.length === 0) {
        const share = (now - message.t) / Math.max(1, message.last - message.t);
        if (share <= LINGER) this.place(message, Math.min(share, 1) * 0.55, share >= 1);
        return;
      }
      for (const arrival of message.at) {
        if (arrival >= now) this.place(message, (now - message.t) / Math.max(1, arrival - message.t), false);
        // One that nobody heard is marked for a moment where it struck.
        else if (now - arrival < most && film.arrivals.get(message.f)?.some((one) => one.t === arrival && !one.heard)) this.place(message, 1, true);
      }
    });
    for (const one of this.looks.values()) {
      attr(one.shape, "d", one.circles.join(""));
      if (one.letter) attr(one.letter, "d", one.strokes.join(""));
      one.circles.length = 0;
      one.strokes.length = 0;
    }
    attr(this.layer, "data-count", this.flying.length);
  }

  /** @param {import("./types.js").Message} message @param {number} share @param {boolean} lost */
  place(message, share, lost) {
    const from = this.places[message.h];
    const to = this.places[message.to];
    if (!from || !to) return;
    const dx = to.x - from.x;
    const dy = to.y - from.y;
    const length = Math.hypot(dx, dy) || 1;
    // It flies from rim to rim, a little to the right of the line, so that both directions are seen.
    const along = this.radius + 4 + share * (length - 2 * this.radius - 8);
    const x = Math.round((from.x + (dx * along - dy * 4) / length) * 10) / 10;
    const y = Math.round((from.y + (dy * along + dx * 4) / length) * 10) / 10;
    this.flying.push({ x, y, message });
    if (state.selected.message === message) this.look("selected", false).circles.push(circle(x, y, this.size + 3));
    if (lost) {
      this.look("lost", false).circles.push(`M${x - 5} ${y - 5}l10 10m0 -10l-10 10`);
      return;
    }
    const kind = kindOf(message.name);
    const look = this.look(`k-${kind}${isAnswer(message.name) ? " answer" : ""}`, true);
    look.circles.push(circle(x, y, this.size));
    look.strokes.push(`M${x} ${y}${STROKES[kind]}`);
  }
}

/** @param {number} x @param {number} y @param {number} r */
function circle(x, y, r) {
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
}
