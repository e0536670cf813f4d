// What the space-time diagram shows, told to a painter: the canvas of the page, or the SVG that is exported.

import { kindOf } from "./kinds.js";
import { countUntil } from "./track.js";

/** @typedef {{from: number, to: number}} View */
/** @typedef {{width: number, height: number}} Size */
/**
 * @typedef {{rect: (x: number, y: number, w: number, h: number, colour: string, look?: "plain"|"striped"|"outline") => void,
 *   lines: (points: number[], colour: string, width: number, dash?: number[]) => void,
 *   dots: (points: number[], colour: string, r: number) => void,
 *   text: (x: number, y: number, text: string, colour: string, size: number, bold?: boolean, halo?: string) => void}} Painter
 */
/** @typedef {{film: import("./film.js").Film, group: number, view: View, size: Size, colour: (name: string) => string, roleWord: (role: string, pre: boolean) => string, epochWord: string, axis: boolean, time: (t: number) => string}} Scene */

export const GUTTER = 44;
export const AXIS = 24;

/** @param {View} view @param {Size} size */
export function scaleOf(view, size) {
  const wide = Math.max(1, size.width - GUTTER - 8);
  const per = wide / Math.max(1, view.to - view.from);
  return { x: (/** @type {number} */ t) => GUTTER + (t - view.from) * per, t: (/** @type {number} */ x) => view.from + (x - GUTTER) / per, per };
}

/** @param {number} h @param {number} hosts @param {Size} size */
export function laneOf(h, hosts, size) {
  return AXIS + ((size.height - AXIS - 4) * (h + 0.5)) / hosts;
}

/** @param {Scene} scene @param {Painter} painter */
export function paintScene(scene, painter) {
  paintAxis(scene, painter);
  /** @type {{x: number, y: number, text: string}[]} */
  const labels = [];
  for (let h = 0; h < scene.film.hosts; h++) paintBand(scene, painter, h, labels);
  paintMessages(scene, painter);
  paintMarks(scene, painter);
  // What began before the view reaches into the margin: the names stand above it.
  painter.rect(0, AXIS, GUTTER - 1, scene.size.height - AXIS, scene.colour("--surface"));
  for (let h = 0; h < scene.film.hosts; h++) painter.text(10, laneOf(h, scene.film.hosts, scene.size) + 4, scene.film.names[h], scene.colour("--ink"), 13, true);
  // Labels come last, so that no line crosses them.
  for (const { x, y, text } of labels) painter.text(x, y, text, scene.colour("--muted"), 10.5, false, scene.colour("--surface"));
}

/** A step of the axis: 1, 2 or 5 times a power of ten. @param {number} rough */
function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/** @param {Scene} scene @param {Painter} painter */
function paintAxis({ view, size, colour, time }, painter) {
  const { x, per } = scaleOf(view, size);
  const step = roundStep(110 / per);
  const ticks = [];
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const at = x(t);
    ticks.push(at, AXIS - 4, at, size.height - 2);
    if (at < size.width - 50) painter.text(at + 4, 12, time(t), colour("--muted"), 11);
  }
  painter.lines(ticks, colour("--line"), 1);
}

/** @param {Scene} scene @param {Painter} painter @param {number} h @param {{x: number, y: number, text: string}[]} labels */
function paintBand(scene, painter, h, labels) {
  const { film, group, view, size, colour, roleWord } = scene;
  const { x } = scaleOf(view, size);
  const y = laneOf(h, film.hosts, size);
  const track = film.states[h].get(group);
  const life = film.life[h];
  // Pieces of the lane: from one change of life or role to the next.
  const first = Math.max(0, track ? track.indexAt(view.from) : 0);
  let labelledUntil = -Infinity;
  let run = null;
  if (track) {
    for (let i = first; i < track.times.length && track.times[i] <= view.to; i++) {
      const { role, epoch, pre } = track.values[i];
      if (run && run.role === role && run.epoch === epoch && run.pre === pre) continue;
      if (run) piece(run, track.times[i]);
      run = { role, epoch, pre, from: track.times[i] };
    }
    if (run) piece(run, Math.min(view.to, film.end));
  }
  const lifeFirst = Math.max(0, life.indexAt(view.from));
  for (let i = lifeFirst; i < life.times.length && life.times[i] <= view.to; i++) {
    const { is } = life.values[i];
    if (is === "up") continue;
    const from = Math.max(GUTTER, x(life.times[i]));
    const to = Math.min(size.width, x(life.times[i + 1] ?? film.end));
    if (to <= from) continue;
    // What was drawn of the state does not count while nobody runs.
    painter.rect(from, y - 7, to - from, 14, colour("--surface"));
    if (is === "paused") painter.rect(from, y - 5, to - from, 10, colour("--muted"), "striped");
    else painter.lines([from, y, to, y], colour(is === "down" ? "--bad" : "--muted"), 1.5, [2, 4]);
  }

  /** @param {{role: string, epoch: number, pre: boolean, from: number}} run @param {number} until */
  function piece(run, until) {
    const from = Math.max(GUTTER, x(run.from));
    const to = Math.min(size.width, x(until));
    if (to - from < 0.3) return;
    const tint = colour(run.epoch <= 0 ? "--e0" : `--e${((run.epoch - 1) % 8) + 1}`);
    const thick = run.role === "leader" ? 10 : run.role === "candidate" ? 8 : 4;
    painter.rect(from, y - thick / 2, to - from, thick, tint, run.role === "candidate" ? "striped" : run.role === "learner" ? "outline" : "plain");
    if (to - from > 74 && from > labelledUntil && (run.role !== "follower" || to - from > 150) && size.height / film.hosts > 26) {
      const label = `${roleWord(run.role, run.pre)} · ${run.epoch}`;
      labels.push({ x: from + 2, y: y - 9, text: label });
      labelledUntil = from + 70;
    }
  }
}

