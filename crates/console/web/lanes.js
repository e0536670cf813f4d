// Space and time: the diagram on the page, how it moves and what the pointer finds in it.

import { byId, el } from "./dom.js";
import { t, time } from "./i18n.js";
import { GUTTER, AXIS, laneOf, paintScene, scaleOf } from "./lanes-scene.js";
import { canvasPainter } from "./painters.js";
import { engineOf, epochWord, roleWord } from "./ring.js";
import { beginning, changes, end, films, goTo, selectMessage, selectStep, state, watch } from "./store.js";
import { hideTip, messageTip, showTip } from "./tip.js";
import { headline } from "./telling.js";
import { palette } from "./palette-colours.js";

/** @typedef {import("./lanes-scene.js").View} View */

/** What time the diagram shows, in both columns. @type {View} */
export const view = { from: 0, to: 400_000 };
let following = true;
const NARROWEST = 400;

class Lanes {
  /** @param {number} side @param {HTMLElement} body */
  constructor(side, body) {
    this.side = side;
    this.base = /** @type {HTMLCanvasElement} */ (el("canvas", { "aria-hidden": "true" }));
    this.over = /** @type {HTMLCanvasElement} */ (el("canvas", { class: "over", tabindex: 0, role: "application" }));
    this.name = el("span", { class: "lanes-name" });
    this.box = el("div", { class: "lanes-box" }, this.base, this.over, this.name);
    body.append(this.box);
    this.size = { width: 0, height: 0 };
    this.drawn = "";
    /** @type {{x: number, from: number, to: number, moved: boolean}|null} */
    this.drag = null;
    new ResizeObserver(() => this.resize()).observe(this.box);
    this.over.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.over.addEventListener("pointerdown", (event) => {
      this.drag = { x: event.clientX, from: view.from, to: view.to, moved: false };
      this.over.setPointerCapture(event.pointerId);
    });
    this.over.addEventListener("pointermove", (event) => this.move(event));
    this.over.addEventListener("pointerup", (event) => this.up(event));
    this.over.addEventListener("pointerleave", hideTip);
    this.over.addEventListener("keydown", (event) => this.key(event));
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.box;
    if (width === this.size.width && height === this.size.height) return;
    this.size = { width, height };
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    this.drawn = "";
    changes("time");
  }

  /** @returns {import("./lanes-scene.js").Scene|null} */
  scene() {
    const film = films()[this.side];
    if (!film) return null;
    const engine = engineOf(film, this.side);
    return {
      film, group: state.group[this.side], view, size: this.size, colour: palette, axis: true, time: axisTime,
      epochWord: epochWord(engine), roleWord: (role, pre) => roleWord(engine, role, pre),
    };
  }

  draw() {
    const scene = this.scene();
    if (!scene || this.size.width < 60) return;
    const key = `${scene.film.raw.hash} ${scene.film.run.actions} ${scene.group} ${view.from} ${view.to} ${palette("--ink")} ${scene.epochWord}`;
    if (key !== this.drawn) {
      this.drawn = key;
      const context = /** @type {CanvasRenderingContext2D} */ (this.base.getContext("2d"));
      context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      context.clearRect(0, 0, this.size.width, this.size.height);
      paintScene(scene, canvasPainter(context, palette("--surface")));
    }
    this.drawOver(scene);
    this.over.setAttribute("aria-label", t("lanesLabel"));
    this.name.textContent = state.both ? t(engineOf(scene.film, this.side) === "zab" ? "zab" : "raft") : "";
  }

