// The timeline: play, step, scrub, jump.

import { attr, byId, calm, el, text } from "./dom.js";
import { lang, t, time } from "./i18n.js";
import { extend, show } from "./branches.js";
import { palette } from "./palette-colours.js";
import { branchName } from "./branches-view.js";
import { say, whisper } from "./toast.js";
import { headline } from "./telling.js";
import { countUntil } from "./track.js";
import { beginning, changes, end, films, focused, focusedGroup, goTo, selectStep, showGroupOf, state, watch } from "./store.js";
import { interesting } from "./why.js";

const SPEEDS = [1000, 500, 200, 100, 50, 20, 10, 5, 2, 1];
const MORE = 2000;
/** With little motion asked for, playing goes from step to step at this pace, in ms. */
const PACE = 900;

let lastFrame = 0;
let lastStep = 0;

/** @param {boolean} on */
export function play(on) {
  if (on && state.now >= end()) goTo(beginning());
  state.playing = on;
  state.follow = true;
  lastFrame = 0;
  changes("time");
  if (on) requestAnimationFrame(frame);
}

/** @param {number} at */
function frame(at) {
  if (!state.playing) return;
  if (calm()) {
    if (at - lastStep > PACE) {
      lastStep = at;
      step(1, false);
    }
  } else if (lastFrame) {
    // After a pause of the page itself time goes on where it stood.
    goTo(state.now + (Math.min(100, at - lastFrame) * 1000) / state.slow);
  }
  lastFrame = at;
  if (state.now >= end()) play(false);
  else requestAnimationFrame(frame);
}

/**
 * To the next or previous step; of both columns the nearer one.
 * @param {1|-1} direction @param {boolean} every whether what is not interesting counts, too
 */
export function step(direction, every) {
  /** @type {{one: import("./types.js").Step, side: number}|null} */
  let best = null;
  films().forEach((film, side) => {
    const selected = state.selected.side === side ? state.selected.step : null;
    let i = film.stepsUntil(state.now);
    // From a step that is selected at this very moment it goes on among those of the same time.
    if (selected && selected.t === state.now) i = film.steps.indexOf(selected, Math.max(0, i - 64)) + (direction > 0 ? 1 : 0);
    else if (direction < 0) i = countUntil(film.stepTimes, state.now - 0.5);
    for (i = direction > 0 ? i : i - 1; i >= 0 && i < film.steps.length; i += direction) {
      const one = film.steps[i];
      if (!every && !interesting(film, one)) continue;
      if (!best || (direction > 0 ? one.t < best.one.t : one.t > best.one.t)) best = { one, side };
      break;
    }
  });
  if (best) {
    const { one, side } = /** @type {{one: import("./types.js").Step, side: number}} */ (best);
    selectStep(one, side);
    const film = films()[side];
    whisper(t("narrate", { time: time(one.t), text: `${one.h >= 0 ? film.names[one.h] : ""} ${headline(film, one, focusedGroup())}` }));
  } else goTo(direction > 0 ? end() : beginning());
}

/** @param {"election"|"commit"|"fault"|"violation"} what */
export function jump(what) {
  let best = Infinity;
  let side = 0;
  films().forEach((film, i) => {
    const times = what === "election" || what === "commit" ? film.turns.get(`${what} ${state.group[i]}`) ?? [] : film.marks[what];
    const next = times[countUntil(times, state.now)] ?? Infinity;
    if (next < best) [best, side] = [next, i];
  });
  if (best === Infinity) {
    say(t("noMore", { what: t(what) }));
    return;
  }
  state.follow = true;
  goTo(best);
  const film = films()[side];
  if (film) {
    // The step in which it happened, not the last one of that moment.
    const kinds = { election: "state", commit: "state", fault: "", violation: "broken" };
    for (let i = countUntil(film.stepTimes, best - 0.5); i < film.steps.length && film.steps[i].t === best; i++) {
      const group = state.group[side];
      if (film.steps[i].events.some((index) => (film.events[index].k === kinds[what] && (what === "violation" || film.events[index].g === group)) || (what === "fault" && ["down", "act", "link", "paused"].includes(film.events[index].k)))) {
        const broken = what === "violation" && film.steps[i].events.find((index) => film.events[index].k === "broken");
        if (broken) showGroupOf(film.events[broken].text, side);
        selectStep(film.steps[i], side);
        break;
      }
    }
  }
}

