// Lessons: a list of them, and a panel that tells one step by step.

import { byId, calm, el, marked } from "./dom.js";
import { pick, t } from "./i18n.js";
import * as api from "./api.js";
import { sentenceOf } from "./acts.js";
import { begin, runsOf, show } from "./branches.js";
import { openTab } from "./detail.js";
import { lookAt } from "./lanes.js";
import { openDialog } from "./popup.js";
import { say } from "./toast.js";
import { play } from "./timeline.js";
import { changes, focused, goTo, state, watch } from "./store.js";
import { leaveLive } from "./views.js";

/** @type {import("./types.js").LessonHead[]} */
let heads = [];
/** @type {import("./types.js").Lesson|null} */
let lesson = null;
let at = 0;
/** Which option was chosen at each step. @type {Map<number, number>} */
let chosen = new Map();
/** Counts animations, so that a newer one ends an older one. */
let moving = 0;

/** The lesson that is open, for the address. */
export function openLesson() {
  return lesson?.id ?? null;
}

function finished() {
  try {
    return new Set(/** @type {string[]} */ (JSON.parse(localStorage.getItem("lab-lessons") ?? "[]")));
  } catch {
    return new Set(/** @type {string[]} */ ([]));
  }
}

/** @param {string} id */
function finish(id) {
  try {
    localStorage.setItem("lab-lessons", JSON.stringify([...finished().add(id)]));
  } catch { /* Without storage it is not remembered; nothing else is lost. */ }
}

export async function openLessons() {
  try {
    if (!heads.length) heads = await api.lessons();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return;
  }
  const done = finished();
  const item = (/** @type {import("./types.js").LessonHead} */ head) => el("li", {}, el("button", { type: "button", class: "lesson-pick", disabled: head.playable === false, onclick: () => { close(); void startLesson(head.id); } },
    el("span", { class: "lesson-title" }, pick(head.title)), head.playable === false ? el("span", { class: "muted" }, t("notPlayable")) : done.has(head.id) ? el("span", { class: "lesson-done" }, `✓ ${t("done")}`) : null, el("span", { class: "muted" }, head.rules.join(" "))));
  const section = (/** @type {string} */ title, /** @type {import("./types.js").LessonHead[]} */ some) => (some.length ? [el("h3", {}, title), el("ul", { class: "lesson-list" }, ...some.map(item))] : []);
  const plain = heads.filter((head) => head.kind !== "mission");
  const close = openDialog(t("lessonsTitle"), el("div", { class: "lessons" }, el("p", { class: "muted" }, t("lessonsIntro")),
    ...section(t("raft"), plain.filter((head) => head.engine === "raft")), ...section(t("zab"), plain.filter((head) => head.engine === "zab")),
    ...section(`${t("raft")} · ${t("zab")}`, plain.filter((head) => head.engine === "both")),
    ...section(t("multi"), plain.filter((head) => !["raft", "zab", "both"].includes(head.engine))), ...section(t("missions"), heads.filter((head) => head.kind === "mission"))), "wide");
}

/** @param {string} id @returns {Promise<boolean>} */
export async function startLesson(id) {
  let loaded;
  try {
    if (!heads.length) heads = await api.lessons();
    if (!heads.some((head) => head.id === id)) throw new Error(t("noLesson", { id }));
    loaded = await api.lesson(id);
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return false;
  }
  play(false);
  if (!await begin(runsOf(loaded.run, loaded.both))) return false;
  leaveLive();
  lesson = loaded;
  lookAt(0, 240_000, true);
  chosen = new Map();
  byId("stage").dataset.lesson = id;
  byId("lesson").hidden = false;
  go(0);
  return true;
}

export function leaveLesson() {
  if (!lesson) return;
  lesson = null;
  moving++;
  state.pointed = [];
  point(null);
  delete byId("stage").dataset.lesson;
  byId("lesson").hidden = true;
  changes("lesson", "time");
}

/** Marks the panel that the step speaks of. @param {string|null} look */
function point(look) {
  for (const panel of document.querySelectorAll(".panel.pointed")) panel.classList.remove("pointed");
  if (look === "cluster") ["ring-0", "ring-1"].forEach((id) => byId(id).classList.add("pointed"));
  else if (look === "lanes") byId("lanes").classList.add("pointed");
  else if (look === "logs") ["logs-0", "logs-1"].forEach((id) => byId(id).classList.add("pointed"));
  else if (look === "why" || look === "invariants" || look === "history") {
    openTab(look);
    byId("detail").classList.add("pointed");
  }
}