  /** The present, and what is selected. @param {import("./lanes-scene.js").Scene} scene */
  drawOver({ film, size }) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.over.getContext("2d"));
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, size.width, size.height);
    const { x } = scaleOf(view, size);
    const now = x(state.now);
    // The future is there, but pale.
    context.globalAlpha = 0.55;
    context.fillStyle = palette("--surface");
    if (now < size.width) context.fillRect(Math.max(GUTTER, now), AXIS, size.width - Math.max(GUTTER, now), size.height - AXIS);
    context.globalAlpha = 1;
    if (now >= GUTTER && now <= size.width) {
      context.fillStyle = palette("--accent");
      context.fillRect(now - 1, AXIS - 8, 2, size.height);
      context.beginPath();
      context.moveTo(now - 6, AXIS - 10);
      context.lineTo(now + 6, AXIS - 10);
      context.lineTo(now, AXIS - 2);
      context.fill();
    }
    const { side, step, message } = state.selected;
    if (side !== this.side) return;
    context.strokeStyle = palette("--accent");
    if (step && step.h >= 0) {
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x(step.t), laneOf(step.h, film.hosts, size), 7, 0, 7);
      context.stroke();
    }
    if (message) {
      const y1 = laneOf(message.h, film.hosts, size);
      const y2 = laneOf(message.to, film.hosts, size);
      context.lineWidth = 3;
      for (const at of message.at.length ? message.at : [message.last]) {
        const share = message.at.length ? 1 : 0.55;
        context.beginPath();
        context.moveTo(x(message.t), y1);
        context.lineTo(x(message.t + (at - message.t) * share), y1 + (y2 - y1) * share);
        context.stroke();
      }
    }
  }

  /** What is under the pointer: a step on a lane, or a message. @param {MouseEvent} event */
  find(event) {
    const scene = this.scene();
    if (!scene) return null;
    const { film, size, group } = scene;
    const bounds = this.over.getBoundingClientRect();
    const px = event.clientX - bounds.left;
    const py = event.clientY - bounds.top;
    const scale = scaleOf(view, size);
    const at = scale.t(px);
    const reach = 7 / scale.per;
    /** @type {{step: import("./types.js").Step|null, message: import("./types.js").Message|null, at: number}} */
    const found = { step: null, message: null, at };
    let best = 8;
    for (let i = film.stepsUntil(at - reach); i < film.steps.length && film.steps[i].t <= at + reach; i++) {
      const step = film.steps[i];
      const y = step.h >= 0 ? laneOf(step.h, film.hosts, size) : AXIS / 2;
      const away = Math.hypot(scale.x(step.t) - px, (y - py) * 0.8) - step.weight;
      if (away < best) [best, found.step] = [away, step];
    }
    if (found.step) return found;
    best = 5;
    film.underway(at - reach, at + reach, (message) => {
      if (group !== 0 && message.g !== group && message.g !== 0) return;
      const x1 = scale.x(message.t);
      const y1 = laneOf(message.h, film.hosts, size);
      const y2 = laneOf(message.to, film.hosts, size);
      for (const until of message.at.length ? message.at : [message.last]) {
        const x2 = scale.x(until);
        const length = (x2 - x1) ** 2 + (y2 - y1) ** 2;
        const share = Math.max(0, Math.min(1, ((px - x1) * (x2 - x1) + (py - y1) * (y2 - y1)) / Math.max(1, length)));
        const away = Math.hypot(x1 + share * (x2 - x1) - px, y1 + share * (y2 - y1) - py);
        if (away < best) [best, found.message] = [away, message];
      }
    });
    return found;
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (this.drag) {
      const shift = event.clientX - this.drag.x;
      if (Math.abs(shift) > 3) this.drag.moved = true;
      if (this.drag.moved) {
        const per = (this.drag.to - this.drag.from) / Math.max(1, this.size.width - GUTTER);
        lookAt(this.drag.from - shift * per, this.drag.to - shift * per);
        hideTip();
      }
      return;
    }
    const found = this.find(event);
    const film = films()[this.side];
    this.over.style.cursor = found?.step || found?.message ? "pointer" : "default";
    if (film && found?.step) {
      const { step } = found;
      showTip([el("strong", {}, step.h < 0 ? t("clusterAt", { time: time(step.t) }) : t("stepOf", { name: film.names[step.h], time: time(step.t) })), el("div", {}, headline(film, step, state.group[this.side]))], event);
    } else if (film && found?.message) showTip(messageTip(film, found.message), event);
    else hideTip();
  }

  /** @param {PointerEvent} event */
  up(event) {
    const moved = this.drag?.moved;
    this.drag = null;
    if (moved) return;
    const found = this.find(event);
    if (!found) return;
    if (found.step) selectStep(found.step, this.side);
    else {
      if (found.message) selectMessage(found.message, this.side);
      goTo(found.at);
    }
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const at = scaleOf(view, this.size).t(event.clientX - this.over.getBoundingClientRect().left);
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const shift = ((event.deltaX || event.deltaY) * (view.to - view.from)) / 900;
      lookAt(view.from + shift, view.to + shift);
    } else zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240))), at);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const wide = view.to - view.from;
    const keys = /** @type {Record<string, () => void>} */ ({
      ArrowLeft: () => lookAt(view.from - wide / 8, view.to - wide / 8),
      ArrowRight: () => lookAt(view.from + wide / 8, view.to + wide / 8),
      "+": () => zoom(0.7, state.now),
      "=": () => zoom(0.7, state.now),
      "-": () => zoom(1.4, state.now),
      Home: () => lookAt(beginning(), end()),
      Enter: () => {
        const film = films()[this.side];
        const next = film?.steps[film.stepsUntil(state.now)];
        if (next) selectStep(next, this.side);
      },
    });
    if (keys[event.key] && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    }
  }
}

