// The page begins here: its parts are started, the address is read, and the first run is asked for.

import * as api from "./api.js";
import { begin, runsOf } from "./branches.js";
import { byId } from "./dom.js";
import { lang, preferred, setLang, t, translate } from "./i18n.js";
import { openTab, startDetail } from "./detail.js";
import { openShare } from "./exporting.js";
import { openHelp, startKeys } from "./keys.js";
import { lookAt, startLanes } from "./lanes.js";
import { leaveLesson, openLesson, openLessons, startLesson, startLessons } from "./lessons.js";
import { startLogs } from "./logs.js";
import { openPalette } from "./palette.js";
import { forgetColours } from "./palette-colours.js";
import { startRings } from "./ring.js";
import { firstRun } from "./run.js";
import { openSetup, switchEngine } from "./setup.js";
import { hashOf, readHash } from "./share.js";
import { beginning, branch, changes, films, selectStep, showGroupOf, state, watch } from "./store.js";
import { startTimeline } from "./timeline.js";
import { say } from "./toast.js";
import { goLive, leaveLive, offerLive } from "./views.js";

/** @type {("auto"|"light"|"dark")[]} */
const THEMES = ["auto", "light", "dark"];
const darkness = matchMedia("(prefers-color-scheme: dark)");
let theme = THEMES[0];
/** The address that the page itself wrote last. */
let written = "";

function applyTheme() {
  const dark = theme === "dark" || (theme === "auto" && darkness.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const name = t(theme === "auto" ? "themeAuto" : theme === "light" ? "themeLight" : "themeDark");
  byId("theme").title = name;
  byId("theme").setAttribute("aria-label", name);
  forgetColours();
  changes("theme");
}

/** @param {string} name @param {string} value */
function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch { /* Then the next visit begins as the system has it. */ }
}

/** @param {"en"|"zh"} language */
function useLanguage(language) {
  setLang(language);
  document.title = `Quorate · ${t("lab")}`;
  translate(document);
  applyTheme();
  changes("words", "films", "time", "select", "branches", "lesson");
}

/** Opens what the address asks for; anything that cannot be read gives a sentence, and the first run. */
async function open() {
  const { hash } = location;
  const asks = new URLSearchParams(hash.slice(1));
  const lesson = asks.get("lesson");
  const live = asks.get("live");
  if (live !== null) return goLive(live);
  if (leaveLive() && branch() && hash === "#runs") return;
  try {
    const asked = lesson === null ? await readHash(hash) : null;
    const language = asked?.language ?? asks.get("l");
    if (language === "en" || language === "zh") useLanguage(language);
    if (lesson !== null && await startLesson(lesson)) return;
    leaveLesson();
    if (asked && await begin(asked.runs, asked.at)) {
      overview();
      if (asked.at === 0) showViolation();
      return;
    }
  } catch (error) {
    say(t("linkBad", { why: error instanceof Error ? error.message : String(error) }), true);
  }
  if (!branch()) {
    const fresh = await begin(runsOf(firstRun(), false));
    overview();
    if (fresh && !hash) say(t("welcome"), false, { text: t("lessons"), press: () => void openLessons() });
  }
}

/** At first the diagram shows what a person can take in: a few heartbeats wide. */
function overview() {
  const from = Math.max(beginning(), state.now - 60_000);
  lookAt(from, from + 260_000, true);
}

/** A run that breaks an invariant opens at the step that broke it. */
function showViolation() {
  films().forEach((film, side) => {
    const first = film.raw.violations[0];
    const step = first && film.steps.find((one) => one.events.includes(first.event));
    if (!step) return;
    showGroupOf(first.text, side);
    selectStep(step, side);
    openTab("invariants");
    lookAt(step.t - 180_000, step.t + 60_000, true);
  });
}

function keepAddress() {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;
  watch(["films", "time", "branches", "words", "lesson", "view"], () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const one = branch();
      if (!one || state.playing || state.live) return;
      const lesson = openLesson();
      const hash = lesson && one.parent === null ? `#lesson=${encodeURIComponent(lesson)}&l=${lang()}` : await hashOf(one.runs, state.now, lang());
      if (state.live) return;
      written = hash;
      if (location.hash !== hash) history.replaceState(null, "", hash);
    }, 300);
  });
  addEventListener("hashchange", () => {
    if (location.hash !== written) void open();
    else leaveLive();
  });
}

function wire() {
  byId("view-runs").addEventListener("click", () => { location.hash = "runs"; });
  byId("view-live").addEventListener("click", () => { location.hash = "live"; });
  byId("skip").addEventListener("click", (event) => {
    if (!state.live) return;
    event.preventDefault();
    byId("live-view").focus();
  });
  byId("open-lessons").addEventListener("click", () => void openLessons());
  byId("open-setup").addEventListener("click", openSetup);
  byId("open-palette").addEventListener("click", openPalette);
  byId("open-share").addEventListener("click", openShare);
  byId("open-help").addEventListener("click", openHelp);
  byId("language").addEventListener("click", () => {
    const language = lang() === "en" ? "zh" : "en";
    keep("lab-language", language);
    useLanguage(language);
  });
  byId("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    keep("lab-theme", theme);
    applyTheme();
  });
  darkness.addEventListener("change", applyTheme);
  for (const button of document.querySelectorAll("[data-engine]")) {
    button.addEventListener("click", () => void switchEngine(String(button.getAttribute("data-engine"))));
  }
  watch(["films"], () => {
    const engine = state.both ? "both" : branch()?.runs[0].engine;
    for (const button of document.querySelectorAll("[data-engine]")) button.setAttribute("aria-pressed", String(button.getAttribute("data-engine") === engine));
    byId("stage").dataset.columns = state.both ? "2" : "1";
    byId("ring-1").hidden = !state.both;
    byId("logs-1").hidden = !state.both;
  });
}

async function start() {
  try {
    const kept = localStorage.getItem("lab-theme");
    theme = THEMES.find((one) => one === kept) ?? "auto";
  } catch { /* The system's theme it is. */ }
  applyTheme();
  // The frame of the page is seen before its parts are made.
  await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
  wire();
  startDetail();
  startRings();
  startLanes();
  startLogs();
  startTimeline();
  startLessons();
  startKeys();
  useLanguage(preferred());
  keepAddress();
  void api.words().then((words) => {
    state.words = words;
    changes("words", "select");
  }).catch((error) => say(String(error.message ?? error), true));
  void offerLive();
  await open();
}

void start();
