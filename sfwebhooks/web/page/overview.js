/* The overview: the state of all endpoints, attempts and scans come in; what needs attention, each endpoint's health and
 * rate, the last scans and the latest attempts go out. */

import { amount, announce, api, batched, connection, fill, h, live, setText } from "./app.js";
import { attemptFeed } from "./attempt_feed.js";
import { attentionList } from "./attention.js";
import { expectedScans } from "./expected_scans.js";
import { healthTable } from "./health_table.js";
import { endOf, isDelivered } from "./meter.js";
import { scanList } from "./scan_list.js";
import { tilesOf } from "./tiles.js";

/** Milliseconds between two readings of the figures of a day; attempts are added to them in between. */
const FIGURES = 30_000;

/** Draw the overview; returns what ends it. */
export async function render(main) {
  const heading = h("h1", { tabindex: -1 });
  const sending = h("p", { class: "muted" });
  const [attention, tiles, health, expected] = [attentionList(), tilesOf(), healthTable(), expectedScans()];
  const [attempts, scans] = [attemptFeed(), scanList()];
  const known = { status: await api("GET", "/v1/status"), figures: new Map() };

  const draw = () => {
    const verdict = verdictOf(known.status);
    setText(heading, verdict);
    announce(verdict);
    setText(sending, `${known.status.sending.charAt(0).toUpperCase()}${known.status.sending.slice(1)}.`);
    for (const part of [attention, tiles, health, expected]) part.draw(known.status, known.figures);
  };
  const soon = batched(draw);
  const readFigures = async () => {
    const { items } = await api("GET", "/v1/stats?since=24h");
    known.figures = new Map(items.map((row) => [row.endpoint, row]));
    soon();
  };
  let loadedAt = 0;
  const load = () => {
    loadedAt = Date.now();
    return Promise.all([readFigures(), attempts.load(), scans.load()].map(quietly));
  };

  draw();
  fill(
    main,
    h("div", { class: "page-head" }, h("div", null, heading, sending)),
    h(
      "div",
      { class: "stack" },
      ...[attention, tiles, health].map((part) => part.element),
      h("div", { class: "columns" }, attempts.element, h("div", { class: "stack" }, scans.element, expected.element)),
    ),
  );
  const timers = [
    setInterval(() => document.hidden || void quietly(readFigures()), FIGURES),
    setInterval(() => document.hidden || (health.pulse(), tiles.pulse(known.status)), 1000),
  ];
  const ends = [
    live("status", (status) => {
      known.status = status;
      soon();
    }),
    live("attempts", (found) => {
      addTo(known.figures, found);
      noteSuccesses(known.status, found);
      soon();
    }),
    live("connected", () => loadedAt > connection.liveAt || void load()),
    attempts.end,
    scans.end,
  ];
  void load();
  return () => {
    timers.forEach(clearInterval);
    ends.forEach((end) => end());
  };
}

/** Wait for a reading; the page says itself when it is not live, so that a problem needs no words of its own. */
function quietly(promise) {
  return promise.catch((problem) => problem.status === undefined && console.error(problem));
}

/** Add attempts to the figures of their endpoints; each counts for those of the same second that are not shown, too. */
function addTo(figures, { items, missed }) {
  const weight = 1 + (missed ?? 0) / items.length;
  for (const item of items) {
    const row = figures.get(item.endpoint);
    if (row && endOf(item) > Date.parse(row.at)) row[isDelivered(item) ? "delivered" : "failed"] += weight;
  }
}

/** Note when endpoints took a message: the next status, which says so too, may take some seconds. */
function noteSuccesses({ endpoints }, { items }) {
  const known = new Map(endpoints.map((one) => [one.endpoint, one]));
  for (const item of items.filter(isDelivered)) {
    const one = known.get(item.endpoint);
    if (one && !(one.last_success_at > item.attempt.at)) one.last_success_at = item.attempt.at;
  }
}

/** Return the state of everything in one sentence. */
function verdictOf({ endpoints, watch, spool, needs_attention }) {
  const trouble = endpoints.filter((one) => one.needs_attention).length;
  const unwell = watch?.watch?.length ?? 0;
  if (!endpoints.length) return "No endpoint yet";
  if (trouble && endpoints.length === 1) return "The endpoint needs attention";
  if (trouble) return `${trouble} of ${amount(endpoints.length, "endpoint")} ${needs(trouble)} attention`;
  if (unwell) return `${amount(unwell, "scan")} ${needs(unwell)} attention`;
  if (spool?.needs_attention) return "The spool needs attention";
  if (needs_attention) return "The settings need attention";
  const ready = endpoints.filter((one) => one.state === "ready").length;
  if (ready === endpoints.length) return ready === 1 ? "The endpoint is ready" : `All ${ready} endpoints are ready`;
  const states = new Map();
  for (const { state } of endpoints) states.set(state, (states.get(state) ?? 0) + 1);
  const counts = [...states].filter(([state]) => state !== "ready").map(([state, times]) => `${times} ${state}`);
  return [ready === 1 ? "1 endpoint is ready" : `${ready} endpoints are ready`, ...counts].join(", ");
}

function needs(count) {
  return count === 1 ? "needs" : "need";
}
