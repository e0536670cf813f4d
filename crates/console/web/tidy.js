// The engines' own wording of a message or a disk operation, made readable: wrappers and what only machines compare are left out.

/** @type {Map<string, string>} */
const known = new Map();

/** @param {string} source @param {string} name the message's own name, which stands beside it anyway */
export function tidy(source, name) {
  const key = `${name} ${source}`;
  let out = known.get(key);
  if (out === undefined) {
    out = shorten(source, name);
    // Films differ; what is remembered may not grow for ever.
    if (known.size > 20_000) known.clear();
    known.set(key, out);
  }
  return out;
}

/** @param {string} source @param {string} name */
function shorten(source, name) {
  let out = source
    .replace(/LinkId \{[^}]*\}/g, "")
    .replace(/\b(Epoch|Index|ReadId|ProposalId|GroupId|Some)\((\d+)\)/g, "$2")
    .replace(/NodeId\((\d+)\)/g, "S$1")
    .replace(/Position \{ epoch: (\d+), index: (\d+) \}/g, "$1.$2")
    .replace(/\b(link|nonce|life|id): \d*,? ?/g, "")
    .replace(/\bSome\(([^()]*)\)/g, "$1")
    .replace(/\bNone\b/g, "–")
    .replace(/\btrue\b/g, "yes").replace(/\bfalse\b/g, "no");
  if (out.startsWith("Stream")) out = out.replace(/^Stream \{ sequence: (\d+), packet: (\w+)(.*) \}$/, "$2$3 (packet $1)").replace(/^Stream (\d+) (\w+)/, "$2 (packet $1)");
  if (out.startsWith(name)) out = out.slice(name.length);
  return out.replace(/[{}]/g, " ").replace(/\b(\w+): /g, "$1 ").replace(/^\s*\(([^()]*)\)/, "$1").replace(/\s+,/g, ",").replace(/\s+/g, " ").trim();
}

/** @param {string} source */
export function tidyDisk(source) {
  return source.replace(/(\w+) \{ (.*) \}$/, (_, verb, rest) => `${verb.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase()} ${rest}`).replace(/\b(path|from|to|offset|length): /g, (_, word) => (word === "path" || word === "from" ? "" : `${word} `)).replace(/"/g, "").replace(/\b0{4,}(?=[0-9a-f])/g, "");
}
