/* Counts and facts: what the API says of scans and endpoints comes in, lists and sections of a page go out. */

import { fill, h, number } from "./app.js";

/** States of an endpoint whose reason is that of an attempt; that of others is a sentence, which may name a key. */
const BY_ATTEMPT = new Set(["failing", "held", "disabled"]);

/** Return the reason of an attempt without the signs of machines: "refused: http_400" is "refused: HTTP 400". */
export function reasonWords(reason) {
  return String(reason ?? "").replaceAll("_", " ").replace(/\bhttp (\d{3})\b/g, "HTTP $1");
}

/** Return why an endpoint is in its state. */
export function stateReason({ state, reason }) {
  return BY_ATTEMPT.has(state) ? reasonWords(reason) : (reason ?? "");
}

/** Return name -> number as pairs, the largest first. */
export function byNumber(counts) {
  return Object.entries(counts ?? {}).sort((one, other) => other[1] - one[1]);
}

/** Return the sum of the numbers of an object. */
export function sum(counts) {
  return Object.values(counts ?? {}).reduce((all, one) => all + one, 0);
}

/** Return name -> number as a list; `name` makes words or nodes of a name. */
export function countList(counts, name = (key) => h("code", null, key)) {
  const items = byNumber(counts).map(([key, value]) => h("li", null, h("span", { class: "number" }, number(value)), h("span", null, name(key))));
  return h("ul", { class: "counts" }, items);
}

/** Return the seconds between two times; the second one is now if there is none. */
export function secondsBetween(from, to) {
  return Math.max(0, ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000);
}

/** Return terms with what is known of them, without those of which nothing is; null: nothing is of any. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return known.length ? h("dl", { class: "pairs" }, known.map(([term, value]) => [h("dt", null, term), h("dd", null, value)])) : null;
}

/** Return numbers in a row: [term, value, note]. */
export function tiles(all) {
  return h("dl", { class: "tiles" }, all.map(([term, value, note]) =>
    h("div", { class: "tile" }, h("dt", null, term), h("dd", null, value, note ? h("div", { class: "note" }, note) : null))));
}

/** Return a part of a page with its heading: {element, body}; `tools` are next to the heading. */
export function part(title, { tools = null, isTable = false } = {}) {
  const heading = h("h2", { id: `part-${title.toLowerCase().replace(/[^a-z]+/g, "-")}` }, title);
  const body = h("div", { class: isTable ? "of-table" : "pad" });
  const element = h("section", { class: "card part", "aria-labelledby": heading.id }, h("header", null, heading, tools), body);
  return { element, body, show: (...children) => redraw(body, children) };
}

/** Draw a place again; a link that had the focus has it afterwards. */
export function redraw(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  fill(place, children);
  if (focused) [...place.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

/** Load a style sheet of this folder, once. */
export function styled(name) {
  const address = new URL(name, import.meta.url);
  if ([...document.styleSheets].some((sheet) => sheet.href === address.href)) return Promise.resolve();
  return new Promise((resolve) => {
    const link = h("link", { rel: "stylesheet", href: address.pathname });
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
    document.head.append(link);
  });
}
