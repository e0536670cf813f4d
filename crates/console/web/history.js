// What the clients asked and were answered, as bars over time, and whether that is linearizable.

import { attr, el, svg, text } from "./dom.js";
import { t, time } from "./i18n.js";
import { beginning, end, focused, goTo, state, watch } from "./store.js";
import { hideTip, showTip } from "./tip.js";

const ROW = 24;
const LEFT = 74;

/** @param {HTMLElement} page */
export function startHistory(page) {
  const verdict = el("p", { class: "summary" });
  const drawing = svg("svg", { class: "history-drawing", role: "img" });
  const box = el("div", { class: "history-box", tabindex: 0, role: "group" }, /** @type {any} */ (drawing));
  const table = el("table", { class: "history-table" });
  page.append(verdict, box, el("div", { class: "history-list", tabindex: 0, role: "group" }, table));
  const cursor = svg("line", { class: "history-now", y1: 0 });
  let drawn = "";
  let width = 600;
  const place = (/** @type {number} */ at) => LEFT + ((width - LEFT - 10) * (at - beginning())) / Math.max(1, end() - beginning());

  function draw() {
    const film = focused();
    if (!film || page.hidden) return;
    const key = `${film.raw.hash} ${film.run.actions} ${document.documentElement.lang} ${box.clientWidth}`;
    const { verdict: judged } = film.raw;
    if (key !== drawn) {
      drawn = key;
      width = Math.max(400, box.clientWidth);
      const mark = judged.linearizable === true ? "✓" : judged.linearizable === false ? "✕" : "…";
      const word = t(judged.linearizable === true ? "linearizable" : judged.linearizable === false ? "notLinearizable" : "unknownVerdict");
      // Why it is none is told by the judge, in its own words.
      text(verdict, `${t("verdict", { mark, n: judged.operations, word })} ${judged.linearizable === true ? "" : judged.text}`);
      verdict.className = `summary ${judged.linearizable === true ? "good" : judged.linearizable === false ? "bad" : ""}`;
      attr(box, "aria-label", t("history"));
      const clients = [...new Set(film.operations.map((one) => one.c))].sort((a, b) => a - b);
      attr(drawing, "viewBox", `0 0 ${width} ${clients.length * ROW + 6}`);
      attr(drawing, "width", width);
      attr(drawing, "height", clients.length * ROW + 6);
      attr(drawing, "aria-label", `${t("history")}: ${t("operations", { n: film.operations.length })}`);
      attr(cursor, "y2", clients.length * ROW + 4);
      // Thousands of bars would say no more than the first few hundred.
      const shown = film.operations.slice(0, 1500);
      drawing.replaceChildren(
        ...clients.flatMap((c, row) => [svg("text", { x: 4, y: row * ROW + 17, class: "history-name" }, t("client", { c })), svg("line", { x1: LEFT, x2: width, y1: row * ROW + 13, y2: row * ROW + 13, class: "history-lane" })]),
        ...shown.map((one) => {
          const y = clients.indexOf(one.c) * ROW + 4;
          const x = place(one.from);
          const bar = svg("rect", { x, y, width: Math.max(3, place(one.to ?? end()) - x), height: ROW - 8, rx: 3, class: `bar ${one.outcome ?? "pending"}` });
          bar.addEventListener("pointermove", (event) => showTip([el("strong", {}, one.text), el("div", {}, `${time(one.from)} → ${one.to === null ? t("pending") : time(one.to)}`), el("div", {}, `${outcome(one.outcome)} ${one.answer}`)], /** @type {PointerEvent} */ (event)));
          bar.addEventListener("pointerleave", hideTip);
          bar.addEventListener("click", () => goTo(one.from));
          return bar;
        }), cursor);
      if (!film.operations.length) drawing.replaceChildren(svg("text", { x: 4, y: 18, class: "history-name" }, t("historyEmpty")));
      table.replaceChildren(el("tbody", {}, ...film.operations.slice(0, 400).map((one) => el("tr", {},
        el("td", {}, el("button", { type: "button", class: "link mono", onclick: () => goTo(one.from) }, time(one.from))), el("td", {}, t("client", { c: one.c })), el("td", { class: "mono" }, one.text),
        el("td", {}, `→ ${film.names[one.h] ?? ""}`), el("td", { class: one.outcome ?? "pending" }, outcome(one.outcome)), el("td", { class: "mono" }, one.answer), el("td", { class: "muted" }, one.to === null ? "" : time(one.to - one.from))))));
    }
    attr(cursor, "x1", place(state.now).toFixed(1));
    attr(cursor, "x2", place(state.now).toFixed(1));
  }

  watch(["time", "films", "select", "words"], draw);
  new ResizeObserver(draw).observe(box);
}

/** @param {string|null} word */
function outcome(word) {
  if (word === "ok") return `✓ ${t("ok")}`;
  if (word === "failed") return `✕ ${t("failed")}`;
  if (word === "unknown") return `? ${t("unknown")}`;
  return `… ${t("pending")}`;
}
