// The live view: the cluster that this Lab watches, asked once a second for as long as somebody looks. It only reads.

import { attr, byId, el, text } from "./dom.js";
import { translate } from "./i18n.js";
import { state, watch } from "./store.js";
import { say } from "./toast.js";
import { Refused, ask, signIn, signOut, userName } from "./live-api.js";
import { ClusterPage } from "./live-cluster.js";
import { KeysPage } from "./live-keys.js";
import { LeasesPage } from "./live-leases.js";
import { ZnodesPage } from "./live-znodes.js";
import { clock, w } from "./live-words.js";

const EVERY_MS = 1000;
const TABS = /** @type {const} */ (["cluster", "keys", "leases", "znodes"]);
const TAB_KEYS = { cluster: "cluster", keys: "liveKeys", leases: "liveLeases", znodes: "liveZnodes" };

/** @typedef {typeof TABS[number]} Tab */

const cluster = new ClusterPage();
const keys = new KeysPage({ lease: (id) => openLease(id), failed });
const leases = new LeasesPage({ key: (key) => { openTab("keys"); void keys.choose(key, true); }, failed });
const znodes = new ZnodesPage({ offered: offerZnodes, failed });
const pages = { cluster, keys, leases, znodes };
/** @type {Map<Tab, HTMLElement>} */
const tabs = new Map();
const summary = el("p", { class: "live-summary" });
const user = el("span", { class: "live-user" });
const form = signInForm();
/** @type {Tab} */
let chosen = "cluster";
let error = "";
let heard = 0;
/** @type {ReturnType<typeof setTimeout>|undefined} */
let timer;
let asking = false;
let built = false;

/** What a part of the view could not get: in words; and if a user would help, the form asks for one. @param {unknown} why */
function failed(why) {
  if (why instanceof Refused && why.needsUser) form.ask("");
  return why instanceof Error ? why.message : String(why);
}

function signInForm() {
  const name = /** @type {HTMLInputElement} */ (el("input", { type: "text", id: "live-name", autocomplete: "off", spellcheck: "false", required: true }));
  const password = /** @type {HTMLInputElement} */ (el("input", { type: "password", id: "live-password", autocomplete: "off" }));
  const bad = el("p", { class: "fault", role: "alert", hidden: true });
  const box = el("form", { class: "live-sign-in", "aria-labelledby": "live-user-title", hidden: true },
    el("h2", { id: "live-user-title", "data-t": "liveUser" }), el("p", { class: "muted", "data-t": "liveUserWhy" }),
    el("div", { class: "row" }, el("label", {}, el("span", { "data-t": "liveName" }), name), el("label", {}, el("span", { "data-t": "livePassword" }), password),
      el("button", { type: "submit", class: "primary", "data-t": "liveSignIn" }), bad));
  const tell = (/** @type {string} */ sentence) => {
    text(bad, sentence && `✕ ${sentence}`);
    bad.hidden = !sentence;
  };
  box.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await signIn(name.value, password.value);
      box.hidden = true;
      tell("");
      keys.forget();
      leases.forget();
      byId("live-sign-out-place").querySelector("button")?.focus();
      draw();
      void ask_();
      refresh();
    } catch (why) {
      tell(why instanceof Error ? why.message : String(why));
      password.focus();
    }
    password.value = "";
  });
  return { box, ask: (/** @type {string} */ sentence) => { box.hidden = false; if (sentence) tell(sentence); } };
}

function build() {
  built = true;
  const list = el("div", { class: "tabs", role: "tablist", "data-label": "liveViews", onkeydown: rove });
  for (const tab of TABS) {
    const button = el("button", { type: "button", role: "tab", id: `live-tab-${tab}`, "aria-controls": `live-page-${tab}`, "data-t": TAB_KEYS[tab], onclick: () => openTab(tab) });
    tabs.set(tab, button);
    // Shown when a server has said that there is a tree.
    button.hidden = tab === "znodes";
    list.append(button);
    const { page } = pages[tab];
    page.id = `live-page-${tab}`;
    page.classList.add("live-page");
    page.setAttribute("role", "tabpanel");
    page.setAttribute("aria-labelledby", button.id);
  }
  user.id = "live-sign-out-place";
  byId("live-view").append(
    el("div", { class: "live-head" }, list, summary, el("p", { class: "live-read-only muted", "data-t": "liveReadOnly" }), user),
    form.box, ...TABS.map((tab) => pages[tab].page));
  words();
  watch(["words", "view"], () => { words(); if (!state.live) pause(); });
  document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); else if (state.live) void ask_(); });
}

/** @param {KeyboardEvent} event */
function rove(event) {
  const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
  if (!step) return;
  event.preventDefault();
  const shown = TABS.filter((tab) => !tabs.get(tab)?.hidden);
  openTab(shown[(shown.indexOf(chosen) + step + shown.length) % shown.length]);
  tabs.get(chosen)?.focus();
}

/** A cluster without ZooKeeper's tree has no tab for it. @param {boolean} has */
function offerZnodes(has) {
  const button = tabs.get("znodes");
  if (button) button.hidden = !has;
  if (!has && chosen === "znodes") openTab("cluster");
}

