// The shapes of what the server sends and of what the page holds. Types only: nothing here runs.

/**
 * A run: everything that the server needs to play it again.
 * @typedef {{version: number, kind: "scene"|"seed", engine: string, nodes?: number, spares?: number, clients?: number, rest_ms?: number, seed: string,
 *   until_ms?: number, election_ms?: number, heartbeat_ms?: number, delay_us?: number, snapshot_bytes?: number, lease?: boolean, pre_vote?: boolean, plant: string, actions: string|null}} Run
 *
 * One event of a film. Which fields there are depends on `k`.
 * @typedef {{t: number, k: string, h: number, n: number, m: number, f: number, g: number, to: number, c: number, o: number, d: number, life: number,
 *   node: number, how: string, text: string, until: number, cut: [number, number][], name: string, epoch: number, at: number[], fate: string|null,
 *   heard: boolean, rule: string, what: string, values: Record<string, number|string>, role: string, leader: number|null, commit: number, last: number,
 *   durable: number, base: number, timer: number|null, pre: boolean, voters: number[], outgoing: number[], learners: number[], index: number, from: number,
 *   entries: Entry[], error: string|null, call: number|string, outcome: string, id: string}} FilmEvent
 *
 * @typedef {[number, string, string]} Entry The epoch, the text and the kind of a log entry.
 *
 * @typedef {{version: number, build: string, run: Run, hosts: number, names: string[], from?: number, voters?: number, groups: {id: number, name: string, engine: string}[], end: number,
 *   events: FilmEvent[], cut: string|null, hash: string, verdict: {operations: number, linearizable: boolean|null, text: string},
 *   violations: {id: string, t: number, h: number|null, text: string, event: number}[]}} RawFilm
 *
 * A message, from when it is sent to when it was last heard of.
 * @typedef {{m: number, f: number, h: number, to: number, g: number, name: string, text: string, epoch: number, t: number, at: number[],
 *   fate: string|null, last: number, event: number}} Message
 *
 * One run of one host's core: its events at one time. `h` is -1 for what happens to the whole cluster.
 * @typedef {{t: number, h: number, events: number[], weight: number, groups: number}} Step
 *
 * @typedef {{t: number, is: "down"|"starting"|"up"|"paused", how: string, node: number}} Life
 * @typedef {{t: number, role: string, epoch: number, leader: number|null, commit: number, last: number, durable: number, base: number,
 *   timer: number|null, timerFrom: number, pre: boolean, voters: number[], outgoing: number[], learners: number[]}} HostState
 * @typedef {{base: number, entries: Entry[]}} Log
 *
 * @typedef {{c: number, o: number, h: number, text: string, from: number, to: number|null, outcome: string|null, answer: string, asks: number}} Operation
 *
 * @typedef {{en: string, zh: string}} Both A text in both languages.
 * @typedef {{path: string, function: string, line: number}} Place
 * @typedef {{path: string, line: number, first: number, excerpt: string}} Source
 * @typedef {{build: string, rules: Record<string, Both & {paper: string, places: Place[]}>,
 *   reasons: Record<string, Both & {raft?: Source, zab?: Source}>,
 *   invariants: Record<string, Both>, messages: Record<string, Both>}} Words
 *
 * @typedef {{text: Both, right: boolean, because: Both}} Option
 * @typedef {{at: number, say: Both, act: string[], look: string|null, look_at: number[], predict: {ask: Both, options: Option[]}|null, expect: string[]}} LessonStep
 * @typedef {{id: string, kind: string, engine: string, rules: string[], title: Both, steps?: unknown, playable?: boolean}} LessonHead
 * @typedef {{id: string, kind: string, engine: string, rules: string[], title: Both, run: Run, both: boolean, steps: LessonStep[]}} Lesson
 *
 * @typedef {import("./film.js").Film} Film
 * A branch: for each engine that is shown a run and its film.
 * @typedef {{id: number, parent: number|null, at: number, label: string, runs: Run[], films: Film[]}} Branch
 *
 * What is selected: a step, a message, or a host, of the film in column `side`.
 * @typedef {{side: number, step: Step|null, message: Message|null, host: number|null}} Selection
 */

export {};
