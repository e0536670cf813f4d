// What leaves the page: the link, a regression test, a Mermaid diagram, an SVG.

import { copy, download, el } from "./dom.js";
import { t, time } from "./i18n.js";
import { test } from "./api.js";
import { sceneOf, view } from "./lanes.js";
import { paintScene } from "./lanes-scene.js";
import { escape, svgPainter } from "./painters.js";
import { palette } from "./palette-colours.js";
import { openDialog } from "./popup.js";
import { tidy } from "./tidy.js";
import { hashOf } from "./share.js";
import { lang } from "./i18n.js";
import { branch, films, state } from "./store.js";

const MOST_MESSAGES = 200;

/** The space-time diagram as an SVG document. @param {number} side */
function svgOf(side) {
  const scene = sceneOf(side);
  if (!scene) return "";
  /** @type {string[]} */
  const out = [];
  const { width, height } = scene.size;
  paintScene(scene, svgPainter(out));
  const title = `Quorate · ${scene.film.run.engine} · ${scene.film.run.seed} · ${time(Math.max(0, view.from))} – ${time(view.to)}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif"><title>${escape(title)}</title><rect width="100%" height="100%" fill="${palette("--surface")}"/>${out.join("\n")}</svg>\n`;
}

/** The messages in view as a Mermaid sequence diagram. @param {number} side */
function mermaidOf(side) {
  const film = films()[side];
  const group = state.group[side];
  const lines = ["sequenceDiagram", ...film.names.map((name) => `  participant ${name}`)];
  /** @type {{t: number, line: string}[]} */
  const found = [];
  film.underway(view.from, view.to, (message) => {
    if (message.g !== group || message.t < view.from) return;
    // A semicolon or a line break would end the statement.
    const what = `${message.name} ${tidy(message.text, message.name)}`.trim().replace(/[;#\n]/g, ",");
    const lost = message.fate !== null || !message.at.length;
    found.push({ t: message.t, line: `  ${film.names[message.h]}${lost ? "-x" : "->>"}${film.names[message.to]}: ${what}` });
  });
  for (let h = 0; h < film.hosts; h++) {
    film.life[h].values.forEach((life) => {
      if (life.t > Math.max(0, view.from) && life.t <= view.to && (life.is === "down" || life.is === "starting")) found.push({ t: life.t, line: `  Note over ${film.names[h]}: ${life.is === "down" ? "down" : "starts"} at ${time(life.t)}` });
    });
  }
  found.sort((a, b) => a.t - b.t);
  return `${[...lines, ...found.slice(0, MOST_MESSAGES).map(({ line }) => line)].join("\n")}\n`;
}

export function openShare() {
  const one = branch();
  if (!one) return;
  const side = Math.min(state.selected.side, one.films.length - 1);
  const field = /** @type {HTMLTextAreaElement} */ (el("textarea", { readonly: true, rows: 5, "aria-label": t("copyLink"), class: "mono" }));
  const said = el("p", { class: "muted", role: "status" });
  void hashOf(one.runs, state.now, lang()).then((hash) => { field.value = `${location.origin}${location.pathname}${hash}`; });
  const give = (/** @type {string} */ content, /** @type {string} */ name, /** @type {string} */ type) => {
    field.value = content;
    download(name, content, type);
    said.textContent = name;
  };
  const fail = (/** @type {unknown} */ error) => { said.textContent = error instanceof Error ? error.message : String(error); };
  const name = `quorate-${one.runs[side].engine}-${one.runs[side].seed}`;
  openDialog(t("shareTitle"), el("div", { class: "share" },
    el("p", {}, t("shareText")), field,
    el("div", { class: "row" },
      el("button", { type: "button", class: "primary", onclick: async () => {
        if (await copy(field.value)) said.textContent = t("copied");
        else {
          field.select();
          said.textContent = t("copyFailed");
        }
      } }, t("copyLink"))),
    el("p", { class: "muted" }, t("exportHint")),
    el("div", { class: "row" },
      el("button", { type: "button", onclick: () => void test(one.runs[side]).then((text) => give(text, `${name}.txt`, "text/plain")).catch(fail) }, t("exportTest")),
      el("button", { type: "button", onclick: () => give(mermaidOf(side), `${name}.mmd`, "text/plain") }, t("exportMermaid")),
      el("button", { type: "button", onclick: () => give(svgOf(side), `${name}.svg`, "image/svg+xml") }, t("exportSvg"))), said));
}
