/* A delivery in words, and as a row of a list; all of it is text from outside. */

import { ago, agoText, badge, duration, h } from "./app.js";
import { keysAreOn } from "./keys.js";
import { reasonWords } from "./words.js";

/** Seconds after which a delivery that is due is late. */
const LATE = 5;

/** Return words with a capital letter and a full stop. */
export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** Return when a waiting delivery is tried: "next try in 3 min", "due now", or "due 2 min ago", if something stops it. */
export function dueWords(iso) {
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  if (seconds > 1) return `next try ${agoText(iso)}`;
  return seconds > -LATE ? "due now" : `due ${agoText(iso)}`;
}

/** Return the outcome so far. */
function resultWords(item) {
  const last = item.last_attempt;
  if (item.state === "delivered") return last ? `${reasonWords(last.reason)} in ${duration(last.seconds)}` : "";
  const reason = reasonWords(item.reason || last?.reason || "");
  if (item.state === "dead") return reason;
  return [reason, dueWords(item.due_at)].filter(Boolean).join(", ");
}

/** Return a mark for a severity, with its name for those who do not see colours. */
export function severityMark(label) {
  return h("span", { class: `severity severity-${label}`, title: `severity ${label}` }, label);
}

/** Return the address of a delivery's page. */
export function addressOf(item) {
  return `/deliveries/${encodeURIComponent(item.delivery)}`;
}

/** State -> its badge, of which rows have copies: that takes less time than to make one. */
const badges = new Map();

function stateBadge(state) {
  if (!badges.has(state)) badges.set(state, badge(state));
  return badges.get(state).cloneNode(true);
}

/** Return the content of a delivery's row, a link to its page, with the time of a field, and the result in words. */
export function deliveryRow(item, at = "accepted_at", result = resultWords(item)) {
  const tries = item.tries > 1 && h("span", { class: "tries", title: `${item.tries} attempts` }, `×${item.tries}`);
  return h(
    "a",
    { class: "delivery-row", href: addressOf(item) },
    h("span", { class: "cell-state" }, stateBadge(item.state)),
    h("span", { class: "cell-event", title: item.name }, severityMark(item.severity), h("span", { class: "text" }, item.name)),
    h("span", { class: "cell-target text", title: item.target }, item.target || "no scan"),
    h("span", { class: "cell-endpoint text", title: item.endpoint }, item.endpoint),
    h("span", { class: "cell-result", title: result }, h("span", { class: "text" }, result), tries),
    h("span", { class: "cell-when" }, ago(item[at])),
  );
}

/** Return the names of the columns; a screen reader has the words of each row instead. */
export function deliveryHead(when = "Accepted") {
  const cells = ["State", "Event", "Target", "Endpoint", "Result", "When"].map((name) =>
    h("span", { class: `cell-${name.toLowerCase()}` }, name === "When" ? when : name),
  );
  return h("div", { class: "delivery-row delivery-head", "aria-hidden": "true" }, cells);
}

/** Return whether a key that was pressed belongs to something else: a field, a dialog or the browser. */
export function isTaken(event) {
  const { target, key } = event;
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return true;
  if (key.length === 1 && !keysAreOn()) return true;
  const fields = "input:not([type=checkbox], [type=radio]), select, textarea";
  return Boolean(target.closest?.(fields) || document.querySelector("dialog[open]"));
}
