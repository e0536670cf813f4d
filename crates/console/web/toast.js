// A sentence at the foot of the page: what was done, or what went wrong.

import { byId, el } from "./dom.js";

/** @type {ReturnType<typeof setTimeout>|undefined} */
let timer;

/**
 * @param {string} sentence @param {boolean} [bad] what went wrong stays for longer
 * @param {{text: string, press: () => void}} [offer]
 */
export function say(sentence, bad = false, offer) {
  const toast = byId("toast");
  toast.className = bad ? "toast bad" : "toast";
  toast.replaceChildren(sentence, offer ? el("button", { type: "button", onclick: () => { toast.hidden = true; offer.press(); } }, offer.text) : "");
  toast.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { toast.hidden = true; }, bad ? 12_000 : offer ? 9000 : 3500);
}

// What was only said in passing goes when one goes on.
for (const kind of ["pointerdown", "keydown"]) {
  addEventListener(kind, (event) => {
    const toast = byId("toast");
    if (!toast.classList.contains("bad") && !(event.target instanceof Node && toast.contains(event.target))) toast.hidden = true;
  });
}

/** Says it to screen readers only. @param {string} sentence */
export function whisper(sentence) {
  byId("status").textContent = sentence;
}
