/* Figures: numbers and times come in, words for people go out; a time is a <time> that stays right. */

import { h, setText } from "./dom.js";

const NUMBER = new Intl.NumberFormat("en");
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
/** A time in a sentence of the server, and the status of a reply in one. */
const UTC = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/;
const CODE = /\bhttp_(\d{3})\b/g;
/** Units of a duration: seconds of one, its letter. */
const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** Return a number with its thousands apart. */
export function number(value) {
  return value === null || value === undefined ? "" : NUMBER.format(value);
}

/** Return a number with its noun. */
export function amount(value, noun, plural = `${noun}s`) {
  return `${number(value)} ${value === 1 ? noun : plural}`;
}

/** Return seconds in words: 40 ms, 1.2 s, 3 min, 2 h 5 min, 4 d 3 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const at = UNITS.findIndex(([size]) => seconds >= size);
  const [size, unit] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const [smaller, letter] = UNITS[at + 1] ?? [];
  const rest = smaller && size > 60 ? Math.floor((seconds - whole * size) / smaller) : 0;
  return rest ? `${whole} ${unit} ${rest} ${letter}` : `${whole} ${unit}`;
}

/** Return how long ago a time was, or in how long it will be, in words. */
export function agoText(iso, now = Date.now()) {
  const seconds = (now - Date.parse(iso)) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (Math.abs(seconds) < 2) return "now";
  const size = Math.abs(seconds);
  const unit = UNITS.find(([least]) => size >= least);
  const words = `${Math.floor(size / unit[0])} ${unit[1]}`;
  return seconds < 0 ? `in ${words}` : `${words} ago`;
}

/** Return a <time> that says how long ago a time was, and goes on doing so; its title has the time itself. */
export function ago(iso) {
  return iso ? h("time", { datetime: iso, title: momentText(iso), "data-ago": true }, agoText(iso)) : "";
}

/** Return the time of day of a time, with the date as its title. */
export function clock(iso) {
  return iso ? h("time", { datetime: iso, title: momentText(iso) }, CLOCK.format(new Date(iso))) : "";
}

/** Return a <time> with date and time of day. */
export function moment(iso) {
  return iso ? h("time", { datetime: iso, title: iso }, momentText(iso)) : "";
}

/** Return date and time of day in the reader's zone. */
export function momentText(iso) {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? String(iso) : MOMENT.format(at);
}

/**
 * Return text of the server for people here: its commands as code, its times in the reader's zone, the status of a reply
 * as elsewhere on the page. `names` are arguments that commands may have, such as an endpoint's name.
 */
export function words(text, ...names) {
  const known = names.map((name) => name.replace(/[^a-z0-9_]/gi, "\\$&")).join("|");
  const argument = `--?[a-z][a-z-]*|[A-Z]{2,}${known ? `|${known}` : ""}`;
  const special = new RegExp(`(sfwebhooks [a-z]+(?: (?:${argument})(?![a-z0-9_-]))*|kill -9 \\d+|${UTC.source})`);
  return String(text)
    .split(special)
    .map((part, at) => (at % 2 ? (UTC.test(part) ? moment(part.replace(" UTC", "Z").replace(" ", "T")) : h("code", null, part)) : part.replace(CODE, "HTTP $1")));
}

/** Bring the times that `ago` made up to date. */
function refresh() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-ago]")) setText(time, agoText(time.dateTime, now));
}

setInterval(() => document.hidden || requestAnimationFrame(refresh), 5000);
