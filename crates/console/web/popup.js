// Boxes above the page: menus at a place, dialogs in the middle. Escape and a press elsewhere close them; the focus goes back to where it was.

import { byId, el } from "./dom.js";
import { t } from "./i18n.js";
import { hideTip } from "./tip.js";

/** @type {(() => void)|null} */
let closeOpen = null;

export function popupIsOpen() {
  return closeOpen !== null;
}

/** @param {HTMLElement} box @param {Element|null} back */
function show(box, back) {
  closeOpen?.();
  hideTip();
  byId("dialogs").append(box);
  const close = () => {
    if (closeOpen !== close) return;
    closeOpen = null;
    box.remove();
    document.removeEventListener("pointerdown", outside, true);
    if (back instanceof HTMLElement || back instanceof SVGElement) back.focus({ preventScroll: true });
  };
  const outside = (/** @type {PointerEvent} */ event) => {
    if (!(event.target instanceof Node && box.contains(event.target))) close();
  };
  document.addEventListener("pointerdown", outside, true);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") stayInside(box, event);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") rove(box, event);
    // The page's own keys rest while a box is open.
    event.stopPropagation();
  });
  closeOpen = close;
  return close;
}

/** @param {HTMLElement} box */
function reachable(box) {
  return /** @type {HTMLElement[]} */ ([...box.querySelectorAll("button, input, select, textarea, a[href], [tabindex='0']")]).filter((one) => !(one instanceof HTMLButtonElement && one.disabled) && one.offsetParent !== null);
}

/** @param {HTMLElement} box @param {KeyboardEvent} event */
function stayInside(box, event) {
  const all = reachable(box);
  const first = all[0];
  const last = all[all.length - 1];
  if (event.shiftKey && document.activeElement === first) {
    event.preventDefault();
    last?.focus();
  } else if (!event.shiftKey && document.activeElement === last) {
    event.preventDefault();
    first?.focus();
  }
}

/** @param {HTMLElement} box @param {KeyboardEvent} event */
function rove(box, event) {
  const items = /** @type {HTMLElement[]} */ ([...box.querySelectorAll("[role='menuitem']")]);
  if (!items.length) return;
  const active = document.activeElement;
  if (active instanceof HTMLInputElement && active.type === "number") return;
  event.preventDefault();
  const at = active instanceof HTMLElement ? items.indexOf(active) : -1;
  const next = event.key === "ArrowDown" ? at + 1 : at <= 0 ? items.length - 1 : at - 1;
  items[next % items.length].focus();
}

/**
 * A box beside where the pointer is, or beside an element.
 * @param {HTMLElement} body @param {MouseEvent|Element} where @param {string} label
 */
export function openPopup(body, where, label) {
  const back = where instanceof Element ? where : document.activeElement;
  const box = el("div", { class: "popup", role: "dialog", "aria-label": label }, body);
  const close = show(box, back);
  let x;
  let y;
  if (where instanceof Element) {
    const bounds = where.getBoundingClientRect();
    [x, y] = [bounds.right + 8, bounds.top];
  } else [x, y] = [where.clientX + 10, where.clientY - 20];
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(x, innerWidth - width - 8))}px`;
  box.style.top = `${Math.max(8, Math.min(y, innerHeight - height - 8))}px`;
  return close;
}

/**
 * A dialog in the middle of the page.
 * @param {string} title @param {HTMLElement} body @param {string} [look]
 */
export function openDialog(title, body, look = "") {
  const back = document.activeElement;
  const id = "dialog-title";
  const box = el("div", { class: `dialog ${look}`, role: "dialog", "aria-modal": "true", "aria-labelledby": id },
    el("div", { class: "dialog-head" }, el("h2", { id }, title), el("button", { type: "button", class: "quiet icon", "aria-label": t("close"), onclick: () => close() }, "✕")),
    el("div", { class: "dialog-body" }, body));
  const close = show(box, back);
  const first = /** @type {HTMLElement|null} */ (body.querySelector("input, select, button, [tabindex='0']"));
  (first ?? box.querySelector("button"))?.focus();
  return close;
}
