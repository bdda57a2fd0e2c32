/* Reasons for which an event was not sent to an endpoint: counts come in, lists in words go out. */

import { api, h, number, words } from "./app.js";
import { byNumber } from "./words.js";

let asked = null;

/** Read the reasons once: those for which an event is withheld -> {meaning, what_to_do}. */
export function readReasons() {
  asked ??= api("GET", "/v1/reasons").then(({ items }) => new Map(items.filter((one) => one.about === "withheld").map((one) => [one.reason, one])));
  return asked.catch((problem) => {
    asked = null;
    throw problem;
  });
}

/** Return counts by reason, the largest first, each with its meaning and what to do if it should be sent. */
export function reasonList(counts, reasons) {
  return h("ul", { class: "counts" }, byNumber(counts).map(([reason, count]) => {
    const known = reasons?.get(reason);
    return h("li", null, h("span", { class: "number" }, number(count)),
      h("div", null, h("div", null, known?.meaning ?? reason.replaceAll("_", " ")), known?.what_to_do ? h("div", { class: "muted small" }, words(known.what_to_do)) : null));
  }));
}