/** @param {1|-1} direction faster or slower */
export function speed(direction) {
  const at = SPEEDS.indexOf(state.slow) + direction;
  if (at >= 0 && at < SPEEDS.length) state.slow = SPEEDS[at];
  changes("time", "words");
}

function drawMarks() {
  const canvas = /** @type {HTMLCanvasElement} */ (byId("marks"));
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(devicePixelRatio, devicePixelRatio);
  const x = (/** @type {number} */ t_) => 8 + ((width - 16) * (t_ - beginning())) / Math.max(1, end() - beginning());
  const film = focused();
  if (!film) return;
  const group = focusedGroup();
  // Who leads, in the colour of the epoch, above the slider.
  for (let h = 0; h < film.hosts; h++) {
    const track = film.states[h].get(group);
    track?.values.forEach((one, i) => {
      if (one.role !== "leader") return;
      context.fillStyle = palette(`--e${one.epoch <= 0 ? 0 : ((one.epoch - 1) % 8) + 1}`);
      const until = track.times[i + 1] ?? film.end;
      context.fillRect(x(one.t), 5, Math.max(1, x(until) - x(one.t)), 3);
    });
  }
  /** @param {number[]} times @param {string} colour @param {number} top @param {number} wide */
  const ticks = (times, colour, top, wide) => {
    context.fillStyle = palette(colour);
    for (const at of times) context.fillRect(x(at) - wide / 2, top, wide, 9 - top);
  };
  ticks(film.marks.fault, "--warn", 0, 1.5);
  ticks(film.marks.violation, "--bad", 0, 3);
}

export function startTimeline() {
  const scrub = /** @type {HTMLInputElement} */ (byId("scrub"));
  const speeds = /** @type {HTMLSelectElement} */ (byId("speed"));
  const branches = /** @type {HTMLSelectElement} */ (byId("branch"));
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("rewind").addEventListener("click", () => { play(false); state.follow = true; goTo(beginning()); });
  byId("back").addEventListener("click", (event) => { play(false); step(-1, event.shiftKey); });
  byId("forward").addEventListener("click", (event) => { play(false); step(1, event.shiftKey); });
  scrub.addEventListener("input", () => { state.follow = true; goTo(Number(scrub.value)); });
  speeds.addEventListener("change", () => { state.slow = Number(speeds.value); });
  branches.addEventListener("change", () => show(Number(branches.value)));
  for (const button of document.querySelectorAll("[data-jump]")) {
    button.addEventListener("click", () => jump(/** @type {"election"|"commit"|"fault"|"violation"} */ (button.getAttribute("data-jump"))));
  }
  const more = /** @type {HTMLButtonElement} */ (el("button", { type: "button", onclick: () => void extend(MORE).then(() => play(true)) }));
  byId("extend-place").append(more);
  let language = "";
  const shape = byId("play-shape");
  watch(["time", "films", "words", "branches", "theme"], (changed) => {
    if (language !== lang() || changed.has("films") || changed.has("branches") || changed.has("words")) {
      language = lang();
      speeds.replaceChildren(...SPEEDS.map((slow) => el("option", { value: slow, selected: slow === state.slow }, slow === 1 ? t("speedReal") : t("speedOf", { n: slow }))));
      branches.replaceChildren(...state.branches.map((one) => el("option", { value: one.id, selected: one.id === state.branch }, branchName(one))));
      text(more, t("extend"));
      attr(more, "title", t("extendTitle", { n: MORE }));
      attr(scrub, "min", Math.floor(beginning()));
      attr(scrub, "max", Math.max(1, Math.ceil(end())));
    }
    if (changed.has("films") || changed.has("theme")) drawMarks();
    more.hidden = !(state.now >= end() && films().length > 0 && films().every((film) => film.run.kind === "scene" && !film.raw.violations.length));
    if (Number(scrub.value) !== Math.round(state.now)) scrub.value = String(Math.round(state.now));
    attr(scrub, "aria-valuetext", t("atTime", { time: time(state.now), end: time(end()) }));
    text(byId("clock"), `${time(state.now)} / ${time(end())}`);
    text(byId("play-text"), t(state.playing ? "pause" : "play"));
    attr(shape, "d", state.playing ? "M5.5 4.5v11M14.5 4.5v11" : "M6 4v12l10-6z");
    attr(shape, "stroke-width", state.playing ? 4 : 1.6);
  });
  new ResizeObserver(drawMarks).observe(byId("marks"));
}
