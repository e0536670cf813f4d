// A line of the list of actions, said as a sentence.

import { t, time } from "./i18n.js";

/** @type {Record<string, import("./i18n.js").Key>} */
const SENTENCES = {
  crash: "aCrash", kill: "aKill", snapshot: "aSnapshot", start: "aStart", pause: "aPause", "lose-disk": "aLoseDisk", rot: "aRot", "disk-slow": "aDiskSlow", "disk-hang": "aDiskHang",
  "disk-full": "aDiskFull", "disk-fail": "aDiskFail", jump: "aJump", isolate: "aIsolate", deaf: "aDeaf", mute: "aMute", cut: "aCut", mend: "aMend",
  sever: "aSever", flap: "aFlap", heal: "aHeal", split: "aSplit", "one-way": "aOneWay", bridge: "aBridge", transfer: "aTransfer", "add-learner": "aLearner",
  "add-voter": "aVoter", promote: "aPromote", remove: "aRemove", replace: "aReplace", style: "aStyle", drift: "aDriftBy", lose: "aLoseFrame",
  "crash-all": "aCrashAll", "crash-at": "aCrashAt", "slow-apply": "aSlowApply", stall: "aStall", burst: "aBurst", quiet: "aQuiet",
  hold: "aHoldFrame", twice: "aTwiceFrame",
};

/** @type {import("./i18n.js").Key[]} */
const REQUESTS = ["aPut", "aGet", "aStale", "aDelete", "aCas"];

/** @param {string} line @param {string[]} names the hosts' names */
export function sentenceOf(line, names) {
  const [word, ...rest] = line.trim().split(/\s+/);
  /** @type {Record<string, string>} */
  const fields = Object.fromEntries(rest.map((part) => part.split("=")));
  const key = word === "request" ? REQUESTS[Number(fields.call)] : SENTENCES[word];
  if (!key) return line;
  const host = (/** @type {string|undefined} */ at) => (at === "leader" ? t("theLeader") : names[Number(at)] ?? String(at));
  const first = fields.who ?? fields.from ?? fields.a ?? fields.to ?? fields.host ?? fields.old;
  const second = fields.from !== undefined ? fields.to : fields.b ?? fields.new;
  let [a, b] = [first === undefined ? "" : host(first), second === undefined ? "" : host(second)];
  if (word === "split" || word === "one-way") {
    const inside = names.filter((_, h) => (Number(fields.mask) >> h) & 1);
    [a, b] = [inside.join(" "), names.filter((name) => !inside.includes(name)).join(" ")];
  }
  // Who is down for many minutes does not come back in a run of seconds.
  const stays = (word === "crash" || word === "kill") && Number(fields.down_ms) >= 600_000;
  return t(stays ? (word === "crash" ? "aCrashStays" : "aKillStays") : key, {
    a, b, ms: fields.down_ms ?? fields.ms ?? "", key: fields.key ?? "", value: fields.value ?? "", old: Number(fields.value) - 1, frame: fields.frame ?? "",
    loss: fields.loss ?? "", duplicate: fields.duplicate ?? "", reorder: fields.reorder ?? "", delay: time(Number(fields.delay_us)), ppm: fields.ppm ?? "",
  });
}