/** @param {Scene} scene @param {Painter} painter */
function paintMessages({ film, group, view, size, colour }, painter) {
  const { x, per } = scaleOf(view, size);
  const lanes = Array.from({ length: film.hosts }, (_, h) => laneOf(h, film.hosts, size));
  /** @type {Record<string, number[]>} */
  const byKind = {};
  /** @type {number[]} */
  const crosses = [];
  // Lines that would fall on the same pixels as the one before are left out; when very many are in view, near ones too.
  const many = countUntil(film.times, view.to) - countUntil(film.times, view.from);
  const grain = many > 40_000 ? 4 : many > 10_000 ? 2 : 1;
  const last = new Float64Array(film.hosts * film.hosts).fill(-1e9);
  film.underway(view.from, view.to, (message) => {
    if ((group !== 0 && message.g !== group && message.g !== 0) || message.h === message.to) return;
    const x1 = x(message.t);
    const pair = message.h * film.hosts + message.to;
    const lost = message.fate !== null || !message.at.length;
    if (!lost && x1 - last[pair] < grain) return;
    last[pair] = x1;
    const points = (byKind[kindOf(message.name)] ??= []);
    const y1 = lanes[message.h];
    const y2 = lanes[message.to];
    if (lost) {
      const x2 = x(message.t + (message.last - message.t) * 0.55);
      const yh = y1 + (y2 - y1) * 0.55;
      points.push(x1, y1, x2, yh);
      crosses.push(x2 - 3, yh - 3, x2 + 3, yh + 3, x2 + 3, yh - 3, x2 - 3, yh + 3);
    } else for (const at of message.at) points.push(x1, y1, x(at), y2);
  });
  const width = many > 4000 ? 0.6 : many > 800 ? 0.9 : 1.4;
  for (const [kind, points] of Object.entries(byKind)) painter.lines(points, colour(`--k-${kind}`), width);
  painter.lines(crosses, colour("--bad"), 1.6);
  if (per > 0.006 && many < 400) {
    // Arrow heads, once there is room for them.
    for (const [kind, points] of Object.entries(byKind)) {
      const heads = [];
      for (let i = 0; i < points.length; i += 4) {
        const [x1, y1, x2, y2] = points.slice(i, i + 4);
        const length = Math.hypot(x2 - x1, y2 - y1);
        if (length < 14) continue;
        const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
        const [bx, by] = [x2 - ux * 9, y2 - uy * 9];
        const [tx, ty] = [x2 - ux * 3, y2 - uy * 3];
        heads.push(bx - uy * 3.2, by + ux * 3.2, tx, ty, bx + uy * 3.2, by - ux * 3.2, tx, ty);
      }
      painter.lines(heads, colour(`--k-${kind}`), 1.2);
    }
  }
}

/** @param {Scene} scene @param {Painter} painter */
function paintMarks({ film, group, view, size, colour }, painter) {
  const { x } = scaleOf(view, size);
  const from = countUntil(film.stepTimes, view.from - 1);
  const to = countUntil(film.stepTimes, view.to);
  const last = new Float64Array(film.hosts + 1).fill(-1e9);
  const few = to - from < 1600;
  /** @type {number[]} */
  const dots = [];
  for (let i = from; i < to; i++) {
    const step = film.steps[i];
    if (step.weight < 2 && !few) continue;
    const at = x(step.t);
    for (const index of step.events) {
      const event = film.events[index];
      const y = step.h >= 0 ? laneOf(step.h, film.hosts, size) : 0;
      if (event.k === "down") {
        painter.lines([at - 6, y - 6, at + 6, y + 6, at + 6, y - 6, at - 6, y + 6], colour("--bad"), 2.4);
      } else if (event.k === "start" && at > GUTTER) {
        painter.lines([at, y + 7, at, y - 7, at, y - 7, at + 6, y - 3.5, at + 6, y - 3.5, at, y], colour("--good"), 1.8);
      } else if (event.k === "act" || event.k === "link") {
        if (at - last[film.hosts] < 3) continue;
        last[film.hosts] = at;
        painter.lines([at, AXIS - 6, at, size.height - 2], colour("--warn"), 1, [3, 3]);
        painter.lines([at - 4, AXIS - 8, at, AXIS - 2, at + 4, AXIS - 8, at, AXIS - 2], colour("--warn"), 1.6);
      } else if (event.k === "broken") {
        painter.lines([at, AXIS - 6, at, size.height - 2], colour("--bad"), 2);
        painter.rect(at - 5, y - 5, 10, 10, colour("--bad"));
      } else if (few && event.k === "why" && (group === 0 || event.g === group) && at - last[step.h] > 2) {
        last[step.h] = at;
        dots.push(at, y);
      }
    }
  }
  painter.dots(dots, colour("--ink"), 2);
}
