// The kinds of messages: each has a colour and a letter, and answers are hollow.

/** @typedef {"data"|"ack"|"vote"|"beat"|"snap"|"read"|"commit"|"other"} Kind */

/** @type {Kind[]} */
export const KINDS = ["data", "ack", "commit", "vote", "beat", "snap", "read", "other"];

/** @type {Record<Kind, string>} */
export const LETTER = { data: "E", ack: "A", commit: "C", vote: "V", beat: "H", snap: "S", read: "R", other: "·" };

/** @type {Record<Kind, import("./i18n.js").Key>} */
export const KIND_KEY = { data: "kindData", ack: "kindAck", commit: "kindCommit", vote: "kindVote", beat: "kindBeat", snap: "kindSnap", read: "kindRead", other: "kindOther" };

/** @type {Map<string, Kind>} */
const known = new Map();

/** @param {string} name @returns {Kind} */
export function kindOf(name) {
  let kind = known.get(name);
  if (!kind) {
    kind = classify(name);
    known.set(name, kind);
  }
  return kind;
}

/** @param {string} name @returns {Kind} */
function classify(name) {
  if (/vote|notification|followerinfo|newepoch|ackepoch|timeoutnow|takeover/i.test(name)) return "vote";
  if (/snap|chunk|diff|trunc|newleader|uptodate/i.test(name)) return "snap";
  if (/heartbeat|ping|pong/i.test(name)) return "beat";
  if (/read/i.test(name)) return "read";
  if (/^commit/i.test(name)) return "commit";
  if (/ack|accept|reject|refused/i.test(name)) return "ack";
  if (/append|propose|inform|forward|stream/i.test(name)) return "data";
  return "other";
}

/** @param {string} name */
export function isAnswer(name) {
  return /reply|accepted|rejected|refused|^ack|ack$|pong/i.test(name);
}
