// The two views of the page: runs, and the cluster that runs now. The second is fetched when it is first opened, if this Lab watches a cluster at all.

import { byId } from "./dom.js";
import { t } from "./i18n.js";
import { changes, state } from "./store.js";
import { play } from "./timeline.js";
import { say } from "./toast.js";

const RUNS_ONLY = ["stage", "timeline", "engines", "open-setup", "open-palette", "open-share"];

/** @param {boolean} live */
function turn(live) {
  state.live = live;
  for (const id of RUNS_ONLY) byId(id).hidden = live;
  byId("live-view").hidden = !live;
  byId("view-runs").setAttribute("aria-pressed", String(!live));
  byId("view-live").setAttribute("aria-pressed", String(live));
}

/** @param {string} tab */
export async function goLive(tab) {
  play(false);
  turn(true);
  byId("views").hidden = false;
  try {
    const view = await import("./live.js");
    if (state.live) await view.show(tab);
  } catch (error) {
    say(t("serverBad", { why: error instanceof Error ? error.message : String(error) }), true);
  }
}

/** Back to the runs; false if they are shown already. */
export function leaveLive() {
  if (!state.live) return false;
  turn(false);
  changes("view", "time");
  return true;
}

/** Offers the live view if there is a cluster to look at. */
export async function offerLive() {
  try {
    const about = await (await fetch("/api/about")).json();
    byId("views").hidden = !about.live;
  } catch { /* A server that does not answer has no cluster to show. */ }
}
