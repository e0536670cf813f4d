// What the page asks of the server.

import { Film } from "./film.js";
import { t } from "./i18n.js";

/**
 * @param {string} path @param {unknown} [body]
 * @returns {Promise<Response>}
 */
async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
  } catch (error) {
    throw new Error(t("serverBad", { why: error instanceof Error ? error.message : String(error) }));
  }
  if (response.ok) return response;
  let why = `${response.status}`;
  try {
    why = (await response.json()).error ?? why;
  } catch { /* The status alone has to do. */ }
  throw new Error(why);
}

/** @param {import("./types.js").Run} run */
export async function film(run) {
  const raw = await (await ask("/api/film", run)).json();
  if (raw.version !== 1) throw new Error(t("filmVersion", { n: raw.version }));
  return new Film(raw);
}

/** @returns {Promise<import("./types.js").Words>} */
export async function words() {
  return (await ask("/api/words")).json();
}

/** @returns {Promise<import("./types.js").LessonHead[]>} */
export async function lessons() {
  return (await ask("/api/lessons")).json();
}

/** @param {string} id @returns {Promise<import("./types.js").Lesson>} */
export async function lesson(id) {
  return (await ask(`/api/lessons/${encodeURIComponent(id)}`)).json();
}

/** @param {import("./types.js").Run} run */
export async function test(run) {
  return (await ask("/api/export", { run, as: "test" })).text();
}
