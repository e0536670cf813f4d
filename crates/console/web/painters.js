// Two painters for the space-time diagram: onto a canvas, and into the text of an SVG.

/**
 * @param {CanvasRenderingContext2D} context @param {string} surface
 * @returns {import("./lanes-scene.js").Painter}
 */
export function canvasPainter(context, surface) {
  const family = getComputedStyle(document.body).fontFamily;
  return {
    rect(x, y, w, h, colour, look = "plain") {
      context.fillStyle = colour;
      if (look === "outline") {
        context.strokeStyle = colour;
        context.lineWidth = 1;
        context.strokeRect(x, y, w, h);
        return;
      }
      context.fillRect(x, y, w, h);
      if (look === "striped") {
        context.fillStyle = surface;
        for (let at = x + 4; at < x + w; at += 7) context.fillRect(at, y, Math.min(3, x + w - at), h);
      }
    },
    lines(points, colour, width, dash = []) {
      if (!points.length) return;
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(dash);
      context.beginPath();
      for (let i = 0; i < points.length; i += 4) {
        context.moveTo(points[i], points[i + 1]);
        context.lineTo(points[i + 2], points[i + 3]);
        // Short paths are much faster to stroke than one of many thousand pieces.
        if (i % 2048 === 2044) {
          context.stroke();
          context.beginPath();
        }
      }
      context.stroke();
      context.setLineDash([]);
    },
    dots(points, colour, r) {
      context.fillStyle = colour;
      for (let i = 0; i < points.length; i += 2) {
        context.beginPath();
        context.arc(points[i], points[i + 1], r, 0, 7);
        context.fill();
      }
    },
    text(x, y, text, colour, size, bold = false, halo = "") {
      context.font = `${bold ? 600 : 400} ${size}px ${family}`;
      if (halo) {
        context.strokeStyle = halo;
        context.lineWidth = 3.5;
        context.lineJoin = "round";
        context.strokeText(text, x, y);
      }
      context.fillStyle = colour;
      context.fillText(text, x, y);
    },
  };
}

/**
 * @param {string[]} out
 * @returns {import("./lanes-scene.js").Painter}
 */
export function svgPainter(out) {
  const n = (/** @type {number} */ value) => Number(value.toFixed(1));
  return {
    rect(x, y, w, h, colour, look = "plain") {
      if (look === "plain") out.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(w)}" height="${n(h)}" fill="${colour}"/>`);
      else if (look === "outline") out.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(w)}" height="${n(h)}" fill="none" stroke="${colour}"/>`);
      else out.push(`<path d="M${n(x)} ${n(y + h / 2)}h${n(w)}" stroke="${colour}" stroke-width="${n(h)}" stroke-dasharray="4 3"/>`);
    },
    lines(points, colour, width, dash = []) {
      if (!points.length) return;
      let d = "";
      for (let i = 0; i < points.length; i += 4) d += `M${n(points[i])} ${n(points[i + 1])}L${n(points[i + 2])} ${n(points[i + 3])}`;
      out.push(`<path d="${d}" fill="none" stroke="${colour}" stroke-width="${width}"${dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : ""}/>`);
    },
    dots(points, colour, r) {
      for (let i = 0; i < points.length; i += 2) out.push(`<circle cx="${n(points[i])}" cy="${n(points[i + 1])}" r="${r}" fill="${colour}"/>`);
    },
    text(x, y, text, colour, size, bold = false, halo = "") {
      out.push(`<text x="${n(x)}" y="${n(y)}" fill="${colour}" font-size="${size}"${bold ? ' font-weight="600"' : ""}${halo ? ` stroke="${halo}" stroke-width="3.5" stroke-linejoin="round" paint-order="stroke"` : ""}>${escape(text)}</text>`);
    },
  };
}

/** @param {string} text */
export function escape(text) {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