/** @param {number} step */
function go(step) {
  if (!lesson) return;
  // Whoever tried something in between is brought back to the lesson's own run.
  const [root] = state.branches;
  if (root && state.branch !== root.id) show(root.id);
  at = step;
  const { at: ms, look, look_at } = lesson.steps[at];
  state.pointed = look_at;
  state.follow = true;
  point(look);
  travel(ms * 1000);
  draw();
  byId("lesson").querySelector("h2")?.focus();
  changes("lesson");
}

/** Time runs to the step's moment, so that what happens on the way is seen. @param {number} target */
function travel(target) {
  const mine = ++moving;
  const from = state.now;
  play(false);
  if (calm() || target <= from) {
    goTo(target);
    return;
  }
  // At about the pace of playing, yet never so long that one waits.
  const lasts = Math.min(5000, Math.max(700, ((target - from) / 1000) * 12));
  const began = performance.now();
  const tick = () => {
    if (mine !== moving || state.playing) return;
    const share = Math.min(1, (performance.now() - began) / lasts);
    goTo(from + (target - from) * share);
    if (share < 1) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function draw() {
  const panel = byId("lesson");
  if (!lesson) return;
  const step = lesson.steps[at];
  const last = at === lesson.steps.length - 1;
  const picked = chosen.get(at);
  const { predict } = step;
  const waits = predict !== null && picked === undefined;
  const next = () => {
    if (last && lesson) {
      finish(lesson.id);
      const after = heads[heads.findIndex((head) => head.id === lesson?.id) + 1];
      leaveLesson();
      say(t("done"), false, after ? { text: `${t("nextLesson")}: ${pick(after.title)}`, press: () => void startLesson(after.id) } : undefined);
    } else go(at + 1);
  };
  panel.replaceChildren(
    el("div", { class: "lesson-head" }, el("p", { class: "muted" }, `${t(lesson.kind === "mission" ? "mission" : "lesson")} · ${t("stepCount", { n: at + 1, all: lesson.steps.length })}`),
      el("h2", { tabindex: -1 }, pick(lesson.title)),
      el("progress", { max: lesson.steps.length, value: at + 1, "aria-label": t("stepCount", { n: at + 1, all: lesson.steps.length }) })),
    el("div", { class: "lesson-body", tabindex: 0, role: "region", "aria-live": "polite", "aria-label": t("lesson") },
      ...pick(step.say).split(/\n\s*\n/).map((paragraph) => el("p", {}, ...marked(paragraph))),
      step.act.length ? el("div", { class: "lesson-acts" }, el("h3", {}, t("doneHere")), el("ul", {}, ...step.act.map((line) => el("li", {}, el("span", { title: line }, sentenceOf(line, focused()?.names ?? [])))))) : null,
      predict ? el("fieldset", { class: "predict" }, el("legend", {}, pick(predict.ask)), ...predict.options.map((option, i) => {
        const state_ = picked === undefined ? "" : option.right ? "right" : i === picked ? "wrong" : "rest";
        return el("div", { class: `option ${state_}` }, el("button", { type: "button", disabled: picked !== undefined, onclick: () => { chosen.set(at, i); draw(); } }, pick(option.text)),
          picked !== undefined && (i === picked || option.right) ? el("p", {}, el("strong", {}, option.right ? `✓ ${t("predictRight")} ` : `✕ ${t("predictWrong")} `), pick(option.because)) : null);
      })) : null,
      step.expect.length ? el("details", { class: "expect" }, el("summary", {}, t("tested")), el("ul", {}, ...step.expect.map((line) => el("li", {}, el("code", {}, line))))) : null),
    el("div", { class: "lesson-foot" },
      el("button", { type: "button", disabled: at === 0, onclick: () => go(at - 1) }, t("back")),
      el("button", { type: "button", class: "primary", disabled: waits, onclick: next }, t(last ? "finish" : "next")),
      el("button", { type: "button", class: "quiet", onclick: leaveLesson }, t("leave"))));
}

export function startLessons() {
  watch(["words"], () => draw());
}
