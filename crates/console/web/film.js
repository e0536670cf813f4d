// A film, indexed once: afterwards any moment of it is found by binary search, without playing it from the start.

import { LogTrack, Track, countUntil } from "./track.js";

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").Step} Step */

const BLOCK = 64;

/** How much a step matters when stepping: 0 never stops, 1 stops at every step, 2 stops at what is interesting. */
const WEIGHT = Object.freeze(/** @type {Record<string, number>} */ ({
  start: 2, runs: 1, down: 2, paused: 2, act: 2, link: 2, send: 1, recv: 1, why: 1, state: 1, applied: 1, log: 2, disk: 1, disked: 1,
  ask: 2, answer: 2, note: 2, broken: 2,
}));

export class Film {
  /** @param {import("./types.js").RawFilm} raw */
  constructor(raw) {
    this.raw = raw;
    this.run = raw.run;
    this.events = raw.events;
    this.end = raw.end;
    /** A long run may be recorded from here on only. */
    this.begin = raw.from ?? 0;
    this.hosts = raw.hosts;
    this.names = raw.names;
    this.groups = raw.groups;
    /** @type {Message[]} */
    this.messages = [];
    /** @type {Map<number, {t: number, heard: boolean}[]>} */
    this.arrivals = new Map();
    /** @type {Map<number, Message[]>} */
    this.frames = new Map();
    /** @type {Track<import("./types.js").Life>[]} */
    this.life = [];
    /** @type {Map<number, Track<import("./types.js").HostState>>[]} */
    this.states = [];
    /** @type {Map<number, LogTrack>[]} */
    this.logs = [];
    /** @type {Map<number, Track<number>>[]} */
    this.applied = [];
    for (let h = 0; h < this.hosts; h++) {
      this.life.push(new Track());
      this.states.push(new Map());
      this.logs.push(new Map());
      this.applied.push(new Map());
    }
    /** @type {Track<[number, number][]>} */
    this.cuts = new Track();
    /** @type {Step[]} */
    this.steps = [];
    /** @type {import("./types.js").Operation[]} */
    this.operations = [];
    /** Places of node ids, which change when a host is replaced. @type {Map<number, number>} */
    this.places = new Map();
    /** Times of what one jumps to. @type {{fault: number[], violation: number[]}} */
    this.marks = { fault: [], violation: [] };
    /** Likewise, of each group. @type {Map<string, number[]>} */
    this.turns = new Map();
    this.index();
    if (this.begin > 0) this.backdate();
    this.times = Float64Array.from(this.messages, (message) => message.t);
    this.stepTimes = Float64Array.from(this.steps, (step) => step.t);
    // The latest end within each block of messages lets a search skip whole blocks.
    this.blocks = new Float64Array(Math.ceil(this.messages.length / BLOCK));
    this.messages.forEach((message, i) => {
      const block = Math.floor(i / BLOCK);
      this.blocks[block] = Math.max(this.blocks[block], message.last);
    });
  }

  index() {
    const resumes = new Array(this.hosts).fill(null);
    /** @type {Map<string, import("./types.js").Operation>} */
    const operations = new Map();
    const lostAfter = (this.run.delay_us ?? 5000) * 0.8;
    /** @type {Map<number, Step>} */
    let now = new Map();
    let nowAt = -1;
    this.events.forEach((event, i) => {
      const { t, h } = event;
      if (t !== nowAt) {
        now = new Map();
        nowAt = t;
      }
      const host = h ?? -1;
      let step = now.get(host);
      if (!step) {
        step = { t, h: host, events: [], weight: 0, groups: 0 };
        now.set(host, step);
        this.steps.push(step);
      }
      step.events.push(i);
      step.weight = Math.max(step.weight, WEIGHT[event.k] ?? 1);
      if (event.g) step.groups |= 1 << event.g;
      if (host >= 0 && resumes[host] !== null && resumes[host] <= t) {
        this.live(host, resumes[host], "up", "", null);
        resumes[host] = null;
      }
      switch (event.k) {
        case "start":
          this.places.set(event.node, host);
          this.live(host, t, "starting", "", event.node);
          resumes[host] = null;
          break;
        case "runs":
          this.live(host, t, "up", "", null);
          break;
        case "down":
          this.live(host, t, "down", event.how, null);
          resumes[host] = null;
          this.marks.fault.push(t);
          break;
        case "paused":
          this.live(host, t, "paused", "", null);
          resumes[host] = event.until;
          this.marks.fault.push(t);
          break;
        case "link":
          this.cuts.push(t, event.cut);
          this.marks.fault.push(t);
          break;
        case "act":
          this.marks.fault.push(t);
          break;
        case "send": {
          const last = event.at.length ? Math.max(...event.at) : t + lostAfter;
          const { m, f, to, g, name, text, epoch, at, fate } = event;
          const message = { m, f, h, to, g, name, text, epoch, t, at, fate, last, event: i };
          this.messages.push(message);
          const frame = this.frames.get(f);
          if (frame) frame.push(message);
          else this.frames.set(f, [message]);
          break;
        }
        case "recv": {
          const arrival = { t, heard: event.heard };
          const arrivals = this.arrivals.get(event.f);
          if (arrivals) arrivals.push(arrival);
          else this.arrivals.set(event.f, [arrival]);
          break;
        }
        case "state":
          this.state(event, step);
          break;
        case "log":
          get(this.logs[h], event.g, () => new LogTrack()).push(t, event);
          break;
        case "applied":
          get(this.applied[h], event.g, () => /** @type {Track<number>} */ (new Track())).push(t, event.index);
          break;
        case "ask": {
          const key = `${event.c} ${event.o}`;
          const known = operations.get(key);
          if (known) {
            known.asks++;
            known.h = h;
          } else {
            const operation = { c: event.c, o: event.o, h, text: event.text, from: t, to: null, outcome: null, answer: "", asks: 1 };
            operations.set(key, operation);
            this.operations.push(operation);
          }
          break;
        }
        case "answer": {
          const known = operations.get(`${event.c} ${event.o}`);
          if (known && known.to === null) Object.assign(known, { to: t, outcome: event.outcome, answer: event.text });
          break;
        }
        case "broken":
          this.marks.violation.push(t);
          break;
      }
    });
    resumes.forEach((until, host) => until !== null && until <= this.end && this.live(host, until, "up", "", null));
  }

