// The address holds the whole run: its JSON, deflated, in the alphabet of base64url.

import { t } from "./i18n.js";
import { isRun } from "./run.js";

/** @typedef {{runs: import("./types.js").Run[], at: number, language: string|null}} Shared */

/** @param {Uint8Array<ArrayBuffer>} bytes @param {CompressionStream|DecompressionStream} stream */
async function through(bytes, stream) {
  const piped = new Blob([bytes]).stream().pipeThrough(/** @type {any} */ (stream));
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

/** @param {import("./types.js").Run} run */
async function pack(run) {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(run)), new CompressionStream("deflate-raw"));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** @param {string} packed @returns {Promise<import("./types.js").Run>} */
export async function unpack(packed) {
  if (typeof DecompressionStream === "undefined") throw new Error(t("noCompression"));
  let value;
  try {
    const binary = atob(packed.replace(/-/g, "+").replace(/_/g, "/"));
    const bytes = await through(Uint8Array.from(binary, (sign) => sign.charCodeAt(0)), new DecompressionStream("deflate-raw"));
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Error(t("linkShape"));
  }
  if (!isRun(value)) throw new Error(t("linkShape"));
  if (value.version !== 1) throw new Error(t("linkVersion", { n: value.version }));
  return value;
}

/** @param {import("./types.js").Run[]} runs @param {number} at @param {string} language */
export async function hashOf(runs, at, language) {
  const packed = await Promise.all(runs.map(pack));
  return `#r=${packed.join("&r2=")}&t=${Number(at.toFixed(3))}&l=${language}`;
}

/**
 * What an address asks for; null if it asks for nothing.
 * @param {string} hash @returns {Promise<Shared|null>}
 */
export async function readHash(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const language = parts.get("l");
  const asked = Number(parts.get("t") ?? 0);
  const at = Number.isFinite(asked) && asked > 0 ? asked : 0;
  const packed = parts.get("r");
  if (packed !== null) {
    const second = parts.get("r2");
    const runs = [await unpack(packed)];
    if (second !== null) runs.push(await unpack(second));
    return { runs, at, language };
  }
  const seed = parts.get("seed");
  if (seed !== null) {
    if (!/^\d{1,20}$/.test(seed)) throw new Error(t("linkShape"));
    return { runs: [{ version: 1, kind: "seed", engine: parts.get("engine") ?? "raft", seed, plant: parts.get("plant") ?? "", actions: null }], at, language };
  }
  return null;
}
