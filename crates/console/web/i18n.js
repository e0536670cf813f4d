// The words of the page, in the language that was chosen.

import { en } from "./i18n-en.js";
import { zh } from "./i18n-zh.js";

/** @typedef {"en"|"zh"} Language */
/** @typedef {keyof typeof en} Key */

/** @type {Language} */
let language = "en";

export function lang() {
  return language;
}

/** @param {Language} chosen */
export function setLang(chosen) {
  language = chosen;
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
}

/** The language of the browser, unless one was chosen before. @returns {Language} */
export function preferred() {
  let kept = null;
  try {
    kept = localStorage.getItem("lab-language");
  } catch { /* Without storage the browser's language will do. */ }
  return kept === "en" || kept === "zh" ? kept : navigator.language.startsWith("zh") ? "zh" : "en";
}

/**
 * The text of a key, with `{name}` filled in.
 * @param {Key} key @param {Record<string, string|number>} [values]
 */
export function t(key, values = {}) {
  const texts = language === "zh" ? zh : en;
  return fill(texts[key] ?? en[key] ?? key, values);
}

/** Whether there is such a key. @param {string} key @returns {key is Key} */
export function known(key) {
  return Object.hasOwn(en, key);
}

/** @param {string} template @param {Record<string, string|number>} values */
export function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}

/** A text that the server gives in both languages. @param {import("./types.js").Both|undefined|null} both */
export function pick(both) {
  return both ? both[language] || both.en : "";
}

/** Fills in the texts that the document marks with `data-t` and its kin. @param {ParentNode} root */
export function translate(root) {
  for (const [data, attribute] of [["t", ""], ["label", "aria-label"], ["title", "title"], ["hint", "placeholder"]]) {
    for (const element of root.querySelectorAll(`[data-${data}]`)) {
      const key = /** @type {Key} */ (element.getAttribute(`data-${data}`));
      if (attribute) element.setAttribute(attribute, t(key));
      else element.textContent = t(key);
    }
  }
}

/**
 * A moment or a length of time, for people: `312.4 ms`, `1.250 s`.
 * @param {number} micros
 */
export function time(micros) {
  if (micros < 1000) return `${Math.round(micros)} µs`;
  if (micros < 1_000_000) return `${(micros / 1000).toFixed(micros < 100_000 ? 2 : 1)} ms`;
  return `${(micros / 1_000_000).toFixed(3)} s`;
}