  /** A film that begins in the middle of a run tells first how things stand: that is so from its beginning on. */
  backdate() {
    for (let h = 0; h < this.hosts; h++) {
      for (const track of [...this.states[h].values(), ...this.logs[h].values(), ...this.applied[h].values()]) {
        if (track.times[0] < this.begin + 50_000 && !(this.life[h].times[0] <= track.times[0])) track.times[0] = this.begin;
      }
    }
  }

  /** @param {number} h @param {number} t @param {"down"|"starting"|"up"|"paused"} is @param {string} how @param {number|null} node */
  live(h, t, is, how, node) {
    const before = this.life[h].end;
    this.life[h].push(t, { t, is, how, node: node ?? before?.node ?? h + 1 });
  }

  /** @param {import("./types.js").FilmEvent} event @param {Step} step */
  state(event, step) {
    const { t, h, g, role, epoch, leader, commit, last, durable, base, timer, pre, voters, outgoing, learners } = event;
    const track = get(this.states[h], g, () => /** @type {Track<import("./types.js").HostState>} */ (new Track()));
    const before = track.end;
    // When its timer was set: the arc runs from there to when it runs out.
    const timerFrom = before && before.timer === timer ? before.timerFrom : t;
    if (!before || before.role !== role || before.epoch !== epoch || before.leader !== leader || before.commit !== commit) step.weight = 2;
    if (role === "leader" && before?.role !== "leader") get(this.turns, `election ${g}`, () => /** @type {number[]} */ ([])).push(t);
    if (before && commit > before.commit) get(this.turns, `commit ${g}`, () => /** @type {number[]} */ ([])).push(t);
    track.push(t, { t, role, epoch, leader, commit, last, durable, base, timer, timerFrom, pre: pre ?? false, voters, outgoing, learners });
  }

  /**
   * Calls `visit` with each message that is on its way at some time between `from` and `to`.
   * @param {number} from @param {number} to @param {(message: Message) => void} visit
   */
  underway(from, to, visit) {
    const end = countUntil(this.times, to);
    for (let block = 0; block * BLOCK < end; block++) {
      if (this.blocks[block] < from) continue;
      const until = Math.min(end, (block + 1) * BLOCK);
      for (let i = block * BLOCK; i < until; i++) if (this.messages[i].last >= from) visit(this.messages[i]);
    }
  }

  /** How many steps begin at or before `t`. @param {number} t */
  stepsUntil(t) {
    return countUntil(this.stepTimes, t);
  }

  /** @param {number} h @param {number} g @param {number} t */
  stateAt(h, g, t) {
    return this.states[h].get(g)?.at(t) ?? null;
  }

  /** @param {number} h @param {number} g @param {number} t */
  logAt(h, g, t) {
    return this.logs[h].get(g)?.at(t) ?? { base: 0, entries: [] };
  }

  /** Whoever leads in the greatest epoch, or null. @param {number} g @param {number} t @returns {number|null} */
  leaderAt(g, t) {
    let best = null;
    let epoch = -1;
    for (let h = 0; h < this.hosts; h++) {
      const state = this.stateAt(h, g, t);
      const life = this.life[h].at(t);
      if (state && state.role === "leader" && life?.is !== "down" && state.epoch > epoch) {
        best = h;
        epoch = state.epoch;
      }
    }
    return best;
  }

  /** The name of a node id. @param {number|string|null|undefined} node */
  nameOfNode(node) {
    const place = this.places.get(Number(node));
    return this.names[place ?? Number(node) - 1] ?? `#${node}`;
  }
}

/**
 * @template K, V
 * @param {Map<K, V>} map @param {K} key @param {() => V} make
 * @returns {V}
 */
function get(map, key, make) {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
