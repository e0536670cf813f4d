// A new run: how many nodes, which clocks, which seed.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { begin, runsOf } from "./branches.js";
import { leaveLesson } from "./lessons.js";
import { openDialog } from "./popup.js";
import { actionsOf, firstRun } from "./run.js";
import { branch, state } from "./store.js";

/** @typedef {{key: import("./i18n.js").Key, name: keyof import("./types.js").Run, min: number, max: number, per?: number, step?: number}} Field */

/** @type {Field[]} */
const FIELDS = [
  { key: "nodes", name: "nodes", min: 1, max: 9 },
  { key: "spares", name: "spares", min: 0, max: 3 },
  { key: "clients", name: "clients", min: 0, max: 8 },
  { key: "rest", name: "rest_ms", min: 1, max: 10_000 },
  { key: "electionMs", name: "election_ms", min: 10, max: 10_000 },
  { key: "heartbeatMs", name: "heartbeat_ms", min: 1, max: 5000 },
  { key: "delayMs", name: "delay_us", min: 0.05, max: 1000, per: 1000, step: 0.05 },
  { key: "until", name: "until_ms", min: 100, max: 60_000, step: 100 },
  { key: "snapshotBytes", name: "snapshot_bytes", min: 100, max: 100_000_000 },
];

export function openSetup() {
  const shown = branch()?.runs[0];
  const base = shown?.kind === "scene" ? shown : firstRun();
  let engine = state.both ? "both" : base.engine;
  let kind = shown?.kind ?? "scene";
  const inputs = new Map(FIELDS.map(({ name, min, max, per = 1, step = 1 }) => [name, /** @type {HTMLInputElement} */ (el("input", { type: "number", id: `set-${name}`, min, max, step, required: true, value: Number(base[name] ?? min) / per }))]));
  const seed = /** @type {HTMLInputElement} */ (el("input", { type: "text", inputmode: "numeric", pattern: "[0-9]{1,20}", required: true, id: "set-seed", value: shown?.seed ?? base.seed }));
  const plant = /** @type {HTMLInputElement} */ (el("input", { type: "text", id: "set-plant", placeholder: t("plantHint"), value: shown?.plant ?? "" }));
  const scene = el("div", { class: "fields" }, ...FIELDS.map(({ key, name }) => el("label", { for: `set-${name}` }, el("span", {}, t(key)), /** @type {HTMLInputElement} */ (inputs.get(name)))));
  const choice = (/** @type {string} */ label, /** @type {[string, string][]} */ options, /** @type {string} */ chosen, /** @type {(value: string) => void} */ set) => {
    const buttons = options.map(([value, text]) => el("button", { type: "button", "aria-pressed": String(value === chosen), onclick: () => {
      set(value);
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(options[i][0] === value)));
    } }, text));
    return el("div", { class: "segments", role: "group", "aria-label": label }, ...buttons);
  };
  const flag = (/** @type {import("./i18n.js").Key} */ key, /** @type {boolean} */ on) => {
    const box = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", checked: on }));
    return { box, label: el("label", { class: "check" }, box, t(key)) };
  };
  const preVote = flag("preVote", base.pre_vote ?? true);
  const lease = flag("leaseReads", base.lease ?? false);
  scene.append(preVote.label, lease.label);
  const showKind = () => { scene.hidden = kind === "seed"; };
  const form = el("form", { class: "setup", novalidate: false, onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); void submit(); } },
    el("div", { class: "row" }, choice(t("engine"), [["raft", t("raft")], ["zab", t("zab")], ["both", t("both")]], engine, (value) => { engine = value; }),
      choice(t("kind"), [["scene", t("setupScene")], ["seed", t("setupSeed")]], kind, (value) => { kind = value === "seed" ? "seed" : "scene"; showKind(); })),
    el("div", { class: "fields" }, el("label", { for: "set-seed" }, el("span", {}, t("seed")), el("span", { class: "with" }, seed, el("button", { type: "button", onclick: () => { seed.value = String(Math.floor(Math.random() * 1e6)); } }, t("randomSeed")))),
      el("label", { for: "set-plant" }, el("span", {}, t("plant")), plant)),
    scene, el("div", { class: "row end" }, el("button", { type: "button", onclick: () => close() }, t("cancel")), el("button", { type: "submit", class: "primary" }, t("begin"))));
  showKind();
  const close = openDialog(t("setup"), form, "wide");

  async function submit() {
    /** @type {import("./types.js").Run} */
    const run = kind === "seed" ? { version: 1, kind: "seed", engine: "raft", seed: seed.value.trim(), plant: plant.value.trim(), actions: null }
      : { ...firstRun(), seed: seed.value.trim(), plant: plant.value.trim(), pre_vote: preVote.box.checked, lease: lease.box.checked };
    run.engine = engine === "both" ? "raft" : engine;
    if (run.kind === "scene") for (const { name, per = 1 } of FIELDS) Object.assign(run, { [name]: Math.round(Number(inputs.get(name)?.value) * per) });
    close();
    leaveLesson();
    if (!await begin(runsOf(run, engine === "both"))) openSetup();
  }
}

/** The same run on another engine, with the actions that mean the same there. @param {string} engine raft, zab or both */
export async function switchEngine(engine) {
  const shown = branch()?.runs[0] ?? firstRun();
  const kept = actionsOf(shown).filter(({ text }) => !/\bframe=/.test(text));
  const actions = shown.actions === null ? null : `quorate-sim actions 1\n${kept.map(({ t: at, text }) => `${Math.round(at * 1000)} ${text}\n`).join("")}`;
  const run = { ...shown, actions, engine: engine === "both" ? "raft" : engine };
  leaveLesson();
  await begin(runsOf(run, engine === "both"), state.now);
}
