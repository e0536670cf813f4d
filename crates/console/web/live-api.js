// What the live view asks of the server. The user's name and password live in this module and nowhere else.

import { t } from "./i18n.js";

/**
 * Bytes for people, and as they are: `text` is null if they are none.
 * @typedef {{text: string|null, raw: string, bytes: number, cut: boolean}} Shown
 * @typedef {{key: Shown, value: Shown|null, create: number, mod: number, version: number, lease: string|null}} Entry
 * @typedef {{endpoint: string|null, id: string|null, name: string, role: string, learner?: boolean, leader?: string|null, term?: number, index?: number,
 *   applied?: number, size?: number, version?: string, errors?: string[], error?: string|null}} Member
 * @typedef {{members: Member[], alarms: {member: string, alarm: string}[], leader: string|null, term: number|null, revision: number|null, cluster: string|null}} Cluster
 * @typedef {{revision: number, count: number, more: boolean, keys: Entry[]}} KeyPage
 * @typedef {{revision: number, found: Entry|null}} Found
 * @typedef {{versions: Entry[], ends: string}} Versions
 * @typedef {{id: string, granted: number, left: number, keys: Shown[], count: number}} Lease
 * @typedef {{czxid: number, mzxid: number, pzxid: number, version: number, cversion: number, aversion: number, ephemeralOwner: string|null,
 *   numChildren: number, dataLength: number, ctime: number, mtime: number}} Stat
 * @typedef {{path: string, children: {name: string}[], more: boolean, data: Shown, stat: Stat}} Znode
 * @typedef {{address: string, state?: string, connections?: number|null, watches?: number|null, znodes?: number|null, ephemerals?: number|null,
 *   sessions?: number|null, error?: string}} ZkServer
 */

/** What the server did not give, and why. */
export class Refused extends Error {
  /** @param {string} why @param {number} status @param {boolean} needsUser */
  constructor(why, status, needsUser) {
    super(why);
    this.status = status;
    this.needsUser = needsUser;
  }
}

/** @type {{name: string, header: string}|null} */
let user = null;

/** Who asks, if anybody in particular does. */
export function userName() {
  return user?.name ?? null;
}

export function signOut() {
  user = null;
}

/** @param {Uint8Array} bytes */
function base64(bytes) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Takes a user if the cluster does. @param {string} name @param {string} password */
export async function signIn(name, password) {
  const header = `Basic ${base64(new TextEncoder().encode(`${name}:${password}`))}`;
  await ask("", {}, header);
  user = { name, header };
}

/**
 * @param {string} path below `/api/live` @param {Record<string, string|number>} [query] @param {string} [header]
 * @returns {Promise<any>}
 */
export async function ask(path, query = {}, header = user?.header) {
  const asked = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString();
  let response;
  try {
    response = await fetch(`/api/live${path}${asked && `?${asked}`}`, { headers: header ? { authorization: header } : {}, signal: AbortSignal.timeout(9000) });
  } catch (error) {
    throw new Refused(t("serverBad", { why: error instanceof Error ? error.message : String(error) }), 0, false);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw new Refused(answer?.error ?? String(response.status), response.status, answer?.needs_user === true);
}

/** A text as the server wants bytes; `\x00` stands for a byte. @param {string} typed */
export function rawOf(typed) {
  const bytes = typed.split(/(\\x[0-9a-fA-F]{2})/).flatMap((part) => (/^\\x..$/.test(part) ? [parseInt(part.slice(2), 16)] : [...new TextEncoder().encode(part)]));
  return inUrl(Uint8Array.from(bytes));
}

/** A path as the server wants it, sign for sign. @param {string} path */
export function rawPath(path) {
  return inUrl(new TextEncoder().encode(path));
}

/** @param {Uint8Array} bytes */
function inUrl(bytes) {
  return base64(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** @param {Shown} shown */
export function bytesOf(shown) {
  const binary = atob(shown.raw.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(binary, (sign) => sign.charCodeAt(0));
}

/** A key on one line: bytes that are no text are written as the filter reads them. @param {Shown} key */
export function nameOf(key) {
  const line = key.text !== null ? key.text.replace(/[\n\t\r]/g, (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}`)
    : [...bytesOf(key)].map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`)).join("");
  return key.cut ? `${line}…` : line;
}