/** @param {string} id */
function openLease(id) {
  leases.chosen = id;
  openTab("leases");
  tabs.get("leases")?.focus();
}

/** @param {Tab} tab */
function openTab(tab) {
  chosen = tab;
  for (const [other, button] of tabs) {
    attr(button, "aria-selected", String(other === tab));
    attr(button, "tabindex", other === tab ? 0 : -1);
    pages[other].page.hidden = other !== tab;
  }
  const hash = tab === "cluster" ? "#live" : `#live=${tab}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
  refresh();
}

/** Asks anew for what the open tab shows. */
function refresh() {
  if (chosen === "keys") void keys.load();
  else if (chosen === "leases") void leases.load();
  else if (chosen === "znodes") void znodes.load();
}

/** Shows the view. @param {string} tab */
export async function show(tab) {
  await styles();
  if (!built) build();
  openTab(TABS.find((one) => one === tab) ?? "cluster");
  void znodes.stand();
  await ask_();
}

/** The view's own style sheet, once. */
async function styles() {
  if (document.getElementById("live-styles")) return;
  const link = el("link", { id: "live-styles", rel: "stylesheet", href: "/assets/live.css" });
  const ready = new Promise((resolve) => { link.addEventListener("load", resolve); link.addEventListener("error", resolve); });
  document.head.append(link);
  await ready;
}

/** Signs out, and forgets what only the user may see. */
function leave() {
  signOut();
  keys.forget();
  leases.forget();
  draw();
  tabs.get(chosen)?.focus();
  void ask_();
  refresh();
}

function pause() {
  clearTimeout(timer);
}

/** Asks the cluster how it stands, and again a second later. */
async function ask_() {
  clearTimeout(timer);
  if (asking || !state.live || document.hidden) return;
  asking = true;
  const began = performance.now();
  try {
    const answer = /** @type {import("./live-api.js").Cluster} */ (await ask(""));
    if (error) cluster.tell([{ key: "evAgain", values: {}, look: "good" }]);
    error = "";
    heard = Date.now();
    cluster.take(answer);
    if (userName() === null && answer.members.some((member) => member.role === "refused")) form.ask("");
    if (chosen === "keys" && answer.revision !== null) keys.take(answer.revision);
  } catch (why) {
    lost(why);
  }
  asking = false;
  if (!state.live) return;
  if (chosen === "leases") leases.tick();
  else if (chosen === "znodes") znodes.tick();
  draw();
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask_, Math.max(150, EVERY_MS - (performance.now() - began)));
}

/** @param {unknown} why */
function lost(why) {
  const sentence = why instanceof Error ? why.message : String(why);
  if (why instanceof Refused && why.status === 404) {
    byId("views").hidden = true;
    location.hash = "runs";
    say(sentence, true);
    return;
  }
  if (why instanceof Refused && why.needsUser) {
    signOut();
    form.ask(sentence);
  }
  if (!error) cluster.tell([{ key: "evSilent", values: { why: sentence }, look: "bad" }]);
  error = sentence;
}

function words() {
  attr(byId("skip"), "data-t", state.live ? "liveSkip" : "skip");
  translate(document.body);
  attr(byId("live-view"), "aria-label", w("liveViews"));
  for (const tab of TABS) pages[tab].draw(true);
  draw();
}

/** The line that says how all stands, and who asks. */
function draw() {
  const now = cluster.now;
  const members = now?.members.filter((member) => member.role !== "unseen") ?? [];
  const up = members.filter((member) => member.role !== "down").length;
  const refused = members.filter((member) => member.role === "refused").length;
  const leader = now?.members.find((member) => member.id === now.leader && now.leader !== null);
  const stands = !now ? w("liveAsking") : up === 0 ? w("liveAllDown") : refused === up ? w("liveRefusedAll") : [
    leader ? w(leader.role === "down" ? "liveLeadsSilent" : "liveLeads", { name: leader.name, term: now.term ?? 0 }) : w("liveNobody"),
    w("liveAnswer", { n: up, all: members.length }),
    ...(now.revision === null ? [] : [w("liveRevision", { n: now.revision })]),
  ].join(" · ");
  const bad = error !== "" || (now !== null && (up < members.length || !leader || leader.role === "down" || now.alarms.length > 0));
  text(summary, error ? `✕ ${error}${heard ? ` · ${w("liveStale", { time: clock(heard) })}` : ""}` : `${bad ? "✕ " : now ? "✓ " : ""}${stands}`);
  attr(summary, "class", bad ? "live-summary bad" : now ? "live-summary good" : "live-summary");
  attr(byId("live-view"), "data-stale", error ? "" : null);
  const name = userName();
  const drawn = name === null ? "" : `${name} ${w("liveSignOut")}`;
  if (user.dataset.drawn === drawn) return;
  user.dataset.drawn = drawn;
  user.replaceChildren(...(name === null ? [] : [w("liveAs", { name }), " ", el("button", { type: "button", onclick: leave }, w("liveSignOut"))]));
}
