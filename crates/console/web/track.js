// A value that changes in steps: what it is at a time is found by binary search.

/**
 * The number of items whose time is at most `t`; items are sorted by time.
 * @param {ArrayLike<number>} times @param {number} t @param {number} [length]
 */
export function countUntil(times, t, length = times.length) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @template T */
export class Track {
  constructor() {
    /** @type {number[]} */
    this.times = [];
    /** @type {T[]} */
    this.values = [];
  }

  /** @param {number} t @param {T} value */
  push(t, value) {
    // Only the last of several values of one time is ever seen.
    const end = this.times.length - 1;
    if (end >= 0 && this.times[end] === t) this.values[end] = value;
    else {
      this.times.push(t);
      this.values.push(value);
    }
  }

  /** Which value holds at `t`; -1 before the first. @param {number} t */
  indexAt(t) {
    return countUntil(this.times, t) - 1;
  }

  /** @param {number} t @returns {T|null} */
  at(t) {
    const index = this.indexAt(t);
    return index < 0 ? null : this.values[index];
  }

  /** @returns {T|null} */
  get end() {
    return this.values.length ? this.values[this.values.length - 1] : null;
  }
}

// After so many changes a log is kept whole, so that none is ever rebuilt from further back.
const WHOLE_EVERY = 64;

/** A log that changes: changes since the last whole copy are played again. */
export class LogTrack {
  constructor() {
    /** @type {number[]} */
    this.times = [];
    /** @type {{base: number, from: number, entries: import("./types.js").Entry[]}[]} */
    this.changes = [];
    /** @type {import("./types.js").Log[]} */
    this.wholes = [];
    /** @type {import("./types.js").Log} */
    this.building = { base: 0, entries: [] };
    this.cachedAt = -2;
    /** @type {import("./types.js").Log} */
    this.cached = { base: 0, entries: [] };
  }

  /** @param {number} t @param {{base: number, from: number, entries: import("./types.js").Entry[]}} change */
  push(t, change) {
    if (this.changes.length % WHOLE_EVERY === 0) this.wholes.push(this.building);
    this.times.push(t);
    this.changes.push(change);
    this.building = changed(this.building, change);
  }

  /** Which version of the log holds at `t`. @param {number} t */
  versionAt(t) {
    return countUntil(this.times, t) - 1;
  }

  /** @param {number} version @returns {import("./types.js").Log} */
  version(version) {
    if (version === this.cachedAt) return this.cached;
    let log = { base: 0, entries: /** @type {import("./types.js").Entry[]} */ ([]) };
    if (version >= 0) {
      const whole = Math.floor(version / WHOLE_EVERY);
      const near = this.cachedAt < version && this.cachedAt >= whole * WHOLE_EVERY;
      log = near ? this.cached : this.wholes[whole];
      for (let i = near ? this.cachedAt + 1 : whole * WHOLE_EVERY; i <= version; i++) log = changed(log, this.changes[i]);
    }
    this.cachedAt = version;
    this.cached = log;
    return log;
  }

  /** @param {number} t */
  at(t) {
    return this.version(this.versionAt(t));
  }
}

/**
 * @param {import("./types.js").Log} log @param {{base: number, from: number, entries: import("./types.js").Entry[]}} change
 * @returns {import("./types.js").Log}
 */
function changed(log, { base, from, entries }) {
  // What the log keeps: from after the new base up to before `from`.
  const kept = log.entries.slice(Math.max(0, base - log.base), Math.max(0, from - 1 - log.base));
  return { base, entries: kept.concat(entries) };
}
