// Runs and their lists of actions.

/** @typedef {import("./types.js").Run} Run */

const HEADER = "quorate-sim actions 1";

/** The run of the front page: five nodes, and a leader that dies. @param {string} [engine] @returns {Run} */
export function firstRun(engine = "raft") {
  return {
    version: 1, kind: "scene", engine, nodes: 5, spares: 0, clients: 2, rest_ms: 80, seed: "7", until_ms: 2000, election_ms: 150,
    heartbeat_ms: 50, delay_us: 5000, snapshot_bytes: 1_000_000, lease: false, pre_vote: true, plant: "", actions: `${HEADER}\n`,
  };
}

/** The actions of a run, each with its time in µs. @param {Run} run @returns {{t: number, text: string}[]} */
export function actionsOf(run) {
  return (run.actions ?? "").split("\n").slice(1).filter((line) => line.trim()).map((line) => {
    const space = line.indexOf(" ");
    return { t: Number(line.slice(0, space)) / 1000, text: line.slice(space + 1) };
  });
}

/**
 * The run with actions more, struck at `t` µs. It is made longer if what follows them would not be seen.
 * @param {Run} run @param {string[]} texts @param {number} t @returns {Run}
 */
export function withActions(run, texts, t) {
  const all = actionsOf(run).map(({ t, text }) => ({ nanos: Math.round(t * 1000), text }));
  const nanos = Math.round(t * 1000);
  for (const text of texts) all.push({ nanos, text });
  // A stable sort: of two actions of one time the older comes first.
  all.sort((a, b) => a.nanos - b.nanos);
  const actions = `${HEADER}\n${all.map(({ nanos, text }) => `${nanos} ${text}\n`).join("")}`;
  const enough = Math.ceil(t / 1000) + 1000;
  return { ...run, actions, ...(run.until_ms !== undefined && run.until_ms < enough ? { until_ms: enough } : {}) };
}

/** The greatest value that any request of the run writes, so that each new one is told apart. @param {Run} run */
export function nextValue(run) {
  let most = 0;
  for (const { text } of actionsOf(run)) {
    const value = /^request .*\bvalue=(\d+)/.exec(text);
    if (value) most = Math.max(most, Number(value[1]));
  }
  return most + 1;
}

/** Whether this has the form of a run; the server checks its values. @param {unknown} value @returns {value is Run} */
export function isRun(value) {
  if (typeof value !== "object" || value === null) return false;
  const run = /** @type {Record<string, unknown>} */ (value);
  return typeof run.version === "number" && (run.kind === "scene" || run.kind === "seed") && typeof run.engine === "string" && typeof run.seed === "string";
}