/** Times on the axis need no more digits than tell its ticks apart. @param {number} micros */
function axisTime(micros) {
  const ms = micros / 1000;
  return Number.isInteger(ms) ? `${ms} ms` : `${Number(ms.toFixed(3))} ms`;
}

/** @param {number} from @param {number} to @param {boolean} [stay] whether the diagram goes on following the present */
export function lookAt(from, to, stay = false) {
  const wide = Math.min(Math.max(NARROWEST, to - from), (end() - beginning()) * 1.04 + 1000);
  view.from = Math.max(beginning() - wide * 0.02, Math.min(from, end() + wide * 0.1 - wide));
  view.to = view.from + wide;
  if (!stay) following = state.now >= view.from && state.now <= view.to;
  changes("time");
}

/** @param {number} factor @param {number} at */
export function zoom(factor, at) {
  lookAt(at - (at - view.from) * factor, at + (view.to - at) * factor);
}

/** Keeps the present in view: when it comes near the edge, the diagram turns a page. */
function keepUp() {
  if (!following && !state.playing) {
    if (state.now < view.from || state.now > view.to) following = true;
    else return;
  }
  const wide = view.to - view.from;
  if (state.now > view.to - wide * 0.08 || state.now < view.from) lookAt(state.now - wide * 0.25, state.now + wide * 0.75, true);
}

/** @type {Lanes[]} */
let shown = [];

/** The scene of a column, for export. @param {number} side */
export function sceneOf(side) {
  return shown[side].scene();
}

export function startLanes() {
  const panel = byId("lanes");
  const title = el("h2");
  const body = el("div", { class: "panel-body lanes-body" });
  const buttons = /** @type {const} */ ([["zoomOut", "−", () => zoom(1.6, state.now)], ["zoomIn", "+", () => zoom(0.6, state.now)], ["fit", "", () => lookAt(beginning(), end())]])
    .map(([key, sign, press]) => ({ key, sign, button: el("button", { type: "button", onclick: press }, sign) }));
  const note = el("span", { class: "note" });
  panel.append(el("div", { class: "panel-head" }, title, note, el("span", { class: "gap" }), ...buttons.map(({ button }) => button)), body);
  shown = [new Lanes(0, body), new Lanes(1, body)];
  watch(["time", "films", "select", "words", "theme", "lesson"], (changed) => {
    if (changed.has("words") || changed.has("films")) {
      title.textContent = t("lanes");
      for (const { key, sign, button } of buttons) {
        if (sign) button.setAttribute("aria-label", t(key));
        else button.textContent = t(key);
        button.title = t(key);
      }
      shown[1].box.hidden = !state.both;
      const cut = films().map((film) => film.raw.cut).find(Boolean);
      note.textContent = cut ? t("filmCut", { why: cut }) : "";
      note.title = note.textContent;
    }
    keepUp();
    shown.forEach((lanes, side) => (side === 0 || state.both) && lanes.draw());
  });
}
