// The colours of the style sheet for the canvas, read once for each theme.

/** @type {Map<string, string>} */
let colours = new Map();

/** @param {string} name such as `--ink` */
export function palette(name) {
  let colour = colours.get(name);
  if (colour === undefined) {
    colour = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    colours.set(name, colour);
  }
  return colour;
}

export function forgetColours() {
  colours = new Map();
}
